"""Finds the ids of what stands in the cloud and not in a stack's state, for the file that `pulumi import` reads.

A physical name is the logical one, alone or with the eight random digits that the provider adds; a role assignment
is told by principal, scope and role, which its logical name says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunestack.arm import Arm, Json

RANDOM = r"(?:[0-9a-f]{8})?"
_ROLES_VERSION = "2022-04-01"
_TOKEN = "azure-native:"
_ML = "Microsoft.MachineLearningServices/workspaces"
# Those whose Pulumi type is spelled as another name in Resource Manager; lists of a group know them all.
_TYPES = {
    "storage:StorageAccount": "Microsoft.Storage/storageAccounts",
    "keyvault:Vault": "Microsoft.KeyVault/vaults",
    "applicationinsights:Component": "Microsoft.Insights/components",
    "operationalinsights:Workspace": "Microsoft.OperationalInsights/workspaces",
    "containerregistry:Registry": "Microsoft.ContainerRegistry/registries",
    "managedidentity:UserAssignedIdentity": "Microsoft.ManagedIdentity/userAssignedIdentities",
    "machinelearningservices:Workspace": _ML,
    "machinelearningservices:Registry": "Microsoft.MachineLearningServices/registries",
    "monitor:ActionGroup": "Microsoft.Insights/actionGroups",
    "monitor:MetricAlert": "Microsoft.Insights/metricAlerts",
    "network:PrivateEndpoint": "Microsoft.Network/privateEndpoints",
    "network:VirtualNetwork": "Microsoft.Network/virtualNetworks",
    "privatedns:PrivateZone": "Microsoft.Network/privateDnsZones",
}


@dataclass(frozen=True)
class Inside:
    """A type that only its parent lists: the parent's type (empty for the group), the path after its id, a version."""

    parent: str
    path: str
    version: str


_INSIDE = {
    "machinelearningservices:Compute": Inside(_ML, "computes", "2024-10-01"),
    "machinelearningservices:OnlineEndpoint": Inside(_ML, "onlineEndpoints", "2024-10-01"),
    "machinelearningservices:Datastore": Inside(_ML, "datastores", "2024-10-01"),
    "machinelearningservices:ManagedNetworkSettingsRule": Inside(_ML, "outboundRules", "2024-10-01"),
    "managedidentity:FederatedIdentityCredential": Inside(
        "Microsoft.ManagedIdentity/userAssignedIdentities", "federatedIdentityCredentials", "2023-01-31"
    ),
    "network:PrivateDnsZoneGroup": Inside("Microsoft.Network/privateEndpoints", "privateDnsZoneGroups", "2024-05-01"),
    "privatedns:VirtualNetworkLink": Inside("Microsoft.Network/privateDnsZones", "virtualNetworkLinks", "2024-06-01"),
    "network:Subnet": Inside("Microsoft.Network/virtualNetworks", "subnets", "2024-05-01"),
    "monitor:DiagnosticSetting": Inside("*", "providers/Microsoft.Insights/diagnosticSettings", "2021-05-01-preview"),
    "consumption:Budget": Inside("", "providers/Microsoft.Consumption/budgets", "2024-08-01"),
}


@dataclass
class Adopted:
    """The file's content with ids in it, and the names that were not found, or found more than once."""

    content: Json
    found: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)


class Adoption:
    """What a subscription has under the tags of one stack."""

    def __init__(self, arm: Arm, subscription: str, stack: str) -> None:
        self._arm, self._root = arm, f"/subscriptions/{subscription}"
        wanted = {"project": "tunestack", "stack": stack}
        self._groups = [
            body
            for body in arm.pages(f"{self._root}/resourcegroups", "2021-04-01")
            if wanted.items() <= (body.get("tags") or {}).items()
        ]
        self._resources = [
            body for group in self._groups for body in arm.pages(f"{group['id']}/resources", "2021-04-01")
        ]

    def fill_in(self, content: Json) -> Adopted:
        """The content of `pulumi preview --import-file` with the ids of what exists; the rest is left out of it."""
        adopted, kept = Adopted(dict(content)), []
        entries = [one for one in content.get("resources", []) if not one.get("component")]
        assignments = self._assignments([_name(one) for one in entries if _type(one) == "authorization:RoleAssignment"])
        for entry in content.get("resources", []):
            if entry.get("component"):
                kept.append(entry)
                continue
            name = _name(entry)
            if _type(entry) == "authorization:RoleAssignment":
                ids = [assignments[name]] if name in assignments else []
            else:
                ids = [body["id"] for body in self._candidates(_type(entry)) if _is_named(body["name"], name)]
            if len(ids) == 1:
                adopted.found.append(name)
                kept.append({**entry, "id": ids[0]})
            else:
                (adopted.unclear if ids else adopted.absent).append(name)
        adopted.content["resources"] = kept
        return adopted

    def _candidates(self, kind: str) -> Iterator[Json]:
        if kind == "resources:ResourceGroup":
            yield from self._groups
        elif kind in _INSIDE:
            place = _INSIDE[kind]
            for parent in self._parents(place.parent):
                yield from self._arm.pages(f"{parent}/{place.path}", place.version)
        else:
            wanted = _TYPES.get(kind, "").lower()
            yield from (body for body in self._resources if body["type"].lower() == wanted)

    def _parents(self, kind: str) -> list[str]:
        if not kind:
            return [body["id"] for body in self._groups]
        return [body["id"] for body in self._resources if kind == "*" or body["type"].lower() == kind.lower()]

    def _assignments(self, names: Sequence[str]) -> Mapping[str, str]:
        """The id of each role assignment by its logical name, the best fitting one first."""
        fits = [
            (fit, name, body["id"])
            for body in self._all_assignments()
            for name in names
            if (fit := self._fit(body, name))
        ]
        found: dict[str, str] = {}
        for _, name, resource in sorted(fits, reverse=True) if names else []:
            if name not in found and resource not in found.values():
                found[name] = resource
        return found

    def _all_assignments(self) -> Iterator[Json]:
        for group in self._groups:
            path = f"{group['id']}/providers/Microsoft.Authorization/roleAssignments"
            for body in self._arm.pages(path, _ROLES_VERSION):
                if body["properties"]["scope"].lower().startswith(group["id"].lower()):
                    yield body

    def _fit(self, body: Json, name: str) -> float:
        """0 where principal or scope are others; more, the more words of the role's name stand in the logical one."""
        properties = body["properties"]
        who, _, where = name.rpartition("-on-")
        segments = properties["scope"].lower().strip("/").split("/")
        if where.replace("-", "")[:6] not in segments[-2] or not self._is_held_by(properties["principalId"], who):
            return 0
        words = set(re.findall(r"[a-z]+", self._role(properties["roleDefinitionId"]).lower()))
        return 1 + len(words & set(who.split("-"))) / (1 + len(words))

    def _is_held_by(self, principal: str, who: str) -> bool:
        if principal.lower() in who.lower():
            return True
        # the longest logical name wins: `id-x-clusters` begins as `id-x` does
        holders = [
            name
            for name, found in self._principals().items()
            if found == principal and who.startswith(re.sub(r"[0-9a-f]{8}$", "", name))
        ]
        return bool(holders)

    def _principals(self) -> Mapping[str, str]:
        if not hasattr(self, "_known"):
            kind = _TYPES["managedidentity:UserAssignedIdentity"].lower()
            identities = [body for body in self._resources if body["type"].lower() == kind]
            self._known: dict[str, str] = {
                body["name"]: str(self._arm.get(body["id"], "2023-01-31")["properties"]["principalId"])
                for body in identities
            }
        return self._known

    def _role(self, definition: str) -> str:
        if not hasattr(self, "_role_names"):
            self._role_names: dict[str, Any] = {}
        if definition not in self._role_names:
            self._role_names[definition] = self._arm.get(definition, _ROLES_VERSION)["properties"]["roleName"]
        return str(self._role_names[definition])


def _type(entry: Json) -> str:
    return str(entry.get("type", "")).removeprefix(_TOKEN)


def _name(entry: Json) -> str:
    return str(entry.get("logicalName") or entry.get("name", ""))


def _is_named(physical: str, logical: str) -> bool:
    return re.fullmatch(re.escape(logical) + RANDOM, physical) is not None

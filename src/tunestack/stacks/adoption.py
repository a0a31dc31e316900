"""Finds the ids of what stands in the cloud and not in a stack's state, for the file that `pulumi import` reads.

A physical name is the logical one, alone or with the eight random digits that the provider adds; a role assignment
is told by principal, scope and role, which its logical name says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tunestack.arm import Arm, Json
from tunestack.errors import CloudError

RANDOM = r"(?:[0-9a-f]{8})?"
_STEM = 6  # letters that tell kinds apart: `registry` and `registries`
_OWN_NAME = 4.0
Pair = tuple[float, str, str]  # fit, logical name, id
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
    """The file's content with ids in it, and the names that were found, not found, and found twice."""

    content: Json
    found: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)


class Adoption:
    """What a subscription has under the tags of one stack."""

    def __init__(self, arm: Arm, subscription: str, stack: str) -> None:
        self._arm, self._root = arm, f"/subscriptions/{subscription}"
        self._role_names: dict[str, str] = {}
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
        ids: dict[tuple[str, str], str] = {}
        for kind in {_type(one) for one in entries}:
            names = [_name(one) for one in entries if _type(one) == kind]
            pairs = self._assignments(names) if kind == "authorization:RoleAssignment" else self._found(kind, names)
            best = _best(list(pairs))
            adopted.unclear += best.unclear
            ids |= {(kind, name): resource for name, resource in best.ids.items()}
        for entry in content.get("resources", []):
            key = (_type(entry), _name(entry))
            if entry.get("component"):
                kept.append(entry)
            elif key in ids:
                adopted.found.append(key[1])
                kept.append({**entry, "id": ids[key]})
            else:
                adopted.absent.append(key[1])
        adopted.content["resources"] = kept
        return adopted

    def _found(self, kind: str, names: Sequence[str]) -> Iterator[Pair]:
        for body, parent in self._candidates(kind):
            for name in names:
                if fit := _fit(name, body["name"], parent):
                    yield fit, name, body["id"]

    def _candidates(self, kind: str) -> Iterator[tuple[Json, str]]:
        """What there is of a type, each with the id of what it belongs to."""
        if kind == "resources:ResourceGroup":
            yield from ((body, "") for body in self._groups)
        elif kind in _INSIDE:
            place = _INSIDE[kind]
            for parent in self._parents(place.parent):
                yield from ((body, parent) for body in self._listed(f"{parent}/{place.path}", place.version))
        else:
            wanted = _TYPES.get(kind, "").lower()
            yield from ((body, "") for body in self._resources if body["type"].lower() == wanted)

    def _listed(self, path: str, version: str) -> list[Json]:
        """Empty where the type of the parent cannot have any."""
        try:
            return list(self._arm.pages(path, version))
        except CloudError as error:
            if error.status in (400, 404, 405):
                return []
            raise

    def _parents(self, kind: str) -> list[str]:
        if not kind:
            return [body["id"] for body in self._groups]
        found = [body["id"] for body in self._resources if kind == "*" or body["type"].lower() == kind.lower()]
        if kind != "*":
            return found
        accounts = _TYPES["storage:StorageAccount"].lower()
        blobs = [f"{body['id']}/blobServices/default" for body in self._resources if body["type"].lower() == accounts]
        return found + blobs

    def _assignments(self, names: Sequence[str]) -> Iterator[Pair]:
        for body in self._all_assignments():
            for name in names:
                if fit := self._fit(body, name):
                    yield fit, name, body["id"]

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
        if where.replace("-", "")[:_STEM] not in segments[-2] or not self._is_held_by(properties["principalId"], who):
            return 0
        words = set(re.findall(r"[a-z]+", self._role(properties["roleDefinitionId"]).lower()))
        return 1 + len(words & set(who.split("-"))) / (1 + len(words))

    def _is_held_by(self, principal: str, who: str) -> bool:
        """Whether `who` begins with the principal's logical name, or holds its object id."""
        logical = self._principals.get(principal)
        return principal.lower() in who.lower() or (logical is not None and who.startswith(logical))

    @cached_property
    def _principals(self) -> Mapping[str, str]:
        """Logical names of the stack's identities by their object id."""
        kind = _TYPES["managedidentity:UserAssignedIdentity"].lower()
        return {
            str(self._arm.get(body["id"], "2023-01-31")["properties"]["principalId"]): re.sub(
                r"[0-9a-f]{8}$", "", body["name"]
            )
            for body in self._resources
            if body["type"].lower() == kind
        }

    def _role(self, definition: str) -> str:
        if definition not in self._role_names:
            self._role_names[definition] = self._arm.get(definition, _ROLES_VERSION)["properties"]["roleName"]
        return self._role_names[definition]


def _type(entry: Json) -> str:
    return str(entry.get("type", "")).removeprefix(_TOKEN)


def _name(entry: Json) -> str:
    return str(entry.get("logicalName") or entry.get("name", ""))


@dataclass
class Best:
    """One id for each name; `unclear` are names that two resources have, one of them made in vain."""

    ids: dict[str, str] = field(default_factory=dict)
    unclear: list[str] = field(default_factory=list)


def _best(pairs: Sequence[Pair]) -> Best:
    """The best fitting pairs first, each name and each resource once."""
    best = Best()
    for name in sorted({name for fit, name, _ in pairs if fit == _OWN_NAME}):
        if len({resource for fit, other, resource in pairs if (fit, other) == (_OWN_NAME, name)}) > 1:
            best.unclear.append(name)
    for _, name, resource in sorted(pairs, reverse=True):
        if name not in best.ids and resource not in best.ids.values():
            best.ids[name] = resource
    return best


def _fit(logical: str, physical: str, parent: str) -> float:
    """How well a logical name fits a resource: by its own name, else by that and its parent's, else by the parent's.

    `infra` calls what has a fixed name after its parent: `ZONE-link`, `names-of-PART`, `diagnostics-of-KIND`.
    """
    if re.fullmatch(re.escape(logical) + RANDOM, physical):
        return _OWN_NAME
    segments = parent.lower().split("/")
    if parent and logical == f"{segments[-1]}-{physical}":
        return 3
    if logical.endswith(f"-{physical}"):
        return 2
    first, *others = logical.rpartition("-of-")[2].split("-")
    words = segments[-1].split("-")
    named = first in words or (len(segments) > 1 and first[:_STEM] in segments[-2])
    return 1 if parent and "-of-" in logical and named and all(word in words for word in others) else 0

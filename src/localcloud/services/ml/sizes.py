"""Machine sizes and core quotas per region, from the dated table in the catalog.

Quota is simulated: every subscription starts with the table's limits, and `updateQuotas` changes them. What counts
as used are the running nodes of clusters and the instances of deployments.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

import yaml
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import ArmError, json_response, page, read_json, require_api_version, route
from localcloud.cloud import Cloud
from localcloud.services.ml.ids import LOCATION, PROVIDER
from localcloud.store import Body

LOW_PRIORITY = "lowPriorityCores"

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = cloud.part(Sizes, lambda: Sizes(cloud))
    return [
        route(f"{LOCATION}/vmSizes", ["GET"], service.list_sizes),
        route(f"{LOCATION}/usages", ["GET"], service.list_usages),
        route(f"{LOCATION}/quotas", ["GET"], service.list_quotas),
        route(f"{LOCATION}/updateQuotas", ["POST"], service.update_quotas),
    ]


# -- handlers and model ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    """One machine size. Memory is in GB, disk in MB."""

    name: str
    family: str
    cores: int
    gpus: int
    memory: float
    disk: int
    regions: tuple[str, ...]
    low_priority: bool = True
    premium: bool = True
    # Deployments on it do not reserve the extra 20 % for upgrades.
    skip_reserve: bool = False

    def wire(self) -> Body:
        return {
            "name": self.name,
            "family": self.family,
            "vCPUs": self.cores,
            "gpus": self.gpus,
            "osVhdSizeMB": 131072,
            "maxResourceVolumeMB": self.disk,
            "memoryGB": self.memory,
            "lowPriorityCapable": self.low_priority,
            "premiumIO": self.premium,
            "supportedComputeTypes": ["AmlCompute", "ComputeInstance"],
        }


def _shown(family: str, priority: str = "Dedicated") -> str:
    """A family as usages name it, `Standard DSv2 Family Cluster Dedicated vCPUs`, after the REST contract's example."""
    kind = re.fullmatch(r"standard(.+)family", family, re.IGNORECASE)
    return f"Standard {kind[1]} Family Cluster {priority} vCPUs" if kind else "Total Cluster LowPriority Regional vCPUs"


def _usage(kind: str, name: str, used: int, limit: int) -> Body:
    """One row; low-priority rows of a family have the limit -1, because the regional one counts for all."""
    return {
        "id": "usages" + (f"/{name.replace(' ', '_')}" if kind == "vmFamily" else ""),
        "type": f"{PROVIDER}/{kind}/usages",
        "unit": "Count",
        "currentValue": used,
        "limit": limit,
        "name": {"value": name, "localizedValue": name},
    }


def _plain(location: str) -> str:
    return location.replace(" ", "").lower()


class Sizes:
    """The sizes a region offers and what is left of the quota there.

    Reach it with `cloud.part(Sizes, lambda: Sizes(cloud))`.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    @cached_property
    def _table(self) -> dict[str, Any]:
        table: dict[str, Any] = yaml.safe_load((files("localcloud") / "catalog" / "sizes.yaml").read_text())
        return table

    @cached_property
    def _sizes(self) -> dict[str, Size]:
        found: dict[str, Size] = {}
        for family, described in self._table["families"].items():
            groups = described.get("regions", "all")
            regions = tuple(self._table["regions"][groups])
            options = {key: described[key] for key in ("low_priority", "skip_reserve", "premium") if key in described}
            for name, (cores, gpus, memory, disk) in described["sizes"].items():
                found[name.lower()] = Size(name, family, cores, gpus, memory, disk * 1024, regions, **options)
        return found

    def regions(self) -> list[str]:
        """Every region of the table, the one that is tried most first."""
        found: list[str] = self._table["regions"]["all"]
        return found

    def offered(self, location: str) -> list[Size]:
        region = _plain(location)
        if region not in self.regions():
            known = ", ".join(self.regions())
            raise ArmError(
                400, "NoRegisteredProviderFound", f"The local cloud has no location '{location}'. It has: {known}."
            )
        return [size for size in self._sizes.values() if region in size.regions]

    def is_restricted(self, location: str, name: str) -> bool:
        """Whether the region has the size and gives it to no new subscription."""
        table = {size.lower(): regions for size, regions in self._table["restricted"].items()}
        return _plain(location) in table.get(name.lower(), ())

    def gpus(self, name: str) -> int | None:
        """GPUs of a size, wherever it is offered; None for one that the table does not have."""
        found = self._sizes.get(name.lower())
        return found.gpus if found else None

    def find(self, location: str, name: str) -> Size:
        """The size of that name; one clear 400 when it is retired, unknown, or not offered in the region."""
        found = self._sizes.get(name.lower())
        retired = {key.lower(): day for key, day in self._table["retired"].items()}
        if name.lower() in retired:
            raise ArmError(
                400, "InvalidVmSize", f"The VM size '{name}' was retired on {retired[name.lower()]}; choose another."
            )
        if found is None or found not in self.offered(location):
            raise ArmError(
                400,
                "InvalidVmSize",
                f"The VM size '{name}' is not offered in '{location}'. What is: "
                f"GET {LOCATION.format(subscription='{subscription}', location=_plain(location))}/vmSizes.",
            )
        if self.is_restricted(location, name):
            raise ArmError(
                400, "SkuNotAvailable", f"The VM size '{name}' is not available for this subscription in '{location}'."
            )
        return found

    def limit(self, subscription: str, location: str, family: str) -> int:
        region = _plain(location)
        set_by_user = self._cloud.store.record("quota", f"{subscription}/{region}/{family.lower()}")
        if set_by_user:
            return int(set_by_user["limit"])
        if family == LOW_PRIORITY:
            return int(self._table["low_priority_cores"])
        return int(self._table["families"][family].get("quota", self._table["default_quota"]))

    def used(self, subscription: str, location: str, family: str) -> int:
        """Cores in use: nodes that clusters hold now, and instances of deployments with their reserve."""
        region, total = _plain(location), 0
        for compute in self._cloud.store.beneath(f"/subscriptions/{subscription}", "computes"):
            own = compute["properties"].get("properties") or {}
            size = self._sizes.get(str(own.get("vmSize", "")).lower())
            if size is None or _plain(compute.get("location") or "") != region:
                continue
            counted = LOW_PRIORITY if own.get("vmPriority") == "LowPriority" else size.family
            if counted == family:
                total += size.cores * int(own.get("currentNodeCount") or 0)
        for deployment in self._cloud.store.beneath(f"/subscriptions/{subscription}", "deployments"):
            size = self._sizes.get(str(deployment["properties"].get("instanceType", "")).lower())
            if size is None or size.family != family or _plain(deployment.get("location") or region) != region:
                continue
            if deployment["properties"].get("provisioningState") != "Failed":
                total += self.deployment_cores(size, int((deployment.get("sku") or {}).get("capacity") or 1))
        return total

    @staticmethod
    def deployment_cores(size: Size, instances: int) -> int:
        """Cores that a deployment takes from the quota: 20 % are reserved for upgrades, except on some sizes."""
        return size.cores * (instances if size.skip_reserve else math.ceil(1.2 * instances))

    def require_cluster_quota(self, subscription: str, location: str, size: Size, nodes: int, priority: str) -> None:
        """400 ClusterCoreQuotaReached when a cluster could grow beyond what is left."""
        family = LOW_PRIORITY if priority == "LowPriority" else size.family
        limit = self.limit(subscription, location, family)
        needed = size.cores * nodes
        if needed > limit:
            message = (
                f"Operation would exceed the simulated core quota of '{family}' in '{location}': {nodes} nodes of "
                f"'{size.name}' need {needed} cores, the limit is {limit}."
            )
            raise ArmError(400, "ClusterCoreQuotaReached", message, details=[("ClusterCoreQuotaReached", message)])

    # -- answers

    def _families(self, location: str) -> list[str]:
        return [*dict.fromkeys(size.family for size in self.offered(location)), LOW_PRIORITY]

    async def list_sizes(self, request: Request) -> Response:
        require_api_version(request)
        # Not paged, as the service's.
        return json_response({"value": [size.wire() for size in self.offered(request.path_params["location"])]})

    async def list_usages(self, request: Request) -> Response:
        require_api_version(request)
        subscription, location = request.path_params["subscription"], _plain(request.path_params["location"])
        counted = {
            family: (self.used(subscription, location, family), self.limit(subscription, location, family))
            for family in self._families(location)
        }
        low = counted.pop(LOW_PRIORITY)
        total = tuple(sum(figures) for figures in zip(*counted.values(), strict=True))
        items = [_usage("dedicatedCores", "Total Cluster Dedicated Regional vCPUs", *total)]
        for family, (used, limit) in counted.items():
            items.append(_usage("vmFamily", _shown(family), used, limit))
        items.append(_usage("lowPriorityCores", "Total Cluster LowPriority Regional vCPUs", *low))
        items += [_usage("vmFamily", _shown(family, "LowPriority"), 0, -1) for family in counted]
        return page(request, [{**item, "id": f"/subscriptions/{subscription}/{item['id']}"} for item in items])

    async def list_quotas(self, request: Request) -> Response:
        require_api_version(request)
        subscription, location = request.path_params["subscription"], _plain(request.path_params["location"])
        items = [
            {
                "id": self._quota_id(subscription, location, family),
                "type": f"{PROVIDER}/vmFamily/quotas",
                "unit": "Count",
                "limit": self.limit(subscription, location, family),
                "name": {"value": _shown(family), "localizedValue": _shown(family)},
            }
            for family in self._families(location)
        ]
        return page(request, items)

    async def update_quotas(self, request: Request) -> Response:
        """Sets limits at once, where Azure would take a support request: the way to try quota errors."""
        require_api_version(request)
        subscription, location = request.path_params["subscription"], _plain(request.path_params["location"])
        known = {family.lower(): family for family in self._families(location)}
        answers = []
        for item in (await read_json(request)).get("value") or []:
            family = str(item.get("id", "")).rstrip("/").split("/")[-2:-1]
            name = known.get((family or [""])[0].lower())
            limit = item.get("limit")
            if name is None or not isinstance(limit, int) or limit < 0:
                raise ArmError(
                    400,
                    "BadRequest",
                    f"'{item.get('id')}', limit '{limit}' is no quota; take ids from GET quotas, and limits from 0 on.",
                )
            self._cloud.store.put_record("quota", f"{subscription}/{location}/{name.lower()}", {"limit": limit})
            answers.append({"id": item["id"], "type": f"{PROVIDER}/vmFamily/quotas", "limit": limit, "unit": "Count"})
        return json_response({"value": [{**answer, "status": "Success"} for answer in answers]})

    @staticmethod
    def _quota_id(subscription: str, location: str, family: str) -> str:
        place = LOCATION.format(subscription=subscription, location=location)
        return f"{place}/vmFamilies/{family}/quotas"

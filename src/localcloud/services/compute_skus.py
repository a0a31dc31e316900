"""Which machine sizes a subscription may have where: Microsoft.Compute's list of SKUs with their restrictions.

Machines themselves are not here. Answered after the public REST contract of Resource SKUs (2021-07-01); the sizes and
restrictions are those of the catalog, and simulated: test_sizes_say_what_restricts_them settles the shape on Azure.
"""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import ArmError, page, require_api_version, route
from localcloud.cloud import Cloud
from localcloud.services.ml.sizes import Size, Sizes
from localcloud.store import Body

_PATH = "/subscriptions/{subscription}/providers/Microsoft.Compute/skus"

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    return [route(_PATH, ["GET"], ComputeSkus(cloud).list_skus)]


# -- handlers and model ----------------------------------------------------------------------------------------


class ComputeSkus:
    """`$filter=location eq 'REGION'` is the one filter that Azure has here; without it, every region."""

    def __init__(self, cloud: Cloud) -> None:
        self._sizes = cloud.part(Sizes, lambda: Sizes(cloud))

    async def list_skus(self, request: Request) -> Response:
        require_api_version(request)
        text = request.query_params.get("$filter", "")
        asked = re.fullmatch(r"\s*location\s+eq\s+'([^']+)'\s*", text)
        if text and not asked:
            raise ArmError(400, "InvalidFilterInQueryString", f"The $filter '{text}' is not one that is known here.")
        regions = [asked[1]] if asked else self._sizes.regions()
        return page(request, [self._sku(size, region) for region in regions for size in self._sizes.offered(region)])

    def _sku(self, size: Size, region: str) -> Body:
        restricted = self._sizes.is_restricted(region, size.name)
        restriction = {
            "type": "Location",
            "values": [region],
            "restrictionInfo": {"locations": [region]},
            "reasonCode": "NotAvailableForSubscription",
        }
        return {
            "resourceType": "virtualMachines",
            "name": size.name,
            "tier": "Standard",
            "size": size.name.removeprefix("Standard_"),
            "family": size.family,
            "locations": [region],
            "locationInfo": [{"location": region, "zones": []}],
            "capabilities": [{"name": "vCPUs", "value": str(size.cores)}, {"name": "GPUs", "value": str(size.gpus)}],
            "restrictions": [restriction] if restricted else [],
        }

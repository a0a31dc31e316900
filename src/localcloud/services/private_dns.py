"""Private DNS zones and their links to virtual networks, as ARM knows them; no name is resolved by them."""

from __future__ import annotations

from starlette.routing import Route

from localcloud.arm import ArmError
from localcloud.cloud import Cloud
from localcloud.services.tracked import GROUP, TrackedResources, TrackedType
from localcloud.store import Body

ZONES = "Microsoft.Network/privateDnsZones"
LINKS = f"{ZONES}/virtualNetworkLinks"


def routes(cloud: Cloud) -> list[Route]:
    return [*TrackedResources(cloud, _ZONE).routes(), *TrackedResources(cloud, _LINK).routes()]


# -- model -----------------------------------------------------------------------------------------------------


def _zone_unused(cloud: Cloud, found: Body) -> None:
    links = cloud.store.children(found["id"], "virtualNetworkLinks")
    if links:
        raise ArmError(
            409,
            "CannotDeleteResource",
            f"Cannot delete resource while nested resources exist. Some existing nested resource IDs include: "
            f"'{links[0]['id']}'. Please delete all nested resources before deleting this resource.",
        )


def _zone(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> Body:
    return {
        "maxNumberOfRecordSets": 25000,
        "maxNumberOfVirtualNetworkLinks": 1000,
        "maxNumberOfVirtualNetworkLinksWithRegistration": 100,
        "numberOfRecordSets": 1,
        "provisioningState": "Succeeded",
    }


_COUNTED = (
    *("maxNumberOfRecordSets", "maxNumberOfVirtualNetworkLinks", "maxNumberOfVirtualNetworkLinksWithRegistration"),
    *("numberOfRecordSets", "numberOfVirtualNetworkLinks", "numberOfVirtualNetworkLinksWithRegistration"),
)
_ZONE = TrackedType(
    ZONES,
    r"(?=.{1,253}$)[\w-]{1,63}(\.[\w-]{1,63})+",
    home="global",
    read_only=(*_COUNTED, "internalId", "provisioningState"),
    shape=_zone,
    may_delete=_zone_unused,
)


def _check_link(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> None:
    network = ((body.get("properties") or {}).get("virtualNetwork") or {}).get("id") or ""
    if cloud.store.get(network) is None:
        raise ArmError(400, "BadRequest", f"The virtual network '{network}' of the link was not found.")
    zone = wanted.rpartition("/virtualNetworkLinks/")[0]
    for other in cloud.store.children(zone, "virtualNetworkLinks"):
        same = str(other["properties"]["virtualNetwork"]["id"]).lower() == network.lower()
        if same and other["id"].lower() != wanted.lower():
            raise ArmError(
                409,
                "Conflict",
                f"A virtual network cannot be linked to one zone twice: '{network}' is linked by '{other['name']}'.",
            )
    kept = (old or {}).get("properties", {}).get("virtualNetwork", {}).get("id")
    if kept and kept.lower() != network.lower():
        raise ArmError(400, "BadRequest", "The virtual network of a link cannot be changed.")


_LINK = TrackedType(
    LINKS,
    r"[a-zA-Z0-9]([\w.-]{0,78}[a-zA-Z0-9_])?",
    under=f"{GROUP}/providers/{ZONES}/{{zone}}",
    home="global",
    required=("properties.virtualNetwork",),
    members=("registrationEnabled", "resolutionPolicy", "virtualNetwork"),
    read_only=("provisioningState", "virtualNetworkLinkState"),
    check=_check_link,
    shape=lambda cloud, wanted, body, old: {
        "registrationEnabled": bool((body.get("properties") or {}).get("registrationEnabled")),
        "resolutionPolicy": (body.get("properties") or {}).get("resolutionPolicy") or "Default",
        "virtualNetworkLinkState": "Completed",
        "provisioningState": "Succeeded",
    },
)

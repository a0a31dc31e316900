"""Container registries, as ARM knows them; no image is kept or built here."""

from __future__ import annotations

from starlette.routing import Route

from localcloud.arm import ArmError, timestamp
from localcloud.cloud import Cloud
from localcloud.services.tracked import TrackedResources, TrackedType
from localcloud.store import Body

REGISTRIES = "Microsoft.ContainerRegistry/registries"


def routes(cloud: Cloud) -> list[Route]:
    return [*TrackedResources(cloud, _TYPE).routes()]


# -- model -----------------------------------------------------------------------------------------------------


def _check(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> None:
    name = wanted.rpartition("/")[2].lower()
    taken = [found["name"].lower() for found in cloud.store.beneath("/subscriptions", REGISTRIES)]
    if old is None and name in taken:
        raise ArmError(409, "AlreadyInUse", f"The registry DNS name {name}.azurecr.io is already in use.")
    sku = (body.get("sku") or {}).get("name")
    if sku not in ("Basic", "Standard", "Premium"):
        raise ArmError(400, "InvalidSku", f"The sku '{sku}' is not one of Basic, Standard, Premium.")
    sent = body.get("properties") or {}
    export = ((sent.get("policies") or {}).get("exportPolicy") or {}).get("status")
    premium = {
        "publicNetworkAccess Disabled": sent.get("publicNetworkAccess") == "Disabled",
        "networkRuleSet": bool(sent.get("networkRuleSet")),
        "zoneRedundancy": sent.get("zoneRedundancy") == "Enabled",
        "dataEndpointEnabled": sent.get("dataEndpointEnabled") is True,
        "exportPolicy disabled": export == "disabled",
    }
    asked = [feature for feature, on in premium.items() if on]
    if sku != "Premium" and asked:
        raise ArmError(
            400,
            "FeatureNotSupportedForRegistrySku",
            f"The registry '{name}' has the SKU {sku}, and only Premium has: {', '.join(asked)}.",
        )
    if export == "disabled" and sent.get("publicNetworkAccess") != "Disabled":
        raise ArmError(
            400, "InvalidExportPolicy", "The export policy can be disabled only where publicNetworkAccess is Disabled."
        )
    if sku == "Basic" and sent.get("anonymousPullEnabled"):
        raise ArmError(400, "FeatureNotSupportedForRegistrySku", "Anonymous pull needs the SKU Standard or Premium.")


def _shape(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> Body:
    sent, kept = body.get("properties") or {}, (old or {}).get("properties", {})
    return {
        "adminUserEnabled": bool(sent.get("adminUserEnabled")),
        "anonymousPullEnabled": bool(sent.get("anonymousPullEnabled")),
        "publicNetworkAccess": sent.get("publicNetworkAccess") or "Enabled",
        "loginServer": f"{wanted.rpartition('/')[2].lower()}.azurecr.io",
        "creationDate": kept.get("creationDate") or timestamp(cloud.clock.now()),
        "provisioningState": "Succeeded",
    }


_TYPE = TrackedType(
    REGISTRIES,
    r"[a-zA-Z0-9]{5,50}",
    top=("sku", "identity"),
    required=("sku",),
    members=(
        *("adminUserEnabled", "anonymousPullEnabled", "dataEndpointEnabled", "encryption"),
        *("networkRuleBypassOptions", "networkRuleSet", "policies", "publicNetworkAccess", "zoneRedundancy"),
    ),
    read_only=("loginServer", "creationDate", "provisioningState", "status", "privateEndpointConnections"),
    check=_check,
    shape=_shape,
)

"""Key vaults: soft-deleted for the days that they ask for, their name blocked until purged or recovered.

Secrets, keys and certificates inside a vault are not here.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import ArmError, json_response, not_found, page, require_api_version, route, timestamp
from localcloud.cloud import Cloud
from localcloud.services.tracked import TrackedResources, TrackedType
from localcloud.store import Body

VAULTS = "Microsoft.KeyVault/vaults"
DELETED = "deleted-vault"
_DELETED_IN = "/subscriptions/{subscription}/providers/Microsoft.KeyVault/locations/{location}/deletedVaults/{name}"

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = Vaults(cloud)
    return [
        route(
            "/subscriptions/{subscription}/providers/Microsoft.KeyVault/deletedVaults", ["GET"], service.list_deleted
        ),
        route(_DELETED_IN, ["GET"], service.get_deleted),
        route(f"{_DELETED_IN}/purge", ["POST"], service.purge),
        *service.routes(),
    ]


# -- handlers --------------------------------------------------------------------------------------------------


class Vaults(TrackedResources):
    """The generic handlers, and the vaults that were deleted and are not gone."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud, _TYPE)

    async def list_deleted(self, request: Request) -> Response:
        require_api_version(request)
        return page(request, deleted_vaults(self.cloud))

    async def get_deleted(self, request: Request) -> Response:
        require_api_version(request)
        return json_response(self._deleted(request))

    async def purge(self, request: Request) -> Response:
        require_api_version(request)
        found = self._deleted(request)
        if found["properties"]["purgeProtectionEnabled"]:
            raise ArmError(
                400,
                "MethodNotAllowed",
                f"The vault '{found['name']}' has purge protection: it goes at "
                f"{found['properties']['scheduledPurgeDate']} and not before.",
            )
        self.cloud.store.delete_record(DELETED, found["name"].lower())
        return Response(status_code=200)

    def _deleted(self, request: Request) -> Body:
        name = request.path_params["name"].lower()
        for found in deleted_vaults(self.cloud):
            if found["name"].lower() == name:
                return found
        raise not_found(_DELETED_IN.format(**request.path_params))


# -- model -----------------------------------------------------------------------------------------------------


def deleted_vaults(cloud: Cloud) -> list[Body]:
    """Those whose retention has not passed; the others are dropped."""
    found = []
    for key, body in cloud.store.records(DELETED):
        if cloud.clock.now() >= datetime.fromisoformat(body["until"]):
            cloud.store.delete_record(DELETED, key)
        else:
            found.append({name: value for name, value in body.items() if name not in ("until", "vault")})
    return found


def _keep_deleted(cloud: Cloud, found: Body) -> None:
    properties, now = found["properties"], cloud.clock.now()
    until = now + timedelta(days=properties["softDeleteRetentionInDays"])
    location = found["location"].replace(" ", "").lower()
    record = {
        "id": f"/subscriptions/{found['id'].split('/')[2]}/providers/Microsoft.KeyVault/locations/{location}/"
        f"deletedVaults/{found['name']}",
        "name": found["name"],
        "type": "Microsoft.KeyVault/deletedVaults",
        "properties": {
            "vaultId": found["id"],
            "location": location,
            "tags": found.get("tags", {}),
            "deletionDate": timestamp(now),
            "scheduledPurgeDate": timestamp(until),
            "purgeProtectionEnabled": bool(properties.get("enablePurgeProtection")),
        },
        "vault": found,
        "until": until.isoformat(),
    }
    cloud.store.put_record(DELETED, found["name"].lower(), record)


def _check(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> None:
    name, properties = wanted.rpartition("/")[2], body.get("properties") or {}
    recovering = properties.get("createMode") == "recover"
    deleted = {found["name"].lower() for found in deleted_vaults(cloud)}
    if name.lower() in deleted and not recovering:
        raise ArmError(
            409,
            "ConflictError",
            f"A vault with the same name '{name}' already exists in deleted state. You need to either recover or "
            "purge the existing key vault. Follow https://go.microsoft.com/fwlink/?linkid=2149745",
        )
    if old is None and any(
        found["name"].lower() == name.lower() for found in cloud.store.beneath("/subscriptions", VAULTS)
    ):
        raise ArmError(409, "VaultAlreadyExists", f"The vault name '{name}' is already in use.")
    if properties.get("enablePurgeProtection") is False:
        raise ArmError(
            400,
            "BadRequest",
            "The property 'enablePurgeProtection' cannot be set to false. Enabling the purge protection for a vault is "
            "an irreversible action; leave the property out.",
        )
    if properties.get("enableSoftDelete") is False:
        raise ArmError(400, "BadRequest", "The property 'enableSoftDelete' cannot be set to false.")
    days = properties.get("softDeleteRetentionInDays")
    before = (old or {}).get("properties", {}).get("softDeleteRetentionInDays")
    if old and days is not None and int(days) != before:
        raise ArmError(
            400,
            "BadRequest",
            "The property 'softDeleteRetentionInDays' has been set already and it can't be modified. "
            f"It is {before}, and {days} was sent.",
        )
    if days is not None and not 7 <= int(days) <= 90:
        raise ArmError(400, "BadRequest", f"'softDeleteRetentionInDays' is {days}; it must be between 7 and 90.")


def _shape(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> Body:
    sent, kept = body.get("properties") or {}, (old or {}).get("properties", {})
    record = cloud.store.record(DELETED, wanted.rpartition("/")[2].lower())
    if record:
        # A recovered vault is the one that was deleted, whatever else is sent.
        cloud.store.delete_record(DELETED, wanted.rpartition("/")[2].lower())
        back: Body = record["vault"]["properties"]
        return back
    retention = sent.get("softDeleteRetentionInDays") or kept.get("softDeleteRetentionInDays") or 90
    protected = {"enablePurgeProtection": True} if kept.get("enablePurgeProtection") else {}
    return {
        **protected,
        "accessPolicies": sent.get("accessPolicies") or [],
        "enableSoftDelete": True,
        "softDeleteRetentionInDays": int(retention),
        "publicNetworkAccess": sent.get("publicNetworkAccess") or "Enabled",
        "vaultUri": f"https://{wanted.rpartition('/')[2].lower()}.vault.azure.net/",
        "provisioningState": "Succeeded",
    }


_TYPE = TrackedType(
    VAULTS,
    r"[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]",
    members=(
        *("accessPolicies", "createMode", "enablePurgeProtection", "enableRbacAuthorization", "enableSoftDelete"),
        *("enabledForDeployment", "enabledForDiskEncryption", "enabledForTemplateDeployment", "networkAcls"),
        *("publicNetworkAccess", "sku", "softDeleteRetentionInDays", "tenantId"),
    ),
    read_only=("vaultUri", "provisioningState", "hsmPoolResourceId", "privateEndpointConnections"),
    required=("properties.tenantId", "properties.sku"),
    check=_check,
    shape=_shape,
    on_delete=_keep_deleted,
)

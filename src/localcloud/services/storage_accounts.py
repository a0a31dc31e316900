"""Storage accounts and their blob containers, as ARM knows them; the blobs themselves are `blob`'s.

Names are unique in all of Azure, here in all of this cloud. Keys are handed out only where they are allowed.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import (
    ArmError,
    envelope,
    json_response,
    not_found,
    page,
    read_json,
    refuse_unknown,
    require_api_version,
    route,
    timestamp,
)
from localcloud.cloud import Cloud
from localcloud.services.blob_access import BlobAccess
from localcloud.services.blob_files import BlobError, Blobs
from localcloud.services.tracked import GROUP, TrackedResources, TrackedType
from localcloud.store import Body

ACCOUNTS = "Microsoft.Storage/storageAccounts"
_ACCOUNT = f"{GROUP}/providers/{ACCOUNTS}/{{name}}"
_CONTAINERS = f"{_ACCOUNT}/blobServices/default/containers"
_SERVICE = f"{_ACCOUNT}/blobServices/{{service}}"
_SERVICE_MEMBERS = (
    *("automaticSnapshotPolicyEnabled", "changeFeed", "containerDeleteRetentionPolicy", "cors"),
    *("defaultServiceVersion", "deleteRetentionPolicy", "isVersioningEnabled", "lastAccessTimeTrackingPolicy"),
    "restorePolicy",
)
_KEYS = ("key1", "key2")
# Only creation can set these.
_FIXED = ("encryption.requireInfrastructureEncryption", "isHnsEnabled")
_CONTAINER_MEMBERS = (
    *("publicAccess", "metadata", "defaultEncryptionScope", "denyEncryptionScopeOverride"),
    *("enableNfsV3AllSquash", "enableNfsV3RootSquash", "immutableStorageWithVersioning"),
)

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = StorageAccounts(cloud)
    return [
        *service.routes(),
        route(f"{_ACCOUNT}/listKeys", ["POST"], service.list_keys),
        route(f"{_ACCOUNT}/regenerateKey", ["POST"], service.regenerate_key),
        route(_SERVICE, ["PUT"], service.put_service),
        route(_SERVICE, ["GET"], service.get_service),
        route(_CONTAINERS, ["GET"], service.list_containers),
        route(f"{_CONTAINERS}/{{container}}", ["PUT"], service.put_container),
        route(f"{_CONTAINERS}/{{container}}", ["GET"], service.get_container),
        route(f"{_CONTAINERS}/{{container}}", ["DELETE"], service.delete_container),
    ]


# -- handlers --------------------------------------------------------------------------------------------------


class StorageAccounts(TrackedResources):
    """The generic handlers, and what only storage accounts have."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud, _TYPE)

    async def list_keys(self, request: Request) -> Response:
        require_api_version(request)
        account = self.require(request)
        if account["properties"].get("allowSharedKeyAccess") is False:
            raise ArmError(
                403,
                "KeyBasedAuthenticationNotPermitted",
                f"Key based authentication is not permitted on the storage account '{account['name']}'.",
            )
        return self._keys(account)

    async def regenerate_key(self, request: Request) -> Response:
        """Replace one key; what was signed with the old one is refused from now on."""
        require_api_version(request)
        account, named = self.require(request), (await read_json(request)).get("keyName")
        if named not in _KEYS:
            raise ArmError(400, "InvalidKeyName", f"'{named}' is no key of a storage account; use 'key1' or 'key2'.")
        self._access.regenerate(account["name"], _KEYS.index(named) + 1)
        return self._keys(account)

    @property
    def _access(self) -> BlobAccess:
        return self.cloud.part(BlobAccess, lambda: BlobAccess(self.cloud))

    @property
    def _blobs(self) -> Blobs:
        return self.cloud.part(Blobs, lambda: Blobs(self.cloud))

    def _keys(self, account: Body) -> Response:
        keys = [
            {"keyName": name, "value": self._access.account_key(account["name"], number), "permissions": "FULL"}
            for number, name in enumerate(_KEYS, 1)
        ]
        return json_response({"keys": keys})

    async def put_service(self, request: Request) -> Response:
        """The settings of the account's blobs (versions, soft delete). They are kept, and no blob is: see `blob`."""
        require_api_version(request)
        wanted, body = self._service(request), await read_json(request)
        properties = body.get("properties") or {}
        if self.cloud.strict:
            refuse_unknown(properties, _SERVICE_MEMBERS, "properties")
        for policy in ("deleteRetentionPolicy", "containerDeleteRetentionPolicy"):
            found = properties.get(policy) or {}
            if found.get("enabled") and not 1 <= int(found.get("days") or 0) <= 365:
                raise ArmError(400, "InvalidRequestContent", f"'{policy}.days' must be from 1 to 365.")
        whole = envelope(wanted, {"properties": properties}, self.cloud.store.get(wanted), self.cloud.clock.now())
        self.cloud.store.put(wanted, whole)
        return json_response(whole)

    async def get_service(self, request: Request) -> Response:
        """Never a 404 in an account that is there: every account has the settings from its beginning."""
        require_api_version(request)
        wanted = self._service(request)
        unset = {"properties": {"deleteRetentionPolicy": {"enabled": False}}}
        found = self.cloud.store.get(wanted) or envelope(wanted, unset, None, self.cloud.clock.now())
        return json_response(found)

    def _service(self, request: Request) -> str:
        account, name = self.require(request), request.path_params["service"]
        if name != "default":
            raise ArmError(400, "InvalidResourceName", f"'{name}' is no blob service; its only name is 'default'.")
        return f"{account['id']}/blobServices/default"

    async def list_containers(self, request: Request) -> Response:
        require_api_version(request)
        account = self.require(request)
        return page(request, self.cloud.store.children(f"{account['id']}/blobServices/default", "containers"))

    async def put_container(self, request: Request) -> Response:
        require_api_version(request)
        wanted, body = self._container(request), await read_json(request)
        properties = body.get("properties") or {}
        if self.cloud.strict:
            refuse_unknown(properties, _CONTAINER_MEMBERS, "properties")
        old = self.cloud.store.get(wanted)
        shaped = {"publicAccess": "None", **properties, "hasImmutabilityPolicy": False, "hasLegalHold": False}
        whole = envelope(wanted, {"properties": shaped}, old, self.cloud.clock.now())
        try:
            self._blobs.make_container(self.require(request)["name"], whole["name"])
        except BlobError as error:
            raise ArmError(error.status, error.code, error.message) from None
        self.cloud.store.put(wanted, whole)
        return json_response(whole, 200 if old else 201)

    async def get_container(self, request: Request) -> Response:
        require_api_version(request)
        wanted = self._container(request)
        found = self.cloud.store.get(wanted)
        if found is None:
            raise not_found(wanted)
        return json_response(found)

    async def delete_container(self, request: Request) -> Response:
        require_api_version(request)
        wanted, account = self._container(request), self.require(request)["name"]
        if not self.cloud.store.delete(wanted):
            return Response(status_code=204)
        # It may be gone already: a blob client deletes containers without telling ARM.
        if request.path_params["container"] in self._blobs.containers(account):
            self._blobs.remove_container(account, request.path_params["container"])
        return Response(status_code=200)

    def _container(self, request: Request) -> str:
        account = self.require(request)
        return f"{account['id']}/blobServices/default/containers/{request.path_params['container']}"


# -- model -----------------------------------------------------------------------------------------------------


def _check(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> None:
    name = wanted.rpartition("/")[2]
    if old is None and any(found["name"] == name for found in cloud.store.beneath("/subscriptions", ACCOUNTS)):
        raise ArmError(409, "StorageAccountAlreadyTaken", f"The storage account named {name} is already taken.")
    sent, kept = body.get("properties") or {}, (old or {}).get("properties", {})
    for path in _FIXED:
        head, _, inner = path.partition(".")
        wanted_value, there = _at(sent, head, inner), _at(kept, head, inner)
        if old and wanted_value is not None and bool(wanted_value) != bool(there):
            raise ArmError(
                409,
                "AccountPropertyCannotBeUpdated",
                f"The property '{path}' was specified in the input, but it cannot be updated.",
            )


def _at(properties: Body, head: str, inner: str) -> object:
    value = properties.get(head)
    return (value or {}).get(inner) if inner else value


def _shape(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> Body:
    name = wanted.rpartition("/")[2]
    kept = (old or {}).get("properties", {})
    twice = _at(kept, "encryption", "requireInfrastructureEncryption")
    encryption = (body.get("properties") or {}).get("encryption") or {}
    sent, location = body.get("properties") or {}, body.get("location") or (old or {}).get("location")
    return {
        "minimumTlsVersion": sent.get("minimumTlsVersion") or "TLS1_0",
        "supportsHttpsTrafficOnly": sent.get("supportsHttpsTrafficOnly") is not False,
        "accessTier": sent.get("accessTier") or "Hot",
        **({"encryption": {**encryption, "requireInfrastructureEncryption": twice}} if twice is not None else {}),
        **({"isHnsEnabled": kept["isHnsEnabled"]} if "isHnsEnabled" in kept else {}),
        "provisioningState": "Succeeded",
        "creationTime": kept.get("creationTime") or timestamp(cloud.clock.now()),
        "primaryLocation": location,
        "statusOfPrimary": "available",
        "primaryEndpoints": {
            service: f"https://{name}.{service}.core.windows.net/"
            for service in ("blob", "file", "queue", "table", "dfs")
        },
    }


_TYPE = TrackedType(
    ACCOUNTS,
    r"[a-z0-9]{3,24}",
    top=("kind", "sku", "identity", "extendedLocation"),
    required=("kind", "sku"),
    members=(
        *("accessTier", "allowBlobPublicAccess", "allowCrossTenantReplication", "allowSharedKeyAccess"),
        *("allowedCopyScope", "azureFilesIdentityBasedAuthentication", "customDomain", "defaultToOAuthAuthentication"),
        *("dnsEndpointType", "enableExtendedGroups", "supportsHttpsTrafficOnly", "isNfsV3Enabled", "encryption"),
        *("immutableStorageWithVersioning", "isHnsEnabled", "isLocalUserEnabled", "isSftpEnabled", "keyPolicy"),
        *("largeFileSharesState", "minimumTlsVersion", "networkAcls", "publicNetworkAccess", "routingPreference"),
        "sasPolicy",
    ),
    read_only=(
        *("provisioningState", "creationTime", "primaryLocation", "statusOfPrimary", "primaryEndpoints"),
        *("keyCreationTime", "privateEndpointConnections"),
    ),
    check=_check,
    shape=_shape,
    on_delete=lambda cloud, found: cloud.part(Blobs, lambda: Blobs(cloud)).remove_account(found["name"]),
)

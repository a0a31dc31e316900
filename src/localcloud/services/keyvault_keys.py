"""Keys of key vaults: made through ARM, used through the vault's own host to encrypt and decrypt.

RSA keys only, one version each; their private halves never leave the state folder. Signing, wrapping, import, rotation
and backup are not here, nor are secrets and certificates; a vault that is recovered has lost its keys.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
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
)
from localcloud.cloud import TENANT, Cloud
from localcloud.permissions import permissions_of
from localcloud.services import entra
from localcloud.services.tracked import GROUP
from localcloud.store import Body

VAULTS = "Microsoft.KeyVault/vaults"
KEYS = f"{VAULTS}/keys"
AUDIENCES = ("https://vault.azure.net",)
RECORDS = "vault-key"
_KEYS = f"{GROUP}/providers/{VAULTS}/{{vault}}/keys"
_MEMBERS = ("attributes", "curveName", "keyOps", "keySize", "kty", "release_policy", "rotationPolicy")
_SIZES = (2048, 3072, 4096)
_OPERATIONS = ["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"]
_PADDINGS = {"RSA-OAEP": hashes.SHA1, "RSA-OAEP-256": hashes.SHA256}
_CHALLENGE = {
    "WWW-Authenticate": f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", '
    'resource="https://vault.azure.net"'
}

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    """What ARM answers. It has no DELETE: a key goes with its vault, or through the vault's own host."""
    service = Keys(cloud)
    return [
        route(_KEYS, ["GET"], service.list_keys),
        route(f"{_KEYS}/{{key}}", ["PUT"], service.put),
        route(f"{_KEYS}/{{key}}", ["GET"], service.get),
    ]


def data_routes(cloud: Cloud) -> list[Route]:
    """What `<vault>.vault.azure.net` answers; the version may be left out."""
    service = Keys(cloud)
    return [
        route(f"/keys/{{key}}{version}/{operation}", ["POST"], handler)
        for version in ("", "/{version}")
        for operation, handler in (("encrypt", service.encrypt), ("decrypt", service.decrypt))
    ]


# -- handlers --------------------------------------------------------------------------------------------------


class Keys:
    """Takes the requests apart; the arithmetic is below."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def list_keys(self, request: Request) -> Response:
        require_api_version(request)
        return page(request, self._cloud.store.children(self._vault(request)["id"], "keys"))

    async def get(self, request: Request) -> Response:
        require_api_version(request)
        wanted = f"{self._vault(request)['id']}/keys/{request.path_params['key']}"
        found = self._cloud.store.get(wanted)
        if found is None:
            raise not_found(wanted)
        return json_response(found)

    async def put(self, request: Request) -> Response:
        """Makes the key where there is none; one that is there is answered unchanged, as ARM does."""
        require_api_version(request)
        vault, name, body = self._vault(request), request.path_params["key"], await read_json(request)
        self._cloud.faults.raise_if_armed("keys.create")
        wanted = f"{vault['id']}/keys/{name}"
        found = self._cloud.store.get(wanted)
        if found is None:
            found = make_key(self._cloud, vault, wanted, body)
        return json_response(found)

    async def encrypt(self, request: Request) -> Response:
        key, algorithm, value, kid = await self._operation(request, "encrypt")
        return _result(kid, key.public_key().encrypt(value, _padding(algorithm)))

    async def decrypt(self, request: Request) -> Response:
        key, algorithm, value, kid = await self._operation(request, "decrypt")
        try:
            return _result(kid, key.decrypt(value, _padding(algorithm)))
        except ValueError:
            raise ArmError(400, "BadParameter", "The value cannot be decrypted with this key.") from None

    async def _operation(self, request: Request, operation: str) -> tuple[rsa.RSAPrivateKey, str, bytes, str]:
        """The private key, algorithm, value and key id of a request that may do this."""
        try:
            claims = entra.check_token(self._cloud, request.headers.get("authorization"), AUDIENCES)
        except ArmError as error:
            raise ArmError(401, "Unauthorized", error.message, headers=_CHALLENGE) from None
        request.scope.setdefault("state", {})["claims"] = claims
        require_api_version(request)
        body = await read_json(request)
        found = self._find(request)
        record = self._cloud.store.record(RECORDS, found["id"].lower())
        self._require_role(claims, operation, found["id"])
        properties = found["properties"]
        if record is None or operation not in properties["keyOps"]:
            raise ArmError(403, "Forbidden", f"Operation {operation} is not permitted on this key.")
        algorithm = str(body.get("alg"))
        if algorithm not in _PADDINGS:
            raise ArmError(400, "BadParameter", f"'{algorithm}' is no algorithm here; use {', '.join(_PADDINGS)}.")
        key = serialization.load_pem_private_key(record["private"].encode(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return key, algorithm, _bytes(str(body.get("value", ""))), properties["keyUriWithVersion"]

    def _require_role(self, claims: Mapping[str, Any], operation: str, key: str) -> None:
        """Vaults with access policies are not here: what counts is a role with this data action at the key or above."""
        action = f"Microsoft.KeyVault/vaults/keys/{operation}/action"
        if not permissions_of(self._cloud).allowed(claims["oid"], action, key, data=True):
            raise ArmError(
                403,
                "Forbidden",
                "Caller is not authorized to perform action on resource. If role assignments, deny assignments or role "
                "definitions were changed recently, please observe propagation time. "
                f"Caller: appid={claims.get('appid')};oid={claims['oid']} Action: '{action}' Resource: '{key}'",
            )

    def _find(self, request: Request) -> Body:
        """The key as ARM has it, by the host's vault name and the path's key and version."""
        name, key = (request.url.hostname or "").partition(".")[0], request.path_params["key"]
        version = request.path_params.get("version")
        for vault in self._cloud.store.beneath("/subscriptions", VAULTS):
            found = self._cloud.store.get(f"{vault['id']}/keys/{key}") if vault["name"].lower() == name else None
            if found and version in (None, found["properties"]["keyUriWithVersion"].rpartition("/")[2]):
                return found
        raise ArmError(404, "KeyNotFound", f"A key with (name/id) {key} was not found in this key vault.")

    def _vault(self, request: Request) -> Body:
        wanted = f"{GROUP}/providers/{VAULTS}/{{vault}}".format(**request.path_params)
        found = self._cloud.store.get(wanted)
        if found is None:
            raise not_found(wanted)
        return found


# -- model -----------------------------------------------------------------------------------------------------


def make_key(cloud: Cloud, vault: Body, wanted: str, body: Body) -> Body:
    """A new key: its private half goes into the records, the rest is the ARM resource."""
    properties = body.get("properties") or {}
    if cloud.strict:
        refuse_unknown(properties, _MEMBERS, "properties")
    size, operations = properties.get("keySize") or 2048, properties.get("keyOps") or _OPERATIONS
    if properties.get("kty") != "RSA" or size not in _SIZES:
        raise ArmError(
            400, "BadRequest", f"kty '{properties.get('kty')}' with keySize '{size}' is not here: RSA of {_SIZES}."
        )
    if not set(operations) <= {*_OPERATIONS, "import", "release"}:
        raise ArmError(400, "BadRequest", f"'keyOps' may be {', '.join(_OPERATIONS)}, not {operations}.")
    private = rsa.generate_private_key(65537, size).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    uri = f"{vault['properties']['vaultUri']}keys/{wanted.rpartition('/')[2]}"
    now = int(cloud.clock.now().timestamp())
    shaped = {
        "attributes": {"enabled": True, "created": now, "updated": now, **(properties.get("attributes") or {})},
        "kty": "RSA",
        "keySize": size,
        "keyOps": operations,
        "keyUri": uri,
        "keyUriWithVersion": f"{uri}/{uuid.uuid4().hex}",
    }
    whole = envelope(
        wanted,
        {"location": vault["location"], "tags": body.get("tags") or {}, "properties": shaped},
        None,
        cloud.clock.now(),
    )
    cloud.store.put(wanted, whole)
    cloud.store.put_record(RECORDS, wanted.lower(), {"private": private.decode()})
    return whole


def _padding(algorithm: str) -> padding.OAEP:
    digest = _PADDINGS[algorithm]
    return padding.OAEP(padding.MGF1(digest()), digest(), None)


def _result(kid: str, value: bytes) -> Response:
    found: dict[str, Any] = {"kid": kid, "value": base64.urlsafe_b64encode(value).rstrip(b"=").decode()}
    return json_response(found)


def _bytes(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise ArmError(400, "BadParameter", f"The value '{text[:20]}' is not base64url.") from None

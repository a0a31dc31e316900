"""Who may touch a blob: account keys, shared-key signatures, shared access signatures and bearer tokens.

String forms are those of the public Storage REST reference. A bearer token needs a role with the operation's data
action, and so does whoever signed with a user delegation key: Owner alone touches no blob.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote, urlencode

from starlette.requests import Request

from localcloud.arm import ArmError
from localcloud.cloud import PRINCIPAL_ID, TENANT, Cloud
from localcloud.permissions import permissions_of
from localcloud.services import entra
from localcloud.services.blob_files import BlobError
from localcloud.store import Body

VERSION = "2025-11-05"
_SIGNED_HEADERS = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)
_DELEGATION = ("skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid", "skdutid", "sduoid")
_SPACES = re.compile(r"\s+")
_SERVICE = "Microsoft.Storage/storageAccounts/blobServices"
# (in a container, of a blob, letters) -> the operation's action and whether it is a data action.
_ACTIONS = {
    (False, False, ""): ("generateUserDelegationKey/action", False),
    (False, False, "l"): ("containers/read", False),
    (True, False, "cw"): ("containers/write", False),
    (True, False, "rl"): ("containers/read", False),
    (True, False, "d"): ("containers/delete", False),
    (True, False, "l"): ("containers/blobs/read", True),
    (True, True, "r"): ("containers/blobs/read", True),
    (True, True, "cw"): ("containers/blobs/write", True),
    (True, True, "w"): ("containers/blobs/write", True),
    (True, True, "d"): ("containers/blobs/delete", True),
}
_TAIL = ("sip", "spr", "sv", "sr", "snapshot", "ses", "rscc", "rscd", "rsce", "rscl", "rsct")
_CHALLENGE = {
    "WWW-Authenticate": f"Bearer authorization_uri=https://login.microsoftonline.com/{TENANT}/oauth2/authorize "
    "resource_id=https://storage.azure.com"
}


def _sign(key: str, text: str) -> str:
    return base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()


def _moment(text: str) -> datetime:
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _header_order(name: str) -> tuple[str, str]:
    """The service's order of `x-ms-` headers: hyphens do not count, an underscore comes before digits."""
    return name.replace("-", "").replace("_", "!"), name


class BlobAccess:
    """Keys of storage accounts, and the check that every blob request passes.

    Reach it with `cloud.part(BlobAccess, lambda: BlobAccess(cloud))`.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    # -- keys --------------------------------------------------------------------------------------------------

    def account_key(self, account: str, number: int = 1) -> str:
        """Key 1 or 2 of an account, base64; the same until it is regenerated."""
        record = self._cloud.store.record("storage-key", f"{account.lower()}/{number}") or {}
        return self._derive(f"account:{account.lower()}:{number}:{record.get('generation', 0)}")

    def regenerate(self, account: str, number: int) -> str:
        """Replace a key; what was signed with the old one is refused from now on."""
        name = f"{account.lower()}/{number}"
        record = self._cloud.store.record("storage-key", name) or {"generation": 0}
        self._cloud.store.put_record("storage-key", name, {"generation": record["generation"] + 1})
        return self.account_key(account, number)

    def delegation_key(self, account: str, principal: str, start: str, expiry: str) -> str:
        """The user delegation key of a principal (an object id) for a span of time."""
        return self._derive(f"delegation:{account.lower()}:{principal}:{start}:{expiry}")

    def _derive(self, text: str) -> str:
        secret = self._cloud.client_secret.encode()
        return base64.b64encode(hmac.new(secret, text.encode(), hashlib.sha512).digest()).decode()

    def account(self, name: str) -> Body:
        """The storage account resource of that name; 404 when the local cloud has none."""
        for found in self._cloud.store.beneath("/subscriptions", "microsoft.storage/storageaccounts"):
            if found["name"].lower() == name.lower():
                return found
        raise BlobError(404, "AccountNotFound", f"The local cloud has no storage account '{name}'.")

    def allows_shared_key(self, account: str) -> bool:
        return self.account(account).get("properties", {}).get("allowSharedKeyAccess") is not False

    # -- signing -----------------------------------------------------------------------------------------------

    def sas(
        self,
        account: str,
        container: str,
        blob: str | None = None,
        *,
        permissions: str = "r",
        hours: float = 1,
        signer: str = PRINCIPAL_ID,
    ) -> str:
        """A shared access signature for a container or one blob, as a query string.

        Signed with the user delegation key of `signer` (an object id) where the account refuses shared keys.
        """
        now = self._cloud.clock.now()
        fields = {
            "sv": VERSION,
            "sr": "b" if blob else "c",
            "sp": permissions,
            "st": _stamp(now - timedelta(minutes=10)),
            "se": _stamp(now + timedelta(hours=hours)),
            "spr": "https",
        }
        if not self.allows_shared_key(account):
            fields |= {
                "skoid": signer,
                "sktid": TENANT,
                "skt": fields["st"],
                "ske": fields["se"],
                "sks": "b",
                "skv": VERSION,
            }
        fields["sig"] = self._sas_signatures(fields, account, container, blob)[0]
        return urlencode(fields, quote_via=quote)

    def url(
        self,
        account: str,
        container: str,
        blob: str | None = None,
        *,
        permissions: str = "r",
        hours: float = 1,
        signer: str = PRINCIPAL_ID,
    ) -> str:
        """A signed address that needs no other credential."""
        path = f"/{quote(blob)}" if blob else ""
        query = self.sas(account, container, blob, permissions=permissions, hours=hours, signer=signer)
        return f"https://{account}.blob.core.windows.net/{container}{path}?{query}"

    def _sas_signatures(
        self, fields: Mapping[str, str], account: str, container: str, blob: str | None
    ) -> Sequence[str]:
        """What `sig` may be, one per key that could have signed."""
        if "srt" in fields:
            text = "".join(
                f"{part}\n"
                for part in (
                    account,
                    *(fields.get(n, "") for n in ("sp", "ss", "srt", "st", "se", "sip", "spr", "sv", "ses")),
                )
            )
            return [_sign(self.account_key(account, number), text) for number in (1, 2)]
        path = f"/blob/{account}/{container}" + (f"/{blob}" if fields.get("sr") == "b" else "")
        delegated = "skoid" in fields
        middle = _DELEGATION if delegated else ("si",)
        lines = [fields.get("sp", ""), fields.get("st", ""), fields.get("se", ""), path]
        lines += [fields.get(name, "") for name in (*middle, *_TAIL)]
        text = "\n".join(lines)
        if delegated:
            key = self.delegation_key(account, fields["skoid"], fields.get("skt", ""), fields.get("ske", ""))
            return [_sign(key, text)]
        return [_sign(self.account_key(account, number), text) for number in (1, 2)]

    # -- checking ----------------------------------------------------------------------------------------------

    def check(self, request: Request, account: str, container: str, blob: str | None, permissions: str) -> str:
        """Refuse a request that may not do this; any one letter of `permissions` is enough for a SAS.

        The object id of a bearer token is returned, else an empty text.
        """
        self.account(account)
        header = request.headers.get("authorization")
        if "sig" in request.query_params:
            self.check_sas(dict(request.query_params), account, container, blob, permissions)
        elif header is None:
            raise BlobError(
                401,
                "NoAuthenticationInformation",
                "Server failed to authenticate the request. Please refer to the information in the "
                "www-authenticate header.",
                headers=_CHALLENGE,
            )
        elif header.lower().startswith("sharedkey "):
            self._check_shared_key(request, account, header)
        else:
            audiences = ("https://storage.azure.com", f"https://{account}.blob.core.windows.net")
            try:
                principal = str(entra.check_token(self._cloud, header, audiences)["oid"])
            except ArmError as error:
                raise BlobError(401, "InvalidAuthenticationInfo", error.message, headers=_CHALLENGE) from None
            self._require_role(principal, account, container, blob, permissions)
            return principal
        return ""

    def _require_role(self, principal: str, account: str, container: str, blob: str | None, permissions: str) -> None:
        """Actions as the Storage reference lists them per operation; what is in a container takes a data action."""
        scope = self.account(account)["id"]
        if container:
            scope = f"{scope}/blobServices/default/containers/{container}"
        action, data = _ACTIONS[bool(container), blob is not None, permissions]
        if not permissions_of(self._cloud).allowed(principal, f"{_SERVICE}/{action}", scope, data=data):
            raise mismatch()

    def check_sas(
        self, fields: Mapping[str, str], account: str, container: str, blob: str | None, permissions: str
    ) -> None:
        """Refuse a signature that is wrong, over, for another resource, or without the permission."""
        if "skoid" not in fields:
            self._refuse_shared_key(account)
        if fields.get("sr", "c" if "srt" in fields else "") not in ("b", "c"):
            raise BlobError(403, "AuthenticationFailed", f"The local cloud knows no 'sr={fields.get('sr')}'.")
        wanted = self._sas_signatures(fields, account, container, blob)
        if not any(hmac.compare_digest(sig.encode(), fields["sig"].encode()) for sig in wanted):
            raise BlobError(403, "AuthenticationFailed", "Signature did not match.")
        now = self._cloud.clock.now()
        try:
            over = _moment(fields["se"]) <= now
            early = "st" in fields and _moment(fields["st"]) > now + timedelta(minutes=5)
        except (KeyError, ValueError):
            raise BlobError(403, "AuthenticationFailed", "Signed expiry time is missing or is no time.") from None
        if over or early:
            raise BlobError(
                403,
                "AuthenticationFailed",
                f"Signature not valid in the specified time frame: Start [{fields.get('st', '')}] - "
                f"Expiry [{fields['se']}] - Current [{_stamp(now)}]",
            )
        if not set(fields.get("sp", "")) & set(permissions):
            raise mismatch()
        if "skoid" in fields:
            # What the signer may not do, its signature does not allow either.
            self._require_role(fields["skoid"], account, container, blob, permissions)

    def _refuse_shared_key(self, account: str) -> None:
        if not self.allows_shared_key(account):
            raise BlobError(
                403,
                "KeyBasedAuthenticationNotPermitted",
                "Key based authentication is not permitted on this storage account.",
            )

    def _check_shared_key(self, request: Request, account: str, header: str) -> None:
        self._refuse_shared_key(account)
        given, _, signature = header.split(" ", 1)[1].partition(":")
        text = _shared_key_text(request, account)
        keys = [self.account_key(account, number) for number in (1, 2)]
        right = any(hmac.compare_digest(_sign(key, text).encode(), signature.encode()) for key in keys)
        if given.lower() != account.lower() or not right:
            raise BlobError(
                403,
                "AuthenticationFailed",
                "Server failed to authenticate the request. Make sure the value of Authorization header is formed "
                "correctly including the signature.",
            )


def mismatch() -> BlobError:
    """The storage services' word for a missing role or permission."""
    return BlobError(
        403,
        "AuthorizationPermissionMismatch",
        "This request is not authorized to perform this operation using this permission.",
    )


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _shared_key_text(request: Request, account: str) -> str:
    """The string to sign of the shared-key scheme, versions 2015-02-21 and later."""
    headers = request.headers
    lines = [request.method]
    for name in _SIGNED_HEADERS:
        value = headers.get(name, "")
        lines.append("" if name == "content-length" and value == "0" else value)
    ours = sorted((name for name in headers if name.startswith("x-ms-")), key=_header_order)
    lines += [f"{name}:{_SPACES.sub(' ', headers[name].strip())}" for name in ours]
    raw_path = request.scope.get("raw_path", request.url.path.encode()).decode().partition("?")[0]
    lines.append(f"/{account}{raw_path}")
    query: dict[str, list[str]] = {}
    for part in request.url.query.split("&"):
        name, _, value = part.partition("=")
        if name:
            query.setdefault(unquote(name).lower(), []).append(unquote(value))
    lines += [f"{name}:{','.join(sorted(query[name]))}" for name in sorted(query)]
    return "\n".join(lines)

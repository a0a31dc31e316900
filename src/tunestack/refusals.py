"""What an error of the SDKs, of HTTP or of the network means for the user: one of our errors, with the fix.

Looked at only when something went wrong, so it may import what raised.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from tunestack.errors import CloudError, NotConfigured, TunestackError, UsageError

_LOGIN = "Log in with: az login"
_BY_STATUS = {
    401: "The credential was not accepted; log in again with: az login",
    404: "Check the name, and that `pulumi up` was run for this stack",
    409: "Something of that name exists or is being changed; wait, or choose another name",
    429: "Too many requests; wait a minute and run it again",
}


def explain(error: BaseException) -> TunestackError:
    """The error as the user should read it. Never raises; the unknown is named with its type."""
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, TunestackError):
            return cause
    return (
        _from_transport(chain) or _from_azure(error) or _from_validation(error) or _from_files(error) or _unknown(error)
    )


def refused(status: int, said: str, doing: str) -> TunestackError:
    """A refusal by HTTP status: `said` is the service's own sentence, `doing` what was asked of it."""
    text, fix = f"{doing} was refused with {status}: {_sentence(said)}", _fix(status, said)
    return NotConfigured(text, fix=fix) if status == 401 else CloudError(text, fix=fix, status=status)


def _fix(status: int, said: str) -> str:
    if status != 403:
        return _BY_STATUS.get(status, "")
    from tunestack.roles import fix

    return fix(said)


def unreachable(said: str) -> CloudError:
    """Nothing answers: the proxy that the environment names is the first suspect."""
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    if proxy and any(host in proxy for host in ("127.0.0.1", "localhost")):
        return CloudError(
            f"nothing answers at '{proxy}', the proxy in HTTPS_PROXY",
            fix="Is `localcloud up` running? `localcloud run -- COMMAND` starts one for the while",
            status=0,
        )
    return CloudError(f"Azure cannot be reached: {_sentence(said)}", fix="Check the network and HTTPS_PROXY", status=0)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += [current.__cause__, current.__context__, getattr(current, "inner_exception", None)]
        waiting += [found for found in current.args if isinstance(found, BaseException)]


def _from_transport(chain: list[BaseException]) -> TunestackError | None:
    from azure.core.exceptions import ServiceRequestError, ServiceResponseError
    from requests.exceptions import ConnectionError as RequestsConnectionError

    for cause in chain:
        text = str(cause)
        if "403 localcloud" in text or "Tunnel connection failed: 403" in text:
            return CloudError(
                f"the proxy refuses this name: {_sentence(text)}",
                fix="A local cloud opens one with: localcloud run --allow HOST -- COMMAND",
            )
    for cause in chain:
        if isinstance(cause, ServiceRequestError | ServiceResponseError | RequestsConnectionError | ConnectionError):
            return unreachable(str(cause))
    return None


def _from_azure(error: BaseException) -> TunestackError | None:
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

    if isinstance(error, ClientAuthenticationError):
        return NotConfigured(f"no credential was accepted: {_sentence(error.message)}", fix=_LOGIN)
    if isinstance(error, HttpResponseError):
        status = error.status_code or 0
        code = getattr(error.error, "code", "") if error.error else ""
        said = getattr(error.error, "message", "") or error.message
        fix = _fix(status, str(error))
        named = f"{code}: " if code and code not in str(said) else ""
        return CloudError(f"the cloud refused: {named}{_sentence(str(said))}", fix=fix)
    return None


def _from_validation(error: BaseException) -> TunestackError | None:
    """The SDK's own checks, before any request: `azure.ai.ml.exceptions.MlException` and marshmallow's."""
    module = type(error).__module__
    if "permission to alter this storage account" in str(error):
        # The SDK's own words for a 403 of the blob service.
        return CloudError(f"the upload was refused: {_sentence(str(error))}", fix=_fix(403, str(error)), status=403)
    if module.startswith(("azure.ai.ml", "marshmallow")):
        return UsageError(f"the Azure ML SDK refused it: {_sentence(str(error))}")
    return None


def _from_files(error: BaseException) -> TunestackError | None:
    if isinstance(error, FileNotFoundError):
        return UsageError(f"'{error.filename}' does not exist")
    if isinstance(error, OSError) and error.filename:
        return UsageError(f"'{error.filename}' cannot be used: {error.strerror}")
    return None


def _unknown(error: BaseException) -> TunestackError:
    return CloudError(f"{type(error).__name__}: {_sentence(str(error))}", fix="Run it again with --debug for the trace")


def _sentence(text: Any) -> str:
    """The first line of what a service said, without the dot at its end."""
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    return (lines[0] if lines else "no reason given").rstrip(".")

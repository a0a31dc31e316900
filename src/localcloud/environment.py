"""The environment in which a command finds the local cloud instead of Azure: the only difference between the two.

Four kinds of variables: the proxy, the trust, a throw-away service principal, and Pulumi's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import quote

from localcloud import engine
from localcloud.client import Running
from localcloud.cloud import Cloud
from localcloud.principals import Principal
from localcloud.store import Store

_TAKEN_AWAY = ("AZURE_", "ARM_", "PULUMI_")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_TRUST = ("CURL_CA_BUNDLE", "SSL_CERT_DIR")  # some clients prefer these to the two that are set


def variables(
    running: Running, inherited: Mapping[str, str], principal: Principal | None = None, network: str | None = None
) -> dict[str, str]:
    """What `localcloud env` prints: the variables that point a command at this server, as the owner or as another.

    `network` is where the command stands, and travels as the user of the proxy's address.
    """
    cloud = Cloud(Store(), running.state, client_secret=running.secret, addresses=running.addresses)
    found = {**cloud.client_environment(), **engine.environment(running, inherited)}
    if principal:
        found |= principal.variables(running)
    if network:
        found["HTTPS_PROXY"] = found["HTTPS_PROXY"].replace("http://", f"http://{quote(network)}:-@")
    return {name: value for name, value in found.items() if value}


def for_command(
    running: Running,
    inherited: Mapping[str, str] = os.environ,
    principal: Principal | None = None,
    network: str | None = None,
) -> dict[str, str]:
    """A whole environment: the inherited one without its Azure, Pulumi, proxy and trust variables, and ours."""
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(_TAKEN_AWAY) and name.upper() not in _PROXIES and name not in _TRUST
    }
    return {**kept, **variables(running, inherited, principal, network), "LOCALCLOUD_STATE": str(running.state)}

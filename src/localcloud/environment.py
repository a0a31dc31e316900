"""The environment in which a command finds the local cloud instead of Azure: the only difference between the two.

Four kinds of variables: the proxy, the trust, a throw-away service principal, and Pulumi's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from localcloud import engine
from localcloud.client import Running
from localcloud.cloud import Cloud
from localcloud.store import Store

_TAKEN_AWAY = ("AZURE_", "ARM_", "PULUMI_")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_TRUST = ("CURL_CA_BUNDLE", "SSL_CERT_DIR")  # some clients prefer these to the two that are set


def variables(running: Running, inherited: Mapping[str, str]) -> dict[str, str]:
    """What `localcloud env` prints: the variables that point a command at this server."""
    cloud = Cloud(Store(), running.state, client_secret=running.secret, addresses=running.addresses)
    return {**cloud.client_environment(), **engine.environment(running, inherited)}


def for_command(running: Running, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """A whole environment: the inherited one without its Azure, Pulumi, proxy and trust variables, and ours."""
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(_TAKEN_AWAY) and name.upper() not in _PROXIES and name not in _TRUST
    }
    return {**kept, **variables(running, inherited), "LOCALCLOUD_STATE": str(running.state)}

"""Pulumi's variables for one command: a backend in the state folder, and the provider and language host by port."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from localcloud.cloud import CLIENT_ID, SUBSCRIPTION, TENANT, Addresses
from localcloud.engine.find import find, has_language_host

PASSPHRASE = "local"  # committed stack files carry its salt; it protects nothing that is worth it


class RunningCloud(Protocol):
    """What is known of a running local cloud; `client.Running` is one."""

    @property
    def state(self) -> Path: ...

    @property
    def addresses(self) -> Addresses: ...

    @property
    def secret(self) -> str: ...


def environment(running: RunningCloud, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables with which `pulumi` deploys to this local cloud and nowhere else.

    Where no engine is found they are set all the same: a command that needs none must not fail for it.
    """
    backend = running.state / "pulumi"
    backend.mkdir(parents=True, exist_ok=True)
    made = {
        # without the attribute files beside the state, which a kill can leave half-written; the state is replaced whole
        "PULUMI_BACKEND_URL": f"file://{backend}?metadata=skip",
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        "PULUMI_HOME": str(running.state / "pulumi-home"),
        "PULUMI_DEBUG_PROVIDERS": f"azure-native:{running.addresses.provider}",
        # nothing is downloaded: no plugin, no newer CLI
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_OPTION_SKIP_PLUGIN_PRE_INSTALL": "true",
        "ARM_SUBSCRIPTION_ID": SUBSCRIPTION,
        "ARM_TENANT_ID": TENANT,
        "ARM_CLIENT_ID": CLIENT_ID,
        "ARM_CLIENT_SECRET": running.secret,
    }
    engine = find(inherited)
    if engine is None:
        return made
    if not has_language_host(engine, inherited):
        made["PULUMI_DEBUG_LANGUAGES"] = f"python:{running.addresses.language}"
    if engine.built:
        made["LOCALCLOUD_PYTHON"] = sys.executable
        made["PATH"] = os.pathsep.join([str(engine.path.parent), *filter(None, [inherited.get("PATH")])])
    return made

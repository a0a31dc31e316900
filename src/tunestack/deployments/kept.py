"""What an expired deployment was, kept so that one command brings it back.

Azure has no place for a deployment that is not there. So its whole body is a property of a data asset in the workspace,
`deployment-<endpoint>-<slot>`, one version for each time; it costs nothing, and wants no right on storage.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from tunestack.connect import Connection
from tunestack.deployments import autoscale
from tunestack.deployments.endpoint import Deployment
from tunestack.deployments.leases import LEASE, TAGS
from tunestack.deployments.traffic import BEFORE, SHIFT
from tunestack.errors import CloudError

VERSION = "2023-08-01-preview"
_BODY, _SCALE = "deployment", "autoscale"
_READ_ONLY = ("provisioningState",)


@dataclass(frozen=True)
class Kept:
    """A deployment as it was: its body as it can be PUT again, its autoscale setting, and the lease that it had."""

    body: dict[str, Any]
    autoscale: dict[str, Any] | None
    lease: str

    @property
    def machines(self) -> str:
        return f"{self.body['sku']['capacity']} x {self.size}"

    @property
    def model(self) -> str:
        """The id of its model; empty where it had none."""
        found = self.body["properties"].get("model") or ""
        return found if isinstance(found, str) else str(found.get("assetId") or "")

    def tagged(self, tags: Mapping[str, str]) -> Kept:
        """The same with these tags as well."""
        return replace(self, body={**self.body, "tags": {**self.body.get("tags", {}), **tags}})

    @property
    def size(self) -> str:
        return str(self.body["properties"]["instanceType"])


def save(connection: Connection, found: Deployment, moment: datetime) -> str:
    """Keep a deployment; the name and version of what it is kept as."""
    name, version = _name(connection, found.name), moment.strftime("%Y%m%d%H%M%S")
    place = connection.workspace
    store = (
        f"azureml://subscriptions/{place.subscription_id}/resourcegroups/{place.resource_group}"
        f"/workspaces/{place.name}/datastores/workspaceblobstore/paths/kept/{connection.endpoint}/{found.name}/"
    )
    setting = autoscale.find(connection, found)
    body = {
        "properties": {
            "dataType": "uri_folder",
            # An asset of this kind must name a folder; nothing is in it, and nothing is read from it.
            "dataUri": store,
            "description": f"Deployment '{found.name}' of '{connection.endpoint}', whose lease ended. Bring it back "
            f"with: scripts/deploy_model.py --endpoint {connection.endpoint} --restore {found.name}",
            "tags": {"project": "tunestack", LEASE: found.tags.get(LEASE, ""), "model": found.tags.get("model", "")},
            "properties": {_BODY: _dumps(_again(found)), **({_SCALE: _dumps(_plain(setting))} if setting else {})},
        }
    }
    connection.arm.put(f"{place.path}/data/{name}/versions/{version}", VERSION, body)
    return f"{name}:{version}"


def latest(connection: Connection, slot: str) -> Kept | None:
    """What was kept last of a slot; None where nothing was."""
    path = f"{connection.workspace.path}/data/{_name(connection, slot)}"
    if connection.arm.find(path, VERSION) is None:
        return None
    versions = list(connection.arm.pages(f"{path}/versions", VERSION))
    if not versions:
        return None
    # By the service's clock: those of the machines that swept may differ.
    newest = max(versions, key=lambda body: str(body["systemData"]["createdAt"]))["properties"]
    try:
        read = {key: json.loads(text) for key, text in newest["properties"].items() if key in (_BODY, _SCALE)}
        return Kept(read[_BODY], read.get(_SCALE), str((newest.get("tags") or {}).get(LEASE, "")))
    except (KeyError, ValueError) as error:
        raise CloudError(f"what is kept of deployment '{slot}' cannot be read: {error}") from error


def _name(connection: Connection, slot: str) -> str:
    return f"deployment-{connection.endpoint}-{slot}"


def _again(found: Deployment) -> dict[str, Any]:
    """The body without what Azure wrote, and without the tags of a lease or a shift that is over."""
    properties = {name: value for name, value in found.body["properties"].items() if name not in _READ_ONLY}
    tags = {name: value for name, value in found.tags.items() if name not in (*TAGS, BEFORE, SHIFT)}
    kept = {name: found.body[name] for name in ("location", "kind", "sku", "identity") if found.body.get(name)}
    return {**kept, "tags": tags, "properties": properties}


def _plain(setting: dict[str, Any]) -> dict[str, Any]:
    return {name: setting[name] for name in ("location", "tags", "properties") if name in setting}


def _dumps(body: Any) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"))

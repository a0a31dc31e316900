"""The online endpoint and its deployments as Resource Manager has them: read whole, written with care.

Only `shift_traffic` writes traffic, and it writes nothing else: the body that was read goes back with new weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunestack.connect import Connection
from tunestack.errors import UsageError

ENDPOINT_VERSION = "2022-02-01-preview"
DEPLOYMENT_VERSION = "2023-04-01-preview"
_PENDING = frozenset({"Creating", "Updating", "Scaling", "Deleting"})


@dataclass(frozen=True)
class Deployment:
    """A deployment: its slot name, its model's id, its state, and its tags."""

    name: str
    model: str
    state: str
    tags: Mapping[str, str]
    body: Mapping[str, Any]

    @property
    def is_pending(self) -> bool:
        return self.state in _PENDING

    @property
    def instances(self) -> int:
        """How many machines it has now; autoscale may have changed what was asked for."""
        return int((self.body.get("sku") or {}).get("capacity") or 1)

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Deployment:
        properties = body["properties"]
        model = properties.get("model") or ""
        return cls(
            body["name"],
            model if isinstance(model, str) else str(model.get("assetId") or ""),
            properties.get("provisioningState", ""),
            body.get("tags") or {},
            body,
        )


class Endpoint:
    """One endpoint of a workspace."""

    def __init__(self, connection: Connection) -> None:
        self.name = connection.endpoint
        self._arm, self.connection = connection.arm, connection
        self.path = f"{connection.workspace.path}/onlineEndpoints/{self.name}"

    def body(self) -> dict[str, Any]:
        found = self._arm.find(self.path, ENDPOINT_VERSION)
        if found is None:
            workspace = self.connection.workspace.name
            raise UsageError(
                f"endpoint '{self.name}' does not exist in workspace '{workspace}'",
                fix="Make it with `pulumi up`, or name another with --endpoint",
            )
        return found

    def traffic(self) -> dict[str, int]:
        return {name: int(weight) for name, weight in (self.body()["properties"].get("traffic") or {}).items()}

    def deployments(self) -> dict[str, Deployment]:
        found = self._arm.pages(f"{self.path}/deployments", DEPLOYMENT_VERSION)
        return {body["name"]: Deployment.parse(body) for body in found}

    def deployment(self, name: str) -> Deployment | None:
        body = self._arm.find(f"{self.path}/deployments/{name}", DEPLOYMENT_VERSION)
        return None if body is None else Deployment.parse(body)

    def mirrored(self) -> dict[str, int]:
        """Whom a copy of the traffic goes to, and how much of it."""
        return {name: int(share) for name, share in (self.body()["properties"].get("mirrorTraffic") or {}).items()}

    def set_traffic(self, weights: Mapping[str, int], unmirrored: Sequence[str] = ()) -> None:
        """Write the weights; all else of the endpoint goes back as it was read, but for copies to `unmirrored`."""
        body = self.body()
        properties = {
            name: value
            for name, value in body["properties"].items()
            if name not in ("provisioningState", "scoringUri", "swaggerUri")
        }
        properties["traffic"] = {name: weight for name, weight in weights.items() if weight}
        if unmirrored:
            shares = properties.get("mirrorTraffic") or {}
            properties["mirrorTraffic"] = {name: share for name, share in shares.items() if name not in unmirrored}
        kept = {name: body[name] for name in ("location", "tags", "kind", "sku") if body.get(name)}
        self._arm.put(self.path, ENDPOINT_VERSION, {**kept, **_identity(body), "properties": properties})

    def delete(self, name: str) -> None:
        self._arm.delete(f"{self.path}/deployments/{name}", DEPLOYMENT_VERSION)

    def set_tags(self, deployment: Deployment, tags: Mapping[str, str]) -> None:
        """Write a deployment's tags, and nothing else of it."""
        path = f"{self.path}/deployments/{deployment.name}"
        self._arm.patch(path, DEPLOYMENT_VERSION, {"tags": dict(tags)})


def _identity(body: Mapping[str, Any]) -> dict[str, Any]:
    """The identity without the ids that Azure adds when it is read and refuses when they are written."""
    identity = body.get("identity")
    if not identity:
        return {}
    users = identity.get("userAssignedIdentities")
    assigned: dict[str, Any] = {"userAssignedIdentities": {name: {} for name in users}} if users else {}
    return {"identity": {"type": identity["type"], **assigned}}

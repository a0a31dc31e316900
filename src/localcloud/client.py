"""What the command line knows of a running server: its ports, whether it lives, and a plain ARM call."""

from __future__ import annotations

import json
import os
import ssl
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

from localcloud.cloud import CLIENT_ID, SUBSCRIPTION, TENANT, Addresses


class NotRunning(Exception):
    """No server answers on the state folder."""

    def __init__(self, state: Path) -> None:
        super().__init__(f"No local cloud runs on the state folder '{state}'. Start one with: localcloud up")


class CallFailed(Exception):
    """The local cloud answered with an error; the text is `(code) message`."""


@dataclass(frozen=True)
class Running:
    """A server that answers: its process, its ports, and its state folder."""

    state: Path
    pid: int
    addresses: Addresses

    @property
    def secret(self) -> str:
        return (self.state / "client-secret").read_text()

    def call(self, method: str, host: str, path: str, body: Any = None, token: str | None = None) -> Any:
        """One request to a service of the cloud by its Azure host name, straight to the server's port."""
        context = ssl.create_default_context(cafile=str(self.state / "ca.pem"))
        connection = HTTPSConnection("127.0.0.1", self.addresses.tls, context=context, timeout=60)
        headers = {"Host": host, "Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, str) else json.dumps(body) if body is not None else None
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        answer: Any = json.loads(text) if text else None
        if response.status >= 400:
            answer = answer if isinstance(answer, dict) else {}
            error = answer.get("error", {})
            if isinstance(error, str):
                raise CallFailed(f"({error}) {answer.get('error_description')}")
            raise CallFailed(f"({error.get('code', response.status)}) {error.get('message', text.decode())}")
        return answer

    def token(self) -> str:
        """An ARM token of the throw-away principal."""
        form = (
            f"grant_type=client_credentials&client_id={CLIENT_ID}&client_secret={self.secret}"
            "&scope=https%3A%2F%2Fmanagement.azure.com%2F.default"
        )
        answer = self.call("POST", "login.microsoftonline.com", f"/{TENANT}/oauth2/v2.0/token", form)
        return str(answer["access_token"])

    def arm(self, method: str, path: str, body: Any = None) -> Any:
        """One ARM request as the throw-away principal; `path` carries its api-version."""
        return self.call(method, "management.azure.com", path, body, self.token())


def find(state: Path) -> Running:
    """The server that runs on a state folder; raises NotRunning when none answers."""
    state = state.resolve()
    try:
        record = json.loads((state / "server.json").read_text())
        names = ("tls", "proxy", "provider", "language", "mlflow")
        running = Running(state, record["pid"], Addresses(**{name: record[name] for name in names}))
        health = running.call("GET", "127.0.0.1", "/localcloud/health")
    except (OSError, HTTPException, ValueError, KeyError, CallFailed):
        raise NotRunning(state) from None
    if health.get("state") != str(state):
        # Another server has got the port of one that was killed.
        raise NotRunning(state)
    return running


def state_folder() -> Path:
    return Path(os.environ.get("LOCALCLOUD_STATE") or ".localcloud").resolve()


def make_workspace(running: Running, name: str, location: str) -> dict[str, str]:
    """A resource group, what a workspace needs, and the workspace, each made if absent; its `config.json` content."""
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{name}"
    compact = "".join(c for c in name.lower() if c.isalnum())[:20]
    providers = f"{group}/providers"
    storage = f"{providers}/Microsoft.Storage/storageAccounts/{compact}st"
    vault = f"{providers}/Microsoft.KeyVault/vaults/{compact}kv"
    insights = f"{providers}/Microsoft.Insights/components/{name}"
    vault_properties = {"tenantId": TENANT, "sku": {"family": "A", "name": "standard"}, "enableRbacAuthorization": True}
    wanted: list[tuple[str, str, dict[str, Any]]] = [
        (group, "2024-03-01", {"location": location}),
        (storage, "2024-01-01", {"location": location, "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}),
        (vault, "2024-11-01", {"location": location, "properties": vault_properties}),
        (insights, "2020-02-02", {"location": location, "kind": "web", "properties": {"Application_Type": "web"}}),
        (
            f"{providers}/Microsoft.MachineLearningServices/workspaces/{name}",
            "2024-10-01",
            {
                "location": location,
                "identity": {"type": "SystemAssigned"},
                "properties": {"storageAccount": storage, "keyVault": vault, "applicationInsights": insights},
            },
        ),
    ]
    for path, version, body in wanted:
        url = f"{path}?api-version={version}"
        try:
            running.arm("GET", url)
        except CallFailed:
            running.arm("PUT", url, body)
    return {"subscription_id": SUBSCRIPTION, "resource_group": name, "workspace_name": name}

"""A real subscription for the tests beside this file, which settle what the local cloud only simulates.

They are collected when `TUNESTACK_TEST_SUBSCRIPTION` names a subscription, and cost a few dollars and about an hour.
The credential is one's own (`az login`), an owner's. All they make is in one resource group, which they delete.
"""

from __future__ import annotations

import base64
import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

SUBSCRIPTION = os.environ.get("TUNESTACK_TEST_SUBSCRIPTION", "")
LOCATION = os.environ.get("TUNESTACK_TEST_LOCATION", "eastus")
ML = "Microsoft.MachineLearningServices"
collect_ignore_glob = [] if SUBSCRIPTION else ["test_*.py"]


@pytest.fixture(autouse=True)
def _clean_environment() -> None:
    """The credential stays: this stands in for the fixture that takes it away from all other tests."""


@dataclass(frozen=True)
class Answer:
    """What Azure said: status, error code and the whole text."""

    status: int
    code: str
    text: str
    body: Any


class Azure:
    """Plain calls with the caller's credential; a long operation is waited for, and its end is the answer."""

    def __init__(self) -> None:
        import requests
        from azure.identity import DefaultAzureCredential

        self.credential, self._http = DefaultAzureCredential(), requests.Session()

    def token(self, scope: str) -> str:
        return self.credential.get_token(scope).token

    def caller(self) -> dict[str, str]:
        """Who is calling, as an assignment of a role names it; only a person's token has scopes."""
        claims = self.token("https://management.azure.com/.default").split(".")[1]
        read = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        return {"principalId": read["oid"], "principalType": "User" if "scp" in read else "ServicePrincipal"}

    def send(self, method: str, url: str, body: Any = None, *, scope: str, **headers: str) -> Answer:
        answer = self._http.request(
            method, url, json=body, headers={"Authorization": f"Bearer {self.token(scope)}", **headers}, timeout=120
        )
        try:
            found = answer.json()
        except ValueError:
            found = {}
        error = found.get("error") if isinstance(found, dict) else None
        where = answer.headers.get("Azure-AsyncOperation") or answer.headers.get("Location")
        if answer.status_code in (201, 202) and where:
            return self._wait(where, scope, found)
        return Answer(answer.status_code, (error or {}).get("code", ""), answer.text, found)

    def arm(self, method: str, path: str, version: str, body: Any = None) -> Answer:
        url = f"https://management.azure.com{path}{'&' if '?' in path else '?'}api-version={version}"
        return self.send(method, url, body, scope="https://management.azure.com/.default")

    def blobs(self, account: str, path: str = "probe?restype=container&comp=list") -> Answer:
        """A list of blobs, which takes a data role, as all that is inside a container does."""
        url = f"https://{account}.blob.core.windows.net/{path}"
        return self.send("GET", url, scope="https://storage.azure.com/.default", **{"x-ms-version": "2024-08-04"})

    def _wait(self, where: str, scope: str, first: Any) -> Answer:
        for _ in range(360):
            answer = self._http.get(where, headers={"Authorization": f"Bearer {self.token(scope)}"}, timeout=120)
            found = answer.json() if answer.content else {}
            status = str(found.get("status", "")).lower() if isinstance(found, dict) else ""
            if answer.status_code >= 400 or status in ("failed", "canceled"):
                return Answer(
                    max(answer.status_code, 400), (found.get("error") or {}).get("code", ""), answer.text, found
                )
            if answer.status_code != 202 and status in ("", "succeeded"):
                return Answer(200, "", answer.text, first or found)
            time.sleep(float(answer.headers.get("Retry-After", "5")))
        pytest.fail(f"'{where}' has not ended after half an hour")


@pytest.fixture(scope="session")
def azure() -> Azure:
    return Azure()


@dataclass(frozen=True)
class Stand:
    """A group with a storage account, a vault and a workspace in it; `suffix` keeps the names apart."""

    azure: Azure
    suffix: str

    @property
    def subscription(self) -> str:
        return f"/subscriptions/{SUBSCRIPTION}"

    @property
    def group(self) -> str:
        return f"{self.subscription}/resourceGroups/tunestack-conformance-{self.suffix}"

    @property
    def account(self) -> str:
        return f"tunestackc{self.suffix}"

    @property
    def storage(self) -> str:
        return f"{self.group}/providers/Microsoft.Storage/storageAccounts/{self.account}"

    @property
    def vault(self) -> str:
        return f"{self.group}/providers/Microsoft.KeyVault/vaults/kv-{self.suffix}"

    @property
    def workspace(self) -> str:
        return f"{self.group}/providers/{ML}/workspaces/mlw-{self.suffix}"

    def storage_body(self, **properties: Any) -> dict[str, Any]:
        sent = {"allowSharedKeyAccess": False, "allowBlobPublicAccess": False, **properties}
        return {"location": LOCATION, "kind": "StorageV2", "sku": {"name": "Standard_LRS"}, "properties": sent}

    def vault_body(self, **properties: Any) -> dict[str, Any]:
        tenant = self.azure.arm("GET", self.subscription, "2022-12-01").body["tenantId"]
        sent = {"tenantId": tenant, "sku": {"family": "A", "name": "standard"}, "enableRbacAuthorization": True}
        return {"location": LOCATION, "properties": {**sent, "softDeleteRetentionInDays": 7, **properties}}

    def workspace_body(self, **properties: Any) -> dict[str, Any]:
        sent = {"storageAccount": self.storage, "keyVault": self.vault, "systemDatastoresAuthMode": "Identity"}
        return {
            "location": LOCATION,
            "identity": {"type": "SystemAssigned"},
            "properties": {**sent, **properties},
        }

    def put_workspace(self, **properties: Any) -> Answer:
        return self.azure.arm("PUT", self.workspace, "2024-10-01", self.workspace_body(**properties))


@pytest.fixture(scope="session")
def stand(azure: Azure) -> Iterator[Stand]:
    made = Stand(azure, uuid.uuid4().hex[:8])
    first = azure.arm("PUT", made.group, "2024-03-01", {"location": LOCATION, "tags": {"project": "tunestack"}})
    assert first.status < 300, first.text
    try:
        for path, version, body in (
            (made.storage, "2024-01-01", made.storage_body()),
            (made.vault, "2024-11-01", made.vault_body()),
        ):
            answer = azure.arm("PUT", path, version, body)
            assert answer.status < 300, answer.text
        azure.arm("PUT", f"{made.storage}/blobServices/default/containers/probe", "2024-01-01", {"properties": {}})
        answer = made.put_workspace()
        assert answer.status < 300, answer.text
        yield made
    finally:
        azure.arm("DELETE", f"{made.workspace}?forceToPurge=true", "2024-10-01")
        azure.arm("DELETE", made.group, "2024-03-01")
        gone = f"{made.subscription}/providers/Microsoft.KeyVault/locations/{LOCATION}/deletedVaults/kv-{made.suffix}"
        azure.arm("POST", f"{gone}/purge", "2024-11-01")

"""A workspace for tests of serving: endpoints and deployments over ARM, with code and models put straight on disk."""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from localcloud.cloud import SUBSCRIPTION
from localcloud.serving.fleet import Fleet, Order, Worker
from localcloud.serving.programs import Program
from localcloud.serving.router import Router
from localcloud.serving.settings import Probe
from localcloud.serving.upkeep import Upkeep
from tests.conftest import HANG_SECONDS, RunningCloud

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
WORKSPACE = f"{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/ws"
VERSION = "api-version=2023-04-01-preview"
ACCOUNT = "playgroundst"
STORAGE = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}"

ECHO = """
import os
def init(): print("init of", os.environ.get("BY"))
def run(raw): return {"by": os.environ.get("BY")}
"""


@dataclass
class Playground:
    """`url` is the scoring address of the endpoint that was put last."""

    local: RunningCloud

    def __post_init__(self) -> None:
        self._keys: dict[str, str] = {}
        self._session = requests.Session()
        store = self.local.cloud.store
        store.put(GROUP, {"id": GROUP, "name": "rg", "location": "eastus"})
        store.put(STORAGE, {"id": STORAGE, "name": ACCOUNT, "location": "eastus", "properties": {}})
        properties = {"storageAccount": STORAGE}
        store.put(WORKSPACE, {"id": WORKSPACE, "name": "ws", "location": "eastus", "properties": properties})
        datastore = {"datastoreType": "AzureBlob", "accountName": ACCOUNT, "containerName": "data", "isDefault": True}
        store.put(f"{WORKSPACE}/datastores/workspaceblobstore", {"properties": datastore})
        self.blobs.mkdir(parents=True, exist_ok=True)

    @property
    def blobs(self) -> Path:
        return self.local.cloud.blobs / ACCOUNT / "data"

    @property
    def fleet(self) -> Fleet:
        return self.local.cloud.part(Fleet, lambda: Fleet(self.local.cloud))

    def worker(self, endpoint: str, deployment: str) -> Worker:
        found = self.fleet.worker(f"{WORKSPACE}/onlineEndpoints/{endpoint}/deployments/{deployment}")
        assert found
        return found

    def close(self) -> None:
        """A connection that stays open keeps the server from stopping at once."""
        self._session.close()

    # -- what is deployed

    def code(self, text: str = ECHO, file: str = "score.py") -> str:
        """A code asset with one file; its id."""
        name = uuid.uuid4().hex
        folder = self.blobs / "code" / name
        folder.mkdir(parents=True)
        (folder / file).write_text(text)
        code_id = f"{WORKSPACE}/codes/{name}/versions/1"
        uri = f"https://{ACCOUNT}.blob.core.windows.net/data/code/{name}"
        self.local.cloud.store.put(code_id, {"id": code_id, "properties": {"codeUri": uri}})
        return code_id

    def model(self, name: str, files: dict[str, str], version: str = "1") -> str:
        """A model version with these files in a folder `model`; its id."""
        for path, text in files.items():
            place = self.blobs / name / version / "model" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        model_id = f"{WORKSPACE}/models/{name}/versions/{version}"
        uri = f"azureml://datastores/workspaceblobstore/paths/{name}/{version}/model"
        self.local.cloud.store.put(model_id, {"id": model_id, "properties": {"modelUri": uri}})
        return model_id

    # -- ARM

    def arm(self, method: str, path: str, body: Any = None) -> Any:
        joint = "&" if "?" in path else "?"
        return self.local.arm(method, f"{WORKSPACE}/{path}{joint}{VERSION}", body)

    def endpoint(self, name: str = "chat", auth: str = "Key", **properties: Any) -> str:
        """Put an endpoint; its scoring address."""
        body = {"location": "eastus", "properties": {"authMode": auth, **properties}}
        answer = self.arm("PUT", f"onlineEndpoints/{name}", body)
        return str(answer["properties"]["scoringUri"])

    def key(self, endpoint: str = "chat") -> str:
        return str(self.arm("POST", f"onlineEndpoints/{endpoint}/listKeys")["primaryKey"])

    def body(self, script: str | None = ECHO, by: str = "blue", **properties: Any) -> dict[str, Any]:
        code = {"codeId": self.code(script), "scoringScript": "score.py"} if script else None
        return {
            "location": "eastus",
            "sku": {"name": "Default", "capacity": 1},
            "properties": {
                "endpointComputeType": "Managed",
                "instanceType": "Standard_DS3_v2",
                "codeConfiguration": code,
                "environmentVariables": {"BY": by},
                **properties,
            },
        }

    def deploy(self, name: str, script: str | None = ECHO, endpoint: str = "chat", **properties: Any) -> dict[str, Any]:
        """Put a deployment, wait until its start has ended, and read it."""
        return self.put(name, self.body(script, by=name, **properties), endpoint)

    def put(self, name: str, body: dict[str, Any], endpoint: str = "chat") -> dict[str, Any]:
        path = f"onlineEndpoints/{endpoint}/deployments/{name}"
        self.arm("PUT", path, body)
        self.wait(name, endpoint)
        found: dict[str, Any] = self.arm("GET", path)
        return found

    def wait(self, name: str, endpoint: str = "chat") -> None:
        upkeep = self.local.cloud.part(Upkeep, lambda: Upkeep(self.local.cloud))
        self.local.call(upkeep.wait(f"{WORKSPACE}/onlineEndpoints/{endpoint}/deployments/{name}"))

    def fake(self, name: str, endpoint: str = "chat", capacity: int = 1, **settings: Any) -> Worker:
        """A deployment that is served by `fake_scorer`."""
        deployment_id = f"{WORKSPACE}/onlineEndpoints/{endpoint}/deployments/{name}"
        properties = {
            "endpointComputeType": "Managed",
            "instanceType": "Standard_DS3_v2",
            "provisioningState": "Succeeded",
            "requestSettings": settings,
        }
        resource = {"id": deployment_id, "name": name, "location": "eastus", "tags": {}, "properties": properties}
        self.local.cloud.store.put(deployment_id, {**resource, "sku": {"name": "Default", "capacity": capacity}})
        root = Path(__file__).parents[3]
        environment = {**os.environ, "BY": name, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
        program = Program("tests.localcloud.serving.fake_scorer", (), environment, self.local.cloud.state)
        log = self.local.cloud.state / "deployments" / endpoint / name / "server.log"
        self.local.call(self.fleet.serve(Order(deployment_id.lower(), program, Probe(period=0.2), log)))
        return self.worker(endpoint, name)

    # -- scoring

    def score(self, url: str, body: Any = None, **options: Any) -> requests.Response:
        """POST with the endpoint's key; `headers` are added, `deployment` names one."""
        headers = dict(options.pop("headers", {}))
        if "Authorization" not in headers:
            endpoint = url.partition("//")[2].partition(".")[0]
            self._keys[endpoint] = self._keys.get(endpoint) or self.key(endpoint)
            headers["Authorization"] = f"Bearer {self._keys[endpoint]}"
        if "deployment" in options:
            headers["azureml-model-deployment"] = options.pop("deployment")
        return self._session.post(url, json=body or {}, headers=headers, timeout=HANG_SECONDS, **options)


def behind(worker: Worker, path: str) -> Any:
    """Ask a fake scorer directly, past the router."""
    session = requests.Session()
    session.trust_env = False
    method = "POST" if path == "/release" else "GET"
    return session.request(method, worker.address + path, timeout=HANG_SECONDS).json()


def in_flight(playground: Playground, name: str, endpoint: str = "chat") -> int:
    """Requests that the router has handed to a deployment and that have not ended."""
    cloud = playground.local.cloud
    key = f"{WORKSPACE}/onlineEndpoints/{endpoint}/deployments/{name}".lower()
    return cloud.part(Router, lambda: Router(cloud))._in_flight[key]


def until(condition: Callable[[], bool]) -> None:
    """Ask again until it holds."""
    pause, deadline = threading.Event(), time.monotonic() + HANG_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        pause.wait(0.05)

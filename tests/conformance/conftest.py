"""The answers that the real SDK gets: from a local cloud, or from the workspace on Azure that the environment names."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from localcloud.client import make_workspace
from localcloud.cloud import SUBSCRIPTION
from localcloud.server import Options
from tests.conftest import serve

# Read now: every test runs in an environment without them.
AZURE = [os.environ.get(f"TUNESTACK_AZURE_{part}", "") for part in ("SUBSCRIPTION", "RESOURCE_GROUP", "WORKSPACE")]
ON_AZURE = bool(AZURE[0])


@dataclass(frozen=True)
class Said:
    """One JSON answer to the SDK."""

    method: str
    path: str
    status: int
    document: Any

    def __str__(self) -> str:
        return f"{self.method} {self.path} ({self.status})"


def _connect(hook: Callable[[Any], None], *scope: str, **more: str) -> Any:
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    return MLClient(DefaultAzureCredential(), *scope, raw_response_hook=hook, **more)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Said]]:
    from tests.conformance import tour

    answers: list[Said] = []

    def record(passed: Any) -> None:
        response = passed.http_response
        if hasattr(response, "read"):
            response.read()
        # Logs, which are blobs, pass here as well.
        if response.headers.get("Content-Type", "").startswith("application/json"):
            request, document = passed.http_request, json.loads(response.text())
            answers.append(Said(request.method, urlsplit(request.url).path, response.status_code, document))

    def walk(*scope: str, then: Callable[[Any], None] = lambda client: None) -> None:
        client = _connect(record, *scope)
        then(client)
        tour.read(client, _connect(record, registry_name="azureml"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZURE_ML_DISABLE_ON_DISK_CACHE", "true")
        if ON_AZURE:
            walk(*AZURE)
            yield answers
            return
        folder = tmp_path_factory.mktemp("conformance")
        for name in [name for name in os.environ if name.startswith(("AZURE_", "MLFLOW_", "LOCALCLOUD_"))]:
            patch.delenv(name)
        patch.setenv("HOME", str(folder))
        patch.chdir(folder)
        with serve(Options(folder / "state", engine=False, tracking=False)) as found:
            for name, value in found.environment.items():
                patch.setenv(name, value)
            made = make_workspace(found.running, "conformance", "eastus")

            def furnish(client: Any) -> None:
                from localcloud.runner.execution import runner_of

                workspace = client.workspaces.get(made["workspace_name"])
                for job in tour.furnish(client, Path(folder)):
                    found.call(runner_of(found.cloud).wait(workspace.id, job))
                tour.fetch(client, folder)

            walk(SUBSCRIPTION, made["resource_group"], made["workspace_name"], then=furnish)
            yield answers

"""What a refusal says about roles, and the patience that a new one gets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from localcloud.cloud import SUBSCRIPTION
from localcloud.operations import ManualClock
from localcloud.permissions import BLOB_CONTRIBUTOR
from localcloud.server import Options
from tests.conftest import serve
from tunestack import roles
from tunestack.errors import CloudError
from tunestack.jobs.watch_clock import Waiting
from tunestack.refusals import explain, refused

FAILED = (
    "The client 'a' with object id 'b' does not have authorization to perform action '{}' over scope '/s' or the scope "
    "is invalid. If access was recently granted, please refresh your credentials."
)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ML = "Microsoft.MachineLearningServices"


class Time:
    """A clock that only pauses move."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    @property
    def waiting(self) -> Waiting:
        return Waiting(pause=self.pause, now=lambda: self.now)


def refusing(times: int, error: Exception) -> Any:
    """A call that is refused so often, then returns `done`."""
    left = [times]

    def act() -> str:
        if left[0]:
            left[0] -= 1
            raise error
        return "done"

    return act


REFUSED = CloudError(FAILED.format(f"{ML}/workspaces/jobs/write"), status=403)


@pytest.mark.parametrize(
    ("said", "role"),
    [
        (FAILED.format(f"{ML}/workspaces/jobs/write"), "AzureML Data Scientist"),
        (FAILED.format(f"{ML}/workspaces/computes/write"), "AzureML Compute Operator"),
        (FAILED.format(f"{ML}/registries/assets/write"), "AzureML Registry User"),
        (FAILED.format("Microsoft.Insights/metrics/read"), "Monitoring Reader"),
        (FAILED.format("Microsoft.Resources/subscriptions/read"), "Reader"),
        (
            "This request is not authorized to perform this operation using this permission.",
            "Storage Blob Data Contributor",
        ),
        (
            f"has permission to perform action '{ML}/workspaces/onlineEndpoints/write' on scope '/s'; however, it does "
            "not have permission to perform action(s) 'Microsoft.ManagedIdentity/userAssignedIdentities/assign/action'",
            "Managed Identity Operator",
        ),
    ],
)
def test_the_missing_role_is_named_with_the_line_that_grants_it(said: str, role: str) -> None:
    error = refused(403, said, "PUT 'x'")
    assert f"'{role}'" in error.fix
    granted = roles.missing(said)
    assert granted
    assert ("pulumi config set --path 'operators[0]'" in error.fix) == granted[1]
    assert "minutes to spread" in error.fix


def test_an_sdk_that_hides_the_403_of_an_upload_is_understood() -> None:
    from azure.ai.ml.exceptions import MlException

    error = MlException(
        "You don't have permission to alter this storage account. Ensure that", no_personal_data_message=""
    )
    found = explain(error)
    assert isinstance(found, CloudError)
    assert "'Storage Blob Data Contributor'" in found.fix


def test_in_a_new_workspace_a_role_is_waited_for_and_the_wait_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    time = Time()
    made = (NOW - timedelta(minutes=3)).isoformat()
    assert roles.once_spread(made, refusing(3, REFUSED), time.waiting) == "done"
    assert time.pauses == [roles.PAUSE_SECONDS] * 3
    said = capsys.readouterr().err
    assert said.count("'AzureML Data Scientist'") == 1
    assert "up to 15 minutes" in said


def test_the_wait_is_bounded() -> None:
    time = Time()
    with pytest.raises(CloudError):
        roles.once_spread(NOW.isoformat(), refusing(10_000, REFUSED), time.waiting)
    assert sum(time.pauses) == roles.PATIENCE_SECONDS


@pytest.mark.parametrize("error", [REFUSED, HttpResponseError(FAILED.format(f"{ML}/workspaces/jobs/write"))])
def test_in_an_old_workspace_a_refusal_is_final(error: Exception) -> None:
    time = Time()
    with pytest.raises(type(error)):
        roles.once_spread((NOW - timedelta(hours=2)).isoformat(), refusing(1, error), time.waiting)
    assert time.pauses == []


def test_another_error_is_never_waited_out() -> None:
    time = Time()
    with pytest.raises(CloudError):
        roles.once_spread(NOW.isoformat(), refusing(1, CloudError("quota", status=409)), time.waiting)
    assert time.pauses == []


def test_an_upload_right_after_up_succeeds_once_the_role_has_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real SDK against a local cloud on which a new role takes five minutes to count."""
    from azure.identity import DefaultAzureCredential
    from azure.storage.blob import ContainerClient

    clock = ManualClock(NOW)
    with serve(Options(tmp_path / "state", engine=False, tracking=False), clock) as cloud:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        cloud.running.call("PUT", "127.0.0.1", "/localcloud/role-delay", {"seconds": 300}, cloud.running.secret)
        group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
        account = f"{group}/providers/Microsoft.Storage/storageAccounts/acct"
        cloud.arm("PUT", f"{group}?api-version=2024-03-01", {"location": "eastus"})
        body = {"location": "eastus", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}
        cloud.arm("PUT", f"{account}?api-version=2024-01-01", body)
        cloud.arm("PUT", f"{account}/blobServices/default/containers/data?api-version=2024-01-01", {})
        cloud.grant(BLOB_CONTRIBUTOR, account)
        client = ContainerClient("https://acct.blob.core.windows.net", "data", credential=DefaultAzureCredential())
        waiting = Waiting(pause=lambda seconds: cloud.call(clock.advance(seconds)), now=lambda: clock.now().timestamp())
        roles.once_spread(NOW.isoformat(), lambda: client.upload_blob("x", b"1"), waiting)
        assert clock.now() - NOW == timedelta(seconds=300)
        assert "'Storage Blob Data Contributor'" in capsys.readouterr().err

"""Leases through the scripts: written when deploying, swept when over, and one command brings a deployment back."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.scripts.conftest import ROOT, Script, Stack
from tunestack.deployments import leases
from tunestack.deployments.leases import instant

ENDPOINT = "test-chat"
BASE = "azureml://registries/azureml/models/SmolLM2-135M-Instruct/versions/1"
PLACE = f"onlineEndpoints/{ENDPOINT}"
VERSION = "?api-version=2023-04-01-preview"
SCORE = "import json\ndef init(): pass\ndef run(raw): return {'output': 'fine'}\n"
SCALE = {"min": 1, "max": 2, "metric": "CpuUtilizationPercentage", "out_above": 70, "in_below": 25}


class Slots:
    """Deployments with code of their own, whose leases a test sets to its liking."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        from azure.ai.ml import MLClient
        from azure.identity import DefaultAzureCredential

        self._stack, self._folder = stack, folder
        place = stack.workspace.split("/")
        self._client = MLClient(DefaultAzureCredential(), place[2], place[4], place[8])

    def make(self, slot: str, **tags: str) -> None:
        from azure.ai.ml.entities import CodeConfiguration, Environment, ManagedOnlineDeployment

        (self._folder / "score.py").write_text(SCORE)
        self._client.online_deployments.begin_create_or_update(
            ManagedOnlineDeployment(
                name=slot,
                endpoint_name=ENDPOINT,
                code_configuration=CodeConfiguration(code=str(self._folder), scoring_script="score.py"),
                environment=Environment(image="mcr.microsoft.com/azureml/minimal"),
                instance_type="Standard_DS3_v2",
                instance_count=1,
                tags=dict(tags),
            )
        ).result()

    def body(self, slot: str) -> dict[str, Any]:
        return dict(self._stack.cloud.arm("GET", f"{self._stack.workspace}/{PLACE}/deployments/{slot}{VERSION}"))

    def tags(self, slot: str) -> dict[str, str]:
        return dict(self.body(slot)["tags"])

    def tag(self, slot: str, **tags: str) -> None:
        body = {"tags": {name.replace("_", "-"): value for name, value in tags.items()}}
        self._stack.cloud.arm("PATCH", f"{self._stack.workspace}/{PLACE}/deployments/{slot}{VERSION}", body)

    @property
    def names(self) -> list[str]:
        found = self._stack.cloud.arm("GET", f"{self._stack.workspace}/{PLACE}/deployments{VERSION}")["value"]
        return sorted(one["name"] for one in found)

    def traffic(self, **wanted: int) -> dict[str, int]:
        path = f"{self._stack.workspace}/{PLACE}?api-version=2022-02-01-preview"
        if wanted:
            live = self._stack.cloud.arm("GET", path)
            properties = {"authMode": live["properties"]["authMode"], "traffic": wanted}
            body = {"location": "eastus", "identity": {"type": "SystemAssigned"}, "properties": properties}
            self._stack.cloud.arm("PUT", path, body)
        return dict(self._stack.cloud.arm("GET", path)["properties"]["traffic"])

    def clear(self) -> None:
        path = f"{self._stack.workspace}/{PLACE}?api-version=2022-02-01-preview"
        properties = {"authMode": "Key", "traffic": {}}
        body = {"location": "eastus", "identity": {"type": "SystemAssigned"}, "properties": properties}
        self._stack.cloud.arm("PUT", path, body)
        for slot in self.names:
            self._client.online_deployments.begin_delete(name=slot, endpoint_name=ENDPOINT).result()

    @property
    def autoscale(self) -> list[dict[str, Any]]:
        group = self._stack.workspace.split("/providers/")[0]
        path = f"{group}/providers/Microsoft.Insights/autoscaleSettings?api-version=2022-10-01"
        return list(self._stack.cloud.arm("GET", path)["value"])


@pytest.fixture
def slots(stack: Stack, tmp_path: Path):
    made = Slots(stack, tmp_path)
    yield made
    made.clear()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[..., datetime]:
    """Moves the scripts' clock ahead; the instant that it shows then."""

    def move(**by: float) -> datetime:
        moment = leases.now() + timedelta(**by)
        monkeypatch.setattr(leases, "now", lambda: moment)
        return moment

    return move


def settings(tmp_path: Path, **changes: Any) -> Path:
    file = tmp_path / "settings.yml"
    file.write_text(json.dumps({"instance_type": "Standard_DS3_v2", "instance_count": 1, **changes}))
    return file


# -- deploying


def test_a_lease_above_the_stacks_is_refused_before_anything_is_sent(stack: Stack, script: Script) -> None:
    said = script("deploy_model", "--model", BASE, "--slot", "red", "--lease", "2d").failed(2)
    assert "lease '2d' is longer than the stack allows, which is 24h" in said
    assert "pulumi config set leaseCap 48h" in said


def test_without_a_flag_the_stacks_longest_lease_is_taken_and_said(stack: Stack, script: Script) -> None:
    ended = script("deploy_model", "--model", BASE, "--slot", "red", "--dry-run", "--json")
    assert json.loads(ended.out)["lease"] == "24h"
    assert "lease 24h, until 2" in ended.err


def test_where_there_is_no_stack_the_lease_must_be_said(stack: Stack, script: Script) -> None:
    place = stack.workspace.split("/")
    where = ("--subscription", place[2], "--resource-group", place[4], "--workspace-name", place[8])
    named = ("--model", BASE, "--slot", "red", "--endpoint", ENDPOINT, "--dry-run")
    assert "Say it with --lease" in script("deploy_model", *where, *named).failed(2)
    assert script("deploy_model", *where, *named, "--lease", "never").handle == "red"


@pytest.mark.parametrize(
    "arguments",
    [(), ("--restore", "blue", "--delete", "blue"), ("--restore", "blue", "--slot", "blue"), ("--model", BASE)],
)
def test_one_thing_at_a_time(stack: Stack, script: Script, arguments) -> None:
    assert "--model and --slot" in script("deploy_model", *arguments).failed(2)


def test_deploying_the_same_again_gives_it_a_lease_from_now_on(slots: Slots, script: Script, tmp_path, later) -> None:
    file = settings(tmp_path)
    arguments = ("--model", BASE, "--slot", "blue", "--deployment", file)
    digest = json.loads(script("deploy_model", *arguments, "--dry-run", "--json").out)["tags"]
    slots.make("blue", **digest)
    slots.tag("blue", **digest, lease="8h", lease_until="2020-01-01T00:00:00Z", lease_state="warned", other="kept")
    moment = later(minutes=5)
    assert "serves" in script("deploy_model", *arguments, "--lease", "9h").err
    tags = slots.tags("blue")
    assert (tags["lease"], tags["lease-until"]) == ("9h", instant(moment + timedelta(hours=9)))
    assert "lease-state" not in tags
    assert tags["other"] == "kept"


# -- sweeping


def test_an_expired_deployment_is_warned_and_after_the_grace_gone_with_its_traffic(
    slots: Slots, script: Script, later
) -> None:
    slots.make("blue", **leases.tags("8h", leases.now()), model="m:1")
    slots.traffic(blue=100)
    assert script("sweep", "--expired", "--stack", "test").handle == "nothing expired"
    later(hours=9)
    first = script("sweep", "--expired", "--stack", "test")
    assert first.handle == "nothing expired"
    assert "warning: the lease of deployment 'test-chat/blue' ended at 2" in first.err
    assert "--model m:1 --slot blue --lease TIME" in first.err
    assert slots.tags("blue")["lease-state"] == "warned"
    later(minutes=29)
    assert "was warned, and goes at" in script("sweep", "--expired", "--stack", "test").err
    assert slots.traffic() == {"blue": 100}
    later(minutes=2)
    last = script("sweep", "--expired", "--stack", "test")
    assert last.handle == "test-chat/blue"
    assert "scripts/deploy_model.py --endpoint test-chat --restore blue" in last.err
    assert "quota and capacity" in last.err
    assert slots.names == []
    assert slots.traffic() == {}


def test_what_it_served_goes_to_the_others_and_the_sum_stays_100(slots: Slots, script: Script) -> None:
    slots.make("blue", lease="1h", **{"lease-until": "2020-01-01T00:00:00Z", "lease-state": "warned"})
    slots.make("green", lease="never")
    slots.make("grey")
    slots.traffic(blue=50, green=30, grey=20)
    ended = script("sweep", "--expired", "--stack", "test")
    assert ended.handle == "test-chat/blue"
    assert "'test-chat/grey' has no lease" in ended.err
    assert slots.traffic() == {"green": 60, "grey": 40}


def test_a_deployment_that_gets_a_copy_of_the_traffic_can_go_too(slots: Slots, script: Script, stack: Stack) -> None:
    slots.make("blue", lease="never")
    slots.make("green", lease="1h", **{"lease-until": "2020-01-01T00:00:00Z", "lease-state": "warned"})
    path = f"{stack.workspace}/{PLACE}?api-version=2022-02-01-preview"
    properties = {"authMode": "Key", "traffic": {"blue": 100}, "mirrorTraffic": {"green": 10}}
    body = {"location": "eastus", "identity": {"type": "SystemAssigned"}, "properties": properties}
    stack.cloud.arm("PUT", path, body)
    assert script("sweep", "--expired", "--stack", "test").handle == "test-chat/green"
    assert slots.traffic() == {"blue": 100}
    assert slots.names == ["blue"]


def test_only_our_deployments_are_looked_at(slots: Slots, script: Script) -> None:
    slots.make("blue", lease="1h", **{"lease-until": "2020-01-01T00:00:00Z", "lease-state": "warned"})
    assert script("sweep", "--expired", "--stack", "other").handle == "nothing expired"
    assert slots.names == ["blue"]


def test_a_lease_that_cannot_be_read_ends_with_5_and_deletes_nothing(slots: Slots, script: Script) -> None:
    slots.make("blue", lease="1h", **{"lease-until": "soon", "lease-state": "warned"})
    said = script("sweep", "--expired", "--stack", "test").failed(5)
    assert "deployment 'test-chat/blue': tag 'lease-until' is 'soon', which is no instant" in said
    assert slots.names == ["blue"]


@pytest.mark.parametrize("flag", ["--everything", "--purge"])
def test_what_is_not_ours_is_never_swept_for_its_lease(stack: Stack, script: Script, flag: str) -> None:
    assert "neither --purge nor --everything" in script("sweep", "--expired", flag).failed(2)


def test_a_grace_that_is_no_time_is_refused(stack: Stack, script: Script) -> None:
    assert "grace 'soon' is no time span" in script("sweep", "--expired", "--grace", "soon").failed(2)


def test_a_warned_deployment_that_is_deployed_again_stays(slots: Slots, script: Script, tmp_path) -> None:
    file = settings(tmp_path)
    arguments = ("--model", BASE, "--slot", "blue", "--deployment", file)
    digest = json.loads(script("deploy_model", *arguments, "--dry-run", "--json").out)["tags"]
    over = {"lease": "1h", "lease-until": "2020-01-01T00:00:00Z", "lease-state": "warned"}
    slots.make("blue", **digest, **over)
    assert script("deploy_model", *arguments).handle == "blue"
    assert script("sweep", "--expired", "--stack", "test", "--grace", "0m").handle == "nothing expired"
    assert slots.names == ["blue"]


def test_the_bill_has_the_live_deployments_each_until_its_lease_ends(slots: Slots, script: Script, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    slots.make("blue", lease="10h")
    slots.make("green")
    ended = script("cost", "--stack", "dev", "--offline", "--live", "--json")
    assert "of a budget of 200" in ended.err.splitlines()[-1]
    lines = {line["name"]: line["month"] for line in json.loads(ended.out)["lines"]}
    assert lines["deployment test-chat/blue (live)"] == 2.93
    assert lines["deployment test-chat/green (live)"] == 213.89


# -- bringing back


def test_one_command_brings_an_expired_deployment_back_as_it_was(slots: Slots, script: Script) -> None:
    over = {"lease": "8h", "lease-until": "2020-01-01T00:00:00Z", "lease-state": "warned"}
    slots.make("blue", **over, model="m:1", traffic_before="100")
    before = slots.body("blue")
    assert script("sweep", "--expired", "--stack", "test").handle == "test-chat/blue"
    assert "blue" not in slots.names
    would = script("deploy_model", "--restore", "blue", "--dry-run")
    assert "on 1 x Standard_DS3_v2" in would.err
    assert slots.names == []
    ended = script("deploy_model", "--restore", "blue", "--lease", "2h")
    assert ended.handle == "blue"
    assert "needs quota and capacity for 1 x Standard_DS3_v2 again" in ended.err
    after = slots.body("blue")
    assert after["properties"] == before["properties"]
    assert after["sku"] == before["sku"]
    assert (after["tags"]["lease"], after["tags"]["model"]) == ("2h", "m:1")
    assert after["tags"].keys() == {"lease", "lease-until", "model"}
    assert "is there already" in script("deploy_model", "--restore", "blue").err


def test_what_was_never_kept_cannot_come_back(stack: Stack, script: Script) -> None:
    said = script("deploy_model", "--restore", "purple").failed(2)
    assert "nothing is kept of a deployment 'purple' of endpoint 'test-chat'" in said


def test_a_deployment_that_finds_no_quota_when_it_comes_back_says_so_with_4(slots: Slots, script: Script) -> None:
    from localcloud.arm import ArmError

    slots.make("blue", lease="8h", **{"lease-until": "2020-01-01T00:00:00Z", "lease-state": "warned"})
    assert script("sweep", "--expired", "--stack", "test").handle == "test-chat/blue"
    slots._stack.cloud.cloud.faults.arm("deployment.create", ArmError(400, "OutOfQuota", "Not enough quota"))
    said = script("deploy_model", "--restore", "blue").failed(4)
    assert "Not enough quota" in said
    assert script("deploy_model", "--restore", "blue").handle == "blue"


# -- autoscale


def test_autoscale_comes_and_goes_with_its_deployment(slots: Slots, script: Script, tmp_path: Path) -> None:
    file = settings(tmp_path, autoscale=SCALE)
    arguments = ("--model", BASE, "--slot", "blue", "--deployment", file)
    digest = json.loads(script("deploy_model", *arguments, "--dry-run", "--json").out)["tags"]
    assert digest["autoscale"] == "1 to 2"
    slots.make("blue", **digest)
    assert "autoscale: 'blue' has 1 to 2 machines" in script("deploy_model", *arguments).err
    (setting,) = slots.autoscale
    (profile,) = setting["properties"]["profiles"]
    assert profile["capacity"] == {"minimum": "1", "maximum": "2", "default": "1"}
    assert [rule["scaleAction"]["direction"] for rule in profile["rules"]] == ["Increase", "Decrease"]
    assert setting["properties"]["targetResourceUri"].lower() == slots.body("blue")["id"].lower()
    slots.tag("blue", **digest, lease="8h", lease_until="2020-01-01T00:00:00Z", lease_state="warned")
    assert script("sweep", "--expired", "--stack", "test").handle == "test-chat/blue"
    assert slots.autoscale == []
    assert script("deploy_model", "--restore", "blue").handle == "blue"
    assert slots.autoscale[0]["properties"]["profiles"] == setting["properties"]["profiles"]
    assert script("deploy_model", "--delete", "blue").handle == "blue"
    assert slots.autoscale == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max": 3}, "autoscale's max is 3, and the stack's maxInstances is 2"),
        ({"min": 2, "max": 1}, "max is 1, below min, which is 2"),
        ({"in_below": 80}, "in_below is 80, not below out_above, which is 70"),
        ({"out_above": 100}, "out_above is 100, which no percentage gets above"),
        ({"metric": "Cpu"}, "'autoscale.metric' cannot be 'Cpu'"),
        ({"min": 2}, "instance_count is 1, not between autoscale's 2 and 2"),
        ({"minimum": 2}, "unknown key 'autoscale.minimum'"),
    ],
)
def test_autoscale_that_cannot_be_is_refused(stack: Stack, script: Script, tmp_path, changes, said) -> None:
    file = settings(tmp_path, autoscale={**SCALE, **changes})
    assert said in script("deploy_model", "--model", BASE, "--slot", "red", "--deployment", file).failed(2)


def test_more_machines_than_quota_was_counted_for_are_refused(stack: Stack, script: Script, tmp_path: Path) -> None:
    file = settings(tmp_path, instance_count=3)
    said = script("deploy_model", "--model", BASE, "--slot", "red", "--deployment", file).failed(2)
    assert "instance_count is 3, and the stack's maxInstances is 2" in said

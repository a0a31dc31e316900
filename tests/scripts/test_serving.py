"""`deploy_model`, `shift_traffic` and `invoke` against real deployments: processes of the local cloud with own code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localcloud.arm import ArmError
from tests.scripts.conftest import ROOT, Script, Stack

BASE = "azureml://registries/azureml/models/SmolLM2-135M-Instruct/versions/1"
SCORE = """
import json
def init(): pass
def run(raw):
    text = json.loads(raw)["input_data"]["input_string"][-1]["content"]
    if "{word}" == "broken":
        raise ValueError("no answer from here")
    return {shape}
"""


@pytest.fixture(scope="module")
def served(_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The endpoint `test-chat` with `blue` and `green`, which answer in the two shapes, and `broken`, which fails."""
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import (
        CodeConfiguration,
        Environment,
        ManagedOnlineDeployment,
        OnlineRequestSettings,
    )
    from azure.identity import DefaultAzureCredential

    shapes = {"blue": '{"output": "blue says " + text}', "green": '[{"0": "green says " + text}]', "broken": "None"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _stack.cloud.environment.items():
            patch.setenv(name, value)
        place = _stack.workspace.split("/")
        client = MLClient(DefaultAzureCredential(), place[2], place[4], place[8])
        pollers = []
        for slot, shape in shapes.items():
            folder = tmp_path_factory.mktemp(slot)
            (folder / "score.py").write_text(SCORE.replace("{word}", slot).replace("{shape}", shape))
            deployment = ManagedOnlineDeployment(
                name=slot,
                endpoint_name="test-chat",
                code_configuration=CodeConfiguration(code=str(folder), scoring_script="score.py"),
                environment=Environment(image="mcr.microsoft.com/azureml/minimal"),
                instance_type="Standard_DS3_v2",
                instance_count=1,
                request_settings=OnlineRequestSettings(request_timeout_ms=90_000),  # Azure's 5 s are for fast machines
            )
            pollers.append(client.online_deployments.begin_create_or_update(deployment))
        for poller in pollers:
            poller.result()
    return _stack


@pytest.fixture
def traffic(served: Stack, stack: Stack):
    """Sets the endpoint's traffic, and reads it."""

    def weights(**wanted: int) -> dict[str, int]:
        path = f"{stack.workspace}/onlineEndpoints/test-chat?api-version=2022-02-01-preview"
        if wanted:
            body = {"location": "eastus", "identity": {"type": "SystemAssigned"}}
            stack.cloud.arm("PUT", path, {**body, "properties": {"authMode": "Key", "traffic": wanted}})
        found: dict[str, int] = stack.cloud.arm("GET", path)["properties"]["traffic"]
        return found

    return weights


# -- shift_traffic


def test_a_canary_moves_all_traffic_and_a_rollback_puts_it_back(traffic, script: Script) -> None:
    traffic(blue=100)
    assert script("shift_traffic", "--to", "green", "--plan", "canary.yml").handle == "blue=0 broken=0 green=100"
    assert traffic() == {"green": 100}
    assert "already" in script("shift_traffic", "--to", "green", "--plan", "canary.yml").err
    assert script("shift_traffic", "--rollback").handle == "blue=100 broken=0 green=0"
    assert traffic() == {"blue": 100}


def test_a_slot_that_does_not_answer_gets_no_traffic_and_code_5(traffic, script: Script) -> None:
    traffic(blue=100)
    said = script("shift_traffic", "--to", "broken", "--percent", 10).failed(5)
    assert "check 1 of slot 'broken' failed" in said
    assert traffic() == {"blue": 100}


def test_a_dry_run_shows_the_steps_and_moves_nothing(traffic, script: Script) -> None:
    traffic(blue=60, green=40)
    assert script("shift_traffic", "--to", "green", "--percent", 55, "--dry-run").handle == "blue=45 green=55"
    assert traffic() == {"blue": 60, "green": 40}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "one of the arguments --to --rollback is required"),
        (("--to", "purple"), "no deployment 'purple'; deployments are: blue, broken, green"),
        (("--to", "green", "--percent", "101"), "'101' is not a whole percentage"),
        (("--to", "green", "--percent", "ten"), "'ten' is not a whole percentage"),
        (("--to", "green", "--plan", "gone.yml"), "gone.yml' does not exist"),
        (("--to", "green", "--endpoint", "nowhere"), "endpoint 'nowhere' does not exist in workspace 'test'"),
        (("--to", "green", "--percent", "5", "--plan", "canary.yml"), "not allowed with"),
    ],
)
def test_bad_input_moves_nothing(traffic, script: Script, arguments, said) -> None:
    traffic(blue=100)
    assert said in script("shift_traffic", *arguments).failed(2)
    assert traffic() == {"blue": 100}


def test_a_part_of_the_traffic_needs_somebody_for_the_rest(traffic, script: Script) -> None:
    traffic(green=100)
    said = script("shift_traffic", "--to", "green", "--percent", 10).failed(2)
    assert "no other deployment has traffic to carry the other 90 %" in said


# -- invoke


def test_both_answer_shapes_are_understood_and_traffic_decides_who_answers(traffic, script: Script) -> None:
    traffic(blue=100)
    assert script("invoke", "--prompt", "hello").handle == "blue says hello"
    assert script("invoke", "--prompt", "hello", "--slot", "green").handle == "green says hello"


def test_a_sample_becomes_a_request_file_that_can_be_sent_again(traffic, script: Script, tmp_path) -> None:
    traffic(blue=100)
    row = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
    (tmp_path / "sample.jsonl").write_text(json.dumps({"messages": row}) + "\n")
    assert script("invoke", "--sample", tmp_path / "sample.jsonl").handle == "blue says Why?"
    body = json.loads((tmp_path / "sample_score.json").read_text())
    assert body["input_data"]["input_string"] == row[:1]
    wanted = {"temperature": 0.6, "top_p": 0.9, "do_sample": True, "max_new_tokens": 200}
    assert body["input_data"]["parameters"] == wanted
    assert script("invoke", "--request", tmp_path / "sample_score.json").handle == "blue says Why?"


def test_several_slots_are_shown_side_by_side(traffic, script: Script) -> None:
    ended = script("invoke", "--prompt", "hello", "--slot", "blue", "--slot", "green")
    assert ended.handle.splitlines() == ["blue: blue says hello", "green: green says hello"]
    assert "question" in ended.err


def test_a_token_endpoint_is_asked_with_a_token(served, stack: Stack, script: Script) -> None:
    stack.endpoint("test-tokens", "AADToken")
    said = script("invoke", "--prompt", "hello", "--endpoint", "test-tokens").failed(2)
    assert "has no deployment with traffic" in said  # which is known only after the token was accepted


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--prompt", "hi", "--slot", "purple"), 2, "has no deployment 'purple'"),
        (("--prompt", "hi", "--slot", "broken"), 1, "the model answered with status"),
        (("--prompt", " "), 2, "--prompt is empty"),
        (("--prompt", "hi", "--parameter", "hot"), 2, "'hot' is not of the form NAME=VALUE"),
        (("--prompt", "hi", "--endpoint", "nowhere"), 2, "endpoint 'nowhere' does not exist"),
        (("--sample", "gone.jsonl"), 2, "'gone.jsonl' does not exist"),
        (("--request", "gone.json"), 2, "'gone.json' does not exist"),
        (("--prompt", "hi", "--key-file", "gone.key"), 2, "'gone.key' does not exist"),
    ],
)
def test_a_bad_question_is_one_error(traffic, script: Script, arguments, code, said) -> None:
    traffic(blue=100)
    assert said in script("invoke", *arguments).failed(code)


def test_a_request_file_that_is_no_json_and_a_wrong_key_are_named(traffic, script: Script, tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text("{")
    assert "is not JSON" in script("invoke", "--request", tmp_path / "request.json").failed(2)
    (tmp_path / "key").write_text("wrong\n")
    said = script("invoke", "--prompt", "hi", "--key-file", tmp_path / "key").failed(3)
    assert "endpoint 'test-chat' did not accept the key" in said


# -- deploy_model


@pytest.fixture
def deployments(stack: Stack):
    def names() -> set[str]:
        path = f"{stack.workspace}/onlineEndpoints/test-chat/deployments?api-version=2023-04-01-preview"
        return {found["name"] for found in stack.cloud.arm("GET", path)["value"]}

    return names


def settings(tmp_path: Path, **changes: object) -> Path:
    file = tmp_path / "deployment.yml"
    file.write_text(json.dumps({"instance_type": "Standard_DS3_v2", "instance_count": 1, **changes}))
    return file


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "either --model and --slot, or --restore, or --delete"),
        (("--model", BASE), "needed together"),
        (("--model", BASE, "--slot", "b"), "'b' is not a deployment name"),
        (("--model", "mine", "--slot", "red"), "'mine' is neither name:version nor"),
        (("--model", "mine:7", "--slot", "red"), "model 'mine:7' does not exist in workspace 'test'"),
        (
            ("--model", BASE.replace("Smol", "Small"), "--slot", "red"),
            "no deployment settings for base model 'SmallLM2",
        ),
        (("--model", BASE.replace("/1", "/9"), "--slot", "red"), "does not exist"),
        (("--model", BASE, "--slot", "red", "--endpoint", "nowhere"), "endpoint 'nowhere' does not exist"),
        (("--delete", "red", "--endpoint", "nowhere"), "endpoint 'nowhere' does not exist"),
        (("--model", BASE, "--slot", "red", "--deployment", "gone.yml"), "'gone.yml' does not exist"),
        (("--model", BASE, "--slot", "blue"), "serves 100 % of the traffic"),
    ],
)
def test_a_deployment_that_cannot_be_is_refused_before_it_starts(traffic, script, deployments, arguments, said) -> None:
    traffic(blue=100)
    before = deployments()
    assert said in script("deploy_model", *arguments).failed(2)
    assert deployments() == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"instance_type": "Standard_NC6s_v3"}, "was retired by Azure on 2025-09-30"),
        ({"instance_type": "Standard_ND40rs_v2"}, "not on the inference allow-list of 'SmolLM2-135M-Instruct'"),
        ({"instance_count": 0}, "'instance_count' cannot be 0"),
        ({"instance_typ": "x"}, "unknown key 'instance_typ'; did you mean 'instance_type'?"),
        ({"request_settings": {"request_timeout_ms": 200_000}}, "request_timeout_ms"),
    ],
)
def test_bad_settings_are_refused(served, stack, script: Script, tmp_path, changes, said) -> None:
    file = settings(tmp_path, **changes)
    assert said in script("deploy_model", "--model", BASE, "--slot", "red", "--deployment", file).failed(2)


def test_a_dry_run_deploys_nothing(served, stack, script: Script, deployments) -> None:
    ended = script("deploy_model", "--model", BASE, "--slot", "red", "--dry-run", "--json")
    record = json.loads(ended.out)
    assert record["settings"]["liveness_probe"]["initial_delay"] == 600
    assert record["settings"]["request_settings"]["request_timeout_ms"] == 90_000
    assert "red" not in deployments()


def test_a_deployment_that_never_becomes_healthy_ends_with_4(served, stack: Stack, script: Script) -> None:
    stack.cloud.cloud.faults.arm("deployment.create", ArmError(400, "ResourceNotReady", "liveness probe failed"))
    said = script("deploy_model", "--model", BASE, "--slot", "red").failed(4)
    assert "deployment 'red' failed: liveness probe failed" in said
    assert "--delete red" in said
    assert script("deploy_model", "--delete", "red").handle == "red"


def test_a_slot_that_serves_is_not_deleted_from_under_its_users(traffic, script: Script, deployments) -> None:
    traffic(blue=90, green=10)
    said = script("deploy_model", "--delete", "green").failed(2)
    assert "deployment 'green' serves 10 % of the traffic" in said
    assert "green" in deployments()


def test_deleting_what_is_not_there_is_done_already(served, stack, script: Script) -> None:
    ended = script("deploy_model", "--delete", "purple")
    assert ended.handle == "purple"
    assert "does not exist, which is what was asked for" in ended.err


def test_every_committed_deployment_waits_ten_minutes_and_answers_in_ninety_seconds() -> None:
    from tunestack.deployments import deployment_settings
    from tunestack.recipes import recipe

    models = {recipe.read(file).model.name for file in (ROOT / "pipelines" / "finetune").glob("*.yml")}
    for model in models:
        found = deployment_settings.read(deployment_settings.for_base(ROOT / "pipelines" / "serve", model))
        assert found.liveness_probe.initial_delay == 600
        assert found.request_settings.request_timeout_ms == 90_000


# Last in this file: it takes all deployments away.
def test_the_last_serving_slots_go_together_and_take_the_traffic_with_them(
    traffic, script: Script, deployments
) -> None:
    traffic(blue=90, green=10)
    slots = ("--delete", "blue", "--delete", "green", "--delete", "broken")
    assert script("deploy_model", *slots).handle == "blue green broken"
    assert deployments() == set()
    assert traffic() == {}

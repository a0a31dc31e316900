"""Jobs that are refused when they are submitted: what the client does not check, one clear error each, nothing kept."""

from __future__ import annotations

import json
from http.client import HTTPSConnection
from typing import Any

import pytest

from localcloud.services import entra
from tests.conftest import HANG_SECONDS, RunningCloud
from tests.localcloud.runner.conftest import ENVIRONMENT, WORKSPACE, make_workspace

VERSION = "api-version=2024-01-01-preview"
COMMAND: dict[str, Any] = {"jobType": "Command", "command": "echo x", "environmentId": ENVIRONMENT}
CODE = f"{WORKSPACE}/codes/c0ffee00-0000-0000-0000-000000000000/versions/1"


@pytest.fixture
def cloud(local_cloud: RunningCloud) -> RunningCloud:
    make_workspace(local_cloud)
    return local_cloud


def put(cloud: RunningCloud, name: str, properties: Any, token: str | None = "https://ml.azure.com") -> tuple[int, Any]:
    """(status, body) of a job's PUT."""
    import ssl

    context = ssl.create_default_context(cafile=str(cloud.running.state / "ca.pem"))
    connection = HTTPSConnection("127.0.0.1", cloud.running.addresses.tls, context=context, timeout=HANG_SECONDS)
    headers = {"Host": "management.azure.com", "Authorization": f"Bearer {cloud.running.token()}"}
    if token:
        headers["x-azureml-token"] = entra.issue_token(cloud.cloud, token)
    connection.request("PUT", f"{WORKSPACE}/jobs/{name}?{VERSION}", json.dumps({"properties": properties}), headers)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    return answer.status, body


def pipeline(**node: Any) -> dict[str, Any]:
    """A pipeline of one node."""
    step = {"type": "command", "componentId": f"{WORKSPACE}/components/greet/versions/1", "inputs": {}, **node}
    return {"jobType": "Pipeline", "jobs": {"greet": step}, "settings": {"default_compute": "cpu-cluster"}}


def component(cloud: RunningCloud, **inputs: Any) -> None:
    spec = {
        "type": "command",
        "command": "echo ${{inputs.times}} ${{outputs.made}}",
        "environment": ENVIRONMENT,
        "inputs": {"times": {"type": "integer", "min": "1", "max": "5"}, **inputs},
        "outputs": {"made": {"type": "uri_folder"}},
    }
    path = f"{WORKSPACE}/components/greet/versions/1?{VERSION}"
    cloud.arm("PUT", path, {"properties": {"componentSpec": spec}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"computeId": f"{WORKSPACE}/computes/nope"}, "compute 'nope', which does not exist"),
        ({"environmentId": f"{WORKSPACE}/environments/own/versions/3"}, "environment 'own' version '3'"),
        ({"environmentId": None}, "names no environment"),
        ({"codeId": CODE}, "code 'c0ffee00-0000-0000-0000-000000000000/versions/1', which does not exist"),
        ({"command": ""}, "has no command"),
        ({"command": "echo ${{inputs.x}}"}, "the job has no input 'x'"),
        ({"command": "echo ${{inptus.x}}"}, "neither an input nor an output"),
        ({"inputs": {"d": {"jobInputType": "uri_file", "uri": f"{WORKSPACE}/data/d/versions/1"}}}, "does not exist"),
        ({"inputs": {"d": {"jobInputType": "uri_file", "uri": "azureml://datastores/n/paths/x"}}}, "datastore 'n'"),
        ({"inputs": {"d": {"jobInputType": "uri_file", "uri": "https://example.com/x"}}}, "https://example.com/x"),
        ({"limits": {"jobLimitsType": "Command", "timeout": "soon"}}, "'soon' is not a duration"),
        ({"experimentName": "a\nb"}, "cannot be an experiment's name"),
        ({"colour": "red"}, "'colour'"),
        ({"jobType": "Compute"}, "The job type 'Compute'"),
    ],
)
def test_a_command_job_with_a_mistake_is_refused_with_the_value(
    cloud: RunningCloud, change: dict[str, Any], message: str
) -> None:
    status, body = put(cloud, "bad", {**COMMAND, **change})
    assert status == 400
    assert message in body["error"]["message"]
    assert cloud.arm("GET", f"{WORKSPACE}/jobs?{VERSION}")["value"] == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "the required input 'times' (integer) has no value"),
        ({"times": "many"}, "'many', which is not an integer"),
        ({"times": "0"}, "'0', which is below the minimum 1"),
        ({"times": "9"}, "'9', which is above the maximum 5"),
        ({"times": "2", "tiems": "2"}, "has no input 'tiems'"),
        ({"times": "2", "kind": "c"}, "'c', which is not one of: a, b"),
        ({"times": "2", "loud": "yes"}, "'yes', which is not a boolean"),
        ({"times": "2", "rate": "high"}, "'high', which is not a number"),
        ({"times": {"job_input_type": "uri_file", "uri": "azureml://datastores/workspaceblobstore/paths/x"}}, "asset"),
        ({"times": "${{parent.inputs.count}}"}, "'count', no input of the pipeline"),
        ({"times": "${{parent.jobs.other.outputs.x}}"}, "node 'other', which does not exist"),
        ({"times": "2", "data": "${{parent.jobs.greet.outputs.made}}"}, "in a circle"),
    ],
)
def test_a_nodes_inputs_are_checked_against_its_component(
    cloud: RunningCloud, given: dict[str, Any], message: str
) -> None:
    component(
        cloud,
        kind={"type": "string", "enum": ["a", "b"], "optional": True},
        loud={"type": "boolean", "optional": True},
        rate={"type": "number", "optional": True},
        data={"type": "uri_folder", "optional": True},
    )
    inputs = {
        name: {"job_input_type": "literal", "value": it} if isinstance(it, str) else it for name, it in given.items()
    }
    status, body = put(cloud, "bad", pipeline(inputs=inputs))
    assert status == 400
    assert message in body["error"]["message"]


def test_everything_that_is_wrong_is_said_at_once(cloud: RunningCloud) -> None:
    status, body = put(cloud, "bad", {**COMMAND, "computeId": f"{WORKSPACE}/computes/nope", "codeId": CODE})
    assert status == 400
    assert len(body["error"]["details"]) == 2


def test_a_component_that_does_not_exist_is_named(cloud: RunningCloud) -> None:
    status, body = put(cloud, "bad", pipeline())
    assert status == 400
    assert "Component 'greet/versions/1' does not exist" in body["error"]["message"]


def test_a_pipeline_needs_a_token_for_azure_ml(cloud: RunningCloud) -> None:
    component(cloud)
    node = pipeline(inputs={"times": {"job_input_type": "literal", "value": "1"}})
    assert put(cloud, "bad", node, token=None)[0] == 400
    assert put(cloud, "bad", node, token="https://management.azure.com")[0] == 401


@pytest.mark.parametrize("kind", ["Sweep", "AutoML", "FineTuning", "Spark"])
def test_other_types_of_job_answer_501(cloud: RunningCloud, kind: str) -> None:
    status, body = put(cloud, "bad", {"jobType": kind})
    assert status == 501
    assert f"'{kind}'" in body["error"]["message"]


def test_a_failed_cluster_takes_no_jobs(cloud: RunningCloud) -> None:
    compute = cloud.cloud.store.get(f"{WORKSPACE}/computes/cpu-cluster")
    assert compute
    compute["properties"]["provisioningState"] = "Failed"
    cloud.cloud.store.put(compute["id"], compute)
    status, body = put(cloud, "bad", {**COMMAND, "computeId": compute["id"]})
    assert status == 400
    assert "'cpu-cluster', which is in state 'Failed'" in body["error"]["message"]


def test_the_same_job_again_is_the_same_job_and_another_of_its_name_is_a_conflict(cloud: RunningCloud) -> None:
    assert put(cloud, "one", COMMAND)[0] == 201
    status, body = put(cloud, "one", {**COMMAND, "tags": {"a": "b"}})
    assert status == 200
    assert body["properties"]["tags"] == {"a": "b"}
    status, body = put(cloud, "one", {**COMMAND, "command": "echo y"})
    assert status == 409
    assert "its command cannot be changed" in body["error"]["message"]


def test_known_members_are_those_of_the_public_contract() -> None:
    from azure.ai.ml._restclient.arm_ml_service import models

    from localcloud.services.ml.job_checks import KNOWN_MEMBERS

    for name, known in KNOWN_MEMBERS.items():
        model = getattr(models, f"{name}Job")()
        assert set(known) == {field._rest_name for field in model._attr_to_rest_field.values()}

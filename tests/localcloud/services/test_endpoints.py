"""Endpoints and deployments as a client sees them: through the real SDK, and what ARM refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud import client
from localcloud.arm import ArmError
from localcloud.client import CallFailed
from localcloud.cloud import SUBSCRIPTION
from tests.conftest import RunningCloud
from tests.localcloud.serving.playground import WORKSPACE, Playground

SCORE = """
import json, os, pathlib
def init():
    global name
    name = next(pathlib.Path(os.environ["AZUREML_MODEL_DIR"]).rglob("name.txt")).read_text()
    print("loaded", name)
def run(raw):
    return {"by": os.environ["BY"], "model": name, "got": json.loads(raw)}
"""


@pytest.fixture
def playground(local_cloud: RunningCloud) -> Iterator[Playground]:
    made = Playground(local_cloud)
    yield made
    made.close()


# -- through the SDK -------------------------------------------------------------------------------------------


@pytest.fixture
def ml_client(local_cloud: RunningCloud) -> Any:
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    names = client.make_workspace(local_cloud.running, "playground", "eastus")
    return MLClient(DefaultAzureCredential(), SUBSCRIPTION, names["resource_group"], names["workspace_name"])


def _deployment(folder: Path, slot: str, **options: Any) -> Any:
    from azure.ai.ml.entities import CodeConfiguration, Environment, ManagedOnlineDeployment, Model

    return ManagedOnlineDeployment(
        name=slot,
        endpoint_name="through-the-sdk",
        model=Model(path=str(folder / "model")),
        environment=Environment(image="mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04"),
        code_configuration=CodeConfiguration(code=str(folder / "code"), scoring_script="score.py"),
        environment_variables={"BY": slot},
        instance_type="Standard_DS3_v2",
        instance_count=1,
        **options,
    )


def test_the_sdk_rolls_out_two_deployments_and_takes_them_down(
    ml_client: Any, tmp_path: Path, local_cloud: RunningCloud
) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint, OnlineRequestSettings
    from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

    for path, text in {"code/score.py": SCORE, "model/name.txt": "tiny", "request.json": '{"n": 1}'}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    name, request = "through-the-sdk", str(tmp_path / "request.json")
    made = ml_client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode="key")).result()
    assert made.scoring_uri == f"https://{name}.eastus.inference.ml.azure.com/score"
    assert made.identity.principal_id
    settings = OnlineRequestSettings(max_concurrent_requests_per_instance=4, request_timeout_ms=90000)
    for slot in ("blue", "green"):
        asked = _deployment(tmp_path, slot, request_settings=settings)
        assert ml_client.online_deployments.begin_create_or_update(asked).result().provisioning_state == "Succeeded"

    endpoint = ml_client.online_endpoints.get(name)
    assert endpoint.traffic == {"blue": 0, "green": 0}
    endpoint.traffic, endpoint.mirror_traffic = {"blue": 100}, {"green": 10}
    ml_client.online_endpoints.begin_create_or_update(endpoint).result()
    answer = json.loads(ml_client.online_endpoints.invoke(name, request_file=request))
    assert answer == {"by": "blue", "model": "tiny", "got": {"n": 1}}
    answer = json.loads(ml_client.online_endpoints.invoke(name, request_file=request, deployment_name="green"))
    assert answer["by"] == "green"

    processes = local_cloud.cloud.store.records("deployment-process")
    fetched = ml_client.online_deployments.get("green", name)
    fetched.tags = {"weights": "before"}
    tagged = ml_client.online_deployments.begin_create_or_update(fetched).result()
    assert (tagged.tags, tagged.environment_variables["BY"]) == ({"weights": "before"}, "green")
    assert local_cloud.cloud.store.records("deployment-process") == processes

    before = ml_client.online_endpoints.get_keys(name)
    ml_client.online_endpoints.begin_regenerate_keys(name, key_type="secondary").result()
    after = ml_client.online_endpoints.get_keys(name)
    assert (before.primary_key, before.secondary_key != after.secondary_key) == (after.primary_key, True)
    assert "loaded tiny" in ml_client.online_deployments.get_logs("green", name, lines=50)
    assert [found.name for found in ml_client.online_deployments.list(name)] == ["blue", "green"]

    with pytest.raises(HttpResponseError, match="cannot be deleted"):
        ml_client.online_deployments.begin_delete("blue", name).result()
    ml_client.online_endpoints.begin_delete(name).result()
    with pytest.raises(ResourceNotFoundError):
        ml_client.online_endpoints.get(name)


def test_the_sdk_shows_why_a_deployment_did_not_become_ready(ml_client: Any, tmp_path: Path) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint
    from azure.core.exceptions import HttpResponseError

    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "score.py").write_text("def init(): raise SystemError('no luck')\ndef run(raw): pass\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "name.txt").write_text("tiny")
    name = "through-the-sdk"
    ml_client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode="aad_token")).result()
    with pytest.raises(HttpResponseError, match=r"\(ResourceNotReady\) User container has crashed"):
        ml_client.online_deployments.begin_create_or_update(_deployment(tmp_path, "blue")).result()
    assert ml_client.online_deployments.get("blue", name).provisioning_state == "Failed"
    assert "no luck" in ml_client.online_deployments.get_logs("blue", name, lines=50)


# -- over ARM --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ab", "1abc", "with--two", "under_score", "a" * 33, "end-"])
def test_a_wrong_endpoint_name_is_refused(name: str, playground: Playground) -> None:
    with pytest.raises(CallFailed, match=f"'{name}' is not valid"):
        playground.endpoint(name)


def test_the_name_is_taken_for_the_whole_region(playground: Playground) -> None:
    playground.endpoint()
    other = WORKSPACE[:-2] + "other"
    playground.local.cloud.store.put(other, {"id": other, "name": "other", "location": "eastus", "properties": {}})
    body = {"location": "eastus", "properties": {"authMode": "Key"}}
    with pytest.raises(CallFailed, match=r"Conflict.*already an endpoint"):
        playground.local.arm("PUT", f"{other}/onlineEndpoints/chat?api-version=1", body)
    playground.arm("DELETE", "onlineEndpoints/chat")
    playground.local.arm("PUT", f"{other}/onlineEndpoints/chat?api-version=1", body)


def test_traffic_is_checked_and_a_put_without_it_clears_it(playground: Playground) -> None:
    playground.endpoint()
    playground.fake("blue")
    playground.fake("green")
    for rules, words in [
        ({"traffic": {"blue": 50}}, "sums to 50"),
        ({"traffic": {"blue": 60, "green": 50}}, "sums to 110"),
        ({"traffic": {"red": 100}}, "absent deployment 'red'"),
        ({"traffic": {"blue": 100.5}}, "whole number"),
        ({"traffic": {"blue": 100}, "mirrorTraffic": {"green": 51}}, "at most 50"),
        ({"traffic": {"blue": 100}, "mirrorTraffic": {"blue": 10}}, "100 % of live traffic"),
        ({"mirrorTraffic": {"green": 10, "blue": 10}}, "more than one deployment"),
    ]:
        with pytest.raises(CallFailed, match=f"BadRequest.*{words}"):
            playground.endpoint(**rules)
    playground.endpoint(traffic={"blue": 90, "green": 10})
    assert playground.arm("GET", "onlineEndpoints/chat")["properties"]["traffic"] == {"blue": 90, "green": 10}
    with pytest.raises(CallFailed, match="10 % of the endpoint's traffic"):
        playground.arm("DELETE", "onlineEndpoints/chat/deployments/green")
    playground.endpoint(traffic={"blue": 100, "green": 0})
    playground.arm("DELETE", "onlineEndpoints/chat/deployments/green")
    assert playground.arm("GET", "onlineEndpoints/chat")["properties"]["traffic"] == {"blue": 100}
    patched = playground.arm("PATCH", "onlineEndpoints/chat", {"tags": {"a": "b"}})
    assert (patched["tags"], patched["properties"]["traffic"]) == ({"a": "b"}, {"blue": 100})
    playground.endpoint()
    assert playground.arm("GET", "onlineEndpoints/chat")["properties"]["traffic"] == {}


def test_an_endpoint_keeps_who_it_is_when_it_is_put_again(playground: Playground) -> None:
    playground.endpoint()
    first, keys = playground.arm("GET", "onlineEndpoints/chat"), playground.key()
    playground.endpoint(description="again")
    second = playground.arm("GET", "onlineEndpoints/chat")
    assert second["identity"] == first["identity"]
    assert second["systemData"]["createdAt"] == first["systemData"]["createdAt"]
    assert playground.key() == keys
    assert second["properties"]["swaggerUri"] == "https://chat.eastus.inference.ml.azure.com/swagger.json"
    assert "keys" not in second["properties"]


def test_keys_and_tokens_exist_only_where_the_mode_has_them(playground: Playground) -> None:
    playground.endpoint("entra", auth="AADToken")
    playground.endpoint("keyed")
    with pytest.raises(CallFailed, match="has authMode 'AADToken' and therefore no keys"):
        playground.key("entra")
    with pytest.raises(CallFailed, match="therefore no tokens"):
        playground.arm("POST", "onlineEndpoints/keyed/token")
    with pytest.raises(CallFailed, match="'Tertiary'"):
        playground.arm("POST", "onlineEndpoints/keyed/regenerateKeys", {"keyType": "Tertiary"})
    with pytest.raises(CallFailed, match="'None'"):
        playground.endpoint("none", auth="None")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"instanceType": "Standard_NC6s_v3"}, "was retired on 2025-09-30"),
        ({"instanceType": "Standard_Nothing"}, "'Standard_Nothing' is not offered"),
        ({"endpointComputeType": "Kubernetes"}, "'Managed' deployments only"),
        ({"colour": "red"}, "Could not find member 'colour'"),
        ({"requestSettings": {"requestTimeout": "PT5M"}}, "at most 180 seconds"),
        ({"requestSettings": {"requestTimeout": "90"}}, "no ISO 8601 duration"),
        ({"livenessProbe": {"failureThreshold": 0}}, "whole number of 1 or more"),
        (
            {"codeConfiguration": {"codeId": f"{WORKSPACE}/codes/x/versions/1", "scoringScript": "s.py"}},
            "does not exist",
        ),
        ({"model": f"{WORKSPACE}/models/absent/versions/3"}, "models/absent/versions/3"),
        ({"model": "azureml://registries/azureml/models/absent/versions/3"}, "absent"),
        ({"codeConfiguration": None}, "needs 'properties.model'"),
    ],
)
def test_a_wrong_deployment_is_refused_and_nothing_is_left(change: Any, words: str, playground: Playground) -> None:
    playground.endpoint()
    with pytest.raises(CallFailed, match=words):
        playground.arm("PUT", "onlineEndpoints/chat/deployments/blue", playground.body(**change))
    assert playground.arm("GET", "onlineEndpoints/chat/deployments")["value"] == []


def test_a_deployment_needs_its_endpoint(playground: Playground) -> None:
    with pytest.raises(CallFailed, match=r"ResourceNotFound.*onlineEndpoints/ws/absent"):
        playground.arm("PUT", "onlineEndpoints/absent/deployments/blue", playground.body())


def test_a_model_without_code_or_mlflow_says_what_is_missing(playground: Playground) -> None:
    playground.endpoint()
    model = playground.model("plain", {"weights.txt": "x"})
    with pytest.raises(CallFailed, match=r"no MLflow model.*runs no container images"):
        playground.arm("PUT", "onlineEndpoints/chat/deployments/blue", playground.body(None, model=model))


def test_more_than_the_quota_fails_as_out_of_quota(playground: Playground) -> None:
    playground.endpoint()
    body = playground.body(instanceType="Standard_DS5_v2") | {"sku": {"name": "Default", "capacity": 6}}
    found = playground.put("blue", body)
    assert found["properties"]["provisioningState"] == "Failed"
    (error,) = [record["error"] for _, record in playground.local.cloud.store.records("operation") if "error" in record]
    assert error["code"] == "OutOfQuota"
    # 6 instances and the 20 % that are reserved make 8 machines of 16 cores.
    assert "Additional needed: 128" in error["message"]
    body["sku"] = {"name": "Default", "capacity": 5}
    assert playground.put("blue", body)["properties"]["provisioningState"] == "Succeeded"
    skus = playground.arm("GET", "onlineEndpoints/chat/deployments/blue/skus")["value"]
    assert skus[0]["capacity"]["default"] == 5


def test_armed_faults_fail_the_put_of_an_endpoint_and_the_operation_of_a_deployment(playground: Playground) -> None:
    faults = playground.local.cloud.faults
    faults.arm("endpoint.create", ArmError(403, "AuthorizationFailed", "no right to write"))
    with pytest.raises(CallFailed, match="AuthorizationFailed"):
        playground.endpoint()
    playground.endpoint()
    faults.arm("deployment.create", ArmError(400, "BadArgument", "ImageBuildFailure"))
    assert playground.deploy("blue")["properties"]["provisioningState"] == "Failed"
    assert playground.deploy("blue")["properties"]["provisioningState"] == "Succeeded"

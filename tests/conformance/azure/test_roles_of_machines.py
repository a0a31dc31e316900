"""Jobs and deployments whose identity has no role, on Azure; and a live endpoint's traffic.

They wait for machines, so that they take longest and cost most of these tests.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.azure.conftest import LOCATION, SUBSCRIPTION, Azure, Stand

SIZE = "Standard_DS3_v2"
IMAGE = "mcr.microsoft.com/azureml/minimal-ubuntu22.04-py39-cpu-inference:latest"
SCORE = "def init(): pass\ndef run(raw): return raw\n"


@pytest.fixture(scope="module")
def ml(stand: Stand, azure: Azure) -> Any:
    from azure.ai.ml import MLClient

    names = stand.workspace.split("/")
    return MLClient(azure.credential, SUBSCRIPTION, names[4], names[-1])


@pytest.fixture(scope="module")
def identity(stand: Stand, azure: Azure) -> str:
    """A user-assigned identity without any role."""
    wanted = f"{stand.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/powerless"
    assert azure.arm("PUT", wanted, "2023-01-31", {"location": LOCATION}).status < 300
    return wanted


def test_a_job_without_its_clusters_data_role_fails(stand: Stand, ml: Any, identity: str, tmp_path: Path) -> None:
    from azure.ai.ml import Input, command
    from azure.ai.ml.entities import AmlCompute, Data, IdentityConfiguration, ManagedIdentityConfiguration

    (tmp_path / "rows.jsonl").write_text("{}\n")
    rows = ml.data.create_or_update(Data(name="rows", path=str(tmp_path / "rows.jsonl"), type="uri_file"))
    own = IdentityConfiguration(
        type="user_assigned", user_assigned_identities=[ManagedIdentityConfiguration(resource_id=identity)]
    )
    ml.compute.begin_create_or_update(
        AmlCompute(name="powerless", size=SIZE, min_instances=0, max_instances=1, identity=own)
    ).result()
    job = ml.jobs.create_or_update(
        command(
            command="cat ${{inputs.rows}}",
            inputs={"rows": Input(type="uri_file", path=rows.path)},
            environment="azureml://registries/azureml/environments/sklearn-1.5/labels/latest",
            compute="powerless",
        )
    )
    with pytest.raises(Exception, match=r"(?i)permission|authoriz|forbidden|403"):
        ml.jobs.stream(job.name)
    assert ml.jobs.get(job.name).status == "Failed"


def test_a_deployment_without_its_endpoints_roles_fails(stand: Stand, ml: Any, identity: str, tmp_path: Path) -> None:
    from azure.ai.ml.entities import (
        CodeConfiguration,
        Environment,
        IdentityConfiguration,
        ManagedIdentityConfiguration,
        ManagedOnlineDeployment,
        ManagedOnlineEndpoint,
        Model,
    )

    (tmp_path / "score.py").write_text(SCORE)
    own = IdentityConfiguration(
        type="user_assigned", user_assigned_identities=[ManagedIdentityConfiguration(resource_id=identity)]
    )
    endpoint = ManagedOnlineEndpoint(name=f"powerless-{stand.suffix}", auth_mode="aad_token", identity=own)
    ml.online_endpoints.begin_create_or_update(endpoint).result()
    deployment = ManagedOnlineDeployment(
        name="blue",
        endpoint_name=endpoint.name,
        model=Model(path=str(tmp_path / "score.py"), type="custom_model"),
        code_configuration=CodeConfiguration(code=str(tmp_path), scoring_script="score.py"),
        environment=Environment(image=IMAGE),
        instance_type=SIZE,
        instance_count=1,
    )
    with pytest.raises(Exception, match=r"(?i)permission|authoriz|forbidden|403"):
        ml.online_deployments.begin_create_or_update(deployment).result()
    ml.online_endpoints.begin_delete(endpoint.name).result()


if os.environ.get("TUNESTACK_TEST_ENDPOINT"):

    def test_a_put_of_an_endpoint_without_its_traffic_clears_it(azure: Azure) -> None:
        """`TUNESTACK_TEST_ENDPOINT` is the id of an endpoint with a deployment; its traffic is put back."""
        path = os.environ["TUNESTACK_TEST_ENDPOINT"]
        before = azure.arm("GET", path, "2024-10-01").body
        assert before["properties"]["traffic"], "give one deployment of the endpoint traffic first"
        kept = {name: before[name] for name in ("location", "tags", "identity", "kind", "sku") if name in before}
        properties = {name: before["properties"][name] for name in ("authMode", "publicNetworkAccess")}
        azure.arm("PUT", path, "2024-10-01", {**kept, "properties": properties})
        try:
            assert azure.arm("GET", path, "2024-10-01").body["properties"].get("traffic") in (None, {})
        finally:
            whole = {**kept, "properties": {**properties, "traffic": before["properties"]["traffic"]}}
            azure.arm("PUT", path, "2024-10-01", whole)

"""Data, models, code, components and environments through the unmodified SDK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from azure.ai.ml import Input
from azure.ai.ml.entities import CommandComponent, Data, Environment, Model
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from localcloud.arm import ArmError
from localcloud.client import CallFailed
from localcloud.services.ml.paths import datastore_uri, local_path
from tests.localcloud.services.conftest import VERSION, WORKSPACE, Account, place

STORE = "azureml://datastores/workspaceblobstore/paths"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n')
    return path


@pytest.fixture
def mlflow_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors:\n  hftransformersv2:\n    task_type: chat-completion\n")
    (folder / "data" / "weights.bin").write_bytes(b"1" * 100)
    return folder


def _step(**changes: Any) -> CommandComponent:
    wanted = {"name": "step", "version": "1", "command": "echo", "environment": "azureml:env:1", **changes}
    return CommandComponent(inputs={"x": Input(type="string", default="1")}, **wanted)


# -- data ------------------------------------------------------------------------------------------------------


def test_data_without_a_version_gets_the_next_one(ml: Any, rows: Path) -> None:
    made = [ml.data.create_or_update(Data(name="rows", path=str(rows), type="uri_file")) for _ in range(2)]
    assert [item.version for item in made] == ["1", "2"]
    assert made[0].path == made[1].path
    assert ml.data.get("rows", label="latest").version == "2"
    assert [item.version for item in ml.data.list("rows")] == ["2", "1"]
    assert [item.name for item in ml.data.list()] == ["rows"]


def test_uploaded_data_lies_where_its_uri_says(ml: Any, account: Account, rows: Path) -> None:
    made = ml.data.create_or_update(Data(name="rows", version="1", path=str(rows), type="uri_file"))
    cloud = account.cloud.cloud
    for reference in (made.path, made.id, "azureml:rows:1", f"azureml:{made.id}"):
        assert local_path(cloud, WORKSPACE, reference).read_text() == rows.read_text()


def test_the_path_of_a_version_never_changes(ml: Any) -> None:
    ml.data.create_or_update(Data(name="rows", version="1", path=f"{STORE}/a/", type="uri_folder"))
    with pytest.raises(ResourceExistsError, match="Asset paths cannot be updated"):
        ml.data.create_or_update(Data(name="rows", version="1", path=f"{STORE}/b/", type="uri_folder"))
    again = Data(name="rows", version="1", path=f"{STORE}/a/", type="uri_folder", tags={"k": "v"})
    assert ml.data.create_or_update(again).tags == {"k": "v"}


def test_data_in_a_datastore_that_is_not_there_is_refused(ml: Any) -> None:
    wanted = Data(name="rows", version="1", path="azureml://datastores/nope/paths/a", type="uri_file")
    with pytest.raises(ResourceNotFoundError, match="The datastore 'nope'"):
        ml.data.create_or_update(wanted)


def test_archived_data_is_hidden_until_it_is_restored(ml: Any, rows: Path) -> None:
    ml.data.create_or_update(Data(name="rows", version="1", path=str(rows), type="uri_file"))
    ml.data.archive("rows", version="1")
    assert list(ml.data.list("rows")) == []
    ml.data.restore("rows", version="1")
    assert [item.version for item in ml.data.list("rows")] == ["1"]
    ml.data.archive("rows")
    assert list(ml.data.list()) == []


def test_a_member_that_assets_do_not_have_is_named(workspace: Any, account: Account) -> None:
    body = {"properties": {"dataType": "uri_file", "dataUri": f"{STORE}/a", "colour": "red"}}
    with pytest.raises(CallFailed, match="Could not find member 'colour'"):
        account.cloud.arm("PUT", f"{WORKSPACE}/data/rows/versions/1{VERSION}", body)


# -- models ----------------------------------------------------------------------------------------------------


def test_an_mlflow_model_gets_the_flavors_of_its_file(ml: Any, mlflow_folder: Path, tmp_path: Path) -> None:
    made = ml.models.create_or_update(Model(name="m", path=str(mlflow_folder), type="mlflow_model"))
    assert made.version == "1"
    assert made.flavors == {"hftransformersv2": {"task_type": "chat-completion"}}
    ml.models.download("m", "1", download_path=str(tmp_path / "down"))
    assert (tmp_path / "down" / "m" / "model" / "data" / "weights.bin").read_bytes() == b"1" * 100
    assert ml.models.get("m", label="latest").version == "1"


def test_a_folder_without_mlmodel_is_no_mlflow_model(ml: Any, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.txt").write_text("a")
    with pytest.raises(HttpResponseError, match="it has no file 'MLmodel'"):
        ml.models.create_or_update(Model(name="m", version="1", path=str(tmp_path / "x"), type="mlflow_model"))


def test_a_model_from_a_jobs_output_lies_in_the_jobs_folder(ml: Any, account: Account, mlflow_folder: Path) -> None:
    cloud = account.cloud.cloud
    uri = datastore_uri(WORKSPACE, "workspaceblobstore", "azureml/job1/trained_model/")
    target = local_path(cloud, WORKSPACE, uri)
    mlflow_folder.rename(target.parent.mkdir(parents=True) or target)
    place(account.cloud, f"{WORKSPACE}/jobs/job1", {"status": "Completed", "outputs": {"trained_model": {"uri": uri}}})
    path = "azureml://jobs/job1/outputs/trained_model"
    made = ml.models.create_or_update(Model(name="tuned", version="17", path=path, type="mlflow_model"))
    assert made.path == uri.rstrip("/")
    assert made.job_name == "job1"
    assert local_path(cloud, WORKSPACE, "azureml:tuned:17") == target
    again = ml.models.create_or_update(Model(name="tuned", version="17", path=path, type="mlflow_model"))
    assert again.version == "17"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("azureml://jobs/nope/outputs/x", "The job 'nope'"),
        ("azureml://jobs/job1/outputs/x", "The job 'job1' has no output 'x' yet. Its outputs: y; its status: Running"),
        (f"{STORE}/nothing/here", "Nothing lies at the model's path"),
    ],
)
def test_a_model_from_nowhere_is_refused(path: str, message: str, ml: Any, account: Account) -> None:
    place(account.cloud, f"{WORKSPACE}/jobs/job1", {"status": "Running", "outputs": {"y": {"uri": f"{STORE}/y"}}})
    with pytest.raises(ResourceNotFoundError, match=message):
        ml.models.create_or_update(Model(name="m", version="1", path=path, type="mlflow_model"))


def test_latest_is_the_newest_that_is_not_archived(ml: Any, mlflow_folder: Path) -> None:
    for version in ("10", "9"):
        ml.models.create_or_update(Model(name="m", version=version, path=str(mlflow_folder), type="mlflow_model"))
    assert ml.models.get("m", label="latest").version == "9"
    ml.models.archive("m", version="9")
    assert ml.models.get("m", label="latest").version == "10"


# -- code, components, environments ----------------------------------------------------------------------------


def test_the_same_code_is_uploaded_once(ml: Any, account: Account, tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    (source / "step.py").write_text("print('hello')\n")
    made = [ml.components.create_or_update(_step(version=v, code=str(source))) for v in ("1", "2")]
    assert made[0].code == made[1].code
    folder = local_path(account.cloud.cloud, WORKSPACE, made[0].code)
    assert (folder / "step.py").read_text() == "print('hello')\n"


def test_a_component_comes_back_as_it_was_registered(ml: Any) -> None:
    ml.environments.create_or_update(Environment(name="env", version="1", image="ubuntu"))
    ml.components.create_or_update(_step())
    found = ml.components.get("step", version="1")
    assert (found.command, found.inputs["x"].default) == ("echo", "1")
    assert found.environment.endswith("/environments/env/versions/1")
    with pytest.raises(ResourceExistsError, match="exists with other content"):
        ml.components.create_or_update(_step(command="other"))


def test_an_environment_keeps_its_conda_file_and_never_changes(ml: Any) -> None:
    conda = {"name": "c", "dependencies": ["python=3.11"]}
    ml.environments.create_or_update(Environment(name="env", version="1", image="ubuntu", conda_file=conda))
    assert ml.environments.get("env", version="1").conda_file == conda
    with pytest.raises(ResourceExistsError, match="exists with other content"):
        ml.environments.create_or_update(Environment(name="env", version="1", image="debian", conda_file=conda))


def test_an_environment_without_image_is_refused(workspace: Any, account: Account) -> None:
    with pytest.raises(CallFailed, match="needs an 'image'"):
        account.cloud.arm("PUT", f"{WORKSPACE}/environments/e/versions/1{VERSION}", {"properties": {"osType": "Linux"}})


def test_a_reference_that_leads_out_of_the_datastore_is_refused(workspace: Any, account: Account) -> None:
    with pytest.raises(ArmError, match="cannot be resolved"):
        local_path(account.cloud.cloud, WORKSPACE, f"{STORE}/../../../state.db")

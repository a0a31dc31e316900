"""What a deployment runs: which model and code it names, where they lie, and the program that serves them.

A chat model (MLflow, flavor `hftransformersv2` or `transformers`) is served by `scorer`, another MLflow model and a
scoring script by `script_host`. No container image is built or pulled: the environment is this Python.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from localcloud.arm import ArmError
from localcloud.cloud import Cloud
from localcloud.services.acting import Acting
from localcloud.services.ml.ids import workspace_of
from localcloud.services.ml.paths import local_path
from localcloud.store import Body

CHAT_FLAVORS = frozenset({"hftransformersv2", "transformers"})
_VERSION = re.compile(r"/(?:models|codes)/([^/]+)/versions/([^/]+)/?$", re.IGNORECASE)
_NOT_INHERITED = ("AZURE", "ARM_", "PULUMI_", "MLFLOW_", "LOCALCLOUD_")


@dataclass(frozen=True)
class Program:
    """A module of ours to be run with its arguments and a bound socket to listen on, in its folder and environment."""

    module: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path

    def argv(self, descriptor: int) -> list[str]:
        # -P keeps the user's folder behind the standard library: a file called http.py there must not break the host.
        child = "localcloud.serving.child"
        return [sys.executable, "-P", "-m", child, self.module, *self.arguments, "--descriptor", str(descriptor)]


@dataclass(frozen=True)
class Sources:
    """The model and the scoring script of a deployment, as they lie in blob storage; one of both may be absent."""

    model: Path | None
    model_name: str
    model_version: str
    flavors: frozenset[str]
    script: Path | None
    code: Path | None

    @property
    def is_mlflow(self) -> bool:
        return bool(self.flavors)


def find_sources(cloud: Cloud, deployment_id: str, properties: Mapping[str, Any]) -> Sources:
    """Where a deployment's parts lie. ArmError 400 names the part that is missing and what it would have been for."""
    workspace = workspace_of(deployment_id)
    model = properties.get("model")
    folder, name, version = None, "", ""
    if model:
        folder = _locate(cloud, workspace, "model", str(model))
        name, version = _name_and_version(str(model))
    script, code = _script(cloud, workspace, properties.get("codeConfiguration"))
    flavors = _flavors(folder) if folder else frozenset()
    if script is None and not flavors:
        raise _bad(
            f"The model '{model}' is no MLflow model, and the deployment has no 'properties.codeConfiguration'. "
            "Give a scoring script, or an MLflow model. (The local cloud runs no container images.)"
            if model
            else "A deployment needs 'properties.model', or 'properties.codeConfiguration' with a scoring script."
        )
    return Sources(folder, name, version, flavors, script, code)


def prepare(
    cloud: Cloud, sources: Sources, properties: Mapping[str, Any], folder: Path, identity: Acting | None = None
) -> Program:
    """Lay out the deployment's folder as a container has it, and tell what to run in it.

    AZUREML_MODEL_DIR is `…/<model>/<version>` and holds the model's own folder or file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**_environment(cloud, properties, identity), "AML_APP_ROOT": str(folder)}
    chat = _mlflow_folder(sources.model) if sources.script is None and sources.flavors & CHAT_FLAVORS else None
    if chat is not None:
        # Weights are large: the scorer reads them where they lie.
        environment["AZUREML_MODEL_DIR"] = str(chat.parent)
        return Program("localcloud.serving.scorer", ("--model-dir", str(chat)), environment, folder)
    if sources.model:
        environment["AZUREML_MODEL_DIR"] = str(_lay_out_model(sources, folder))
    if sources.script is not None and sources.code is not None:
        code = folder / "code"
        shutil.rmtree(code, ignore_errors=True)
        shutil.copytree(sources.code, code)
        script, place = code / sources.script.relative_to(sources.code), code
    else:
        script, place = Path(__file__).with_name("mlflow_score.py"), folder
    environment["AZUREML_ENTRY_SCRIPT"] = str(script)
    return Program("localcloud.serving.script_host", ("--script", str(script)), environment, place)


def fingerprint(body: Body) -> str:
    """What makes a process another one: two bodies with the same one differ in nothing that it could see."""
    properties = body["properties"]
    seen = ("model", "codeConfiguration", "environmentId", "environmentVariables")
    return repr([(name, properties.get(name) or None) for name in seen])


def _locate(cloud: Cloud, workspace: str, what: str, uri: str) -> Path:
    path = local_path(cloud, workspace, uri)
    if not path.exists():
        raise _bad(f"The deployment's {what} '{uri}' has no files: nothing lies at its path.")
    return path


def _script(cloud: Cloud, workspace: str, given: Mapping[str, Any] | None) -> tuple[Path | None, Path | None]:
    if not given:
        return None, None
    code_id, name = given.get("codeId"), given.get("scoringScript")
    if not code_id or not name:
        raise _bad("'properties.codeConfiguration' needs both 'codeId' and 'scoringScript' (with init() and run()).")
    folder = _locate(cloud, workspace, "code", str(code_id)).resolve()
    script = (folder / str(name)).resolve()
    if not script.is_file() or folder not in script.parents:
        raise _bad(f"The scoring script '{name}' is not a file in the deployment's code.")
    return script, folder


def _flavors(model: Path) -> frozenset[str]:
    """The flavors of an MLflow model folder, empty for anything else."""
    folder = _mlflow_folder(model)
    if folder is None:
        return frozenset()
    described = yaml.safe_load((folder / "MLmodel").read_text())
    return frozenset(described.get("flavors") or {})


def _mlflow_folder(model: Path | None) -> Path | None:
    """The folder with `MLmodel`: the model itself, or the one folder in it (`mlflow_model_folder`)."""
    if model is None or not model.is_dir():
        return None
    candidates = [model, model / "mlflow_model_folder"]
    return next((folder for folder in candidates if (folder / "MLmodel").is_file()), None)


def _lay_out_model(sources: Sources, folder: Path) -> Path:
    """Hard links where the file system can, else copies. (No link to the folder: `Path.rglob` does not enter one.)"""
    assert sources.model is not None
    holder = folder / "azureml-models" / (sources.model_name or "model") / (sources.model_version or "1")
    shutil.rmtree(folder / "azureml-models", ignore_errors=True)
    holder.mkdir(parents=True)
    place = holder / sources.model.name
    if sources.model.is_dir():
        shutil.copytree(sources.model, place, copy_function=_link_or_copy)
    else:
        _link_or_copy(str(sources.model), str(place))
    return holder


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _environment(cloud: Cloud, properties: Mapping[str, Any], identity: Acting | None) -> dict[str, str]:
    """The endpoint's identity is the container's only credential."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_NOT_INHERITED) and not name.lower().endswith("_proxy")
    }
    given = {name: str(value) for name, value in (properties.get("environmentVariables") or {}).items()}
    credentials = cloud.client_environment()
    endpoint = identity.environment() if identity else {}
    if endpoint:
        credentials = {name: text for name, text in credentials.items() if not name.startswith("AZURE_CLIENT_")}
    return {**inherited, "PYTHONUNBUFFERED": "1", **credentials, **endpoint, **given}


def _name_and_version(model: str) -> tuple[str, str]:
    found = _VERSION.search(model)
    return (found[1], found[2]) if found else ("", "")


def _bad(message: str) -> ArmError:
    return ArmError(400, "BadArgument", message)

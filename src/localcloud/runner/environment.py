"""The variables that a step's process sees: those that Azure ML sets in a job, and those that lead to this cloud."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from localcloud.cloud import REGION, Cloud
from localcloud.runner.access import StepAccess
from localcloud.runner.runs import Run

_TAKEN_AWAY = ("AZURE", "ARM_", "PULUMI_", "MLFLOW_", "_MLFLOW_", "MSI_", "IDENTITY_", "LOCALCLOUD_", "PYTEST_")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
SERVICE = f"https://{REGION}.api.azureml.ms"


def step_environment(
    cloud: Cloud, run: Run, access: StepAccess, own: Mapping[str, str], inherited: Mapping[str, str]
) -> dict[str, str]:
    """Everything for one process, which acts as `access` says; `own` are the job's own variables and win."""
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(_TAKEN_AWAY) and name.upper() not in _PROXIES
    }
    _, _, subscription, _, group, *_, workspace = run.workspace.split("/")
    tracking = f"azureml://{REGION}.api.azureml.ms/mlflow/v1.0{run.workspace}"
    variables = {
        **kept,
        **access.environment(),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        # Without it azureml-mlflow asks for the list of clouds first.
        "AZUREML_CURRENT_CLOUD": "AzureCloud",
        "AZUREML_RUN_ID": run.id,
        "AZUREML_ROOT_RUN_ID": run.root,
        "AZUREML_EXPERIMENT_NAME": run.experiment,
        "AZUREML_ARM_SUBSCRIPTION": subscription,
        "AZUREML_ARM_RESOURCEGROUP": group,
        "AZUREML_ARM_WORKSPACE_NAME": workspace,
        "AZUREML_ARM_PROJECT_NAME": run.experiment,
        "AZUREML_WORKSPACE_SCOPE": run.workspace,
        "AZUREML_SERVICE_ENDPOINT": SERVICE,
        "AZUREML_RUN_HISTORY_SERVICE_ENDPOINT": SERVICE,
        "AZUREML_DISCOVERY_SERVICE_ENDPOINT": f"{SERVICE}/discovery",
        "MLFLOW_TRACKING_URI": tracking,
        "MLFLOW_REGISTRY_URI": tracking,
        "MLFLOW_RUN_ID": run.id,
        "MLFLOW_EXPERIMENT_NAME": run.experiment,
    }
    if cloud.addresses.mlflow:
        variables["LOCALCLOUD_METRICS_URL"] = f"http://127.0.0.1:{cloud.addresses.mlflow}/api/2.0/mlflow"
    if run.parent:
        variables["AZUREML_PARENT_RUN_ID"] = run.parent
    return {**variables, **own}


def distributed_environment() -> dict[str, str]:
    """What PyTorch's launcher would set for the one process that runs here."""
    return {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_WORLD_SIZE": "1",
        "NODE_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29500",
    }

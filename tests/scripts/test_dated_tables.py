"""The dated tables beside what a registry answers over HTTP, through the unmodified SDK: offline and online agree."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.scripts.conftest import ROOT, Script, Stack
from tunestack import component_facts, model_defaults, parameters
from tunestack.registry_id import RegistryId

PIPELINE = RegistryId("azureml", "components", "chat_completion_pipeline", "0.0.82")
PHI_4 = ROOT / "pipelines" / "finetune" / "phi-4-ultrachat.yml"


@pytest.fixture
def registry(stack: Stack) -> Any:
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    return MLClient(DefaultAzureCredential(), registry_name="azureml")


def test_the_components_inputs_are_those_of_the_table(registry) -> None:
    table = component_facts.schema(PIPELINE)
    assert table
    found = registry.components.get(PIPELINE.name, version=PIPELINE.version).inputs
    assert set(found) == set(table.inputs)
    assert len(found) == 69
    for name, one in found.items():
        ours = table.inputs[name]
        assert (str(one.type), tuple(one.enum or ())) == (ours.type, ours.enum), name
        assert (None if one.min is None else float(one.min)) == ours.minimum, name
        assert _number(one.default) == _number(table.defaults.get(name)), name


@pytest.mark.parametrize(
    ("model", "version"), [("Phi-4", "8"), ("Phi-3-mini-4k-instruct", "15"), ("SmolLM2-135M-Instruct", "1")]
)
def test_the_models_defaults_are_those_of_the_table(registry, model: str, version: str) -> None:
    told = parameters.model_defaults(registry.models.get(model, version=version).tags)
    table = model_defaults.of_model(model)
    assert table is not None

    def plain(values: Any) -> dict[str, object]:
        return {name: _number(value) for name, value in values.items()}

    assert plain(told) == plain(table)


def _number(value: object) -> object:
    try:
        return float(str(value))
    except ValueError:
        return str(value)


def test_offline_and_online_say_the_same_of_parameters_memory_and_cost(
    stack: Stack, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    ours = {"parameters", "dropped-parameters", "overridden-parameters", "training-memory", "serving-memory", "lora"}
    online = json.loads(script("preflight", "--recipe", PHI_4, "--json").out)
    offline = json.loads(script("preflight", "--recipe", PHI_4, "--stack", "dev", "--offline", "--json").out)
    said = [
        {one["check"]: (one["verdict"], one["reason"]) for one in record["findings"] if one["check"] in ours}
        for record in (online, offline)
    ]
    assert said[0] == said[1]
    assert online["estimate"]["run"]["steps"] == offline["estimate"]["run"]["steps"]
    assert online["alternatives"], "the region's own list decides which"

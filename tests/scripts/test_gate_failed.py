"""A real fine-tune of a tiny model whose real gate fails on a bad regression file: gated again, never trained again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.e2e.conftest import CATALOG, RECIPE
from tests.scripts.conftest import Script, Stack
from tests.tiny_model import make_tiny_model


@pytest.fixture(autouse=True)
def catalog(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model stands in the catalog, which the cloud reads at the first question about a registry."""
    (tmp_path / "catalog").mkdir()
    tiny = make_tiny_model(tmp_path / "tiny")
    (tmp_path / "catalog" / "tiny.yaml").write_text(CATALOG.format(folder=tiny))
    monkeypatch.setenv("LOCALCLOUD_CATALOG", str(tmp_path / "catalog"))


@pytest.mark.long
def test_a_tuned_model_outlives_the_gate_that_failed_on_it(
    stack: Stack, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe, questions = tmp_path / "tiny.yml", tmp_path / "questions.jsonl"
    recipe.write_text(RECIPE.replace("{min_clusters: 5,", "{regression_set: questions.jsonl, min_clusters: 5,"))
    questions.write_text("these are no questions\n")
    data = script("prepare_data", "--recipe", recipe).handle
    given = ("--recipe", recipe, "--data", data)
    failed = script("submit_finetune", *given)
    said = failed.failed(4)
    assert "its step 'evaluate' failed" in said
    (name,) = re.findall("job '([^']+)' ended as Failed", said)
    assert f"without training again: scripts/submit_finetune.py --evaluate {name} " in said

    rows = [
        {
            "prompt_id": f"{number:064x}",
            "messages": [{"role": "user", "content": f"{number}?"}, {"role": "assistant", "content": "Yes."}],
        }
        for number in range(12)
    ]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged = script("submit_finetune", "--evaluate", name, "--recipe", recipe, "--json")
    assert judged.code in (0, 5), judged.err
    assert json.loads(judged.out)["evaluation_job"] == f"{name}-evaluation"
    forced = () if judged.code == 0 else ("--force", "--why", "a random model")
    first = script("register_model", "--job", name, *forced).handle
    assert script("register_model", "--job", name).handle == first
    place = f"{stack.workspace}/models/{first.replace(':', '/versions/')}?api-version=2023-08-01-preview"
    model = stack.cloud.arm("GET", place)["properties"]
    assert model["modelUri"].rstrip("/").endswith(f"/paths/tunestack/{name}/trained_model")
    assert model["tags"]["evaluation_job"] == f"{name}-evaluation"
    assert len(stack.cloud.arm("GET", f"{stack.workspace}/jobs?api-version=2024-01-01-preview")["value"]) == 2

"""Jobs that look like finished fine-tunes: a model, its evaluation and what was sent with them, all written at once."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.scripts.conftest import Jobs

TEST_HASH = "7" * 64
TAGS = {
    "base_model": "azureml://registries/azureml/models/SmolLM2-135M-Instruct/versions/1",
    "component": "azureml://registries/azureml/components/chat_completion_pipeline/versions/0.0.82",
    "data": "chatterbot-corpus",
    "data_source": "package:chatterbot-corpus",
    "data_hash": "d" * 64,
    "test_hash": TEST_HASH,
    "recipe": "smollm2-local",
    "commit": "0123456789ab",
    "steps": "ba9876543210",
    "attempt": "1",
    "stack": "test",
}
MLMODEL = "flavors:\n  hftransformersv2: {task_type: chat-completion}\n  python_function: {data: data}\n"
FILES = {
    "MLmodel": MLMODEL,
    "LICENSE": "Apache License\nVersion 2.0\n",
    "data/model/model.safetensors": "weights",
    "data/config/config.json": "{}",
}
RUN = {"recipe.yml": "description: x\n", "card.json": '{"rows": {"train": 10}}', "preflight.json": "{}"}


@dataclass(frozen=True)
class FineTune:
    """What a job leaves; `gain` is (estimate, lower, upper), `changed` goes over the metrics at the end."""

    model: Mapping[str, str] = field(default_factory=lambda: dict(FILES))
    tags: Mapping[str, str] = field(default_factory=lambda: dict(TAGS))
    gain: tuple[float, float, float] = (0.2, 0.1, 0.3)
    changed: Mapping[str, Any] = field(default_factory=dict)
    evaluated: bool = True

    @property
    def manifest(self) -> list[dict[str, Any]]:
        return [
            {"path": path, "bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
            for path, text in sorted(self.model.items())
        ]

    @property
    def metrics(self) -> dict[str, Any]:
        estimate, lower, upper = self.gain
        passed = lower > 0.02
        lines = "".join(f"{file['sha256']}  {file['path']}\n" for file in self.manifest)
        found = {
            "schema": 1,
            "verdict": "passed" if passed else "inconclusive",
            "reasons": [] if passed else ["The gain is too uncertain."],
            "labels": [],
            "gate": {
                "min_gain": 0.02,
                "max_regression": 0.05,
                "min_clusters": 100,
                "attempt": 1,
                "chance_of_a_false_pass": 0.05,
            },
            "models": {name: {"loss": 2.0, "perplexity": 7.389, "tokens": 9, "rows": 3} for name in ("base", "tuned")},
            "gain": {"estimate": estimate, "lower": lower, "upper": upper, "clusters": 120},
            "regression": {"set": "general", "estimate": 0.01, "lower": 0.0, "upper": 0.02, "clusters": 100},
            "test": {"sha256": TEST_HASH, "rows": 3, "clusters": 120, "skipped": {}},
            "files": {
                "bytes": sum(file["bytes"] for file in self.manifest),
                "count": len(self.model),
                "sha256": hashlib.sha256(lines.encode()).hexdigest(),
            },
        }
        return {**found, **self.changed}

    def command(self, outputs: tuple[str, ...]) -> str:
        """A shell line that writes it all."""
        written: dict[str, Mapping[str, str]] = {}
        if "trained_model" in outputs:
            written["trained_model"] = self.model
        if "evaluation" in outputs:
            written["evaluation"] = {
                "metrics.json": json.dumps(self.metrics),
                "files.json": json.dumps(self.manifest),
                **RUN,
            }
        program = (
            "import json, pathlib, sys\n"
            "for place, files in zip(sys.argv[2:], json.loads(sys.argv[1]).values()):\n"
            "    for path, text in files.items():\n"
            "        file = pathlib.Path(place, path)\n"
            "        file.parent.mkdir(parents=True, exist_ok=True)\n"
            "        file.write_text(text)\n"
        )
        places = " ".join(f"${{{{outputs.{name}}}}}" for name in written)
        return f"python -c '{program}' '{json.dumps(written)}' {places}"


def run(jobs: Jobs, made: FineTune | None = None, *, evaluates: str = "", status: str = "Completed") -> str:
    """A job that has left this; with `evaluates`, the evaluation of that job alone. The job's name."""
    from azure.ai.ml import Output
    from azure.ai.ml import command as command_job

    made = made or FineTune()
    names: tuple[str, ...] = ("evaluation",) if evaluates else ("trained_model",)
    names += ("evaluation",) if made.evaluated and not evaluates else ()
    kinds = {"trained_model": "mlflow_model", "evaluation": "uri_folder"}
    job = command_job(
        command=made.command(names),
        environment="azureml://registries/azureml/environments/acft-hf-nlp-gpu/versions/112",
        compute="cpu",
        outputs={name: Output(type=kinds[name]) for name in names},
        tags={**made.tags, **({"evaluates": evaluates} if evaluates else {})},
        name=f"job-{uuid.uuid4().hex[:8]}",
    )
    jobs.client.jobs.create_or_update(job)
    assert jobs.wait(str(job.name)) == status
    return str(job.name)

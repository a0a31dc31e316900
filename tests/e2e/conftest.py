"""A project in a folder of its own and a server in a process of its own, on a tiny model: small, but real.

The server is started as `localcloud up` starts it, so that it can be killed half-way.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from localcloud import client, environment
from tests.conftest import HANG_SECONDS
from tests.tiny_model import make_tiny_model

ROOT = Path(__file__).parents[2]
# Under the name of the laptop's model, whose shape preflight knows; a version of its own.
TINY = "azureml://registries/azureml/models/SmolLM2-135M-Instruct/versions/2"
RECIPE = f"""
description: a tiny random model, for the test of the whole story
experiment: story
base_model: {TINY}
component: azureml://registries/azureml/components/chat_completion_pipeline/versions/0.0.82
data: {{source: "package:chatterbot-corpus", percent: 20, validation_percent: 10}}
compute: {{model_import: cpu, preprocess: cpu, finetune: gpu, evaluate: gpu}}
training:
  max_steps: 12
  per_device_train_batch_size: 8
  per_device_eval_batch_size: 4
  learning_rate: 0.02
  max_seq_length: 128
  logging_steps: 1
optimization: {{apply_lora: true, lora_r: 4}}
evaluation: {{min_clusters: 5, max_rows: 12, samples: 2, max_new_tokens: 8}}
"""
CATALOG = """
kind: model
name: SmolLM2-135M-Instruct
version: "2"
created: 2026-11-01
description: A tiny chat model with random weights
folder: {folder}
type: mlflow_model
"""


@dataclass
class Story:
    """The state folder, a copy of the project's stack files, and the server's process."""

    folder: Path
    server: subprocess.Popen[bytes] | None = None

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def start(self) -> None:
        env = {
            **os.environ,
            "LOCALCLOUD_STATE": str(self.state),
            "LOCALCLOUD_CATALOG": str(self.folder / "catalog"),
        }
        log = (self.folder / "server.log").open("ab")
        self.server = subprocess.Popen(
            [sys.executable, "-m", "localcloud", "up"], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        announced = self.state / "server.json"
        while not (announced.exists() and json.loads(announced.read_text())["pid"] == self.server.pid):
            # Not without a pause: two of these would leave a small machine no processor for the servers themselves.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.server.wait(0.05)
            assert self.server.poll() is None, (self.folder / "server.log").read_text()

    def kill(self) -> None:
        assert self.server
        self.server.send_signal(signal.SIGKILL)
        self.server.wait()

    def run(self, line: str, status: int = 0) -> str:
        """Run a line as a user types it; what it printed on stdout, or on stderr where it is to fail."""
        env = environment.for_command(client.find(self.state))
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
        env["PULUMI_SKIP_CONFIRMATIONS"] = env["PULUMI_OPTION_SKIP_PREVIEW"] = "true"
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder / "project",
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=3 * HANG_SECONDS,  # a line may be a whole fine-tune
        )
        assert done.returncode == status, f"$ {line}\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
        assert "Traceback" not in done.stderr
        return done.stderr if status else done.stdout.strip()

    def traffic(self) -> dict[str, int]:
        found = json.loads(self.run("pulumi stack output --json"))
        path = (
            f"/subscriptions/{found['subscription_id']}/resourceGroups/{found['resource_group']}/providers/"
            f"Microsoft.MachineLearningServices/workspaces/{found['workspace_name']}/onlineEndpoints/"
            f"{found['endpoint_name']}?api-version=2024-10-01"
        )
        answer: dict[str, int] = client.find(self.state).arm("GET", path)["properties"]["traffic"]
        return answer


def make_talkative(model: Path) -> Path:
    """Random weights with tied embeddings repeat the prompt's last line break, which is an empty answer to a check.

    With white space and special tokens all but silenced they say something else, and go on to the length asked for.
    """
    settings = model / "data" / "model" / "generation_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "ignore_eos": True, "do_sample": False}))
    tokenizer = Tokenizer.from_file(str(model / "data" / "tokenizer" / "tokenizer.json"))
    silent = [*range(3), *tokenizer.encode(" \n\r\t", add_special_tokens=False).ids]
    path = model / "data" / "model" / "model.safetensors"
    weights = load_file(path)
    weights["model.embed_tokens.weight"][silent] *= 0.02
    save_file(weights, path, metadata={"format": "pt"})
    return model


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    tiny = make_talkative(make_tiny_model(tmp_path / "tiny" / "mlflow_model_folder"))
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "tiny.yaml").write_text(CATALOG.format(folder=tiny))
    project = tmp_path / "project"
    project.mkdir()
    for name in ("infra", "scripts", "pipelines"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.glob("Pulumi*.yaml"):
        shutil.copy(path, project)
    (project / ".venv").symlink_to(Path(sys.executable).parents[1])
    (project / "tiny.yml").write_text(RECIPE)
    made = Story(tmp_path)
    made.start()
    try:
        yield made
    finally:
        if made.server and made.server.poll() is None:
            made.server.terminate()
            made.server.wait(timeout=HANG_SECONDS)

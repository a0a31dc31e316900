"""Why a step failed: every known error is made to happen, and its cause is found in what the step then says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from localcloud.components.chat_completion import finetune, model_import, preprocess
from localcloud.components.chat_completion.model_import import BaseModel, import_model
from localcloud.runner import logs
from localcloud.runner.preemption import MOST
from tests.tiny_model import make_rows, make_tiny_model, write_rows
from tunestack.jobs.causes import causes, explain

ROOT = Path(__file__).parents[3]
Rows = list[dict[str, Any]]
Program = Callable[[Sequence[str] | None], int]


class Steps:
    """Runs the published steps' programs on a tiny model, as the runner would, and tells which cause is found."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capfd = folder, capfd
        self.model = make_tiny_model(folder / "tiny" / "mlflow_model_folder")
        self.imported = folder / "imported"
        import_model(BaseModel(mlflow_model_path=self.model), self.imported)

    def cause(self, step: str, program: Program, *arguments: object) -> str | None:
        """The id of the cause of a failure: from the error that the runner makes of the log, and from the log."""
        self._capfd.readouterr()
        try:
            code = program([str(argument) for argument in arguments])
        except SystemExit as ended:  # argparse
            code = int(str(ended.code))
        assert code, "the step must fail"
        said = self._capfd.readouterr()
        return self.of_log(step, said.out + said.err, code)

    def of_log(self, step: str, text: str, code: int) -> str | None:
        log = self.folder / "log.txt"
        log.write_text(text)
        found = explain(step, text.splitlines(), logs.error_of(log, code)["message"])
        return found.id if found else None

    def preprocess(self, rows: Path | Rows, *more: object) -> str | None:
        path = rows if isinstance(rows, Path) else write_rows(self.folder / "rows.jsonl", rows)
        given = [f"--{split}_file_path={path}" for split in ("train", "validation", "test")]
        return self.cause("chat_completion_datapreprocess", preprocess.main, *given, *self._to(), *more)

    def _to(self) -> list[str]:
        return [f"--model_selector_output={self.imported}", f"--output_dir={self.folder / 'encoded'}"]

    def command(self, *more: object) -> list[str]:
        """The preprocessing as a process of its own."""
        rows = write_rows(self.folder / "rows.jsonl", make_rows(20))
        step = [sys.executable, "-m", "localcloud.components.chat_completion.preprocess", f"--train_file_path={rows}"]
        return [*step, *self._to(), *(str(each) for each in more)]

    def model_import(self, *arguments: object) -> str | None:
        target = f"--output_dir={self.folder / 'again'}"
        return self.cause("chat_completion_model_import", model_import.main, *arguments, target)

    def finetune(self, *arguments: object) -> str | None:
        folders = [f"--model_selector_output={self.imported}", f"--preprocess_output={self.folder / 'encoded'}"]
        target = f"--pytorch_model_folder={self.folder / 'tuned'}"
        return self.cause("chat_completion_finetune", finetune.main, *folders, target, *arguments)

    def tokenizer(self, **changes: Any) -> None:
        """Change the imported model's tokenizer settings; None takes one away."""
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            file = self.imported / "tiny-chat" / name
            settings = {**json.loads(file.read_text()), **changes}
            file.write_text(json.dumps({key: value for key, value in settings.items() if value is not None}))


@pytest.fixture
def steps(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Steps:
    return Steps(tmp_path, capfd)


# -- the data ----------------------------------------------------------------------------------------------------------


def test_no_training_data(steps: Steps) -> None:
    to = [f"--model_selector_output={steps.imported}", f"--output_dir={steps.folder / 'out'}"]
    assert steps.cause("preprocess", preprocess.main, *to) == "no-train-data"
    assert steps.preprocess(steps.folder / "gone.jsonl") == "no-train-data"


def test_too_few_rows(steps: Steps) -> None:
    assert steps.preprocess(make_rows(9)) == "too-few-rows"


def test_no_row_left(steps: Steps) -> None:
    assert steps.preprocess([{"messages": [{"role": "user", "content": "hi"}]}] * 12) == "no-rows-left"


def test_no_answer_left_after_cutting(steps: Steps) -> None:
    assert steps.preprocess(make_rows(12), "--max_seq_length=5") == "no-answer-left"


def test_no_column_of_messages(steps: Steps) -> None:
    assert steps.preprocess([{"text": "hi"}] * 12) == "no-messages-column"


def test_messages_that_are_text(steps: Steps) -> None:
    table = steps.folder / "rows.csv"
    table.write_text("messages\n" + "hello\n" * 12)
    assert steps.preprocess(table) == "messages-are-text"


@pytest.mark.parametrize(("name", "text"), [("a.jsonl", '{"messages":\n'), ("a.json", "[1]"), ("a.parquet", "PAR1")])
def test_a_file_that_cannot_be_read(steps: Steps, name: str, text: str) -> None:
    (steps.folder / name).write_text(text)
    assert steps.preprocess(steps.folder / name) == "unreadable-data"


@pytest.mark.parametrize(
    "text",
    [None, "[1]", "transformations: [1]", "paths: [a.jsonl]\ntransformations: [read_json_lines]", "{", "paths: 3"],
)
def test_an_mltable_that_cannot_be_read(steps: Steps, text: str | None) -> None:
    (steps.folder / "table").mkdir()
    if text is not None:
        (steps.folder / "table" / "MLTable").write_text(text)
    assert steps.preprocess(steps.folder / "table") == "unreadable-data"


def test_a_file_of_an_unknown_extension(steps: Steps) -> None:
    (steps.folder / "rows.txt").write_text("hi\n")
    assert steps.preprocess(steps.folder / "rows.txt") == "unknown-extension"


@pytest.mark.parametrize("message", [{"content": "hi"}, "hi"], ids=["no role", "no object"])
def test_a_row_that_the_chat_template_refuses(steps: Steps, message: Any) -> None:
    template = "{% for message in messages %}{% if message['role'] is undefined %}{{ raise_exception('no role') }}" \
        "{% endif %}{{ message['content'] }}{% endfor %}"  # fmt: skip
    steps.tokenizer(chat_template=template)
    assert steps.preprocess([{"messages": [message, message]}] * 12) == "chat-template"


def test_a_template_that_stumbles_over_a_row_refuses_it(steps: Steps) -> None:
    steps.tokenizer(chat_template="{% for message in messages %}{{ 1 // (message['content'] | length) }}{% endfor %}")
    empty = [{"role": "user", "content": ""}, {"role": "assistant", "content": "x"}]
    assert steps.preprocess([{"messages": empty}] * 12) == "chat-template"


# -- the model ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["bos_token", "eos_token"])
def test_a_tokenizer_without_a_special_token(steps: Steps, which: str) -> None:
    steps.tokenizer(**{which: None})
    assert steps.preprocess(make_rows(12)) == "no-end-token"


def test_no_chat_special_tokens(steps: Steps) -> None:
    (steps.imported / "finetune_config.json").write_text("{}")
    assert steps.preprocess(make_rows(12)) == "no-chat-tokens"


@pytest.mark.parametrize("template", [None, "{% for message in %}"], ids=["none", "broken"])
def test_no_chat_template(steps: Steps, template: str | None) -> None:
    steps.tokenizer(chat_template=template)
    assert steps.preprocess(make_rows(12)) == "no-chat-template"


def test_a_model_that_is_no_mlflow_model(steps: Steps) -> None:
    assert steps.model_import(f"--mlflow_model_path={steps.model / 'data' / 'model'}") == "model-not-mlflow"


def test_an_mlflow_model_given_as_files(steps: Steps) -> None:
    assert steps.model_import(f"--pytorch_model_path={steps.model}") == "model-is-mlflow"


def test_no_base_model(steps: Steps) -> None:
    assert steps.model_import() == "no-base-model"
    assert steps.model_import("--mlflow_model_path=/nowhere") == "no-base-model"


def test_a_base_model_without_its_config(steps: Steps) -> None:
    (steps.folder / "bare").mkdir()
    assert steps.model_import(f"--pytorch_model_path={steps.folder / 'bare'}") == "no-model-config"


def test_a_hub_that_does_not_give_the_model(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 1)
    assert steps.model_import("--huggingface_id=not a name") == "hub-refused"


def test_a_settings_file_that_is_not_json(steps: Steps) -> None:
    (steps.folder / "mine.json").write_text("{")
    given = f"--mlflow_model_path={steps.model}", f"--finetune_config_path={steps.folder / 'mine.json'}"
    assert steps.model_import(*given) == "unreadable-json"


# -- the settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["--learning_rate=0"], "learning-rate"),
        (["--learning_rate=-1e-5"], "learning-rate"),
        (["--optim=sgd"], "optimizer"),
        (["--apply_early_stopping=true", "--evaluation_strategy=disable"], "early-stopping"),
        (["--apply_deepspeed=true", "--auto_find_batch_size=true"], "deepspeed-and-batch-size"),
        (["--apply_deepspeed=true", "--deepspeed={folder}/gone.json"], "deepspeed-file"),
        (["--apply_deepspeed=true", "--deepspeed={folder}/broken.json"], "deepspeed-file"),
        (["--apply_deepspeed=true", "--deepspeed={folder}/empty.json"], "deepspeed-file"),
        (["--apply_deepspeed=true", "--deepspeed={folder}/three.json"], "deepspeed-stage-3"),
        (["--deepspeed_stage=4"], "bad-value"),
        (["--apply_lora=yes"], "bad-value"),
        (["--apply_deepspeed=maybe"], "bad-value"),
        (["--logging_steps=0"], "bad-value"),
        (["--lr_scheduler_type=nope"], "bad-value"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_settings_that_cannot_be(steps: Steps, arguments: list[str], cause: str) -> None:
    for name, text in (
        ("broken", "{"),
        ("empty", "{}"),
        ("three", '{"zero_optimization": {"stage": 3}}'),
    ):
        (steps.folder / f"{name}.json").write_text(text)
    assert steps.finetune(*(argument.format(folder=steps.folder) for argument in arguments)) == cause


def test_no_gpu(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALCLOUD_GPUS", "0")
    monkeypatch.setenv("LOCALCLOUD_SIZE", "Standard_DS3_v2")
    assert steps.finetune() == "no-gpu"


@pytest.mark.long  # importing peft takes seconds
def test_layers_for_lora_that_the_model_does_not_have(steps: Steps) -> None:
    assert preprocess.main(steps.command()[3:]) == 0
    settings = json.loads((steps.imported / "finetune_config.json").read_text())
    (steps.imported / "finetune_config.json").write_text(json.dumps({**settings, "lora_target_modules": ["nope"]}))
    assert steps.finetune("--apply_lora=true") == "lora-targets"


def test_a_gpu_whose_memory_is_full(steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def full(*_: object) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(finetune, "_train", full)
    assert steps.finetune() == "gpu-memory"


# -- the gate ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"test_file": "empty.jsonl"}, "gate-rows"),
        ({"test_file": "broken.jsonl"}, "gate-rows"),
        ({"test_file": "gone.jsonl"}, "gate-rows"),
        ({"regression_file": "empty.jsonl"}, "gate-questions"),
        ({"regression_file": "broken.jsonl"}, "gate-questions"),
        ({"regression_file": "gone.jsonl"}, "gate-questions"),
        ({"tuned_model": "gone"}, "gate-model"),
        ({"tuned_model": "bare"}, "no-model-config"),
        ({"huggingface_id": "nonsense", "base_model": None}, "hub-refused"),
        ({"base_model": None}, "no-base-model"),
    ],
    ids=lambda value: " ".join(f"{name} {text}" for name, text in value.items()) if isinstance(value, dict) else value,
)
def test_the_gate_refuses_rows_and_models(steps: Steps, change: dict[str, str | None], cause: str) -> None:
    write_rows(steps.folder / "rows.jsonl", make_rows(3))
    (steps.folder / "empty.jsonl").write_text("")
    (steps.folder / "broken.jsonl").write_text("{\n")
    (steps.folder / "bare").mkdir()
    given: dict[str, str | None] = {"test_file": "rows.jsonl", "tuned_model": str(steps.model)}
    given |= {"base_model": str(steps.model), "evaluation": "out", **change}
    arguments = [f"--{name}={value}" for name, value in given.items() if value]
    done = subprocess.run(
        [sys.executable, "-m", "evaluation", *arguments],
        cwd=steps.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "pipelines" / "evaluate")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert steps.of_log("evaluate", done.stdout + done.stderr, 1) == cause


def test_a_gpu_that_is_too_small_for_the_gate_has_a_cause_of_its_own(steps: Steps) -> None:
    """Each of the gate's own sentences for it, and the library's."""
    line = "from evaluation import encoding, scoring; scoring.halved([0], {0: encoding.Encoded((1, 2), (1,), 1)})"
    there = {**os.environ, "PYTHONPATH": str(ROOT / "pipelines" / "evaluate")}
    done = subprocess.run([sys.executable, "-c", line], env=there, capture_output=True, text=True, check=False)
    said = (
        done.stderr,
        "error: tuned_model: the GPU's memory is full with one answer of 200 tokens: set a smaller max_new_tokens",
        "error: base_model: the weights do not fit into the memory of the GPU. Take a larger one.",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
    )
    for line in said:
        assert steps.of_log("evaluate Evaluate a tuned chat model", line, 1) == "gate-memory", line
    for elsewhere in ("chat_completion_finetune", ""):
        found = explain(elsewhere, [], said[-1])
        assert found
        assert found.id == "gpu-memory"
    (cause,) = [each for each in causes() if each.id == "gate-memory"]
    assert "--gpu-cluster" in cause.fix
    assert "compute.evaluate=cpu" in cause.fix
    assert "batch_size" not in cause.fix


# -- the machine -------------------------------------------------------------------------------------------------------


def test_a_disk_that_is_full_in_the_middle(steps: Steps) -> None:
    (steps.folder / "encoded").mkdir()
    (steps.folder / "encoded" / "train.jsonl").symlink_to("/dev/full")
    done = subprocess.run(steps.command(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert steps.of_log("preprocess", done.stdout + done.stderr, 1) == "disk-full"


def test_a_process_that_is_killed(steps: Steps) -> None:
    done = subprocess.run(["bash", "-c", "kill -9 $$"], check=False)
    assert steps.of_log("finetune", "step 1/9: loss 2.0\n", done.returncode) == "killed"


def test_a_package_that_the_image_lacks(steps: Steps) -> None:
    done = subprocess.run([sys.executable, "-c", "import nowhere"], capture_output=True, text=True, check=False)
    assert steps.of_log("evaluate", done.stderr, done.returncode) == "no-module"


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (
            "NodePreempted: " + f"The node of cluster 'x' was preempted {MOST} times; it is not started again.",
            "preempted",
        ),
        ("The job ran longer than its limit of 60 seconds.", "timeout"),
        ("Input 'data': there is nothing at 'azureml://datastores/x/paths/y'.", "data-gone"),
        ("The uploaded code 'https://…' is empty or gone.", "code-gone"),
        (
            "Input 'data': authentication failed when trying to access the stream. Make sure you have correct "
            "permissions set up. AuthorizationPermissionMismatch: This request is not authorized",
            "data-forbidden",
        ),
        ("Output 'out': authentication failed when trying to access destination. Make sure", "output-forbidden"),
        ("Unable to pull the docker image of 'own/1': unauthorized, authentication required.", "image-pull"),
        ("The image cannot be built on the cluster 'builder'. The identity lacks", "image-build"),
        ("The local cloud stopped while this job ran, and its process was ended.", "stopped"),
        ("ClusterCoreQuotaReached: The request exceeds the core quota of the subscription.", "quota"),
        ("Operation results in exceeding quota limits of Core. Maximum allowed: 100", "quota"),
        ("AllocationFailed: no capacity for this size in the region", "allocation"),
        ("The VM size is currently not available in location 'eastus'.", "allocation"),
        ("The compute node was lost: NodeLost", "node-lost"),
        ("FailedPullingImage", "image-pull"),
        ("ScriptExecution.StreamAccess.NotFound: the path does not exist", "data-gone"),
    ],
)
def test_what_the_runner_and_azure_say_of_machines_images_and_data(message: str, cause: str) -> None:
    found = explain("chat_completion_finetune", [], message)
    assert found
    assert found.id == cause


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0", "gpu-memory"),
        ("RuntimeError: CUDA error: out of memory", "gpu-memory"),
        (
            "RuntimeError: DataLoader worker is killed by signal: Bus error. insufficient shared memory (shm).",
            "shared-memory",
        ),
        ("RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes", "host-memory"),
        ("torch.distributed.elastic.multiprocessing.errors.ChildFailedError:", "nccl"),
        ("OSError: [Errno 28] No space left on device: '/dev/shm/torch_12_0'", "shared-memory"),
        ("requests.exceptions.ConnectionError: Max retries exceeded with url: /x", "hub-unreachable"),
        ("bash: line 1: 12 Segmentation fault (core dumped) python train.py", "crash"),
    ],
)
def test_what_libraries_say_in_the_log_behind_a_bare_exit_code(steps: Steps, line: str, cause: str) -> None:
    assert steps.of_log("chat_completion_finetune", f"loading\n{line}\n", 1) == cause


# What the published steps say where ours word it in another way; gists, by the reference's 2.4.
@pytest.mark.parametrize(
    ("step", "message", "cause"),
    [
        ("preprocess", "train_file_path or train_mltable_path need to be passed", "no-train-data"),
        ("preprocess", "Found no examples after data preprocessing for x", "no-rows-left"),
        ("preprocess", "Failure while applying chat template to dataset: x", "chat-template"),
        ("preprocess", "Chat Special tokens are not set in finetune config.", "no-chat-tokens"),
        ("preprocess", "Error while loading the dataset: x", "unreadable-data"),
        ("finetune", "SKUNotSupported", "no-gpu"),
        ("finetune", "Deep Speed cannot be coupled with auto_find_batch_size.", "deepspeed-and-batch-size"),
        ("finetune", "stage3_gather_16bit_weights_on_model_save should be `true`", "deepspeed-stage-3"),
    ],
)
def test_the_published_wording_is_understood_too(step: str, message: str, cause: str) -> None:
    found = explain(f"chat_completion_{step}", [], message)
    assert found
    assert found.id == cause


# -- the table ---------------------------------------------------------------------------------------------------------


def test_a_step_is_known_by_its_node_or_by_what_it_is_called() -> None:
    message = "No base model: give mlflow_model_path"
    for step in ("chat_completion_model_import x", "4f2c Chat Completion Model Import"):
        found = explain(step, [], message)
        assert found
        assert found.id == "no-base-model"
    assert explain("chat_completion_finetune", [], message) is None


def test_an_unknown_error_has_no_cause() -> None:
    assert (
        explain("finetune", ["Traceback (most recent call last):", "ValueError: something new"], "status code 1")
        is None
    )
    assert explain("finetune", [], "") is None


@pytest.mark.parametrize(
    ("step", "line"),
    [
        ("finetune", "[INFO] [config.py:1003:print]   zero_optimization_stage ...... 2"),
        ("finetune", '  "zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": true}'),
        ("finetune", "Namespace(apply_deepspeed=True, deepspeed=None, auto_find_batch_size=False)"),
        ("finetune", "{'lora_algo': 'peft', 'lora_target_modules': ['qkv_proj'], 'chat_special_tokens': {}}"),
        ("preprocess", "finetune config: {'chat_special_tokens': {'response_template': '<|assistant|>'}}"),
        ("finetune", "generation_config.json not found, the defaults are taken"),
        ("evaluate", "UserWarning: CUDA initialization: Found no NVIDIA driver on your system."),
        ("evaluate", "tuned_model: the GPU's memory is full; batches of 512 tokens from here on."),
        (
            "finetune",
            "[local cloud] The node was preempted; the step ended, and it stands in the queue again (1 of at most 9).",
        ),
        ("finetune", "uses /dev/shm of 5g"),
    ],
)
def test_what_a_step_says_on_its_way_is_no_cause(step: str, line: str) -> None:
    assert explain(f"chat_completion_{step}", [line, "ValueError: something new"], "status code 1") is None


def test_a_warning_that_a_step_has_outlived_is_no_cause() -> None:
    before = ["Metrics cannot be recorded: Connection refused"]
    new = ["Traceback (most recent call last):", "ValueError: something new"]
    assert explain("finetune", [*before, *new], "status code 1") is None
    assert explain("finetune", [*before, *["step"] * 20, "something new"], "status code 1") is None
    (refused,) = [cause for cause in causes() if cause.id == "hub-unreachable"]
    assert explain("finetune", [new[0], *before, *new], "status code 1") is refused


def test_the_first_process_that_failed_is_the_cause_and_not_those_that_lost_it() -> None:
    lines = [
        "Traceback (most recent call last):",
        "torch.OutOfMemoryError: CUDA out of memory.",
        "Traceback (most recent call last):",
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError:",
    ]
    found = explain("finetune", lines, "status code 1")
    assert found
    assert found.id == "gpu-memory"


def test_the_newest_line_of_the_log_counts_more_than_an_older_one() -> None:
    lines = ["warning: connection reset, trying again", "CUDA out of memory"]
    assert [found.id for found in (explain("finetune", lines, ""), explain("finetune", lines[::-1], "")) if found] == [
        "gpu-memory",
        "hub-unreachable",
    ]


def test_every_cause_is_found_by_a_test_of_this_file() -> None:
    text = Path(__file__).read_text()
    assert [cause.id for cause in causes() if f'"{cause.id}"' not in text] == []


def test_every_cause_says_what_and_how_to_mend_it_in_a_sentence_without_its_end() -> None:
    for cause in causes():
        assert cause.what, cause.id
        assert cause.fix, cause.id
        assert not cause.what.endswith("."), cause.id
        assert not cause.fix.endswith("."), cause.id
        assert cause.fix[0].isupper(), cause.id
    assert len({cause.id for cause in causes()}) == len(causes())


def test_programs_and_flags_that_fixes_name_exist() -> None:
    words = " ".join(cause.fix for cause in causes()).replace(",", " ").replace(";", " ").split()
    scripts = {word for word in words if word.startswith("scripts/")}
    assert scripts
    assert all(os.access(ROOT / script, os.X_OK) for script in scripts)

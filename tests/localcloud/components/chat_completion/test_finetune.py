"""The fine-tune on a tiny model: it learns, its numbers are exact, and a killed one goes on where it was."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from localcloud.components.chat_completion import convert, finetune
from localcloud.components.chat_completion.batches import Example, collate, plan_epoch
from localcloud.components.chat_completion.encoding import IGNORED
from localcloud.components.chat_completion.finetune import Folders
from localcloud.components.chat_completion.metrics import Metrics
from localcloud.components.chat_completion.preprocess import DataInputs, preprocess
from localcloud.components.chat_completion.program import UserError
from localcloud.components.chat_completion.settings import Settings
from localcloud.components.mlflow_folder import MlflowFolder
from tests.tiny_model import make_rows, write_rows

LORA = Settings(
    apply_lora=True,
    lora_r=4,
    lora_alpha=8,
    lora_dropout=0.1,
    learning_rate=1e-2,
    per_device_train_batch_size=4,
    per_device_eval_batch_size=4,
    max_steps=6,
    evaluation_strategy="steps",
    eval_steps=2,
    logging_steps=2,
)


@dataclasses.dataclass
class Kept(Metrics):
    """Metrics kept in memory; `watch` is called after each report."""

    values: dict[tuple[str, int], float] = dataclasses.field(default_factory=dict)
    watch: Callable[[Mapping[str, float], int], None] = lambda values, step: None

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.values.update({(name, step): value for name, value in values.items()})
        self.watch(values, step)


@pytest.fixture
def folders(imported: Path, tmp_path: Path) -> Folders:
    path = write_rows(tmp_path / "rows.jsonl", make_rows(20))
    validation = write_rows(tmp_path / "held-out.jsonl", make_rows(26)[20:])
    preprocess(DataInputs(path, validation, path), imported, tmp_path / "encoded")
    return Folders(imported, tmp_path / "encoded", tmp_path / "tuned")


def weights_of(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "model.safetensors"))


def test_lora_lowers_the_held_out_loss_and_the_result_is_a_plain_model(folders: Folders) -> None:
    metrics = Kept()
    finetune.finetune(folders, LORA, metrics)
    assert metrics.values["eval_loss", 6] < metrics.values["eval_loss", 0] - 0.05
    names = {path.name for path in folders.output.iterdir()}
    assert names >= {"model.safetensors", "config.json", "tokenizer.json", "training_args.bin", "finetune_args.json",
                     "finetune_config.json", "model_metadata.json", "LICENSE", "conda.yaml", "checkpoint-6",
                     "Azureml_finetune_optimization_args.json", "Azureml_io_args.json",
                     "azureml_mlflow_inference_params.json"}  # fmt: skip
    assert not any("lora" in name for name in weights_of(folders.output)), "adapters are merged"


def test_metrics_have_the_published_names_and_steps(folders: Folders) -> None:
    metrics = Kept()
    finetune.finetune(folders, LORA, metrics)
    by_step: dict[int, set[str]] = {}
    for name, step in metrics.values:
        by_step.setdefault(step, set()).add(name)
    evaluation = {"eval_loss", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second", "epoch"}
    training = {"loss", "grad_norm", "learning_rate", "epoch"}
    assert by_step[0] == evaluation
    assert by_step[2] == by_step[4] == evaluation | training | {"checkpoint_save_step"}
    end = {"train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos", "train_loss"}
    assert by_step[6] == by_step[4] | end
    assert metrics.values["learning_rate", 2] == pytest.approx(1e-2 * 5 / 6), "linear, without warm-up"


def test_the_same_seed_gives_the_same_weights_and_another_one_others(folders: Folders, tmp_path: Path) -> None:
    import torch

    found = []
    for place, seed in (("a", 1), ("b", 1), ("c", 2)):
        target = dataclasses.replace(folders, output=tmp_path / place)
        finetune.finetune(target, dataclasses.replace(LORA, max_steps=2, seed=seed), Kept())
        found.append(weights_of(target.output)["model.layers.0.mlp.up_proj.weight"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


class Killed(BaseException):
    """Stands for the end of the process: nothing after it runs."""


def test_a_killed_fine_tune_resumes_from_its_checkpoint_and_ends_as_if_it_had_not_been(
    folders: Folders, tmp_path: Path
) -> None:
    import torch

    whole = dataclasses.replace(folders, output=tmp_path / "whole")
    undisturbed = Kept()
    finetune.finetune(whole, LORA, undisturbed)

    def kill_at_six(values: Mapping[str, float], step: int) -> None:
        if step == 6:
            raise Killed

    with pytest.raises(Killed):
        finetune.finetune(folders, LORA, Kept(watch=kill_at_six))
    assert not (folders.output / "model.safetensors").exists()
    (folders.output / "checkpoint-5").mkdir()  # cut off while it was written: no checkpoint_done.txt

    resumed = Kept()
    finetune.finetune(folders, dataclasses.replace(LORA, resume_from_checkpoint=True), resumed)
    assert resumed.values["checkpoint_load_step", 4] == 4
    assert ("loss", 2) not in resumed.values, "what was done is not done again"
    assert resumed.values["loss", 6] == undisturbed.values["loss", 6]
    mine, theirs = weights_of(folders.output), weights_of(whole.output)
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_only_so_many_checkpoints_are_kept_and_each_is_whole(folders: Folders) -> None:
    finetune.finetune(folders, dataclasses.replace(LORA, save_total_limit=1), Kept())
    kept = sorted(folders.output.glob("checkpoint-*"))
    assert folders.output / "checkpoint-6" in kept
    assert len(kept) <= 2  # the newest, and the best where that is another one
    assert {path.name for path in kept[-1].iterdir()} == {
        "trained_weights.pt", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json",
        "checkpoint_done.txt"}  # fmt: skip


def test_early_stopping_ends_at_the_first_evaluation_that_is_no_better_and_the_best_weights_come_out(
    folders: Folders, tmp_path: Path
) -> None:
    """A rate so high that the evaluations get worse; without early stopping all twenty steps are done."""
    import torch

    wild = dataclasses.replace(LORA, learning_rate=1.0, max_steps=20, lr_scheduler_type="constant")
    whole = Kept()
    finetune.finetune(dataclasses.replace(folders, output=tmp_path / "whole"), wild, whole)
    losses = [whole.values["eval_loss", step] for step in range(2, 21, 2)]
    first_worse = next(index for index in range(1, 10) if losses[index] >= min(losses[:index]))
    assert first_worse < 9, "else nothing is stopped early"

    metrics = Kept()
    finetune.finetune(folders, dataclasses.replace(wild, apply_early_stopping=True), metrics)
    found = {step: value for (name, step), value in metrics.values.items() if name == "eval_loss" and step}
    assert list(found.values()) == losses[: first_worse + 1]
    best = min(found, key=lambda step: found[step])
    assert best == 2 * first_worse
    assert json.loads((folders.output / "run_properties.json").read_text())["root"]["best_metric"] == str(found[best])
    finetune.finetune(
        dataclasses.replace(folders, output=tmp_path / "best"), dataclasses.replace(wild, max_steps=best), Kept()
    )
    mine, theirs = weights_of(folders.output), weights_of(tmp_path / "best")
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_a_fine_tune_that_had_stopped_early_trains_no_further_after_a_kill(folders: Folders, tmp_path: Path) -> None:
    import torch

    asked = dataclasses.replace(LORA, max_steps=12, apply_early_stopping=True, early_stopping_threshold=10.0)
    whole = dataclasses.replace(folders, output=tmp_path / "whole")
    finetune.finetune(whole, asked, Kept())

    def kill_at_the_stop(values: Mapping[str, float], step: int) -> None:
        if "checkpoint_save_step" in values and step == 4:
            raise Killed

    with pytest.raises(Killed):
        finetune.finetune(folders, asked, Kept(watch=kill_at_the_stop))
    resumed = Kept()
    finetune.finetune(folders, dataclasses.replace(asked, resume_from_checkpoint=True), resumed)
    assert {step for _, step in resumed.values} == {4}
    mine, theirs = weights_of(folders.output), weights_of(whole.output)
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_a_gain_below_the_threshold_is_none_and_patience_counts_evaluations(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every evaluation is better than the one before, none by as much as is asked; the best is the last."""
    asked = dataclasses.replace(
        LORA, max_steps=12, apply_early_stopping=True, early_stopping_patience=2, early_stopping_threshold=10.0
    )
    metrics = Kept()
    finetune.finetune(folders, asked, metrics)
    found = {step: value for (name, step), value in metrics.values.items() if name == "eval_loss"}
    assert list(found) == [0, 2, 4, 6], "the first evaluation counts as a gain, the next two do not"
    assert found[6] < found[4] < found[2]
    assert "Stopped early: no better loss in 2 evaluations." in capsys.readouterr().out
    assert json.loads((folders.output / "run_properties.json").read_text())["root"]["best_metric"] == str(found[6])


def test_a_restart_without_resuming_starts_over_and_ends_as_the_first_would_have(
    folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Kept()
    finetune.finetune(dataclasses.replace(folders, output=tmp_path / "whole"), LORA, whole)

    def kill_at_four(values: Mapping[str, float], step: int) -> None:
        if "checkpoint_save_step" in values and step == 4:
            raise Killed

    with pytest.raises(Killed):
        finetune.finetune(folders, LORA, Kept(watch=kill_at_four))
    again = Kept()
    finetune.finetune(folders, LORA, again)
    assert "resume_from_checkpoint is false: 2 checkpoints of an earlier start are removed" in capsys.readouterr().out
    timings = ("runtime", "per_second")
    losses = [
        {key: value for key, value in kept.values.items() if not any(part in key[0] for part in timings)}
        for kept in (whole, again)
    ]
    assert losses[0] == losses[1]


def test_max_steps_wins_over_epochs_in_both_directions(folders: Folders) -> None:
    for steps, epochs in ((2, 3), (7, 1)):
        metrics = Kept()
        asked = dataclasses.replace(LORA, max_steps=steps, num_train_epochs=epochs, evaluation_strategy="disable")
        finetune.finetune(folders, asked, metrics)
        assert max(step for _, step in metrics.values) == steps


@pytest.mark.parametrize("scheduler", ["cosine", "constant_with_warmup"])
def test_the_whole_model_trains_without_lora_over_accumulated_batches(folders: Folders, scheduler: str) -> None:
    settings = Settings(
        learning_rate=1e-3,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=3,
        lr_scheduler_type=scheduler,
        optim="adafactor",
        warmup_steps=1,
        logging_steps=1,
    )
    metrics = Kept()
    finetune.finetune(folders, settings, metrics)
    assert max(step for _, step in metrics.values) == 4  # 20 rows, 10 micro batches, 3 at a time
    assert metrics.values["learning_rate", 1] == 0.0
    assert metrics.values["eval_loss", 4] < metrics.values["eval_loss", 0]


def test_logits_on_answers_and_a_shared_prefix_change_neither_loss_nor_gradients(folders: Folders) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from localcloud.components.chat_completion import answer_loss
    from localcloud.components.chat_completion.batches import load_examples

    batch = collate(load_examples(folders.preprocessed / "train.jsonl")[:5], 2)
    assert answer_loss.shared_prefix(batch) >= 8
    naive = AutoModelForCausalLM.from_pretrained(folders.base, dtype=torch.float64)
    naive.resize_token_embeddings(int(batch.input_ids.max()) + 1)
    logits = naive(input_ids=batch.input_ids).logits
    wanted = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), batch.next_labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    wanted.backward()
    gradient = naive.model.layers[0].self_attn.q_proj.weight.grad.clone()
    naive.zero_grad()
    found = answer_loss.AnswerLoss(naive)(batch)
    found.backward()
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)
    assert torch.allclose(naive.model.layers[0].self_attn.q_proj.weight.grad, gradient, rtol=1e-4, atol=1e-7)


def test_batches_hold_rows_of_like_length_and_every_row_once() -> None:
    rows = [Example([1] * (10 + number % 7), [1] * (10 + number % 7)) for number in range(50)]
    plan = plan_epoch(rows, 8, seed=1, epoch=0)
    assert sorted(index for batch in plan for index in batch) == list(range(50))
    spread = [max(len(rows[i].input_ids) for i in batch) - min(len(rows[i].input_ids) for i in batch) for batch in plan]
    assert max(spread) <= 2
    assert plan == plan_epoch(rows, 8, seed=1, epoch=0) != plan_epoch(rows, 8, seed=1, epoch=1)


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be above 0, not '0.0'"),
        ({"optim": "sgd"}, "optim must be adamw_torch or adafactor, not 'sgd'"),
        ({"apply_early_stopping": True, "evaluation_strategy": "disable"}, "apply_early_stopping needs an evaluation"),
        ({"apply_deepspeed": True, "auto_find_batch_size": True}, "cannot be used together"),
        ({"lr_scheduler_type": "nope"}, "lr_scheduler_type must be one of linear"),
    ],
)
def test_dials_that_cannot_be_are_user_errors_before_torch_is_loaded(
    folders: Folders, dials: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        finetune.finetune(folders, dataclasses.replace(LORA, **dials), Kept())
    assert [path.name for path in folders.output.iterdir()] == ["finetune_args.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nope", "cannot be read as JSON"),
        ("{}", "names no 'zero_optimization.stage'"),
        ('{"zero_optimization": {"stage": 3}}', "must set 'stage3_gather_16bit_weights_on_model_save'"),
    ],
)
def test_an_own_deepspeed_file_is_checked(folders: Folders, tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "ds.json"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        finetune.finetune(folders, dataclasses.replace(LORA, apply_deepspeed=True, deepspeed=file), Kept())


@pytest.mark.parametrize("wrong", [["--deepspeed_stage", "4"], ["--apply_lora", "maybe"], ["--precision", "8"]])
def test_values_outside_a_closed_set_end_with_usage_and_2(wrong: list[str], tmp_path: Path) -> None:
    paths = ["--model_selector_output", "a", "--preprocess_output", "b", "--pytorch_model_folder", str(tmp_path)]
    with pytest.raises(SystemExit) as ended:
        finetune.main([*paths, *wrong])
    assert ended.value.code == 2


def test_lora_on_layers_that_the_model_lacks_is_a_user_error(folders: Folders) -> None:
    (folders.imported / "finetune_config.json").write_text('{"lora_target_modules": ["qkv_proj"]}')
    with pytest.raises(UserError, match="LoRA cannot be applied with the 'lora_target_modules'"):
        finetune.finetune(folders, LORA, Kept())


def test_the_model_s_trainer_arguments_win_over_every_input(folders: Folders) -> None:
    config = folders.imported / "finetune_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "hf_trainer_args": {"max_steps": 1}}))
    metrics = Kept()
    finetune.finetune(folders, LORA, metrics)
    assert max(step for _, step in metrics.values) == 1


def test_trainer_arguments_of_another_kind_are_named_together_and_texts_of_figures_are_taken(folders: Folders) -> None:
    assert LORA.updated({"learning_rate": "5e-6", "apply_lora": False, "max_steps": 3, "unknown": 1}) == (
        dataclasses.replace(LORA, learning_rate=5e-6, apply_lora=False, max_steps=3)
    )
    config = folders.imported / "finetune_config.json"
    wrong = {"learning_rate": "fast", "apply_lora": "maybe"}
    config.write_text(json.dumps({**json.loads(config.read_text()), "hf_trainer_args": wrong}))
    with pytest.raises(
        UserError, match=r"apply_lora must be of the type bool, not 'maybe'.*learning_rate .* not 'fast'"
    ):
        finetune.finetune(folders, LORA, Kept())


def test_convert_lays_out_the_base_s_flavor_and_says_that_the_model_is_tuned(folders: Folders, tmp_path: Path) -> None:
    finetune.finetune(folders, dataclasses.replace(LORA, max_steps=1), Kept())
    target = tmp_path / "mlflow_model_folder"
    assert convert.main(["--model_path", str(folders.output), "--mlflow_model_folder", str(target)]) == 0
    opened = MlflowFolder.open(target)
    assert opened.flavor == "hftransformersv2"
    assert opened.settings["huggingface_id"] == "tiny-chat"
    assert "azureml.base_image" not in opened.metadata, "so that the no-code MLflow server answers"
    assert opened.metadata["is_finetuned_model"] is opened.metadata["is_acft_model"] is True
    assert opened.metadata["finetuning_task"] == "chat-completion"
    assert opened.metadata["base_model_asset_id"].endswith("/models/SmolLM2-135M-Instruct/versions/1")
    laid_out = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert laid_out >= {"data/model/model.safetensors", "data/model/tokenizer.json", "data/tokenizer/tokenizer.json"}
    assert laid_out >= {"data/config/config.json", "conda.yaml", "requirements.txt", "LICENSE", "finetune_config.json"}


def test_convert_keeps_the_image_when_the_model_says_so_and_refuses_a_half_done_fine_tune(
    folders: Folders, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="the fine-tune did not end well"):
        convert.convert(folders.output, tmp_path / "out")
    config = folders.imported / "finetune_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "inferencing_config": {"enable_vllm": "true"}}))
    finetune.finetune(folders, dataclasses.replace(LORA, max_steps=1), Kept())
    convert.convert(folders.output, tmp_path / "out")
    assert "azureml.base_image" in MlflowFolder.open(tmp_path / "out").metadata


def test_a_second_fine_tune_keeps_the_type_of_the_first_ones_weights(folders: Folders, imported: Path) -> None:
    """transformers writes it as `dtype` by now, and wrote it as `torch_dtype` before."""
    import torch

    config = folders.base / "config.json"
    settings = {key: value for key, value in json.loads(config.read_text()).items() if key != "torch_dtype"}
    config.write_text(json.dumps({**settings, "dtype": "bfloat16"}))
    finetune.finetune(folders, dataclasses.replace(LORA, max_steps=1), Kept())
    assert {weight.dtype for weight in weights_of(folders.output).values()} == {torch.bfloat16}


@pytest.fixture
def tracking_server() -> Iterator[tuple[str, list[Any]]]:
    """Takes what is posted to `runs/log-batch` and gives it back as MLflow does, on loopback."""
    taken: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = parse_qs(urlsplit(self.path).query).get("metric_key")
            points = [point for _, body in taken if body["run_id"] == "child" for point in body["metrics"]]
            points = [point for point in points if name is None or point["key"] == name[0]]
            answer = {"metrics": points} if name else {"run": {"data": {"metrics": points}}}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def do_POST(self) -> None:
            taken.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/api/2.0/mlflow", taken
    server.shutdown()
    server.server_close()
    thread.join()


def test_metrics_go_to_the_step_s_run_and_the_pipeline_s_once_each(
    tracking_server: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # as in a job; loopback must not go there
    address, taken = tracking_server
    environment = {"LOCALCLOUD_METRICS_URL": address, "AZUREML_RUN_ID": "child", "AZUREML_ROOT_RUN_ID": "root"}
    metrics = Metrics.from_environment({**os.environ, **environment})
    metrics.log({"loss": 1.5, "broken": float("nan")}, 3)
    metrics.log({"loss": 9.0}, 3)
    assert [path for path, _ in taken] == ["/api/2.0/mlflow/runs/log-batch"] * 2
    assert [body["run_id"] for _, body in taken] == ["child", "root"]
    assert [(each["key"], each["value"], each["step"]) for each in taken[0][1]["metrics"]] == [("loss", 1.5, 3)]


def test_steps_that_run_again_after_a_checkpoint_are_not_logged_twice(tracking_server: tuple[str, list[Any]]) -> None:
    address, taken = tracking_server
    first = Metrics(address, ("child", "root"))
    for step in (2, 4, 6):
        first.log({"loss": 1.0 / step}, step)
    again = Metrics(address, ("child", "root"))
    again.recall(4)
    for step in (6, 8):
        again.log({"loss": 1.0 / step, "grad_norm": 1.0}, step)
    for run in ("child", "root"):
        sent = [
            (point["key"], point["step"]) for _, body in taken if body["run_id"] == run for point in body["metrics"]
        ]
        assert sorted(sent) == [("grad_norm", 6), ("grad_norm", 8), *(("loss", step) for step in (2, 4, 6, 8))]


def test_a_tracking_server_that_is_gone_is_said_once_and_fails_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = Metrics("http://127.0.0.1:9", ("run",))
    metrics.log({"loss": 1.0}, 1)
    metrics.log({"loss": 2.0}, 2)
    metrics.recall(1)
    assert capsys.readouterr().err.count("Metrics cannot be recorded") == 1

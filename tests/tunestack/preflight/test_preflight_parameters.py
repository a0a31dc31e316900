"""Traps of the parameters, each said before a machine is paid for it, and none where there is none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tunestack.preflight import preflight_subjects as at
from tests.tunestack.preflight.preflight_subjects import Case, offline, online
from tunestack.preflight import preflight
from tunestack.preflight.preflight_subject import Subject
from tunestack.recipes import component_facts, recipe
from tunestack.registry_id import RegistryId

PHI_3, SMALL = "phi-3-mini-ultrachat", "smollm2-local"
PIPELINE = RegistryId("azureml", "components", "chat_completion_pipeline", "0.0.82")
TOKENS = {"chat_special_tokens": {"response_template": "<a>", "instruction_template": "<u>"}}
LLAMA = {
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "intermediate_size": 11008,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
}


def phi(*settings: str, **dials: Any) -> Subject:
    return offline("phi-4-ultrachat", *settings, **dials)


def training(**parameters: Any) -> Subject:
    return phi(*(f"training.{name}={value}" for name, value in parameters.items()))


def optimized(**parameters: Any) -> Subject:
    return phi(*(f"optimization.{name}={value}" for name, value in parameters.items()))


def changed(subject: Subject, **fields: Any) -> Subject:
    return replace(subject, recipe=subject.recipe.model_copy(update=fields))


def without(name: str, subject: Subject | None = None) -> Subject:
    found = subject or phi()
    own = found.recipe
    training, optimization = dict(own.training), dict(own.optimization)
    training.pop(name, None)
    optimization.pop(name, None)
    return changed(found, training=training, optimization=optimization)


def of_unknown_model() -> Subject:
    return phi("base_model=azureml://registries/azureml/models/Unheard-of/versions/1")


def of_unknown_component() -> Subject:
    return phi("component=azureml://registries/azureml/components/chat_completion_pipeline/versions/0.0.17")


def of_hub(folder: Path, config: dict[str, Any] | None, model: str = "microsoft/phi-4", **parameters: Any) -> Subject:
    """A hub model with a finetune_config in a folder; None leaves it out."""
    if config is not None:
        (folder / "finetune_config.json").write_text(json.dumps(config))
    found = phi()
    fields: dict[str, Any] = {"base_model": f"hub:{model}", "folder": folder}
    fields["finetune_config"] = None if config is None else "finetune_config.json"
    fields["training"] = {**found.recipe.training, **parameters}
    return changed(found, **fields)


CASES = (
    Case("parameters", "ok", phi),
    Case("parameters", "ok", lambda: online(), "the recipe's 11 parameters"),
    Case("parameters", "error", lambda: optimized(deepspeed_stage=4), "'deepspeed_stage' cannot be '4'"),
    Case("parameters", "error", lambda: training(lr_scheduler_type="nope"), "it is not one of linear, cosine"),
    Case("parameters", "error", lambda: training(num_train_epochs=0), "below the minimum 1"),
    Case("parameters", "error", lambda: training(per_device_train_batch_size=1.5), "not of type integer"),
    Case("parameters", "error", lambda: training(learning_rte=1), "did you mean 'learning_rate'"),
    Case("parameters", "error", lambda: training(learning_rate=0), "it must be above 0"),
    Case("parameters", "error", lambda: training(max_steps=0), "'max_steps' cannot be '0'"),
    Case("parameters", "error", lambda: optimized(lora_r=0), "it must be at least 1"),
    Case("parameters", "error", lambda: training(gradient_accumulation_steps=0), "it must be at least 1"),
    Case("parameters", "error", lambda: optimized(lora_dropout=2), "it must be at most 1"),
    Case("parameters", "error", lambda: training(seed=-1), "it must be at least 0"),
    Case("parameters", "error", lambda: optimized(num_nodes_finetune="many"), "not of type integer"),
    Case("parameters", "error", lambda: online(None, optimized(deepspeed_stage=4)), "cannot be '4'"),
    Case("parameters", "error", lambda: training(shm_size_finetune="5'g"), "a quote or a backslash"),
    Case("parameters", "unknown", of_unknown_component, "stand not in component_facts.yml"),
    Case("parameters", "unknown", lambda: online({at.COMPONENT: None}), "does not exist"),
    Case("dropped-parameters", "ok", phi, "nothing is dropped"),
    Case("dropped-parameters", "warning", lambda: offline(PHI_3), "learning_rate_max 5e-05, learning_rate_min 5e-07"),
    Case(
        "dropped-parameters",
        "warning",
        lambda: online({at.PHI_4: at.model(model_specific_defaults='{"apply_rlhf": "true"}')}),
        "apply_rlhf true",
    ),
    Case("dropped-parameters", "unknown", of_unknown_model, "are not in the dated tables"),
    Case("overridden-parameters", "ok", lambda: phi("optimization.deepspeed_stage=3"), "do not differ"),
    Case("overridden-parameters", "ok", lambda: offline(PHI_3), "num_train_epochs 3 (model: 1)"),
    Case("overridden-parameters", "unknown", of_unknown_model),
    Case("dead-parameters", "ok", phi),
    Case("dead-parameters", "warning", lambda: training(merge_lora_weights="true"), "merge_lora_weights does nothing"),
    Case("dead-parameters", "warning", lambda: optimized(apply_ort="false", task_name="ChatCompletion"), "do nothing"),
    Case("dead-parameters", "warning", lambda: training(max_grad_norm=0.5), "max_grad_norm is not applied"),
    Case("dead-parameters", "ok", lambda: optimized(max_grad_norm=0.5, deepspeed_stage=3)),
    Case("dead-parameters", "warning", lambda: training(instance_type_finetune="Standard_NC6"), "does nothing"),
    Case("dead-parameters", "warning", lambda: training(batch_size=8), "per_device_train_batch_size"),
    Case("dead-parameters", "unknown", of_unknown_component),
    Case("precision", "ok", phi, "bfloat16"),
    Case("precision", "warning", lambda: optimized(precision=32), "twice the memory and no flash attention"),
    Case("precision", "warning", lambda: phi(gpuSize="Standard_ND40rs_v2"), "V100 32 GB has no bfloat16"),
    Case("precision", "warning", lambda: phi(gpuSize="Standard_NC4as_T4_v3"), "emulates it"),
    Case("precision", "ok", lambda: offline(SMALL), "the model is small"),
    Case("gradient-checkpointing", "ok", phi, "both are counted"),
    Case("gradient-checkpointing", "warning", lambda: optimized(apply_deepspeed="false"), "LoRA without DeepSpeed"),
    Case("gradient-checkpointing", "ok", lambda: offline(SMALL), "here that is less than 1 GiB"),
    Case("gradient-checkpointing", "unknown", of_unknown_model),
    Case("deepspeed", "ok", phi, "stage 2"),
    Case("deepspeed", "ok", lambda: without("deepspeed_stage", without("apply_deepspeed", offline(SMALL))), "off"),
    Case("deepspeed", "error", lambda: training(auto_find_batch_size="true"), "ends with a user error"),
    Case("deepspeed", "warning", lambda: optimized(deepspeed_stage=3), "stage 2 fits as well"),
    Case("deepspeed", "warning", lambda: optimized(apply_deepspeed="false"), "without apply_deepspeed is ignored"),
    Case(
        "deepspeed", "ok", lambda: phi("optimization.deepspeed_stage=3", gpuSize="Standard_NV36ads_A10_v5"), "stage 3"
    ),
    Case("lora", "ok", phi, "adapters count 16 times"),
    Case("lora", "warning", lambda: optimized(apply_lora="false"), "all 14.7 billion weights are trained"),
    Case("lora", "warning", lambda: optimized(lora_r=1), "adapters count 128 times"),
    Case("lora", "ok", lambda: offline(SMALL)),
    Case("gpus", "ok", phi, "1 process on 1 of"),
    Case("gpus", "error", lambda: optimized(number_of_gpu_to_use_finetuning=2), "has 1"),
    Case(
        "gpus",
        "warning",
        lambda: phi("optimization.number_of_gpu_to_use_finetuning=2", gpuSize="Standard_NC96ads_A100_v4"),
        "2 of 4 GPUs",
    ),
    Case("gpus", "unknown", lambda: phi(gpuSize="Standard_Unheard_of"), "is not known"),
    Case("gpus", "unknown", lambda: phi(gpuSize=""), "which machines train"),
    Case("sequence-length", "ok", phi, "cut to 2,048 tokens"),
    Case("sequence-length", "warning", lambda: without("max_seq_length"), "as far as the model's 16,384 tokens, 512"),
    Case("sequence-length", "warning", lambda: training(max_seq_length=99999), "more than the model's 16,384"),
    Case(
        "sequence-length", "warning", lambda: without("max_seq_length", of_unknown_model()), "is taken for 512 tokens"
    ),
    Case("evaluation-steps", "ok", phi, "after every epoch"),
    Case("evaluation-steps", "ok", lambda: training(evaluation_strategy="steps", eval_steps=100), "every 100 steps"),
    Case("evaluation-steps", "ok", lambda: training(evaluation_strategy="steps", evaluation_steps_interval=0.25)),
    Case(
        "early-stopping",
        "ok",
        lambda: replace(
            training(evaluation_strategy="steps", evaluation_steps_interval=0.25, apply_early_stopping="true"),
            data=at.data(train=100),
        ),
        "patience of 1",
    ),
    Case(
        "evaluation-steps",
        "error",
        lambda: training(
            evaluation_strategy="steps", evaluation_steps_interval=0.25, num_train_epochs="null", max_steps=100
        ),
        "every 0.25 of an epoch, and the run has 100 steps: nothing",
    ),
    Case("evaluation-steps", "warning", lambda: training(evaluation_strategy="disable"), "the last weights are taken"),
    Case("evaluation-steps", "warning", lambda: training(eval_steps=100), "eval_steps without evaluation_strategy"),
    Case("evaluation-steps", "warning", lambda: training(evaluation_steps_interval=2), "no part of an epoch"),
    Case(
        "evaluation-steps",
        "error",
        lambda: training(evaluation_strategy="steps", eval_steps=500, num_train_epochs="null", max_steps=100),
        "nothing is ever evaluated or saved",
    ),
    Case("early-stopping", "ok", phi, "off"),
    Case(
        "early-stopping",
        "ok",
        lambda: training(apply_early_stopping="true", evaluation_strategy="steps", eval_steps=500),
        "patience of 1",
    ),
    Case(
        "early-stopping",
        "error",
        lambda: training(apply_early_stopping="true", evaluation_strategy="disable"),
        "ends with a user error",
    ),
    Case("early-stopping", "error", lambda: training(metric_for_best_model="f1"), "computes only loss"),
    Case("early-stopping", "warning", lambda: training(early_stopping_patience=3), "is ignored"),
    Case("early-stopping", "warning", lambda: training(apply_early_stopping="true"), "can never stop anything"),
    Case("warmup", "ok", phi, "0 of 9,353 steps"),
    Case("warmup", "warning", lambda: training(warmup_steps=9353), "never reached"),
    Case("warmup", "unknown", lambda: phi("training.warmup_steps=5", gpuSize="Standard_NC6s_v3"), "unknown length"),
    Case("interruption", "ok", phi, "dedicated"),
    Case("interruption", "warning", lambda: phi(gpuPriority="LowPriority"), "begins anew"),
    Case(
        "interruption",
        "ok",
        lambda: phi("training.resume_from_checkpoint=true", gpuPriority="LowPriority"),
        "goes on from its last checkpoint",
    ),
    Case("interruption", "unknown", lambda: phi(gpuSize="")),
    Case("checkpoints", "ok", phi, "at most 1"),
    Case("checkpoints", "ok", lambda: training(evaluation_strategy="disable", save_total_limit=-1), "none is written"),
    Case(
        "checkpoints",
        "warning",
        lambda: training(evaluation_strategy="steps", eval_steps=10, save_total_limit=-1),
        "935 of them",
    ),
    Case(
        "checkpoints",
        "warning",
        lambda: phi("training.save_total_limit=-1", "optimization.apply_lora=false"),
        "of about 191.1 GiB",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}-{case.verdict}")
def test_a_check_says(case: Case) -> None:
    found = {one.name: one for one in preflight.checks()}[case.check]
    said = preflight.asked(found, case.subject())
    assert said.verdict == case.verdict, said
    assert case.says in f"{said.reason} {said.fix}", said
    assert said.verdict == "ok" or said.fix, "whoever is stopped must read what to do"


def asked(check: str, subject: Subject) -> preflight.Finding:
    return preflight.asked({one.name: one for one in preflight.checks()}[check], subject)


# -- hub models, which bring a finetune_config


def test_trainer_arguments_of_the_finetune_config_win_and_that_is_an_error(tmp_path: Path) -> None:
    args = {**TOKENS, "hf_trainer_args": {"num_train_epochs": 5, "learning_rate": 5e-06}}
    said = asked("overridden-parameters", of_hub(tmp_path, args, num_train_epochs=3))
    assert said.verdict == "error"
    assert "num_train_epochs 3 becomes 5" in said.reason
    assert "learning_rate" not in said.reason, "the same value twice is no difference"
    same = asked("overridden-parameters", of_hub(tmp_path, args, num_train_epochs=5))
    assert same.verdict == "ok"


def test_a_hub_model_must_name_its_lora_targets_unless_the_component_knows_its_type(tmp_path: Path) -> None:
    said = asked("lora", of_hub(tmp_path, TOKENS))
    assert said.verdict == "error"
    assert "knows no layers of type 'phi3'" in said.reason
    named = {**TOKENS, "lora_algo": "peft", "lora_target_modules": ["qkv_proj"]}
    assert asked("lora", of_hub(tmp_path, named)).verdict == "ok"
    llama = {**TOKENS, "model_config": {**LLAMA, "model_type": "llama"}}
    assert asked("lora", of_hub(tmp_path, llama, "someone/llama")).verdict == "ok"


def test_checkpointing_of_a_hub_phi_is_off_unless_its_config_says_so(tmp_path: Path) -> None:
    said = asked("gradient-checkpointing", of_hub(tmp_path, TOKENS))
    assert said.verdict == "warning"
    assert "type 'phi3'" in said.reason
    told = {**TOKENS, "hf_trainer_args": {"gradient_checkpointing": True}}
    assert asked("gradient-checkpointing", of_hub(tmp_path, told)).verdict == "ok"


def test_a_shape_from_the_finetune_config_is_what_memory_is_computed_from(tmp_path: Path) -> None:
    unknown = of_hub(tmp_path, TOKENS, "someone/new")
    assert asked("training-memory", unknown).verdict == "unknown"
    told = of_hub(tmp_path, {**TOKENS, "model_config": {**LLAMA, "model_type": "llama"}}, "someone/new")
    said = asked("training-memory", told)
    assert said.verdict == "ok"
    assert "weights 12.6" in said.reason
    broken = of_hub(tmp_path, {**TOKENS, "model_config": {"hidden_size": 8}}, "someone/new")
    said = asked("training-memory", broken)
    assert said.verdict == "unknown"
    assert "lacks num_hidden_layers" in said.reason


def test_a_finetune_config_that_is_no_json_makes_checks_unknown_with_its_name(tmp_path: Path) -> None:
    subject = of_hub(tmp_path, TOKENS)
    (tmp_path / "finetune_config.json").write_text("{")
    said = asked("overridden-parameters", subject)
    assert said.verdict == "unknown"
    assert "finetune_config.json' is not JSON" in said.reason


def test_version_2_of_a_finetune_config_keeps_the_task_in_a_section(tmp_path: Path) -> None:
    nested = {"version": "2", "task_specific_config": {"ChatCompletion": {**TOKENS, "lora_target_modules": ["o_proj"]}}}
    assert asked("lora", of_hub(tmp_path, nested)).verdict == "ok"


# -- the dated table of the component


def test_the_table_is_the_component_that_the_local_registry_offers() -> None:
    table = component_facts.schema(PIPELINE)
    assert table
    offered = component_facts.of_specification(at.published()["properties"]["componentSpec"], PIPELINE, "registry")
    assert len(table.inputs) == 69
    assert table.inputs == offered.inputs
    assert table.defaults == offered.defaults
    assert table.no_effect <= set(table.inputs)


def test_the_merge_that_preflight_shows_is_the_one_that_is_sent() -> None:
    subject = offline(PHI_3)
    sent = subject.planned.sent
    assert sent["num_train_epochs"] == "3"
    assert sent["save_total_limit"] == "1"
    assert "learning_rate_min" not in sent
    assert set(sent) <= set(component_facts.schema(PIPELINE).inputs)  # type: ignore[union-attr]


def test_a_shipped_recipe_has_no_error_among_its_parameters() -> None:
    for file in sorted((at.ROOT / "pipelines" / "finetune").glob("*.yml")):
        if recipe.read(file).model.is_hub:
            continue
        subject = offline(file.stem)
        checks = {case.check for case in CASES}
        found = [asked(one.name, subject) for one in preflight.checks() if one.name in checks]
        assert [one for one in found if one.verdict in ("error", "unknown")] == [], file

"""What one run may cost: steps as the Trainer counts them, ranges that say what they assume, real rows where known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunestack.azure_facts import Figure, price_of_size
from tunestack.cost import fine_tune_cost
from tunestack.cost.fine_tune_cost import Machines, Range
from tunestack.data.data_folder import DataFolder
from tunestack.recipes import recipe
from tunestack.recipes.recipe import Recipe

RECIPES = Path(__file__).parents[3] / "pipelines" / "finetune"
A100 = "Standard_NC24ads_A100_v4"
CPU = "Standard_D4ds_v5"
PARAMETERS = 14_659_507_200  # of Phi-4


def phi(**parameters: Any) -> Recipe:
    found = recipe.read(RECIPES / "phi-4-ultrachat.yml")
    return found.model_copy(update={"training": {**found.training, **parameters}})


def machines(gpu: str = A100, *, low: bool = False) -> Machines:
    return Machines(gpu, price_of_size(gpu, low_priority=low), price_of_size(CPU), CPU, low)


def of(found: Recipe, at: Machines | None = None, **more: Any) -> Range:
    span = fine_tune_cost.of_recipe(found, at or machines(), **more)
    assert isinstance(span, Range), span
    return span


def folder(train: int, tokens: dict[str, Any] | None = None, *, exact: bool = True) -> DataFolder:
    counts = {"train": train, "validation": train // 9, "test": 300, "sample": 20}
    card = {"lengths": tokens, "tokens": {"tokenizer": "phi" if exact else None}} if tokens else {}
    return DataFolder("mine", "mine.jsonl", 100, "h", "t", counts, {}, {}, card)


def test_a_fine_tune_is_a_range_that_says_what_it_assumes() -> None:
    found = of(phi())
    assert 0 < found.dollars[0] < found.dollars[1]
    assert 0 < found.hours[0] < found.hours[1]
    assert "9,353 rows" in found.assumes
    assert "1,024 to 2,048 tokens" in found.assumes


def test_the_parts_are_import_training_and_evaluation_and_make_up_the_whole() -> None:
    found = of(phi())
    assert [part.name for part in found.parts] == ["import and preprocessing", "training", "evaluation"]
    for end in (0, 1):
        assert sum(part.hours[end] for part in found.parts) == pytest.approx(found.hours[end])
        assert sum(part.dollars[end] for part in found.parts) == pytest.approx(found.dollars[end], abs=0.01)
    assert all(part.assumes for part in found.parts)


@pytest.mark.parametrize(("gpus", "steps"), [(1, 8314), (2, 4157), (4, 2079), (8, 1040)])
def test_steps_per_epoch_are_those_of_the_tutorials_rows(gpus: int, steps: int) -> None:
    found = of(phi(number_of_gpu_to_use_finetuning=gpus), rows=8314)
    assert found.steps == steps


def test_a_recipe_that_names_no_number_of_gpus_takes_all_of_the_machine() -> None:
    assert of(phi(), machines("Standard_NC48ads_A100_v4"), rows=1000, parameters={}).steps == 500


@pytest.mark.parametrize(
    ("parameters", "steps", "rows"),
    [
        ({"num_train_epochs": 3}, 3000, 3000),
        ({"per_device_train_batch_size": 8}, 125, 1000),
        ({"gradient_accumulation_steps": 4}, 250, 1000),
        ({"gradient_accumulation_steps": 3, "num_train_epochs": 2}, 668, 2000),
        ({"max_steps": 1}, 1, 1),
        ({"max_steps": 10, "num_train_epochs": 3}, 10, 10),
        ({"max_steps": 10, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}, 10, 80),
        ({"num_nodes_finetune": 2}, 500, 1000),
    ],
)
def test_steps_follow_from_epochs_batch_accumulation_nodes_and_max_steps(parameters, steps, rows) -> None:
    found = of(phi(**parameters), rows=1000)
    assert (found.steps, found.rows) == (steps, rows)


@pytest.mark.parametrize(
    ("parameters", "evaluations"),
    [
        ({}, 1),
        ({"num_train_epochs": 3}, 3),
        ({"evaluation_strategy": "disable"}, 0),
        ({"evaluation_strategy": "steps"}, 2),
        ({"evaluation_strategy": "steps", "eval_steps": 100}, 10),
        ({"evaluation_strategy": "steps", "evaluation_steps_interval": 0.25}, 4),
    ],
)
def test_evaluations_on_the_way_follow_from_the_strategy(parameters, evaluations) -> None:
    assert of(phi(**parameters), rows=1000).evaluations == evaluations


@pytest.mark.parametrize(("size", "gpus", "peak"), [(A100, 1, 312e12), (A100, 2, 312e12), (CPU, 1, 4 * 0.08e12)])
def test_hours_and_dollars_are_those_of_the_formula_written_out(size: str, gpus: int, peak: float) -> None:
    """1,000 rows of 196 to 204 tokens; adapters learn by 4 to 6 operations a weight and token, reading takes 2."""
    asked = phi(num_nodes_finetune=2, number_of_gpu_to_use_finetuning=gpus)
    price = price_of_size(size)
    assert price
    _, training, gate = of(asked, machines(size), data=folder(1000, {"mean": 200.0})).parts
    whole = 2 * gpus * peak * 3600  # operations of both machines in an hour, at their peak
    for end, (tokens, learning, use, around) in enumerate(((196, 4, 0.5, 0.3), (204, 6, 0.15, 1.2))):
        operations = PARAMETERS * tokens * (1000 * learning + 111 * 2)
        assert training.hours[end] == pytest.approx(around + operations / (use * whole))
        assert training.dollars[end] == pytest.approx(training.hours[end] * 2 * price.dollars)
    answers = asked.evaluation.samples * asked.evaluation.max_new_tokens
    for end, (models, tokens, use, pace, around) in enumerate(((2, 196, 0.5, 40, 0.2), (3, 204, 0.15, 8, 0.8))):
        read = PARAMETERS * (300 * tokens + 120 * 100) * 2 / (use * peak)
        assert gate.hours[end] == pytest.approx(around + models * (read + answers / pace) / 3600)
        assert gate.dollars[end] == pytest.approx(gate.hours[end] * price.dollars)


def test_more_work_costs_more() -> None:
    few, once, thrice = (
        of(phi(**parameters)).dollars[1] for parameters in ({"max_steps": 10}, {}, {"num_train_epochs": 3})
    )
    assert few < once < thrice


def test_the_rows_and_tokens_of_the_data_folder_go_before_the_table() -> None:
    table = of(phi())
    rows_only = of(phi(), data=folder(1000))
    counted = of(phi(), data=folder(1000, {"mean": 200.0}))
    estimated = of(phi(), data=folder(1000, {"mean": 200.0}, exact=False))
    assert rows_only.rows == counted.rows == 1000
    assert counted.hours[1] < rows_only.hours[1] < table.hours[1]
    assert "196 to 204 tokens" in counted.assumes
    assert "150 to 250 tokens" in estimated.assumes


def test_rows_longer_than_the_sequence_count_as_cut() -> None:
    assert "2,048 tokens each" in of(phi(), data=folder(1000, {"mean": 9000.0})).assumes


def test_rows_that_are_not_known_are_asked_for_and_may_be_given() -> None:
    own = phi().model_copy(update={"data": phi().data.model_copy(update={"source": "data/mine.jsonl"})})
    said = fine_tune_cost.of_recipe(own, machines())
    assert said == "how many rows 'data/mine.jsonl' has is not known before they are prepared"
    assert "1,000 rows" in of(own, rows=1000).assumes


def test_a_model_of_unknown_size_has_no_range_and_all_that_is_missing_is_said() -> None:
    own = phi().model_copy(update={"base_model": "hub:someone/new-model"})
    said = fine_tune_cost.of_recipe(own, Machines("Standard_Unheard_of", None, None))
    assert isinstance(said, str)
    for part in ("how large 'new-model' is", "how fast a machine of size 'Standard_Unheard_of'", "price"):
        assert part in said


@pytest.mark.parametrize(
    ("size", "gpu", "cpu", "said"),
    [
        (A100, None, Figure(1, "hour", "x"), "the price of its machines is not known"),
        (A100, Figure(1, "hour", "x"), None, "the price of its machines is not known"),
        ("Standard_X", Figure(1, "hour", "x"), Figure(1, "hour", "x"), "how fast a machine of size 'Standard_X' is"),
    ],
)
def test_a_machine_without_a_price_or_a_speed_gives_no_range(size, gpu, cpu, said) -> None:
    found = fine_tune_cost.of_recipe(phi(), Machines(size, gpu, cpu))
    assert isinstance(found, str)
    assert found.startswith(said)


def test_defaults_of_the_model_count_where_the_recipe_is_silent() -> None:
    silent = recipe.read(RECIPES / "smollm2-local.yml")
    silent = silent.model_copy(update={"training": {"num_train_epochs": 1}})
    assert of(silent, rows=160).steps == 10, "the model's own batch is 16"
    assert of(silent, rows=160, parameters={"per_device_train_batch_size": 4}).steps == 40


def test_evaluation_is_counted_and_grows_with_rows_and_answers() -> None:
    def gate(**asked: int) -> tuple[float, float]:
        found = phi()
        changed = found.model_copy(update={"evaluation": found.evaluation.model_copy(update=asked)})
        return of(changed).parts[-1].hours

    assert gate(max_rows=100)[1] < gate(max_rows=2000)[1]
    assert gate(samples=0)[0] < gate(samples=50)[0]


@pytest.mark.parametrize(
    ("optimization", "operations"),
    [
        ({}, "4 to 6"),  # nobody published whether the component checkpoints this type
        ({"apply_deepspeed": "false"}, "4"),
        ({"apply_lora": "false"}, "6 to 8"),
        ({"apply_lora": "false", "apply_deepspeed": "false"}, "6 to 8"),
    ],
)
def test_what_learns_and_what_is_computed_again_decides_the_operations(optimization, operations) -> None:
    found = phi()
    found = found.model_copy(update={"optimization": {**found.optimization, **optimization}})
    assert f", {operations} operations per weight and token" in of(found).assumes


def test_validation_while_training_costs_what_it_reads() -> None:
    never, each_epoch = phi(evaluation_strategy="disable"), phi()
    often = phi(evaluation_strategy="steps", eval_steps=100)
    hours = [of(found).parts[1].hours[1] for found in (never, each_epoch, often)]
    assert hours == sorted(hours)
    assert hours[0] < hours[1] < hours[2]


def test_zero_3_fetches_the_weights_and_says_so() -> None:
    def tuned(stage: int) -> Range:
        work = {"max_steps": 500, "per_device_train_batch_size": 2}
        found = phi(**work, number_of_gpu_to_use_finetuning=2, num_nodes_finetune=2)
        return of(found.model_copy(update={"optimization": {**found.optimization, "deepspeed_stage": stage}}))

    assert "ZeRO-3 fetching" in tuned(3).assumes
    assert "ZeRO-3" not in tuned(2).assumes
    # Each of two GPUs fetches half of the weights, in 16 bit, for each of 500 micro batches: twice at 25 GB/s, which
    # hides the learning, or thrice at 15 GB/s beside it.
    once = 500 * 2 * PARAMETERS / 2 / 3600
    assert tuned(3).parts[1].hours[0] == pytest.approx(0.3 + 2 * once / 25e9)
    assert tuned(3).hours[1] == pytest.approx(tuned(2).hours[1] + 3 * once / 15e9)


def test_zeros_adam_in_the_machines_memory_is_counted_where_all_weights_are_trained() -> None:
    def tuned(**optimization: Any) -> Range:
        found = phi(max_steps=1000)
        return of(found.model_copy(update={"optimization": {**found.optimization, **optimization}}))

    adapters, whole = tuned(), tuned(apply_lora="false")
    assert "ZeRO's Adam" not in adapters.assumes
    assert "ZeRO's Adam on the CPU 0.5 to 1.5 s a step and 1e9 weights" in whole.assumes
    assert "ZeRO's Adam" not in tuned(apply_lora="false", apply_deepspeed="false").assumes
    adam = 1000 * PARAMETERS / 1e9 * 1.5 / 3600
    assert whole.hours[1] == pytest.approx(adapters.hours[1] + adam, rel=0.1)


@pytest.mark.parametrize(
    ("size", "precision", "teraflops"),
    [(A100, 16, "312"), (A100, 32, "19"), ("Standard_NC4as_T4_v3", 16, "8"), ("Standard_NC4as_T4_v3", 32, "8")],
)
def test_the_peak_is_that_of_the_precision_and_bfloat16_is_emulated_before_ampere(size, precision, teraflops) -> None:
    found = phi()
    wanted = found.model_copy(update={"optimization": {**found.optimization, "precision": precision}})
    assert f"% of {teraflops} teraflops" in of(wanted, machines(size)).assumes


def test_low_priority_may_run_parts_again_and_is_cheaper_by_the_hour() -> None:
    full, low = of(phi()), of(phi(), machines(low=True))
    assert low.parts[1].hours == pytest.approx((full.parts[1].hours[0], 1.5 * full.parts[1].hours[1]))
    assert (low.parts[0].hours, low.parts[2].hours) == (full.parts[0].hours, full.parts[2].hours)
    assert low.dollars[0] < full.dollars[0] / 2
    assert "run parts again" in low.assumes


def test_where_the_gate_runs_on_the_cheap_machine_it_is_priced_and_timed_there() -> None:
    found = phi()
    cheap = found.model_copy(update={"compute": found.compute.model_copy(update={"evaluate": "cpu"})})
    part = of(cheap).parts[-1]
    assert part.size == CPU
    assert part.hours[1] > of(found).parts[-1].hours[1], "a few cores need longer than a GPU"


def test_a_record_is_plain_json_with_both_ends() -> None:
    found = of(phi())
    kept = found.record
    assert kept["hours"] == [round(hour, 2) for hour in found.hours]
    assert {"part", "size", "hours", "dollars", "assumes"} == set(kept["parts"][1])
    assert replace(found, parts=()).record["parts"] == []


def test_the_page_on_cost_has_the_range_of_the_walk_through() -> None:
    low, high = of(recipe.read(RECIPES / "phi-4-ultrachat.yml")).dollars
    page = " ".join((RECIPES.parents[1] / "docs" / "cost.md").read_text().split())
    assert f"one fine-tune of `phi-4-ultrachat`, its evaluation included, {low:,.2f} to {high:,.2f}." in page

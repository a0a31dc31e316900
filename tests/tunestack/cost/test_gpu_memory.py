"""Memory: our figures beside published ones, each switch of a recipe moves the term that it should, and no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tunestack.cost import memory_table
from tests.tunestack.cost.memory_table import LORA, shape
from tunestack import azure_facts
from tunestack.azure_facts import Gpu
from tunestack.cost import gpu_memory, serving_memory
from tunestack.cost.gpu_memory import Estimate, Training
from tunestack.errors import UsageError
from tunestack.recipes import architecture

PHI_3, PHI_4, LLAMA = "Phi-3-mini-4k-instruct", "Phi-4", "Llama-2-7b-chat"


def gpu(name: str) -> Gpu:
    fact = azure_facts.facts()["gpus"][name]
    return Gpu(name, fact["memory"], fact["capability"], fact["teraflops"])


def term(found: Estimate, name: str) -> tuple[float, float]:
    (one,) = [part for part in found.gpu if part.name == name]
    return one.least, one.most


@pytest.mark.parametrize("row", list(memory_table.rows()), ids=lambda row: f"{row.model}, {row.what}")
def test_our_figure_is_the_published_one_within_its_tolerance(row: memory_table.Row) -> None:
    assert row.agrees, row.cells


def test_the_page_shows_the_figures_of_today() -> None:
    page = memory_table.PAGE.read_text()
    assert memory_table.written(page) == page, "run: .venv/bin/python -m tests.tunestack.cost.memory_table"


@pytest.mark.parametrize(
    ("name", "count"),
    [(PHI_3, 3821079552), (PHI_4, 14659507200), (LLAMA, 6738415616), ("SmolLM2-135M-Instruct", 134515008)],
)
def test_parameters_follow_from_the_shape_to_the_last_one(name: str, count: int) -> None:
    assert shape(name).parameters == count


@pytest.mark.parametrize(
    ("name", "widths"),
    [(PHI_4, (1, 2, 5, 10)), (PHI_3, (1, 2, 4, 8, 16, 32)), ("SmolLM2-135M-Instruct", (1, 3))],
)
def test_tensor_parallel_divides_both_head_counts(name: str, widths: tuple[int, ...]) -> None:
    assert shape(name).widths == widths


@pytest.mark.parametrize(
    ("gpus", "asked", "ways"), [(4, "4", 2), (2, "2", 2), (8, "8", 5), (8, "10", 5), (1, "2", 1), (4, None, 1)]
)
def test_tensor_parallel_of_phi_4_is_lowered_until_it_divides(gpus: int, asked: str | None, ways: int) -> None:
    told = {"TENSOR_PARALLEL": asked} if asked else {}
    assert serving_memory.serving(shape(PHI_4), gpus, told).ways == ways


def test_a_llama_shares_all_gpus_of_its_machine_unless_told_otherwise() -> None:
    assert serving_memory.serving(shape(LLAMA), 4).ways == 4
    assert serving_memory.serving(shape(LLAMA), 4, {"TENSOR_PARALLEL": "2"}).ways == 2


@pytest.mark.parametrize(
    ("told", "least", "most", "cache"),
    [
        ({}, 2, 2, 2),
        ({"DTYPE": "float32"}, 4, 4, 4),
        ({"DTYPE": "half"}, 2, 2, 2),
        ({"QUANTIZATION": "fp8"}, 0.5, 2, 2),
    ],
)
def test_what_a_deployment_is_told_decides_the_bytes_of_weights_and_cache(told, least, most, cache) -> None:
    own = shape(PHI_4)
    for gpus in (1, 2):
        found = serving_memory.serving(own, gpus, {**told, "TENSOR_PARALLEL": str(gpus), "MAX_MODEL_LEN": "1000"})
        weights = own.parameters / 2**30 / gpus
        assert term(found.estimate, "weights") == pytest.approx((least * weights, most * weights))
        assert term(found.estimate, "KV cache")[1] == pytest.approx(own.kv_bytes(cache) * 1000 / 2**30 / gpus)
        assert ("over 2 GPUs" in found.estimate.formula) == (gpus == 2)


# The table of 7.3: what fits where, with LoRA at 4,096 tokens, and contexts in the KV cache when served.
@pytest.mark.parametrize(
    ("name", "card", "stage", "kind", "verdict"),
    [
        (PHI_3, "A100 80 GB", 2, "phi3", "yes"),
        (PHI_3, "A100 40 GB", 2, "phi3", "yes"),
        (PHI_3, "A10 24 GB", 2, "phi3mini", "yes"),
        (PHI_3, "A10 24 GB", 2, "phi3", "no"),
        (PHI_3, "V100 32 GB", 2, "phi3mini", "yes"),
        (PHI_3, "V100 16 GB", 2, "phi3mini", "tight"),
        (PHI_3, "T4 16 GB", 2, "phi3mini", "tight"),
        (PHI_4, "A100 80 GB", 2, "phi3", "tight"),  # the table says yes, with 34·b·s·h a layer; counted are 36 to 47
        (PHI_4, "A100 40 GB", 2, "phi3mini", "tight"),
        (PHI_4, "A100 40 GB", 3, "phi3mini", "yes"),
        (PHI_4, "A10 24 GB", 2, "phi3mini", "no"),
        (PHI_4, "A10 24 GB", 3, "phi3mini", "yes"),
        (PHI_4, "V100 32 GB", 2, "phi3mini", "no"),
        (PHI_4, "V100 32 GB", 3, "phi3mini", "yes"),
        (PHI_4, "V100 16 GB", 2, "phi3mini", "no"),
        (PHI_4, "T4 16 GB", 2, "phi3mini", "no"),
    ],
)
def test_lora_at_4096_tokens_fits_where_the_published_table_says(name, card, stage, kind, verdict) -> None:
    own = gpu(card)
    found = gpu_memory.training(shape(name, kind), replace(LORA, stage=stage), own)
    said = "no" if found.least > own.usable else "yes" if found.most <= own.usable else "tight"
    assert said == verdict, (found.text, own.usable)


@pytest.mark.parametrize(
    ("name", "card", "contexts"),
    [
        (PHI_3, "A100 80 GB", 41),
        (PHI_3, "A100 40 GB", 18),
        (PHI_3, "A10 24 GB", 7),
        (PHI_3, "V100 32 GB", 13),
        (PHI_3, "V100 16 GB", 3),
        (PHI_3, "T4 16 GB", 3),
        (PHI_4, "A100 80 GB", 13),
        (PHI_4, "A100 40 GB", 2),
        (PHI_4, "A10 24 GB", 0),
    ],
)
def test_full_contexts_in_the_kv_cache_are_those_of_the_published_table(name: str, card: str, contexts: int) -> None:
    found = serving_memory.serving(shape(name), 1).contexts(gpu(card))
    assert found == pytest.approx(contexts, abs=1)
    assert (found == 0) == (contexts == 0)


def test_usable_memory_is_that_of_the_published_table() -> None:
    usable = {"A100 80 GB": 71, "A100 40 GB": 36, "A10 24 GB": 20, "V100 32 GB": 29, "V100 16 GB": 14, "T4 16 GB": 13}
    assert {name: round(gpu(name).usable) for name in usable} == usable


def test_checkpointing_is_on_by_type_and_never_for_lora_alone() -> None:
    assert gpu_memory.checkpointing(shape(PHI_4, "phi3mini"), LORA) is True
    assert gpu_memory.checkpointing(shape(PHI_4, "phi3"), LORA) is False
    unknown = architecture.of_name(PHI_4)
    assert unknown
    assert gpu_memory.checkpointing(unknown, LORA) is None, "the registry's type is not public"
    assert gpu_memory.checkpointing(unknown, replace(LORA, checkpointing=True)) is True
    alone = replace(LORA, stage=0)
    assert gpu_memory.checkpointing(shape(PHI_4, "phi3mini"), alone) is False
    on, off = (gpu_memory.training(shape(PHI_4, "phi3mini"), run, None) for run in (LORA, alone))
    assert term(off, "activations")[0] > 10 * term(on, "activations")[0]


def test_what_is_not_public_counts_from_on_to_off() -> None:
    unknown = architecture.of_name(PHI_4)
    assert unknown
    low, high = term(gpu_memory.training(unknown, LORA, None), "activations")
    assert low == term(gpu_memory.training(shape(PHI_4, "phi3mini"), LORA, None), "activations")[0]
    assert high == term(gpu_memory.training(shape(PHI_4, "phi3"), LORA, None), "activations")[1]


def test_precision_32_doubles_weights_and_activations_and_takes_flash_attention_away() -> None:
    half, whole = (gpu_memory.training(shape(PHI_3), replace(LORA, precision=bits), None) for bits in (16, 32))
    assert term(whole, "weights")[0] == pytest.approx(2 * term(half, "weights")[0])
    assert 1.8 < term(whole, "activations")[0] / term(half, "activations")[0] < 2, "norms keep float32 either way"
    assert [part.name for part in half.gpu if part.name == "attention scores"] == []
    assert term(whole, "attention scores")[1] > 1


def test_16_bit_without_deepspeed_loads_float32_unless_flash_attention_is_forced() -> None:
    alone = replace(LORA, stage=0)
    narrow = gpu_memory.training(shape(LLAMA), alone, gpu("A100 80 GB"))
    wide = gpu_memory.training(shape(LLAMA), alone, gpu("V100 32 GB"))
    assert term(wide, "weights")[0] == pytest.approx(2 * term(narrow, "weights")[1])
    assert term(gpu_memory.training(shape(PHI_4, "phi3"), alone, None), "weights")[0] == pytest.approx(54.6, abs=0.1)


def test_float32_weights_at_16_bit_have_copies_that_the_backward_pass_needs() -> None:
    alone = replace(LORA, stage=0)
    copies = {
        kind: [part for part in gpu_memory.training(shape(PHI_3, kind), run, None).gpu if part.name == "16-bit copies"]
        for kind, run in (("phi3", alone), ("phi3mini", alone))
    }
    assert copies["phi3mini"] == [], "flash attention loads 16 bit"
    assert copies["phi3"][0].least == pytest.approx(2 * shape(PHI_3).parameters / 2**30)
    again = gpu_memory.training(shape(PHI_3, "phi3"), replace(alone, checkpointing=True), None)
    assert "16-bit copies" not in [part.name for part in again.gpu], "made anew, layer by layer"


def test_zero_3_moves_the_weights_and_adam_into_the_machines_memory() -> None:
    two, three = (gpu_memory.training(shape(PHI_4), replace(LORA, stage=stage), None) for stage in (2, 3))
    assert three.most < two.least
    weights = 2 * shape(PHI_4).parameters / 2**30
    assert (three.host_least - two.host_least, three.host_most - two.host_most) == pytest.approx((weights, weights))
    apart = gpu_memory.training(shape(PHI_4), replace(LORA, stage=3, nodes=2), None)
    assert apart.host[0].most == pytest.approx(three.host[0].most / 2), "each machine keeps its part"


@pytest.mark.parametrize(("stage", "precision", "each"), [(2, 16, 4), (3, 32, 8), (0, 16, 16), (0, 32, 16)])
def test_adapters_take_their_bytes_and_offload_adam_to_the_machine(stage: int, precision: int, each: int) -> None:
    few, many = (count / 2**30 for count in shape(PHI_4).adapters(8))
    found = gpu_memory.training(shape(PHI_4), replace(LORA, stage=stage, precision=precision), None)
    assert term(found, "LoRA") == pytest.approx((each * few, each * many))
    adam = [(part.least, part.most) for part in found.host if part.name == "optimizer"]
    assert adam == ([pytest.approx((12 * few, 12 * many))] if stage else [])


def test_all_weights_trained_take_gradients_and_an_optimizer() -> None:
    whole = replace(LORA, lora=False)
    offloaded = gpu_memory.training(shape(LLAMA), whole, None)
    here = gpu_memory.training(shape(LLAMA), replace(whole, stage=0), None)
    small = gpu_memory.training(shape(LLAMA), replace(whole, stage=0, optimizer="adafactor"), None)
    assert term(here, "optimizer")[0] == pytest.approx(2 * term(here, "weights")[0])
    assert small.most < here.most
    assert offloaded.host_most > 90
    weights = shape(LLAMA).parameters / 2**30
    assert term(small, "optimizer") == pytest.approx((0, 0.5 * weights))
    many = gpu_memory.training(shape(LLAMA), replace(whole, gpus=4, nodes=2), None)
    assert term(many, "gradients") == pytest.approx((0, 2 * weights / 8))
    assert [(part.least, part.most) for part in many.host] == [pytest.approx((12 * weights / 2, 16 * weights / 2))]


@pytest.mark.parametrize("name", ["batch", "sequence"])
def test_more_tokens_at_a_time_take_more_activations_and_logits_and_no_more_weights(name: str) -> None:
    once = gpu_memory.training(shape(PHI_4), LORA, None)
    twice = gpu_memory.training(shape(PHI_4), replace(LORA, **{name: 2 * getattr(LORA, name)}), None)
    for part in ("activations", "logits"):
        assert term(twice, part)[1] == pytest.approx(2 * term(once, part)[1])
    assert term(twice, "weights") == term(once, "weights")


def test_a_large_evaluation_batch_can_be_what_decides_the_logits() -> None:
    found = gpu_memory.training(shape(PHI_4), replace(LORA, eval_batch=16), None)
    assert term(found, "logits")[0] == pytest.approx(10 * 16 * 4096 * 100352 / 2**30)
    assert term(found, "activations")[0] == pytest.approx(36 * 16 * 4096 * 5120 / 2**30), "one layer of its batch"


def test_named_targets_say_which_layers_get_adapters() -> None:
    own = shape(PHI_4)
    assert own.adapters(8, ("qkv_proj",)) == (4096000, 4096000)
    assert own.adapters(16, ("qkv_proj",)) == (8192000, 8192000)
    assert own.adapters(8, ("unheard-of",)) == own.adapters(8), "a pattern that we cannot read counts from few to all"


def test_a_recipes_parameters_are_read_with_the_components_defaults() -> None:
    assert Training.of({}, 1, 4096, {}) == Training(sequence=4096)
    said = {"apply_lora": "true", "apply_deepspeed": "true", "precision": "16", "max_seq_length": "8192", "lora_r": "4"}
    found = Training.of(said, 2, 4096, {"lora_target_modules": ["qkv_proj"]})
    assert (found.stage, found.precision, found.rank, found.gpus) == (2, 16, 4, 2)
    assert found.sequence == 4096, "rows are cut to the model's own limit"
    assert found.targets == ("qkv_proj",)
    assert Training.of({}, 1, 10**30, {}).sequence == 512, "a tokenizer without a limit is taken for 512"
    args = {"hf_trainer_args": {"gradient_checkpointing": True}}
    assert Training.of({}, 1, 512, args).checkpointing is True
    with pytest.raises(UsageError, match="parameter 'lora_r' cannot be 'many'"):
        Training.of({"lora_r": "many"}, 1, 512, {})


def test_a_shape_that_lacks_something_is_refused_with_its_name() -> None:
    with pytest.raises(UsageError, match="mine lacks vocab_size; mine: 'num_hidden_layers' is 0, and a whole number"):
        architecture.of_config(
            {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "num_hidden_layers": 0}, "mine"
        )


def test_a_hub_model_of_the_table_has_the_hubs_own_type() -> None:
    hub, registry = architecture.of_name("microsoft/phi-4"), architecture.of_name("Phi-4")
    assert hub
    assert registry
    assert (hub.type, registry.type) == ("phi3", None)
    assert hub.parameters == registry.parameters
    assert architecture.of_name("someone/else") is None


def test_every_term_says_its_formula_and_the_text_adds_up() -> None:
    found = gpu_memory.training(shape(PHI_4), LORA, None)
    assert all(part.formula for part in (*found.gpu, *found.host))
    assert found.text.startswith("35.4 to 38.8 GiB = weights 27.3 + ")
    kept = found.record
    assert kept["gib"][1] == pytest.approx(sum(part["gib"][1] for part in kept["terms"]), abs=0.05)


def test_every_size_with_a_price_has_memory_and_every_gpu_and_shape_a_source() -> None:
    table = azure_facts.facts()
    for fact in table["sizes"].values():
        if "hour" in fact:
            assert azure_facts.ram(fact["name"]), fact["name"]
            assert bool(azure_facts.gpu(fact["name"])) is bool(fact["gpus"]), fact["name"]
    for fact in (*table["gpus"].values(), *table["architectures"].values()):
        assert fact["source"] in table["sources"]

"""What a layer keeps for the backward pass, counted on layers of transformers, beside our formula for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

from tests.tunestack.cost.memory_table import shape
from tunestack.cost import gpu_memory

TOKENS, HEADS, HEAD, VOCABULARY = 128, 4, 32, 32
ATTENTION_INPUTS = ("qkv_proj", "q_proj", "k_proj", "v_proj")
# Which weights learn: LoRA's adapters need the inputs of the same layers.
LEARNS: dict[str, Callable[[str], bool]] = {
    "attention's inputs": lambda name: any(f".{one}." in name for one in ATTENTION_INPUTS),
    "all linear layers": lambda name: "_proj." in name,
    "all weights": lambda name: True,
}


def model(kind: str, name: str, layers: int, dtype: Any) -> Any:
    """A random model in the proportions of a known one, with a hidden size of 128."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM

    own = shape(name)
    hidden = HEADS * HEAD
    config, made = (Phi3Config, Phi3ForCausalLM) if kind == "phi3" else (LlamaConfig, LlamaForCausalLM)
    torch.manual_seed(0)
    found = made(
        config(
            num_hidden_layers=layers,
            hidden_size=hidden,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS * own.num_key_value_heads // own.num_attention_heads,
            intermediate_size=hidden * own.intermediate_size // own.hidden_size,
            vocab_size=VOCABULARY,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            attn_implementation="sdpa",
        )
    ).to(dtype)
    found.enable_input_require_grads()
    return found


@contextmanager
def counted(own: Any) -> Iterator[dict[int, Any]]:
    """All memory that the backward pass needs and that is no weight, each storage once."""
    from torch.autograd.graph import saved_tensors_hooks

    weights = {one.untyped_storage().data_ptr() for one in own.parameters()}
    found: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            found[storage.data_ptr()] = storage
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        yield found


def kept(kind: str, name: str, learns: str, dtype: Any, *, autocast: bool = False) -> tuple[float, Any]:
    """Bytes per token and hidden unit that one more layer keeps, and a model of one layer."""
    import torch

    sums = []
    for layers in (2, 1):
        own = model(kind, name, layers, dtype)
        for label, weight in own.named_parameters():
            weight.requires_grad_(LEARNS[learns](label))
        ids = torch.ones((1, TOKENS), dtype=torch.long)
        with counted(own) as found, torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
            outputs = own(input_ids=ids, labels=ids)
        sums.append(sum(storage.nbytes() for storage in found.values()))
        assert outputs.loss.requires_grad
    return (sums[0] - sums[1]) / TOKENS / own.config.hidden_size, own


@pytest.mark.parametrize(
    ("kind", "name", "bits"),
    [
        ("phi3", "Phi-4", 16),
        ("phi3", "Phi-4", 32),
        ("phi3", "Phi-3-mini-4k-instruct", 16),
        ("llama", "Llama-2-7b-chat", 16),
    ],
)
@pytest.mark.parametrize("learns", LEARNS)
def test_a_layer_keeps_what_the_formula_says(kind: str, name: str, bits: int, learns: str) -> None:
    import torch

    own = shape(name)
    targets = ("qkv_proj", "q_proj") if learns == "attention's inputs" else None
    said = gpu_memory.layer(own, bits // 8, lora=learns != "all weights", targets=targets)[1] / own.hidden_size
    found, _ = kept(kind, name, learns, torch.bfloat16 if bits == 16 else torch.float32)
    assert found == pytest.approx(said, rel=0.06)


@pytest.mark.parametrize("learns", ["all linear layers", "all weights"])
def test_autocast_keeps_copies_of_float32_weights(learns: str) -> None:
    import torch

    plain, _ = kept("phi3", "Phi-4", learns, torch.bfloat16)
    found, own = kept("phi3", "Phi-4", learns, torch.float32, autocast=True)
    linear = sum(one.numel() for name, one in own.named_parameters() if "_proj." in name)
    copies = 2 * linear / TOKENS / own.config.hidden_size
    assert found == pytest.approx(plain + copies, rel=0.06)

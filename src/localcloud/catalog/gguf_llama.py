"""Reads a GGUF file of architecture `llama` and gives what transformers keeps of it: weights, config, tokenizer.

Weights that are quantised in the file come out dequantised. Nothing here imports torch or transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TOP = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
_UNTIED_HEAD = "output.weight"
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_CONTROL_TOKEN = 3  # of GGUF's token types: a token that never comes from text


class GgufError(Exception):
    """A file that is not a GGUF file of the one architecture that is read here."""


class GgufLlama:
    """An opened GGUF file; the tensors stay on disk until `tensors` walks over them."""

    def __init__(self, path: Path) -> None:
        import gguf

        self._reader = gguf.GGUFReader(path)
        architecture = self.field("general.architecture")
        if architecture != "llama":
            raise GgufError(f"'{path}' has architecture '{architecture}'; only 'llama' is read.")

    def field(self, name: str, default: Any = None) -> Any:
        found = self._reader.get_field(name)
        return default if found is None else found.contents()

    @property
    def quantisation(self) -> str:
        """The type of most of the file's tensors, as GGUF names it (`Q4_1`)."""
        names = [tensor.tensor_type.name for tensor in self._reader.tensors if len(tensor.shape) > 1]
        return max(set(names), key=names.count)

    def config(self) -> dict[str, Any]:
        """The `config.json` of the model, without anything that speaks of quantisation."""
        heads = self.field("llama.attention.head_count")
        hidden = self.field("llama.embedding_length")
        names = {tensor.name for tensor in self._reader.tensors}
        return {
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            **self.token_ids(),
            "head_dim": hidden // heads,
            "hidden_act": "silu",
            "hidden_size": hidden,
            "initializer_range": 0.041666666666666664,
            "intermediate_size": self.field("llama.feed_forward_length"),
            "max_position_embeddings": self.field("llama.context_length"),
            "mlp_bias": False,
            "model_type": "llama",
            "num_attention_heads": heads,
            "num_hidden_layers": self.field("llama.block_count"),
            "num_key_value_heads": self.field("llama.attention.head_count_kv", heads),
            # stored as a 32-bit number: 1e-5 comes back as 9.999999747378752e-06
            "rms_norm_eps": float(f"{self.field('llama.attention.layer_norm_rms_epsilon'):.6g}"),
            "rope_theta": float(self.field("llama.rope.freq_base", 10000.0)),
            "tie_word_embeddings": _UNTIED_HEAD not in names,
            "torch_dtype": "bfloat16",
            "use_cache": True,
            "vocab_size": len(self.field("tokenizer.ggml.tokens")),
        }

    def token_ids(self) -> dict[str, int]:
        return {
            "bos_token_id": self.field("tokenizer.ggml.bos_token_id"),
            "eos_token_id": self.field("tokenizer.ggml.eos_token_id"),
            "pad_token_id": self.field("tokenizer.ggml.padding_token_id"),
        }

    def tensors(self, tell: Callable[[int, int], None]) -> dict[str, NDArray[np.uint16]]:
        """All weights under transformers' names, as bfloat16 bits; `tell` gets (done, all) after each."""
        import gguf

        heads = self.field("llama.attention.head_count")
        key_heads = self.field("llama.attention.head_count_kv", heads)
        found: dict[str, NDArray[np.uint16]] = {}
        for done, tensor in enumerate(self._reader.tensors, 1):
            values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
            if ".attn_q." in tensor.name or ".attn_k." in tensor.name:
                values = unpermute(values, heads if ".attn_q." in tensor.name else key_heads)
            found[_transformers_name(tensor.name)] = to_bfloat16(values)
            tell(done, len(self._reader.tensors))
        return found

    def tokenizer(self) -> Any:
        """The byte-level BPE tokenizer (a `tokenizers.Tokenizer`) that the file describes."""
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

        kind = (self.field("tokenizer.ggml.model"), self.field("tokenizer.ggml.pre"))
        if kind != ("gpt2", "smollm"):
            raise GgufError(f"The tokenizer '{kind[0]}' with pre-tokenizer '{kind[1]}' is not one that is read here.")
        tokens: list[str] = self.field("tokenizer.ggml.tokens")
        types: list[int] = self.field("tokenizer.ggml.token_type")
        merges = [tuple(merge.split(" ", 1)) for merge in self.field("tokenizer.ggml.merges")]
        tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        tokenizer.decoder = decoders.ByteLevel()
        control = [token for token, kind_of in zip(tokens, types, strict=True) if kind_of == _CONTROL_TOKEN]
        tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
        return tokenizer

    def token(self, which: str) -> str:
        """The text of a special token: `bos`, `eos`, `padding` or `unknown`."""
        return str(self.field("tokenizer.ggml.tokens")[self.field(f"tokenizer.ggml.{which}_token_id")])


def unpermute(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Undo the order in which GGUF keeps the rows of query and key weights.

    llama.cpp rotates neighbouring pairs of a head, transformers rotates its first half with its second.
    """
    rows, columns = values.shape
    pairs = values.reshape(heads, rows // heads // 2, 2, columns)
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows, columns))


def to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The bits of each value as bfloat16, rounded to nearest, ties to even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _transformers_name(name: str) -> str:
    if name in _TOP:
        return _TOP[name]
    if name == _UNTIED_HEAD:
        return "lm_head.weight"
    block, layer, part, kind = name.split(".")
    if block != "blk" or part not in _LAYER or kind != "weight":
        raise GgufError(f"The tensor '{name}' has no place in a llama model.")
    return f"model.layers.{layer}.{_LAYER[part]}.weight"

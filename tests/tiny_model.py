"""A tiny chat model with random weights, as an MLflow folder, made in a moment: for tests that need no knowledge.

Two layers of a llama, a byte-level tokenizer without merges, ChatML; laid out as set-up lays out the real one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from localcloud.catalog import weights

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' "
    "+ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def make_tiny_model(folder: Path, *, seed: int = 0, length: int = 512, base_image: bool = True) -> Path:
    """Write the model into `folder` (made if absent) and return it. Neither torch nor transformers is imported."""
    for part in ("model", "tokenizer", "config"):
        (folder / "data" / part).mkdir(parents=True, exist_ok=True)
    size = _write_tokenizer(folder / "data" / "tokenizer", length)
    config = _config(size, length)
    for part in ("model", "config"):
        (folder / "data" / part / "config.json").write_text(json.dumps(config))
    ids = {name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    (folder / "data" / "model" / "generation_config.json").write_text(json.dumps(ids))
    _write_weights(folder / "data" / "model" / "model.safetensors", config, seed)
    described = weights.mlmodel("nothing", "0")
    described["flavors"]["hftransformersv2"]["huggingface_id"] = "tiny-chat"
    if not base_image:
        del described["metadata"]["azureml.base_image"]
    (folder / "MLmodel").write_text(yaml.safe_dump(described, sort_keys=False))
    (folder / "conda.yaml").write_text(yaml.safe_dump(weights.conda_environment(), sort_keys=False))
    (folder / "finetune_config.json").write_text(json.dumps(weights.finetune_config()))
    (folder / "LICENSE").write_text("Random numbers: no rights reserved.\n")
    return folder


def make_rows(count: int) -> list[dict[str, Any]]:
    """Short conversations in the ultrachat_200k schema."""
    return [
        {
            "prompt": f"What is {number} and one?",
            "prompt_id": f"{number:064x}",
            "messages": [
                {"role": "user", "content": f"What is {number} and one?"},
                {"role": "assistant", "content": f"It is {number + 1}."},
            ],
        }
        for number in range(count)
    ]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _config(size: int, length: int) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": 32,
        "intermediate_size": 64,
        "max_position_embeddings": length,
        "model_type": "llama",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-05,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "vocab_size": size,
    }


def _write_tokenizer(folder: Path, length: int) -> int:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"bos_token": SPECIAL[1], "eos_token": SPECIAL[2], "pad_token": SPECIAL[2], "unk_token": SPECIAL[0]}
    settings = {
        **special,
        "chat_template": CHAT_TEMPLATE,
        "model_max_length": length,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    return len(vocabulary)


def _write_weights(path: Path, config: dict[str, Any], seed: int) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    chance = np.random.default_rng(seed)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    narrow = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (narrow, hidden),
        "self_attn.v_proj": (narrow, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    tensors = {
        "model.embed_tokens.weight": chance.normal(0, 0.3, (config["vocab_size"], hidden)),
        "model.norm.weight": np.ones(hidden),
    }
    for layer in range(config["num_hidden_layers"]):
        start = f"model.layers.{layer}."
        tensors |= {f"{start}{name}.weight": chance.normal(0, 0.1, shape) for name, shape in shapes.items()}
        tensors |= {
            f"{start}{name}.weight": np.ones(hidden) for name in ("input_layernorm", "post_attention_layernorm")
        }
    save_file({name: tensor.astype(np.float32) for name, tensor in tensors.items()}, path, metadata={"format": "pt"})


if __name__ == "__main__":
    print(make_tiny_model(Path(sys.argv[1])))

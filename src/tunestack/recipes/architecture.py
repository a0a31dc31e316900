"""The shape of a model, in the words of the hub's config.json, and what follows: parameters, adapters, KV cache.

Known shapes stand in `azure_facts.yml`; that of any other model comes with its `finetune_config`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tunestack import azure_facts
from tunestack.errors import UsageError
from tunestack.recipes.recipe import Recipe
from tunestack.registry_id import HubId

# Model types for which the component switches gradient checkpointing and flash attention 2 on: its finetune.py,
# FORCE_GRADIENT_CHECKPOINTING_MODEL_TYPES and FORCE_FLASH_ATTENTION_2_MODEL_TYPES.
FORCED_TYPES = frozenset({"llama", "falcon", "mistral", "mixtral", "phi_longrope", "phi3mini"})
CONFIG_KEY = "model_config"
_NEEDED = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size")
_OPTIONAL = ("num_key_value_heads", "head_dim", "max_position_embeddings")
# What the finetune_config may say that is read here, and of which JSON type it is.
_MAPPINGS = ("chat_special_tokens", "hf_trainer_args", CONFIG_KEY)
_TARGETS = "lora_target_modules"


@dataclass(frozen=True)
class Architecture:
    """A decoder with gated MLP, as Llama, Mistral, Qwen and Phi are. `type` is None where nobody published it."""

    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int
    num_key_value_heads: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    head_dim: int
    tie_word_embeddings: bool = False
    type: str | None = None
    fused: bool = False
    remote_code: bool = False
    source: str = ""

    @property
    def parameters(self) -> int:
        """All weights: embeddings, the linear layers, norms; without biases."""
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)
        layer = sum(rows * columns for rows, columns in self._linear().values()) + 2 * self.hidden_size
        return embeddings + self.num_hidden_layers * layer + self.hidden_size

    def adapters(self, rank: int, targets: Collection[str] | None = None) -> tuple[int, int]:
        """Weights of the LoRA adapters, at least and at most; without named targets from the attention's to all."""
        each = {
            name: rank * (rows + columns) * self.num_hidden_layers for name, (rows, columns) in self._linear().items()
        }
        if targets is not None:
            named = [count for name, count in each.items() if any(name.endswith(target) for target in targets)]
            if named or not targets:
                return sum(named), sum(named)
        attention = sum(count for name, count in each.items() if name in ("qkv_proj", "q_proj", "v_proj"))
        return attention, sum(each.values())

    def kv_bytes(self, width: int = 2) -> int:
        """Bytes of the KV cache for one token: keys and values of all layers."""
        return 2 * self.num_hidden_layers * self.num_key_value_heads * self.head_dim * width

    @property
    def is_checkpointed(self) -> bool | None:
        """Whether the component switches gradient checkpointing on for this type; None where the type is unknown."""
        return None if self.type is None else self.type in FORCED_TYPES

    def splits(self, ways: int) -> bool:
        """Whether tensor parallel can cut it so: both head counts must divide."""
        return self.num_attention_heads % ways == 0 and self.num_key_value_heads % ways == 0

    @property
    def widths(self) -> tuple[int, ...]:
        """Every tensor parallel width that it can be cut to."""
        return tuple(ways for ways in range(1, self.num_attention_heads + 1) if self.splits(ways))

    def _linear(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of a layer's linear parts."""
        query, key = self.num_attention_heads * self.head_dim, self.num_key_value_heads * self.head_dim
        hidden, inner = self.hidden_size, self.intermediate_size
        attention = (
            {"qkv_proj": (hidden, query + 2 * key)}
            if self.fused
            else {"q_proj": (hidden, query), "k_proj": (hidden, key), "v_proj": (hidden, key)}
        )
        gate = (
            {"gate_up_proj": (hidden, 2 * inner)}
            if self.fused
            else {"gate_proj": (hidden, inner), "up_proj": (hidden, inner)}
        )
        return {**attention, "o_proj": (query, hidden), **gate, "down_proj": (inner, hidden)}


def of_config(config: Mapping[str, Any], source: str) -> Architecture:
    """From the content of a config.json, or of our table. What is missing or no number is a UsageError."""
    missing = [name for name in _NEEDED if config.get(name) is None]
    wrong = [name for name in (*_NEEDED, *_OPTIONAL) if config.get(name) is not None and not _is_count(config[name])]
    problems = [f"{source} lacks {', '.join(missing)}"] if missing else []
    problems += [f"{source}: '{name}' is {config[name]!r}, and a whole number above 0 is needed" for name in wrong]
    if problems:
        raise UsageError(*problems, fix="Copy them from the model's config.json")
    heads = config["num_attention_heads"]
    kind = config.get("type") or config.get("model_type")
    known = {field.name for field in fields(Architecture)}
    found = {name: value for name, value in config.items() if name in known and value is not None}
    return Architecture(
        **{
            "num_key_value_heads": heads,
            "head_dim": config["hidden_size"] // heads,
            "max_position_embeddings": 2048,
            "fused": str(kind).startswith("phi3"),
            **found,
            "type": kind,
            "source": source,
        }
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def of_name(name: str) -> Architecture | None:
    """A model of the table, by its registry name or its hub id, in any case."""
    for known, shape in azure_facts.facts()["architectures"].items():
        if name.lower() not in (known.lower(), str(shape["hub"]).lower()):
            continue
        own = {key: value for key, value in shape.items() if key not in ("hub", "source")}
        if name.lower() != known.lower() and "hub_type" in shape:
            own |= {"type": shape["hub_type"], "remote_code": False}
        read = azure_facts.facts()["sources"][shape["source"]]["read"]
        return of_config(own, f"azure_facts.yml, {shape['source']} of {read}")
    return None


def of_recipe(recipe: Recipe) -> Architecture | None:
    """What the recipe's `finetune_config` says under `model_config`, else the table; None where neither does."""
    told = finetune_config(recipe).get(CONFIG_KEY)
    if isinstance(told, Mapping):
        return of_config(told, f"'{recipe.finetune_config}', {CONFIG_KEY}")
    model = recipe.model
    return of_name(model.id if isinstance(model, HubId) else model.name)


def finetune_config(recipe: Recipe) -> dict[str, Any]:
    """What the recipe's `finetune_config` says, the task's section of a version 2 file included; empty without one.

    What of it has another JSON type than is read here is a UsageError.
    """
    file = recipe.finetune_config_file
    if file is None:
        return {}
    found = _object(file)
    if str(found.get("version")) == "2":
        tasks = found.get("task_specific_config") or {}
        task = tasks.get("ChatCompletion") or {} if isinstance(tasks, dict) else tasks
        if not isinstance(task, dict):
            raise UsageError(f"finetune_config '{file}': 'task_specific_config' is no object of objects")
        found = {**found, **task}
    wrong = [f"'{key}' is no object" for key in _MAPPINGS if not isinstance(found.get(key) or {}, dict)]
    targets = found.get(_TARGETS)
    if isinstance(targets, list) and not all(isinstance(one, str) for one in targets):
        wrong.append(f"'{_TARGETS}' is no list of texts")
    if wrong:
        raise UsageError(*(f"finetune_config '{file}': {flaw}" for flaw in wrong))
    return found


def _object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except OSError as error:
        raise UsageError(f"finetune_config '{file}' cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"finetune_config '{file}' is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"finetune_config '{file}' is not a JSON object")
    return found

"""A chat model ready to score and to answer: its tokenizer, and its weights in bf16 on a GPU or fp32 on a CPU."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any

from evaluation.model_folder import ModelFolder
from evaluation.refusal import Refusal

_ABSURD_LENGTH = 1_000_000  # transformers writes 1e30 for a tokenizer without a limit


@dataclass
class ChatModel:
    """One loaded model. `limit` is the longest conversation in tokens that it takes."""

    name: str
    model: Any
    tokenizer: Any
    limit: int

    @property
    def device(self) -> Any:
        return self.model.device

    def unload(self) -> None:
        """Give the memory back before the next model is loaded."""
        import torch

        self.model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def load_tokenizer(folder: ModelFolder, what: str) -> Any:
    """The tokenizer. Refusal when it is none, is slow (no positions in the text), or has no chat template."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder.tokenizer, revision=folder.revision or "main")
    except (OSError, ValueError, KeyError) as error:
        raise Refusal(f"{what}: no tokenizer can be read from '{folder.tokenizer}': {_first_line(error)}") from None
    if not tokenizer.is_fast:
        raise Refusal(f"{what}: the tokenizer in '{folder.tokenizer}' has no 'tokenizer.json', which is needed here.")
    if not tokenizer.chat_template:
        raise Refusal(
            f"{what}: the tokenizer in '{folder.tokenizer}' has no chat template, so it is no chat model. "
            "Add 'chat_template' to its tokenizer_config.json."
        )
    return tokenizer


def load(folder: ModelFolder, what: str) -> ChatModel:
    """Tokenizer and weights, in evaluation mode. Refusal when weights are broken or the memory does not suffice."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(folder, what)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder.weights, revision=folder.revision or "main", torch_dtype=kind_of_numbers()
        ).to(device)
    except torch.cuda.OutOfMemoryError:
        raise Refusal(f"{what}: the weights do not fit into the memory of the GPU. Take a larger one.") from None
    except Exception as error:  # torch, safetensors and transformers raise kinds of their own for a broken file
        raise Refusal(f"{what}: the weights in '{folder.weights}' cannot be loaded: {_first_line(error)}") from error
    model.eval()
    return ChatModel(what, model, tokenizer, limit_of(tokenizer, model.config))


def kind_of_numbers() -> Any:
    """bf16 where the GPU computes in it, fp16 on older ones (V100, T4 only emulate bf16), fp32 on a CPU."""
    import torch

    if not torch.cuda.is_available():
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float16


def limit_of(tokenizer: Any, config: Any) -> int:
    """Tokens: the smaller one of what tokenizer and position embeddings allow."""
    found = [int(tokenizer.model_max_length), int(getattr(config, "max_position_embeddings", 0) or 0)]
    return min((length for length in found if 0 < length < _ABSURD_LENGTH), default=2048)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

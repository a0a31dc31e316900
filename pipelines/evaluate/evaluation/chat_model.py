"""A chat model ready to score and to answer: its tokenizer, and its weights in bf16 on a GPU or fp32 on a CPU."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any

from evaluation.model_folder import ModelFolder
from evaluation.refusal import Refusal

_ABSURD_LENGTH = 1_000_000  # transformers writes 1e30 for a tokenizer without a limit
_LENGTH_WITHOUT_LIMIT = 2048
_WORTH_COLLECTING = 2**27  # bytes


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

        size = sum(each.numel() * each.element_size() for each in self.model.parameters())
        self.model = None
        if size > _WORTH_COLLECTING:  # a look through everything that is alive takes a second
            gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def load_tokenizer(folder: ModelFolder, what: str) -> Any:
    """The tokenizer. Refusal when it is none, is slow (no positions in the text), or has no chat template."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder.tokenizer, **_revision(folder))
    except Exception as error:  # each kind of tokenizer raises its own for a broken file
        raise Refusal(f"{what}: no tokenizer can be read from '{folder.tokenizer}': {_first_line(error)}") from error
    if not tokenizer.is_fast:
        raise Refusal(f"{what}: the tokenizer in '{folder.tokenizer}' has no 'tokenizer.json', which is needed here.")
    if not tokenizer.chat_template:
        raise Refusal(
            f"{what}: the tokenizer in '{folder.tokenizer}' has no chat template, so it is no chat model. "
            "Add 'chat_template' to its tokenizer_config.json."
        )
    return tokenizer


def limit_of(folder: ModelFolder, tokenizer: Any, what: str) -> int:
    """Tokens: the smaller one of what the tokenizer and the position embeddings allow; 2048 when neither says."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder.weights, **_revision(folder))
    except Exception as error:
        raise Refusal(f"{what}: '{folder.weights}' holds no readable config: {_first_line(error)}") from error
    found = [int(tokenizer.model_max_length), int(getattr(config, "max_position_embeddings", 0) or 0)]
    return min((length for length in found if 0 < length < _ABSURD_LENGTH), default=_LENGTH_WITHOUT_LIMIT)


def load(folder: ModelFolder, tokenizer: Any, limit: int, what: str) -> ChatModel:
    """With its weights, in evaluation mode. Refusal when they are broken or the memory does not suffice."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # 4.56 gave the argument a new name, and later ones warn of the old
    argument = "dtype" if _version(transformers.__version__) >= (4, 56) else "torch_dtype"
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder.weights, **_revision(folder), **{argument: kind_of_numbers()}
        ).to(device)
    except torch.cuda.OutOfMemoryError:
        raise Refusal(f"{what}: the weights do not fit into the memory of the GPU. Take a larger one.") from None
    except Exception as error:  # torch, safetensors and transformers raise kinds of their own for a broken file
        raise Refusal(f"{what}: the weights in '{folder.weights}' cannot be loaded: {_first_line(error)}") from error
    model.eval()
    return ChatModel(what, model, tokenizer, limit)


def kind_of_numbers() -> Any:
    """bf16 where the GPU computes in it, fp16 on older ones (V100 and T4 only emulate bf16), fp32 on a CPU."""
    import torch

    if not torch.cuda.is_available():
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float16


def _revision(folder: ModelFolder) -> dict[str, Any]:
    return {"revision": folder.revision} if folder.revision else {}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

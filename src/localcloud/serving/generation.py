"""Generates text with a causal Hugging Face model: weights mapped from disk, a key-value cache, one request at a time.

Any model that `AutoModelForCausalLM` knows; on the GPU in bf16 where there is one, else on the CPU.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localcloud.components.chat_completion.chat_tokenizer import ChatTokenizer
from localcloud.components.chat_completion.program import read_json
from localcloud.components.mlflow_folder import MlflowFolder

if TYPE_CHECKING:
    import torch

DEFAULT_TOKENS = 256


class PromptTooLong(Exception):
    """A prompt that leaves no room for an answer in the model's context."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; temperature 0 is greedy, top_k 0 and top_p 1 leave all tokens in."""

    max_tokens: int = DEFAULT_TOKENS
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    seed: int | None = None


@dataclass
class Answer:
    """What has been generated so far; `finish_reason` is set at the end: stop, length or cancelled."""

    prompt_tokens: int
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    finish_reason: str | None = None


class ChatModel:
    """A loaded model with its tokenizer. `answer` belongs to one thread at a time."""

    def __init__(self, folder: Path) -> None:
        opened = MlflowFolder.open(folder)  # before torch, so that a wrong folder is told of at once
        import torch
        from transformers import AutoModelForCausalLM
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # type: ignore[no-untyped-call]
        self.metadata = opened.metadata
        self.tokenizer = ChatTokenizer(opened.tokenizer)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        kind = torch.bfloat16 if self._device.type == "cuda" else torch.float32
        model: Any = AutoModelForCausalLM.from_pretrained(opened.model, dtype=kind)
        self._model = model.to(self._device).eval()
        self.context = int(getattr(self._model.config, "max_position_embeddings", 0) or 1 << 20)
        stored = opened.model / "generation_config.json"
        self._stored = read_json(stored) if stored.is_file() else {}
        self._ends = frozenset(_ids(self._stored.get("eos_token_id")) + _ids(self.tokenizer.token_id("eos_token")))
        self._last_only = "logits_to_keep" in inspect.signature(self._model.forward).parameters
        self._warm_up()

    @property
    def name(self) -> str:
        return str(self.metadata.get("base_model_name") or "model")

    def defaults(self) -> Mapping[str, Any]:
        """The generation settings that came with the model, under which a request's own are laid."""
        return self._stored

    def answer(self, prompt: str, sampling: Sampling, cancelled: threading.Event) -> Iterator[Answer]:
        """Generate token by token; the same `Answer` object is given after each. PromptTooLong before the first."""
        import torch

        ids = self.tokenizer.encode(prompt)
        room = self.context - len(ids)
        if room < 1:
            raise PromptTooLong(f"The prompt has {len(ids)} tokens; the model's context is {self.context} tokens.")
        sampling = replace(sampling, max_tokens=min(sampling.max_tokens, room))
        answer, held = Answer(len(ids)), set(sampling.stop_token_ids)
        ends = held if sampling.ignore_eos else held | self._ends
        chance = torch.Generator(self._device)
        if sampling.seed is not None:
            chance.manual_seed(sampling.seed)
        else:
            chance.seed()
        with torch.inference_mode():
            for token in self._tokens(ids, answer.tokens, sampling, chance):
                if cancelled.is_set():
                    answer.finish_reason = "cancelled"
                elif token in ends:
                    answer.finish_reason = "stop"
                else:
                    self._append(answer, token, sampling)
                yield answer
                if answer.finish_reason:
                    return

    def _append(self, answer: Answer, token: int, sampling: Sampling) -> None:
        answer.tokens.append(token)
        text = self.tokenizer.backend.decode(answer.tokens, skip_special_tokens=True)
        cuts = [place for word in sampling.stop if (place := text.find(word)) >= 0]
        answer.text = text[: min(cuts)] if cuts else text
        if cuts:
            answer.finish_reason = "stop"
        elif len(answer.tokens) >= sampling.max_tokens:
            answer.finish_reason = "length"

    def _tokens(
        self, ids: Sequence[int], made: Sequence[int], sampling: Sampling, chance: torch.Generator
    ) -> Iterator[int]:
        """An endless stream of next tokens, each after what the caller has put into `made`."""
        import torch

        given = torch.tensor([list(ids)], device=self._device)
        seen, cache = given, None
        keep = {"logits_to_keep": 1} if self._last_only else {}
        while True:
            output = self._model(input_ids=given, past_key_values=cache, use_cache=True, **keep)
            cache = output.past_key_values
            token = choose(output.logits[:, -1, :].float(), seen, made, sampling, chance)
            given = token.view(1, 1)
            seen = torch.cat([seen, given], dim=1)
            yield int(token)

    def _warm_up(self) -> None:
        """The first tokens of a process are ten times slower than the others; spend them before anybody asks."""
        for answer in self.answer("a", Sampling(max_tokens=2, temperature=0.0, ignore_eos=True), threading.Event()):
            del answer


def choose(
    logits: torch.Tensor, seen: torch.Tensor, made: Sequence[int], sampling: Sampling, chance: torch.Generator
) -> torch.Tensor:
    """The next token from logits (1, vocabulary): penalties, then temperature, top_k and top_p, then a draw."""
    import torch
    from transformers.generation.logits_process import (
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    if sampling.repetition_penalty != 1.0:
        logits = RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)(seen, logits)
    if made and (sampling.presence_penalty or sampling.frequency_penalty):
        counts = torch.bincount(torch.tensor(made, device=logits.device), minlength=logits.shape[-1]).float()
        logits = logits - sampling.presence_penalty * (counts > 0) - sampling.frequency_penalty * counts
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    logits = TemperatureLogitsWarper(float(sampling.temperature))(seen, logits)
    if sampling.top_k > 0:
        logits = TopKLogitsWarper(sampling.top_k)(seen, logits)
    if sampling.top_p < 1.0:
        logits = TopPLogitsWarper(max(sampling.top_p, 1e-6))(seen, logits)
    return torch.multinomial(logits.softmax(dim=-1), 1, generator=chance).view(-1)


def _ids(found: Any) -> list[int]:
    if found is None:
        return []
    return [int(one) for one in found] if isinstance(found, list) else [int(found)]

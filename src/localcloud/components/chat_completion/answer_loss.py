"""The loss over what the assistant says: logits at those positions only, and a prefix that all rows share only once.

For a small model the logits of a whole batch are larger than everything else together; and the system prompt that a
chat template puts in front of every conversation is half of a short one.
"""

from __future__ import annotations

from typing import Any

import torch

from localcloud.components.chat_completion.batches import Batch
from localcloud.components.chat_completion.encoding import IGNORED

_WORTH_SHARING = 8  # tokens


class AnswerLoss:
    """Puts a selection in front of a causal model's output layer; whatever the model does to its logits stays."""

    def __init__(self, model: Any, *, share_prefixes: bool = True) -> None:
        self._model = model
        self._chosen: torch.Tensor | None = None
        self._shares_prefixes = share_prefixes
        model.get_output_embeddings().register_forward_pre_hook(self._select)

    def __call__(self, batch: Batch) -> torch.Tensor:
        """The summed cross entropy of all answer tokens of a batch; divide by their number."""
        shared = shared_prefix(batch) if self._shares_prefixes else 0
        cache = self._run_prefix(batch, shared) if shared >= _WORTH_SHARING else None
        start = shared if cache is not None else 0
        labels = batch.next_labels[:, start:]
        chosen = labels != IGNORED
        arguments = {"past_key_values": cache, "use_cache": True} if cache is not None else {"use_cache": False}
        logits = self._forward(batch.input_ids[:, start:], chosen, **arguments).logits
        wanted = labels[chosen]
        return torch.nn.functional.cross_entropy(logits.float().reshape(len(wanted), -1), wanted, reduction="sum")

    def _run_prefix(self, batch: Batch, length: int) -> Any:
        """Keys and values of the shared prefix, computed for one row and repeated; None when the model has others."""
        from transformers.cache_utils import DynamicCache, DynamicLayer

        prefix = batch.input_ids[:1, :length]
        cache = self._forward(prefix, torch.zeros_like(prefix, dtype=torch.bool), use_cache=True).past_key_values
        if not isinstance(cache, DynamicCache) or any(type(layer) is not DynamicLayer for layer in cache.layers):
            self._shares_prefixes = False
            return None
        cache.batch_repeat_interleave(len(batch.input_ids))
        return cache

    def _forward(self, input_ids: torch.Tensor, chosen: torch.Tensor, **arguments: Any) -> Any:
        self._chosen = chosen
        try:
            return self._model(input_ids=input_ids, **arguments)
        finally:
            self._chosen = None

    def _select(self, _module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        if self._chosen is None:
            return None
        hidden, *others = arguments
        return (hidden[self._chosen], *others)


def shared_prefix(batch: Batch) -> int:
    """How many first tokens all rows of a batch have in common, ending before any token that predicts an answer."""
    same = (batch.input_ids == batch.input_ids[:1]).all(dim=0) & (batch.next_labels == IGNORED).all(dim=0)
    return int(same.long().cumprod(dim=0).sum()) if len(batch.input_ids) > 1 else 0

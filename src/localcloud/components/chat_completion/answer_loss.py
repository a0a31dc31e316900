"""The loss over what the assistant says: logits are computed at those positions only.

For a small model the logits of a whole batch are larger than everything else together.
"""

from __future__ import annotations

from typing import Any

import torch

from localcloud.components.chat_completion.batches import Batch
from localcloud.components.chat_completion.encoding import IGNORED


class AnswerLoss:
    """Puts a selection in front of a causal model's output layer; whatever the model does to its logits stays."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._chosen: torch.Tensor | None = None
        model.get_output_embeddings().register_forward_pre_hook(self._select)

    def _select(self, _module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        if self._chosen is None:
            return None
        hidden, *others = arguments
        return (hidden[self._chosen], *others)

    def __call__(self, batch: Batch) -> torch.Tensor:
        """The summed cross entropy of all answer tokens of a batch; divide by their number."""
        self._chosen = batch.next_labels != IGNORED
        try:
            logits = self._model(input_ids=batch.input_ids, use_cache=False).logits
        finally:
            wanted, self._chosen = batch.next_labels[self._chosen], None
        return torch.nn.functional.cross_entropy(logits.float().reshape(len(wanted), -1), wanted, reduction="sum")

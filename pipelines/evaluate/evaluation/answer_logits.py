"""A model's logits at chosen positions only, and a beginning that all rows share computed once.

Logits of all positions would outgrow everything else together; and the system prompt that a chat template puts in
front of every conversation is half of a short one.
"""

from __future__ import annotations

from typing import Any

WORTH_SHARING = 8  # tokens


class AnswerLogits:
    """Puts a choice in front of a causal model's output layer; what the model does to its logits behind it stays."""

    def __init__(self, model: Any, *, shares: bool = True) -> None:
        self._model, self._chosen, self._shares = model, None, shares
        self._hook = model.get_output_embeddings().register_forward_pre_hook(self._select)

    def __call__(self, ids: Any, chosen: Any) -> Any:
        """Logits (chosen positions, vocabulary), row after row; `ids` and the mask `chosen` are (rows, length)."""
        import torch

        shared = shared_beginning(ids, chosen) if self._shares else 0
        cache = self._beginning(ids, shared) if shared >= WORTH_SHARING else None
        if cache is None:
            logits = self._forward(ids, chosen, use_cache=False).logits
        else:
            mask = torch.ones_like(ids)
            logits = self._forward(
                ids[:, shared:], chosen[:, shared:], attention_mask=mask, past_key_values=cache, use_cache=True
            ).logits
        return logits.reshape(-1, logits.shape[-1])

    def close(self) -> None:
        """Leave the model as it was."""
        self._hook.remove()

    def _beginning(self, ids: Any, length: int) -> Any:
        """Keys and values of the shared tokens, repeated for each row; None for a model that keeps them otherwise."""
        import torch
        from transformers import DynamicCache

        part = ids[:1, :length]
        nothing = torch.zeros_like(part, dtype=torch.bool)
        cache = self._forward(part, nothing, use_cache=True).past_key_values
        layers = getattr(cache, "layers", None)
        if type(cache) is not DynamicCache or not layers or any(type(x).__name__ != "DynamicLayer" for x in layers):
            self._shares = False
            return None
        cache.batch_repeat_interleave(len(ids))
        return cache

    def _forward(self, ids: Any, chosen: Any, **arguments: Any) -> Any:
        self._chosen = chosen
        try:
            return self._model(input_ids=ids, **arguments)
        finally:
            self._chosen = None

    def _select(self, _module: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._chosen is None:
            return None
        return (arguments[0][self._chosen], *arguments[1:])


def shared_beginning(ids: Any, chosen: Any) -> int:
    """How many first tokens all rows have in common, ending before the first one whose logits are wanted."""
    if len(ids) < 2:
        return 0
    same = (ids == ids[:1]).all(dim=0) & ~chosen.any(dim=0)
    return int(same.long().cumprod(dim=0).sum())

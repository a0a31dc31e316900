"""How surprised a model is by the answers: the summed loss of the answer tokens of every row, in nats."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.chat_model import ChatModel
from evaluation.encoding import Encoded
from evaluation.refusal import Refusal

TOKENS_IN_A_BATCH = {"cpu": 2048, "cuda": 16384}
_POSITIONS_AT_ONCE = 1024  # logits in fp32: 0.4 GB for a vocabulary of 100,000


def losses(chat: ChatModel, rows: Mapping[int, Encoded]) -> dict[int, float]:
    """Nats per row, by the row's key. A batch that is too large for the GPU is halved, and that is said."""
    import torch

    budget = TOKENS_IN_A_BATCH[chat.device.type]
    waiting = sorted(rows, key=lambda key: len(rows[key].ids), reverse=True)
    found: dict[int, float] = {}
    told = time.monotonic()
    while waiting:
        batch = next(batches(waiting, rows, budget))
        try:
            found.update(zip(batch, _batch_losses(chat, [rows[key] for key in batch])))
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            budget = halved(batch, rows)
            say(f"{chat.name}: the GPU's memory is full; batches of {budget} tokens from here on.")
            continue
        waiting = waiting[len(batch) :]
        if time.monotonic() - told > 10 or not waiting:
            told = time.monotonic()
            say(f"{chat.name}: {len(found)} of {len(rows)} rows scored")
    return found


def batches(order: Sequence[int], rows: Mapping[int, Encoded], budget: int) -> Iterator[list[int]]:
    """Rows side by side, in the order given (longest first, so that little is padding), at least one in each."""
    start = 0
    while start < len(order):
        size = max(1, budget // len(rows[order[start]].ids))
        yield list(order[start : start + size])
        start += size


def halved(batch: Sequence[int], rows: Mapping[int, Encoded]) -> int:
    """A budget in tokens for half as many rows. Refusal when there is only one."""
    longest = len(rows[batch[0]].ids)
    if len(batch) == 1:
        raise Refusal(
            f"The GPU's memory is full with one conversation of {longest} tokens: "
            "set a smaller max_seq_length or take a larger GPU."
        )
    return longest * (len(batch) // 2)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _batch_losses(chat: ChatModel, rows: Sequence[Encoded]) -> list[float]:
    import torch

    length = max(len(row.ids) for row in rows)
    ids = torch.zeros((len(rows), length), dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row.ids)] = torch.tensor(row.ids)
    # Padding stands on the right, where a causal model does not look from any answer.
    wanted = sorted({position - 1 for row in rows for position in row.answers})
    column = {position: index for index, position in enumerate(wanted)}
    with torch.inference_mode():
        logits = _logits(chat.model, ids.to(chat.device), torch.tensor(wanted, device=chat.device))
        found = []
        for place, row in enumerate(rows):
            columns = torch.tensor([column[position - 1] for position in row.answers], device=chat.device)
            targets = torch.tensor([row.ids[position] for position in row.answers], device=chat.device)
            total = 0.0
            for first in range(0, len(columns), _POSITIONS_AT_ONCE):
                part = slice(first, first + _POSITIONS_AT_ONCE)
                chosen = logits[place, columns[part]].float()
                total += float(torch.nn.functional.cross_entropy(chosen, targets[part], reduction="sum"))
            found.append(total)
    return found


def _logits(model: Any, ids: Any, positions: Any) -> Any:
    """(rows, positions, vocabulary). The model applies its own scaling and capping, hence no shortcut past it."""
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        return model(input_ids=ids, use_cache=False, logits_to_keep=positions).logits
    return model(input_ids=ids, use_cache=False).logits[:, positions]

"""How surprised a model is by the answers: the summed loss of the answer tokens of every row, in nats."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.answer_logits import AnswerLogits
from evaluation.chat_model import ChatModel
from evaluation.encoding import Encoded
from evaluation.refusal import Refusal

TOKENS_IN_A_BATCH = {"cpu": 512, "cuda": 8192}
_POSITIONS_AT_ONCE = 1024  # logits in fp32: 0.4 GB for a vocabulary of 100,000


def losses(chat: ChatModel, rows: Mapping[int, Encoded]) -> dict[int, float]:
    """Nats per row, by the row's key. A batch that is too large for the GPU is halved, and that is said."""
    import torch

    budget = TOKENS_IN_A_BATCH[chat.device.type]
    logits_of = AnswerLogits(chat.model)
    waiting = sorted(rows, key=lambda key: len(rows[key].ids), reverse=True)
    found: dict[int, float] = {}
    told = time.monotonic()
    while waiting:
        batch = next(batches(waiting, rows, budget))
        try:
            found.update(zip(batch, _batch_losses(logits_of, chat.device, [rows[key] for key in batch]), strict=True))
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            budget = halved(batch, rows)
            say(f"{chat.name}: the GPU's memory is full; batches of {budget} tokens from here on.")
            continue
        waiting = waiting[len(batch) :]
        if time.monotonic() - told > 10 or not waiting:
            told = time.monotonic()
            say(f"{chat.name}: {len(found)} of {len(rows)} rows scored")
    logits_of.close()
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
            "take a larger GPU, or with compute.evaluate cpu the machine's own memory."
        )
    return longest * (len(batch) // 2)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _batch_losses(logits_of: AnswerLogits, device: Any, rows: Sequence[Encoded]) -> list[float]:
    import torch

    length = max(len(row.ids) for row in rows)
    # Padding stands on the right, where a causal model does not look from any answer.
    ids = torch.zeros((len(rows), length), dtype=torch.long)
    chosen = torch.zeros((len(rows), length), dtype=torch.bool)
    for place, row in enumerate(rows):
        ids[place, : len(row.ids)] = torch.tensor(row.ids)
        chosen[place, [position - 1 for position in row.answers]] = True
    targets = torch.tensor([row.ids[position] for row in rows for position in row.answers], device=device)
    with torch.inference_mode():
        logits = logits_of(ids.to(device), chosen.to(device))
        parts = [
            torch.nn.functional.cross_entropy(some.float(), wanted, reduction="none")
            for some, wanted in zip(logits.split(_POSITIONS_AT_ONCE), targets.split(_POSITIONS_AT_ONCE), strict=True)
        ]
    per_token = torch.cat(parts).double().cpu()
    return [float(part.sum()) for part in per_token.split([len(row.answers) for row in rows])]

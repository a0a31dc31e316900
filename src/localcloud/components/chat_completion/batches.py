"""Batches of encoded rows: of like length, so that little is padding, and in an order that seed and epoch decide."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localcloud.components.chat_completion.encoding import IGNORED

if TYPE_CHECKING:
    import torch


_POOL = 8  # batches


@dataclass(frozen=True)
class Example:
    """One row of `train.jsonl`, without its padding."""

    input_ids: list[int]
    labels: list[int]


@dataclass(frozen=True)
class Batch:
    """Rows side by side: token ids (rows, length), and for each position the label of the token that follows."""

    input_ids: torch.Tensor
    next_labels: torch.Tensor

    @property
    def answer_tokens(self) -> int:
        return int((self.next_labels != IGNORED).sum())

    def to(self, device: torch.device) -> Batch:
        return Batch(self.input_ids.to(device), self.next_labels.to(device))


def load_examples(path: Path) -> list[Example]:
    """Rows as preprocess wrote them; padding is taken off again, since each batch is padded to its own length."""
    examples = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            length = sum(row["attention_mask"])
            examples.append(Example(row["input_ids"][:length], row["labels"][:length]))
    return examples


def plan_epoch(examples: Sequence[Example], size: int, seed: int, epoch: int) -> list[list[int]]:
    """Which rows go together in one epoch, the same for the same seed.

    Rows are sorted by length within pools of some batches each: a run of a few steps sees all lengths all the same.
    """
    chance = random.Random(f"{seed}/{epoch}")
    order = list(range(len(examples)))
    chance.shuffle(order)
    plan: list[list[int]] = []
    for start in range(0, len(order), size * _POOL):
        pool = sorted(order[start : start + size * _POOL], key=lambda index: len(examples[index].input_ids))
        batches = [pool[first : first + size] for first in range(0, len(pool), size)]
        chance.shuffle(batches)
        plan += batches
    return plan


def plan_evaluation(examples: Sequence[Example], size: int) -> list[list[int]]:
    """All rows once, by length."""
    order = sorted(range(len(examples)), key=lambda index: len(examples[index].input_ids))
    return [order[start : start + size] for start in range(0, len(order), size)]


def collate(examples: Sequence[Example], pad: int) -> Batch:
    """Pad on the right. A causal model never looks there, so no attention mask is needed."""
    import torch

    length = max(len(example.input_ids) for example in examples)
    ids = torch.full((len(examples), length), pad, dtype=torch.long)
    labels = torch.full((len(examples), length), IGNORED, dtype=torch.long)
    for place, example in enumerate(examples):
        ids[place, : len(example.input_ids)] = torch.tensor(example.input_ids)
        labels[place, : len(example.labels) - 1] = torch.tensor(example.labels[1:])
    return Batch(ids, labels)

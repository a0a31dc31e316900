"""Checks of the prepared data: its splits, sizes, tokens, what was rejected, and whether it is this recipe's at all.

They read the folder's manifest and card: its rows were checked when it was made, unless it was made by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunestack.cost.fine_tune_cost import Range
from tunestack.data import data_folder
from tunestack.data.data_folder import DataFolder
from tunestack.data.rows import MINIMUM_TRAIN_ROWS
from tunestack.preflight.preflight_subject import Finding, Subject
from tunestack.sources.sources import Source

FOLDER = "data.json of the data folder"
CARD = "card.json of the data folder"
LOOKED_AT = 20
MAKE = "Make the folder with scripts/prepare_data.py --recipe"
# What the component does where a file is not passed: its preprocess.py.
_CUTS = {
    "validation": "20 % of the training rows would be taken away for it, by position",
    "test": "10 to 20 % of the training rows would be taken away, and the gate has nothing to look at",
    "train": "there is nothing to train on",
}
_SETTINGS = ("percent", "subset", "splits", "sampling", "seed", "format", "columns", "max_tokens", "validation_percent")


def splits(subject: Subject) -> Finding:
    """All three files must be passed: of two, the component trains on the first 80 % without a word."""
    check, data = "data-splits", subject.data
    if data is None:
        return _no_data(check)
    lacking = [split for split in data_folder.NEEDED if not data.rows.get(split)]
    if lacking:
        said = "; ".join(f"'{data.name}' has no {split} rows: {_CUTS[split]}" for split in lacking)
        return Finding(check, "error", said, FOLDER, MAKE)
    counts = ", ".join(f"{split} {data.rows[split]:,}" for split in data_folder.NEEDED)
    return Finding(check, "ok", f"all three are passed, so that none is cut from another: {counts}", FOLDER)


def size(subject: Subject) -> Finding:
    """The component wants ten rows; a run wants at least one whole step."""
    check, data = "data-size", subject.data
    if data is None:
        return _no_data(check)
    rows = data.rows.get("train", 0)
    if rows < MINIMUM_TRAIN_ROWS:
        said = f"{rows} rows to train on, and the component ends with an error below {MINIMUM_TRAIN_ROWS}"
        return Finding(check, "error", said, FOLDER, "Raise data.percent, or use more data")
    run = subject.planned.training
    if run is not None:
        together = run.batch * run.gpus * run.nodes
        if rows < together:
            said = f"{rows:,} rows are fewer than the {together:,} that one step takes on all GPUs"
            return Finding(check, "warning", said, FOLDER, "Take a smaller per_device_train_batch_size, or more data")
    found = subject.estimate
    steps = f", {found.steps:,} steps" if isinstance(found, Range) else ""
    return Finding(check, "ok", f"{rows:,} rows to train on{steps}", FOLDER)


def card(subject: Subject) -> Finding:
    """Whether anybody looked at the rows: of a folder made or changed by hand the first ones are looked at here."""
    check, data = "data-card", subject.data
    if data is None:
        return _no_data(check)
    if data.card and data.settings:
        return Finding(check, "ok", "made by prepare_data, and unchanged since", FOLDER)
    wrong = _wrong_rows(Path(data.source))
    if wrong:
        return Finding(check, "error", "; ".join(wrong), f"the first {LOOKED_AT} rows of each split", MAKE)
    said = "the folder was made or changed by hand: its rows were not checked, and roles and lengths are not known"
    return Finding(check, "warning", said, FOLDER, MAKE)


def _wrong_rows(folder: Path) -> list[str]:
    """What is wrong with the first rows of each split; a folder made by hand has its path as its source."""
    found = []
    for split in data_folder.NEEDED:
        if not data_folder.file(folder, split).is_file():
            continue
        try:
            rows = data_folder.head(folder, split, LOOKED_AT)
        except ValueError as error:
            found.append(f"{split}.jsonl is not JSON lines: {error}")
            continue
        found += [f"{split}.jsonl row {number} {flaw}" for number, row in enumerate(rows, 1) if (flaw := _flaw(row))][
            :1
        ]
    return found


def _flaw(row: Any) -> str:
    """Why the component would not take a row; empty where it would."""
    messages = row.get("messages") if isinstance(row, Mapping) else None
    if not isinstance(messages, list):
        return "has no column 'messages' with a list"
    if len(messages) < 2:
        return "has fewer than two messages, and is dropped without a word"
    if not all(isinstance(one, Mapping) and {"role", "content"} <= set(one) for one in messages):
        return "has a message without 'role' and 'content'"
    return ""


def tokens(subject: Subject) -> Finding:
    """Whether rows are counted by the model's own tokenizer, and how many are cut before their answer ends."""
    check, data = "data-tokens", subject.data
    if data is None:
        return _no_data(check)
    counted, lengths = _part(data, "tokens"), _part(data, "lengths")
    if not counted or not lengths:
        said = "how many tokens the rows have is not known: hours are guessed, and rows may be cut"
        return Finding(check, "warning", said, CARD, MAKE)
    mean = f"{float(lengths['mean']):,.0f} tokens a row on average, at most {int(lengths['longest']):,}"
    if not counted.get("tokenizer"):
        said = f"{mean}, estimated: the tokenizer of '{subject.recipe.model.name}' could not be had"
        return Finding(
            check, "warning", said, CARD, "Prepare the data again where the model's tokenizer can be fetched"
        )
    masked, cut = int(counted.get("masked_rows") or 0), int(counted.get("cut_rows") or 0)
    of = f"of {int(counted.get('sampled_rows') or 0):,} rows counted"
    flaws = [f"{masked:,} {of} have no token to learn from"] if masked else []
    flaws += [f"{cut:,} {of} are cut before their answer ends"] if cut else []
    run, limit = subject.planned.training, int(counted.get("limit") or 0)
    if run is not None and run.sequence < min(limit, int(lengths["longest"])):
        flaws.append(f"they were counted for rows of up to {limit:,} tokens, and the run cuts at {run.sequence:,}")
    if flaws:
        fix = "Raise training.max_seq_length, or leave long rows out with data.max_tokens"
        return Finding(check, "warning", f"{mean}; {' and '.join(flaws)}", CARD, fix)
    return Finding(check, "ok", f"{mean}, by the tokenizer '{counted['tokenizer']}'", CARD)


def rejected(subject: Subject) -> Finding:
    """Rows that were left out for a fault of their own, against the recipe's limit."""
    check, data = "data-rejected", subject.data
    if data is None:
        return _no_data(check)
    told = _part(data, "rejected")
    if "percent" not in told:
        return Finding(check, "warning", "how many rows were rejected is not known", CARD, MAKE)
    percent, most = float(told["percent"]), subject.recipe.data.max_rejected_percent
    reasons = ", ".join(f"{one['reason']} {one['rows']:,}" for one in told.get("reasons") or ())
    said = f"{int(told.get('rows') or 0):,} rows left out" + (f" ({reasons})" if reasons else "")
    said += f", {percent:g} % for a fault of their own; the recipe allows {most:g} %"
    if percent > most:
        fix = "Look into rejected.jsonl, mend the data, or raise data.max_rejected_percent"
        return Finding(check, "error", said, CARD, fix)
    return Finding(check, "ok", said, CARD)


def clusters(subject: Subject) -> Finding:
    """The gate wants so many conversations that differ, or says inconclusive: a run that is paid for nothing."""
    check, data = "test-clusters", subject.data
    if data is None:
        return _no_data(check)
    asked = subject.recipe.evaluation
    rows, told = data.rows.get("test", 0), data.card.get("test_questions")
    looked = min(rows, asked.max_rows)
    most = looked if told is None else min(int(told), looked)
    # At least: every row that is not looked at could be a conversation of its own.
    least = most if told is None else min(max(int(told) - (rows - looked), 1), most)
    kind = "rows, and rows that share a question count once" if told is None else "conversations that differ"
    found = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    said = f"of the test split the gate looks at {found} {kind}; it wants {asked.min_clusters:,}"
    fix = "Take more data, raise evaluation.max_rows, or lower evaluation.min_clusters, which labels the verdict"
    if most < asked.min_clusters:
        return Finding(check, "error", said, CARD, fix)
    if least < asked.min_clusters:
        return Finding(check, "warning", said, CARD, fix)
    if told is None:
        return Finding(check, "warning", said, FOLDER, MAKE)
    return Finding(check, "ok", said, CARD)


def of_recipe(subject: Subject) -> Finding:
    """Whether this recipe made the folder: another source would go into the model's name and lineage."""
    check, data, asked = "data-recipe", subject.data, subject.recipe.data
    if data is None:
        return _no_data(check)
    wanted = Source.parse(asked.source)
    if data.source.partition("@")[0] != asked.source.partition("@")[0] and (data.settings or data.name != wanted.name):
        said = f"the data comes from '{data.source}', the recipe wants '{asked.source}'"
        return Finding(check, "error", said, FOLDER, MAKE)
    if not data.settings:
        return Finding(check, "warning", "with which settings it was made is not known", FOLDER, MAKE)
    now = asked.model_dump(mode="json")
    other = [
        f"{name} {_said(data.settings[name])}, the recipe {_said(now[name])}"
        for name in _SETTINGS
        if name in data.settings and data.settings[name] != now[name]
    ]
    if other:
        return Finding(check, "warning", f"made with {'; '.join(other)}", FOLDER, MAKE)
    return Finding(check, "ok", f"made with this recipe's settings, {data.percent:g} % of '{data.source}'", FOLDER)


def hashes(subject: Subject) -> Finding:
    """The lineage's hash is that of the files, and the test split is not the training split."""
    check, data = "data-hash", subject.data
    if data is None:
        return _no_data(check)
    sums = data.sha256
    wrong = []
    if set(data_folder.SPLITS) <= set(sums) and data_folder.hash_over(sums) != data.hash:
        wrong.append("the folder's hash is not that of its files")
    if sums.get("test") != data.test_hash:
        wrong.append("the test split is not the one that test_hash names, which attempts are counted by")
    if sums.get("test") and sums.get("test") in (sums.get("train"), sums.get("validation")):
        wrong.append("the test split is the same file as another split: the gate would test what was learned")
    if wrong:
        return Finding(check, "error", "; ".join(wrong), FOLDER, MAKE)
    return Finding(check, "ok", f"data {data.hash[:12]}, test split {data.test_hash[:12]}", FOLDER)


def _part(data: DataFolder, name: str) -> Mapping[str, Any]:
    found = data.card.get(name)
    return found if isinstance(found, Mapping) else {}


def _said(value: Any) -> str:
    return "none" if value is None else str(value)


def _no_data(check: str) -> Finding:
    return Finding(check, "not asked", "no data folder was given", fix="Name it with --data FOLDER")

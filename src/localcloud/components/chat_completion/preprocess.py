"""Step 3: reads the data, cuts the splits, and writes them as token ids with a loss mask, beside the tokenizer.

It uses the tokenizer alone: neither torch nor transformers is imported.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcloud.components.chat_completion import model_import
from localcloud.components.chat_completion.chat_tokenizer import ChatTokenizer
from localcloud.components.chat_completion.encoding import EncodedRow, Encoder
from localcloud.components.chat_completion.finetune_config import FinetuneConfig
from localcloud.components.chat_completion.program import (
    UserError,
    existing,
    parse,
    read_json,
    report_properties,
    run,
    say,
    truth,
    write_json,
)
from localcloud.components.chat_completion.rows import Row, check_columns, load_rows
from localcloud.components.chat_completion.splits import Splits, split_rows

MINIMUM_TRAIN_ROWS = 10
ARGUMENTS_FILE = "preprocess_args.json"
INFERENCE_FILE = "azureml_mlflow_inference_params.json"


@dataclass(frozen=True)
class DataInputs:
    """The three data inputs, each as a file or as an MLTable folder; the folder wins when both are given."""

    train_file_path: Path | None = None
    validation_file_path: Path | None = None
    test_file_path: Path | None = None
    train_mltable_path: Path | None = None
    validation_mltable_path: Path | None = None
    test_mltable_path: Path | None = None

    def of(self, split: str) -> Path | None:
        for kind in ("mltable", "file"):
            name = f"{split}_{kind}_path"
            if found := existing(getattr(self, name), name):
                return found
        return None

    def load(self) -> Splits:
        """Read what is given and cut what is not. UserError names what is missing or unreadable."""
        paths = {split: self.of(split) for split in ("train", "validation", "test")}
        if paths["train"] is None:
            raise UserError("No training data: train_file_path or train_mltable_path is needed.")
        found: dict[str, list[Row] | None] = {}
        for split, path in paths.items():
            found[split] = load_rows(path) if path else None
            if path:
                check_columns(found[split] or [], path)
        splits = split_rows(found["train"] or [], found["validation"], found["test"])
        say(f"Rows: {len(splits.train)} train, {len(splits.validation)} validation, {len(splits.test)} test.")
        return splits


def preprocess(data: DataInputs, imported: Path, output: Path, *, max_seq_length: int = -1, pad: bool = False) -> None:
    """Write the encoded splits and all that fine-tuning needs to know of them into `output`."""
    name = str(read_json(imported / model_import.ARGUMENTS_FILE)["model_name"])
    tokenizer = ChatTokenizer(imported / name)
    _check_end_tokens(tokenizer)
    splits = data.load()
    limit = tokenizer.maximum_length
    maximum = limit if max_seq_length < 0 else min(max_seq_length, limit)
    encoder = Encoder(tokenizer, FinetuneConfig.load(imported), maximum)
    grew = tokenizer.give_pad_token()
    train, validation = encoder.encode(splits.train), encoder.encode(splits.validation)
    for reason, count in encoder.dropped.items():
        say(f"Dropped {count} rows {reason}.")
    _check_enough(train, encoder, splits)
    output.mkdir(parents=True, exist_ok=True)
    pad_id = tokenizer.token_id("pad_token")
    assert pad_id is not None
    for split, rows in (("train", train), ("validation", validation)):
        _write_lines(output / f"{split}.jsonl", (row.padded(maximum if pad else 0, pad_id) for row in rows))
        _write_lines(output / "chat_templated_raw_data" / f"{split}.jsonl", ({"text": row.text} for row in rows))
    for split in ("train", "validation", "test"):
        _write_lines(output / "raw_data" / f"{split}.jsonl", getattr(splits, split))
    tokenizer.save(output)
    _write_facts(output, imported / name, name, maximum, train)
    say(
        f"Encoded {len(train)} train and {len(validation)} validation rows, at most {maximum} tokens each"
        + (", with a new token '<pad>'." if grew else ".")
    )


def _check_end_tokens(tokenizer: ChatTokenizer) -> None:
    for which in ("bos_token", "eos_token"):
        if which not in tokenizer.special:
            raise UserError(f"The tokenizer has no {which}; set it in the model's tokenizer_config.json.")


def _check_enough(train: Sequence[EncodedRow], encoder: Encoder, splits: Splits) -> None:
    cut = encoder.dropped["cut before the first answer"]
    if not train and cut:
        raise UserError(
            f"No assistant token is left in any of {cut} rows cut at {encoder.maximum} tokens. Raise max_seq_length."
        )
    if not train:
        raise UserError(f"No examples are left after preprocessing {len(splits.train)} train rows.")
    if len(train) < MINIMUM_TRAIN_ROWS:
        raise UserError(
            f"The number of training examples is {len(train)} after preprocessing; the minimum is {MINIMUM_TRAIN_ROWS}."
        )


def _write_facts(output: Path, model: Path, name: str, maximum: int, train: Sequence[EncodedRow]) -> None:
    config = read_json(model / "config.json")
    if "auto_map" in config:
        config["auto_map"] = {}
    write_json(output / "config.json", config)
    write_json(output / ARGUMENTS_FILE, {"model_name": name, "task_name": "ChatCompletion", "max_seq_length": maximum})
    write_json(output / INFERENCE_FILE, {"task_type": "chat-completion", "model_name": name})
    tokens = {
        "__azureml_ft_training_tokens": str(sum(len(row.input_ids) for row in train)),
        "__azureml_ft_assistant_tokens": str(sum(row.answer_tokens for row in train)),
    }
    report_properties(output, {}, tokens)
    say(f"One epoch has {tokens['__azureml_ft_training_tokens']} tokens, "
        f"{tokens['__azureml_ft_assistant_tokens']} of them the assistant's.")  # fmt: skip


def _write_lines(path: Path, rows: Iterable[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="preprocess", description=__doc__, allow_abbrev=False)
    for split in ("train", "validation", "test"):
        parser.add_argument(f"--{split}_file_path", type=Path, help=f"{split} rows as a file")
        parser.add_argument(f"--{split}_mltable_path", type=Path, help=f"{split} rows as an MLTable folder")
    parser.add_argument("--task_name", default="ChatCompletion", help="always ChatCompletion")
    parser.add_argument("--batch_size", type=int, default=1000, help="rows per batch; without effect on the result")
    parser.add_argument("--pad_to_max_length", type=truth, default=False, help="fill every row up to the maximum")
    parser.add_argument("--max_seq_length", type=int, default=-1, help="tokens per row; -1: the tokenizer's maximum")
    parser.add_argument("--trust_remote_code", type=truth, default=False, help="no remote code is ever run here")
    parser.add_argument("--model_selector_output", type=Path, required=True, help="folder of the model import")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder to write")
    found = parse(parser, argv)
    names = [f"{split}_{kind}_path" for kind in ("file", "mltable") for split in ("train", "validation", "test")]
    data = DataInputs(**{name: getattr(found, name) for name in names})
    return run(
        lambda: preprocess(
            data,
            found.model_selector_output,
            found.output_dir,
            max_seq_length=found.max_seq_length,
            pad=found.pad_to_max_length,
        )
    )


if __name__ == "__main__":
    sys.exit(main())

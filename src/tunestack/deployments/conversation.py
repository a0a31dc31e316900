"""What `invoke` asks and shows: questions from a prompt, a split or a file, and the answers side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from tunestack import cli, tables
from tunestack.deployments import scoring
from tunestack.deployments.scoring import SAMPLE_PARAMETERS, Answer, Json
from tunestack.errors import UsageError
from tunestack.sources import row_files

SAMPLE_FILE = "sample_score.json"


@dataclass(frozen=True)
class Question:
    """A request body, what it asks in words, and the answer that the data has, where it has one."""

    body: Json
    text: str
    expected: str = ""


@dataclass(frozen=True)
class Reply:
    question: Question
    answer: Answer

    @property
    def line(self) -> str:
        return f"{self.answer.slot or 'endpoint'}: {' '.join(self.answer.text.split())}"

    @property
    def record(self) -> dict[str, Any]:
        answer = self.answer
        return {
            "question": self.question.text,
            "expected": self.question.expected,
            "answer": answer.text,
            "deployment": answer.slot,
            "seconds": round(answer.seconds, 3),
        }


def questions(options: argparse.Namespace) -> list[Question]:
    """The requests that the flags ask for."""
    if not options.sample and (options.row or options.count):
        raise UsageError("--row and --count are for the rows of a split", fix="Name it with --sample FILE")
    if options.request:
        if options.parameter:
            raise UsageError("--parameter cannot change a request file", fix="Write it into the file")
        body = scoring.read_request(options.request)
        return [Question(body, f"request {options.request}")]
    parameters = {**SAMPLE_PARAMETERS, **dict(_parameter(text) for text in options.parameter)}
    if options.prompt is not None:
        if not options.prompt.strip():
            raise UsageError("--prompt is empty")
        return [Question(scoring.request([{"role": "user", "content": options.prompt}], parameters), options.prompt)]
    return _from_sample(options.sample, options.row or 1, options.count or 1, parameters)


def show(replies: Sequence[Reply]) -> None:
    """One answer as a line about who gave it; several as a table, a column per deployment."""
    if len(replies) == 1:
        answer = replies[0].answer
        cli.note(f"{answer.slot or 'the endpoint'} answered in {answer.seconds:.1f} s")
        return
    slots = list(dict.fromkeys(reply.answer.slot for reply in replies))
    rows: dict[int, dict[str, str]] = {}
    asked: dict[int, Question] = {}
    for reply in replies:
        rows.setdefault(id(reply.question), {})[reply.answer.slot] = reply.answer.text
        asked[id(reply.question)] = reply.question
    tables.show(
        "answers to held-out questions",
        ("question", "in the data", *slots),
        [
            (asked[key].text, asked[key].expected, *(found.get(slot, "") for slot in slots))
            for key, found in rows.items()
        ],
    )


def _from_sample(file: Path, first: int, count: int, parameters: dict[str, Any]) -> list[Question]:
    rows = list(islice(row_files.read(file), first - 1, first - 1 + count))
    if len(rows) < count:
        raise UsageError(f"'{file}' has no row {first + len(rows)}")
    found = []
    for row in rows:
        messages = scoring.question(row)
        rest = row["messages"][len(messages) :]
        expected = rest[0]["content"] if rest else ""
        found.append(Question(scoring.request(messages, parameters), messages[-1]["content"], expected))
    target = file.parent / SAMPLE_FILE
    target.write_bytes(orjson.dumps(found[0].body, option=orjson.OPT_INDENT_2) + b"\n")
    cli.note(f"the first request is in '{target}'")
    return found


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--parameter '{text}' is not of the form NAME=VALUE")
    try:
        return name, orjson.loads(value)
    except orjson.JSONDecodeError:
        return name, value

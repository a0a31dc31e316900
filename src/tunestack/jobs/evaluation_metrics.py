"""What an evaluation measured, as its `metrics.json` says it: taken only in its form, and where the verdict follows.

The rule is the gate's, in docs/evaluation.md. Whose figures they are, `gate.py` asks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from tunestack.errors import UsageError

PASSED = "passed"
VERDICTS = (PASSED, "inconclusive")
_SCHEMA = 1
_OBJECTS = ("gate", "gain", "gain_over_serving", "regression", "models", "generation", "test", "files")
_FIGURES = {
    "gate": ("min_gain", "max_regression", "min_clusters", "attempt", "chance_of_a_false_pass"),
    "gain": ("estimate", "lower", "upper", "clusters"),
    "regression": ("estimate", "lower", "upper", "clusters"),
}


def parse(content: bytes, what: str, job: str) -> dict[str, Any]:
    """The figures in a `metrics.json`, checked as far as a decision or a page rests on them. UsageError otherwise.

    `job` is the one whose model they are of.
    """
    again = f"Evaluate it anew with: scripts/submit_finetune.py --evaluate {job} --again"
    try:
        found = json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{what} is not JSON: {error}", fix=again) from error
    if not isinstance(found, dict):
        raise UsageError(f"{what} is not a JSON object", fix=again)
    problems = []
    if found.get("schema") != _SCHEMA:
        problems.append(f"{what} has schema {found.get('schema')!r}, and this program knows {_SCHEMA}")
    if found.get("verdict") not in VERDICTS:
        problems.append(f"{what} has the verdict {found.get('verdict')!r}, which is none of {', '.join(VERDICTS)}")
    problems += [f"{what} has {name}" for name in _of_another_form(found)]
    problems = problems or _contradictions(found, what)
    if problems:
        raise UsageError(*problems, fix=again)
    return found


def _of_another_form(found: Mapping[str, Any]) -> Iterator[str]:
    objects = {name: found.get(name) or {} for name in _OBJECTS}
    for name, content in objects.items():
        if not isinstance(content, dict):
            yield f"a '{name}' that is no object"
            objects[name] = {}
    for name in ("reasons", "labels"):
        said = found.get(name) or []
        if not (isinstance(said, list) and all(isinstance(text, str) for text in said)):
            yield f"'{name}' that are no list of sentences"
    for name, keys in _FIGURES.items():
        for key in keys:
            if not _is_figure(objects[name].get(key)):
                yield f"a '{name}.{key}' that is no number"
    for name, row in objects["models"].items():
        if not isinstance(row, dict):
            yield f"figures of the model '{name}' that are no object"


def _contradictions(found: Mapping[str, Any], what: str) -> list[str]:
    """A verdict `passed` whose own figures say no."""
    if found["verdict"] != PASSED:
        return []
    gate, gain, regression = (found.get(name) or {} for name in ("gate", "gain", "regression"))
    try:
        problems = []
        if not gain["lower"] > gate["min_gain"]:
            problems.append(f"{what} says '{PASSED}' with a gain of at least {gain['lower']}, not above min_gain")
        if not regression["upper"] < gate["max_regression"]:
            problems.append(f"{what} says '{PASSED}' with a regression of up to {regression['upper']}, over the limit")
        if gain["clusters"] < gate["min_clusters"]:
            problems.append(f"{what} says '{PASSED}' on {gain['clusters']} clusters, fewer than min_clusters")
        return problems
    except (KeyError, TypeError) as error:
        return [f"{what} says '{PASSED}' and lacks the figures for it: {error}"]


def _is_figure(value: Any) -> bool:
    """A number, or nothing where there is none. `1e999` is infinite without being written so."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (is_number and math.isfinite(value))


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")

"""The model card: what a fine-tuned model is, is for and cannot do, in Markdown, from what was measured and no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunestack.jobs.gate import Verdict
from tunestack.models.weights import Manifest

# First words of licence texts, and their SPDX names.
_LICENCES = (
    ("apache license", "Apache-2.0"),
    ("mit license", "MIT"),
    ("permission is hereby granted, free of charge", "MIT"),
)


@dataclass(frozen=True)
class Card:
    """All that a card is made of. `licence` is the text beside the weights; `verdict` is None where there is none."""

    model: str
    tags: Mapping[str, str]
    data: Mapping[str, Any]
    verdict: Verdict | None
    manifest: Manifest
    licence: str
    forced_why: str = ""

    @property
    def text(self) -> str:
        parts = (self._head, self._use, self._data, self._figures, self._limits, self._licence, self._call)
        return "\n\n".join(part() for part in parts) + "\n"

    def _head(self) -> str:
        tags = self.tags
        rows = {
            "base model": tags.get("base_model"),
            "recipe": tags.get("recipe"),
            "job": tags.get("job"),
            "component": tags.get("component"),
            "commit": tags.get("commit"),
            "files": f"{len(self.manifest.files)}, {self.manifest.size:,} bytes, sha256 {self.manifest.sha256}",
        }
        lines = "\n".join(f"- {name}: {value}" for name, value in rows.items() if value)
        return f"# {self.model}\n\nA chat model, fine-tuned and registered with tunestack.\n\n{lines}"

    def _use(self) -> str:
        data = self.tags.get("data") or "its data"
        return (
            f"## Intended use\n\nAnswers in conversations like those of {data}, which it was tuned on. "
            "It was measured on that data and on one set of general questions; any other use is untested."
        )

    def _data(self) -> str:
        tags, rows = self.tags, self.data.get("rows")
        lines = [f"- source: {tags.get('data_source') or tags.get('data') or 'unknown'}"]
        if isinstance(rows, Mapping):
            counts = ", ".join(f"{split} {count:,}" for split, count in rows.items() if isinstance(count, int))
            lines += [f"- rows: {counts}"] if counts else []
        lines += [f"- {name}: {tags[tag]}" for tag, name in _HASHES if tags.get(tag)]
        lines.append("- the full data card is card.json in the evidence" if self.data else "- there is no data card")
        return "## Data\n\n" + "\n".join(lines)

    def _figures(self) -> str:
        if self.verdict is None:
            return f"## Figures\n\nNone: the model was not evaluated, and registered all the same. {self._forced()}"
        found = self.verdict.metrics
        lines = [f"The gate said **{self.verdict.word}**. {self._forced()}".strip()]
        asked = found.get("gate") or {}
        lines.append(
            f"- asked: a gain above {_number(asked.get('min_gain'), 'g')} and a regression below "
            f"{_number(asked.get('max_regression'), 'g')} nats per token, on {_number(asked.get('min_clusters'), ',')} "
            "conversations at least"
        )
        lines += [f"- reason: {reason}" for reason in self.verdict.reasons]
        lines += [f"- note: {label}" for label in self.verdict.labels]
        lines.append(f"- gain over the base, one-sided 95 % bounds: {self.verdict.gain}")
        worse = found.get("regression") or {}
        if worse.get("upper") is not None:
            lines.append(
                f"- loss added on general questions ({worse.get('set', 'unnamed set')}): "
                f"{_number(worse.get('estimate'), '+.4f')}, at most {worse['upper']:+.4f} nats per token"
            )
        lines += ["", "| model | loss | perplexity | rows |", "|---|--:|--:|--:|"]
        for name, row in (found.get("models") or {}).items():
            loss, perplexity = _number(row.get("loss"), ".4f"), _number(row.get("perplexity"), ".3f")
            lines.append(f"| {name} | {loss} | {perplexity} | {row.get('rows', '')} |")
        attempt = asked.get("attempt")
        if attempt:
            chance = asked.get("chance_of_a_false_pass")
            told = f"; a worthless model would have passed by now with {chance:.0%}" if chance else ""
            lines += ["", f"Attempt {attempt} on this test split{told}."]
        return "## Figures\n\n" + "\n".join(lines)

    def _forced(self) -> str:
        return f"It was registered against the gate, because: {self.forced_why}" if self.forced_why else ""

    def _limits(self) -> str:
        return (
            "## Limits\n\nLoss says how likely the reference answers are, not whether an answer is true or safe. "
            "What the base model does wrong, this one may do too; no safety evaluation was made here. "
            "Put a content filter before it where strangers ask."
        )

    def _licence(self) -> str:
        name = licence_name(self.licence)
        if not self.licence:
            told = "No licence text lies beside the weights; see the base model's page."
        else:
            told = f"Beside the weights lies the licence of the base model: {name or 'see the file LICENSE'}."
        return f"## Licence\n\n{told} The data has its own."

    def _call(self) -> str:
        return (
            "## How to call it\n\n```\n"
            f"scripts/deploy_model.py --model {self.model} --slot green\n"
            'scripts/invoke.py --slot green --prompt "..."\n```\n\n'
            'Over HTTP: POST {"input_data": {"input_string": [{"role": "user", "content": "..."}], '
            '"parameters": {"max_new_tokens": 200}}} to the endpoint\'s scoring address.'
        )


_HASHES = (("data_hash", "hash of all splits"), ("test_hash", "sha256 of the test rows"))


def _number(value: Any, form: str) -> str:
    return format(value, form) if isinstance(value, int | float) else "unknown"


def licence_name(text: str) -> str:
    """The SPDX name of a licence text that is well known; empty for any other."""
    head = " ".join(text[:2000].lower().split())
    return next((name for start, name in _LICENCES if start in head), "")

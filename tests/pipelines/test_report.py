"""The report: everything that it promises is on it, nothing that it shows can act, and a real browser draws it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from evaluation import report
from evaluation.markup import table
from evaluation.run_facts import RunFacts
from evaluation.tracking import Curves

from tests.pipelines.browser import browser
from tests.pipelines.conftest import CARD, PREFLIGHT, RUN

TRICK = '<script>document.title="taken"</script><img src="https://example.com/x.png" onerror="alert(1)">'
CURVES = Curves("run", {"train": [(2, 4.1), (4, 3.0), (6, 2.4)], "validation": [(1, 3.9), (6, 2.6)]})
TOLD = RunFacts(f"# as it ran\ndescription: {TRICK}\n", CARD, RUN, PREFLIGHT)
FILES = [{"path": "MLmodel", "bytes": 100, "sha256": "cd" * 32}]
SAMPLES = [
    {
        "line": 1,
        "messages": [{"role": "user", "content": f"What is {TRICK}?"}],
        "reference": "An old trick.",
        "answers": {
            "base": {"text": TRICK, "tokens": 9, "cut": True},
            "tuned": {"text": "A" * 400, "tokens": 3, "cut": False},
            "serving": {"text": "", "tokens": 0, "cut": False},
        },
    }
]


def _interval(estimate: float, lower: float | None, upper: float | None) -> dict[str, Any]:
    return {"estimate": estimate, "lower": lower, "upper": upper, "clusters": 120, "rows": 130, "tokens": 4000}


def _metrics(**changed: Any) -> dict[str, Any]:
    losses = {"loss": 2.5, "perplexity": 12.2, "loss_per_byte": 0.6, "tokens": 4000, "rows": 130}
    models = {name: dict(losses) for name in ("base", "tuned", "serving")}
    answers = {"rows": 8, "mean_tokens": 31.5, "empty": 0.0, "cut": 0.25, "repetition": 0.1}
    return {
        "verdict": "passed",
        "reasons": ["The gain is at least 0.1 nats per token."],
        "labels": [],
        "gate": {"min_gain": 0.02, "max_regression": 0.05, "min_clusters": 100, "attempt": 2}
        | {"chance_of_a_false_pass": 0.0975},
        "models": models,
        "gain": _interval(0.2, 0.1, 0.3),
        "gain_over_serving": _interval(0.1, -0.1, 0.2),
        "regression": {**_interval(-0.01, -0.06, 0.04), "models": models},
        "generation": {name: dict(answers) for name in ("data", "base", "tuned", "serving")},
        "test": {"sha256": "ef" * 32, "rows": 130, "clusters": 120, "tokens": 4000, "cut": 1, "limit": 2048}
        | {"skipped": {"without messages": 2}},
        "files": {"bytes": 270_000_000, "count": 1, "sha256": "01" * 32},
        "seconds": 31.0,
        "versions": {"python": "3.10", "torch": "2.8"},
        **changed,
    }


def _page(metrics: dict[str, Any] | None = None, told: RunFacts = TOLD, curves: Curves = CURVES) -> str:
    return report.page(metrics or _metrics(), SAMPLES, FILES, curves, told)


class _Reader(HTMLParser):
    """Collects tags, and whatever could fetch or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.active: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "link"):
            self.open.append(tag)
        for name, value in attrs:
            if name.startswith("on") or (name in ("src", "href", "action") and value != "data:,"):
                self.active.append(f"{tag} {name}={value}")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _read(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def test_the_verdict_comes_first_and_every_part_is_there() -> None:
    text = _page()
    headings = re.findall(r"<h2>([^<]+)</h2>", text)
    assert text.index('id="verdict">Passed') < text.index("<h2>")
    assert headings == [
        "Intervals",
        "Models",
        "Loss while training",
        "Answers side by side",
        "Length and repetition",
        "Attempts",
        "Data",
        "Run and cost",
        "Recipe",
        "Files of the tuned model",
    ]
    for shown in ("10 %", "c" + "dc" * 31, "2 without messages", "0.10 to 0.40 hours", "15.00 dollars", "somebody"):
        assert shown in text
    assert _read(text).tags.count("svg") == 5


def test_an_inconclusive_verdict_is_shown_as_a_no() -> None:
    text = _page(_metrics(verdict="inconclusive", reasons=["Too few conversations."]))
    assert "Inconclusive, which is a no" in text
    assert "Too few conversations." in text


def test_nothing_on_the_page_can_fetch_or_run() -> None:
    text = _page()
    found = _read(text)
    assert found.active == []
    assert not {"script", "img", "iframe", "form", "object"} & set(found.tags)
    assert "default-src 'none'" in text
    assert "&lt;script&gt;" in text


def test_a_sentence_in_a_table_keeps_some_width() -> None:
    """On a phone it would stand one word below the other."""
    text = table(("part", "assumes"), [("training", "96 rows in 12 steps, 59 to 62 tokens each"), ("gate", "start")], 9)
    assert re.findall(r'<td class="words">(\w+)', text) == ["96"]
    assert table(("a", "b"), [("c", "4" * 50)]).count('<td class="number">') == 1


def test_unknown_figures_and_absent_facts_leave_no_hole() -> None:
    nothing = {"estimate": None, "lower": None, "upper": None, "clusters": 3, "rows": 3, "tokens": 9}
    metrics = _metrics(gain=nothing, generation={})
    metrics["models"]["tuned"] = {**metrics["models"]["tuned"], "loss": None, "perplexity": None}
    text = report.page(metrics, [], [], Curves(None, missing="The step ran without a tracking server."), RunFacts())
    _read(text)
    assert "unknown" in text
    assert "The step ran without a tracking server." in text


def test_a_card_of_another_form_costs_its_part_and_not_the_page(capfd: pytest.CaptureFixture[str]) -> None:
    text = _page(told=RunFacts("", {"rows": [1, 2], "rejected": "none"}, {}, {"estimate": {"run": {"parts": [{}]}}}))
    assert "Of the data nothing is shown" in text
    assert "Of run and cost nothing is shown" in text
    assert "The report lacks the data" in capfd.readouterr().err


@pytest.mark.long
def test_a_real_browser_draws_it_wide_and_narrow_light_and_dark(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(_page(), encoding="utf-8")
    with browser(tmp_path / "profile") as page:
        colours = set()
        for width, dark in ((1200, False), (1200, True), (360, False), (320, True)):
            page.open(file.as_uri(), width, dark=dark)
            assert page.requests == [file.as_uri()]
            assert page.complaints == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            box = page.evaluate("JSON.stringify(document.getElementById('verdict').getBoundingClientRect())")
            place = json.loads(box)
            assert 0 < place["top"] < 300
            assert place["width"] > 200
            drawn = page.evaluate("[...document.querySelectorAll('svg')].filter(e => e.clientHeight > 60).length")
            assert drawn == 5
            small = "[...document.querySelectorAll('svg text')].some(e => e.getBoundingClientRect().height < 9)"
            assert page.evaluate(small) is False
            colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            assert page.evaluate("document.title").startswith("passed: ")
            assert len(page.picture()) > 20_000
        assert len(colours) == 2

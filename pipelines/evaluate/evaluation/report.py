"""report.html: the verdict first, then what it rests on, on one page that needs nothing from outside.

Here stand the parts about the models; those about the run stand in report_run.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation import charts, report_run, run_facts
from evaluation.markup import Markup, join, number, signed, table, tag
from evaluation.run_facts import RunFacts
from evaluation.scoring import say
from evaluation.settings import Settings
from evaluation.tracking import Curves

# The page may draw itself, and fetch nothing: also what a model answered cannot make it.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_NAMES = {"base": "base", "tuned": "tuned", "serving": "serving today", "data": "in the data"}
_UNIT = "nats per token"


def write_report(
    settings: Settings,
    metrics: Mapping[str, Any],
    samples: Sequence[Mapping[str, Any]],
    files: Sequence[Mapping[str, Any]],
    curves: Curves,
) -> None:
    """Write the page into the output folder."""
    told = run_facts.read(settings.run_folder)
    text = page(metrics, samples, files, curves, told)
    (settings.evaluation / "report.html").write_text(text, encoding="utf-8", errors="replace")


def page(
    metrics: Mapping[str, Any],
    samples: Sequence[Mapping[str, Any]],
    files: Sequence[Mapping[str, Any]],
    curves: Curves,
    told: RunFacts,
) -> str:
    """The whole document."""
    title = str(told.run.get("display_name") or told.run.get("job") or "a tuned model")
    head = tag(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        Markup('<link rel="icon" href="data:,">'),
        tag("title", f"{metrics['verdict']}: {title}"),
        tag("style", Markup(Path(__file__).with_name("page.css").read_text(encoding="utf-8"))),
    )
    parts = [
        tag("h1", f"Evaluation of {title}"),
        _verdict(metrics),
        _tiles(metrics),
        _intervals(metrics),
        _models(metrics),
        _part("the loss curves", lambda: report_run.losses(curves)),
        _samples(samples),
        _generation(metrics),
        report_run.attempts(metrics),
        _part("the data", lambda: report_run.data(told, metrics)),
        _part("run and cost", lambda: report_run.cost(told, metrics)),
        report_run.recipe(told),
        report_run.hashes(metrics, files),
        _foot(metrics),
    ]
    return f"<!doctype html>\n{tag('html', head, tag('body', tag('main', parts)), lang='en')}\n"


def _part(what: str, make: Callable[[], Markup]) -> Markup:
    """A part that rests on files of others: one of an unknown form must not cost the verdict."""
    try:
        return make()
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        say(f"The report lacks {what}: {type(error).__name__} {error}")
        return tag("p", f"Of {what} nothing is shown: the run's files have another form than expected.", class_="soft")


def _verdict(metrics: Mapping[str, Any]) -> Markup:
    passed = metrics["verdict"] == "passed"
    word = "Passed" if passed else "Inconclusive, which is a no"
    return tag(
        "section",
        tag("p", word, class_="word", id="verdict"),
        tag("ul", [tag("li", reason) for reason in metrics["reasons"]]),
        [tag("span", label, class_="label") for label in metrics["labels"]],
        class_=f"card hero {metrics['verdict']}",
    )


def _tiles(metrics: Mapping[str, Any]) -> Markup:
    gate, gain, regression = metrics["gate"], metrics["gain"], metrics["regression"]
    gained = gain["lower"] is not None and gain["lower"] > gate["min_gain"]
    kept = regression["upper"] is not None and regression["upper"] < gate["max_regression"]
    enough = gain["clusters"] >= gate["min_clusters"]
    tiles = [
        (gained, signed(gain["lower"], 3), f"gain, at least, in {_UNIT}; more than {gate['min_gain']:g} asked"),
        (kept, signed(regression["upper"], 3), f"regression, at most; less than {gate['max_regression']:g} allowed"),
        (enough, number(gain["clusters"]), f"clusters of conversations; {gate['min_clusters']:,} asked"),
        (
            None,
            f"{100 * gate['chance_of_a_false_pass']:.0f} %",
            f"chance that a worthless model would have passed by attempt {gate['attempt']}",
        ),
    ]
    classes = {True: "yes", False: "no", None: ""}
    return tag(
        "div",
        [
            tag("div", tag("b", value), tag("span", said), class_=f"card tile {classes[ok]}")
            for ok, value, said in tiles
        ],
        class_="tiles",
    )


def _intervals(metrics: Mapping[str, Any]) -> Markup:
    gate = metrics["gate"]
    shown = [("Gain over the base", metrics["gain"], gate["min_gain"], True)]
    if "gain_over_serving" in metrics:
        shown.append(("Gain over the model that serves today", metrics["gain_over_serving"], 0.0, True))
    shown.append(("Regression on general questions", metrics["regression"], gate["max_regression"], False))
    figures = [
        tag(
            "figure",
            tag("h3", name),
            charts.interval(found, threshold, above=above, name=name),
            tag(
                "figcaption",
                f"{signed(found['estimate'])} {_UNIT}; at least {signed(found['lower'])}, at most "
                f"{signed(found['upper'])}, each with 95 % confidence; {found['clusters']:,} "
                f"{'clusters' if above else 'questions'}, {found['tokens']:,} tokens",
            ),
            class_="card",
        )
        for name, found, threshold, above in shown
    ]
    lead = (
        "The whole bar has to lie in the tinted part: right of what is asked of the gain, left of what is allowed as "
        "regression. The bounds come from a paired bootstrap over clusters of conversations."
    )
    return join([tag("h2", "Intervals"), tag("p", lead, class_="lead"), tag("div", figures, class_="grid")])


def _models(metrics: Mapping[str, Any]) -> Markup:
    head = ("model", "loss", "perplexity", "per byte", "tokens", "rows", "general questions")
    rows = [
        (
            _NAMES[name],
            number(found["loss"]),
            number(found["perplexity"], 2),
            number(found["loss_per_byte"]),
            number(found["tokens"]),
            number(found["rows"]),
            number(metrics["regression"]["models"][name]["loss"]),
        )
        for name, found in metrics["models"].items()
    ]
    lead = f"Loss of what the assistant says in the test split, in {_UNIT}; smaller is better."
    return join([tag("h2", "Models"), tag("p", lead, class_="lead"), table(head, rows)])


def _samples(samples: Sequence[Mapping[str, Any]]) -> Markup:
    if not samples:
        return Markup("")
    return join([tag("h2", "Answers side by side"), [_sample(each) for each in samples]])


def _sample(sample: Mapping[str, Any]) -> Markup:
    turns = [
        tag("p", tag("b", message.get("role", "")), message.get("content", ""), class_="turn")
        for message in sample["messages"]
    ]
    answers = [_answer("data", sample["reference"], "")]
    for name, found in sample["answers"].items():
        cut = ", cut at the limit" if found["cut"] else ""
        answers.append(_answer(name, found["text"], f" \u00b7 {_tokens(found['tokens'])}{cut}"))
    shown = turns if len(turns) <= 3 else [tag("details", tag("summary", "earlier turns"), turns[:-1]), turns[-1]]
    return tag("section", shown, tag("div", answers, class_="answers"), class_="card sample")


def _answer(name: str, text: str, more: str) -> Markup:
    said = text if text.strip() else tag("em", "no answer")
    return tag("div", tag("h4", _NAMES[name], more), tag("p", said), class_=f"answer {name}")


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count:,} tokens"


def _generation(metrics: Mapping[str, Any]) -> Markup:
    found = metrics["generation"]
    if not found:
        return Markup("")
    head = ("answers of", "answers", "mean length in tokens", "empty", "cut at the limit", "repeated phrases")
    rows = [
        (
            _NAMES[name],
            number(each["rows"]),
            number(each["mean_tokens"], 1),
            *(f"{100 * each[key]:.0f} %" for key in ("empty", "cut", "repetition")),
        )
        for name, each in found.items()
    ]
    lead = "A repeated phrase is one of four words that stood in the same answer before."
    return join([tag("h2", "Length and repetition"), tag("p", lead, class_="lead"), table(head, rows)])


def _foot(metrics: Mapping[str, Any]) -> Markup:
    versions = ", ".join(f"{name} {version}" for name, version in metrics["versions"].items())
    return tag("footer", f"The evaluation took {metrics['seconds']:,.0f} s, with {versions}.")

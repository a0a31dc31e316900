"""Every check that can be made before a cent is spent: the table of checks, one run of it, and what stands in its way.

A check is a function from a subject to one finding. An error or an unknown blocks, unless it is accepted by name with
a reason; a warning does not. What could not be asked is listed and never counts as a pass.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from tunestack import azure_facts
from tunestack.cost import gpu_memory
from tunestack.errors import GateSaidNo, TunestackError, UsageError, did_you_mean
from tunestack.preflight.preflight_subject import BLOCKING, Finding, Subject

__all__ = [
    "Check",
    "Finding",
    "Report",
    "Subject",
    "accepted",
    "asked",
    "checks",
    "refuse",
    "run",
    "show",
    "show_exceptions",
]

COLUMNS = ("check", "verdict", "reason, source, and what to do")
SHORT = 70  # letters of a reason and a fix that stand on one line together
MEMORY = ("memory", "term", "GiB", "formula")
LONGEST_TAG = 256


@dataclass(frozen=True)
class Check:
    """One row of the table: its name, which `--accept` takes, what it asks, and the function that answers."""

    name: str
    asks: str
    of: Callable[[Subject], Finding]


@cache
def checks() -> tuple[Check, ...]:
    """All checks, in the order in which they are shown."""
    from tunestack.preflight import budget_checks as budget
    from tunestack.preflight import chat_checks as chat
    from tunestack.preflight import checkpoints_checks as kept
    from tunestack.preflight import clusters_checks as clusters
    from tunestack.preflight import cost_checks as cost
    from tunestack.preflight import data_checks as data
    from tunestack.preflight import memory_checks as memory
    from tunestack.preflight import models_checks as models
    from tunestack.preflight import names_checks as names
    from tunestack.preflight import optimization_checks as optimization
    from tunestack.preflight import parameters_checks as parameters
    from tunestack.preflight import quota_checks as quota
    from tunestack.preflight import roles_checks as roles
    from tunestack.preflight import sizes_checks as sizes

    return (
        Check("table-age", "is the dated table of sizes, models and prices recent", models.table_age),
        Check("base-model", "may the base model still be started from", models.base_model),
        Check("clusters", "are the clusters there and well", clusters.state),
        Check("training-size", "is the training size retired, or about to be", sizes.training_size),
        Check("serving-size", "is the serving size retired, or about to be", sizes.serving_size),
        Check("training-allow-list", "may the model be fine-tuned on that size", models.training_allow_list),
        Check("serving-allow-list", "may the model be served on that size", models.serving_allow_list),
        Check("training-region", "does the region offer the training size", sizes.training_region),
        Check("serving-region", "does the region offer the serving size", sizes.serving_region),
        Check("training-memory", "does training fit into the GPU's memory", memory.training),
        Check("host-memory", "does what ZeRO offloads fit into the machine's", memory.host),
        Check("evaluation-memory", "does the gate's model fit where it evaluates", memory.evaluation),
        Check("serving-memory", "does serving fit into the GPU's memory", memory.serving),
        Check("gpus", "is there one process for each GPU", optimization.processes),
        Check("training-quota", "is there quota for the nodes of a run", quota.training_quota),
        Check("serving-quota", "is there quota for blue plus green, with their reserves", quota.serving_quota),
        Check("limits", "are there counts left of endpoints, deployments and instances", quota.limits),
        Check("roles", "may whoever is signed in do the steps to come", roles.caller_roles),
        Check("names", "can everything be called what it will be called", names.lengths),
        Check("parameters", "does the component take the recipe's parameters", parameters.parameters_accepted),
        Check("dropped-parameters", "which of the model's defaults are dropped", parameters.parameters_dropped),
        Check("overridden-parameters", "who wins where values differ", parameters.parameters_overridden),
        Check("dead-parameters", "which parameters have no effect", parameters.parameters_dead),
        Check("precision", "is it 16, and can the GPU do it", optimization.precision),
        Check("gradient-checkpointing", "is it on", optimization.checkpointing),
        Check("deepspeed", "does it fit with the other parameters", optimization.deepspeed),
        Check("lora", "is it known which layers get adapters", optimization.lora),
        Check("sequence-length", "how many tokens of a row are read", kept.sequence_length),
        Check("evaluation-steps", "is the validation split looked at while training", kept.evaluation_steps),
        Check("early-stopping", "can it stop, and pick a checkpoint", kept.early_stopping),
        Check("checkpoints", "how many are kept", kept.checkpoints),
        Check("warmup", "is the learning rate ever reached", kept.warmup),
        Check("interruption", "what if Azure takes the machines away", kept.interruption),
        Check("data-splits", "are all three files there, so that none is cut from another", data.splits),
        Check("data-size", "are there enough rows", data.size),
        Check("data-recipe", "was the folder made with this recipe", data.of_recipe),
        Check("data-card", "were the rows checked", data.card),
        Check("data-hash", "are hashes those of the files, and no split the test split", data.hashes),
        Check("data-tokens", "are tokens counted, and are rows cut", data.tokens),
        Check("data-rejected", "how many rows were left out", data.rejected),
        Check("test-clusters", "are there enough conversations for the gate", data.clusters),
        Check("chat-template", "is it known where an answer begins", chat.template),
        Check("chat-roles", "does the template take the rows' roles", chat.roles),
        Check("run-cost", "what does a run take: steps, hours, dollars", cost.run),
        Check("serving-cost", "what does a deployment cost", cost.deployment),
        Check("budget", "does the upper end of a run's cost fit the budgets", budget.budget),
    )


@dataclass(frozen=True)
class Report:
    """What all checks say of one subject."""

    findings: tuple[Finding, ...]
    is_offline: bool
    estimate: Mapping[str, Any]
    alternatives: tuple[Mapping[str, Any], ...] = ()
    cheaper: tuple[str, ...] = ()

    def blocking(self, accepted: Collection[str] = ()) -> tuple[Finding, ...]:
        """What stands in the way and does not only follow from another finding that does."""
        found = self.no(accepted)
        names = {one.check for one in found}
        return tuple(one for one in found if one.after not in names)

    def no(self, accepted: Collection[str] = ()) -> tuple[Finding, ...]:
        """All that stands in the way: errors and unknowns that nobody accepted."""
        return tuple(one for one in self.findings if one.verdict in BLOCKING and one.check not in accepted)

    def accepted(self, given: Mapping[str, str]) -> str:
        """`check: why` of what would have stood in the way, as one text for a tag; empty where nothing would."""
        found = [f"{one.check}: {given[one.check]}" for one in self.no() if one.check in given]
        text = "; ".join(found)
        return text if len(text) <= LONGEST_TAG else f"{text[: LONGEST_TAG - 1]}…"

    @property
    def not_asked(self) -> tuple[str, ...]:
        return tuple(found.check for found in self.findings if found.verdict == "not asked")

    @property
    def verdict(self) -> str:
        """The worst of all: `error`, `unknown`, `warning` or `ok`."""
        verdicts = {found.verdict for found in self.findings}
        return next((one for one in ("error", "unknown", "warning") if one in verdicts), "ok")

    @property
    def summary(self) -> str:
        """One sentence: how many checks said what."""
        counts = {
            one: sum(found.verdict == one for found in self.findings) for one in ("ok", "warning", "error", "unknown")
        }
        said = ", ".join(f"{count} {one}" for one, count in counts.items() if count)
        left = f"; not asked: {', '.join(self.not_asked)}" if self.not_asked else ""
        return f"{len(self.findings)} checks{' (offline)' if self.is_offline else ''}: {said}{left}"

    def record(self, accepted: Mapping[str, str]) -> dict[str, Any]:
        """As JSON, with what is accepted and why; its members are documented in docs/preflight.md and stay."""
        return {
            "schema": 1,
            "verdict": self.verdict,
            "offline": self.is_offline,
            "table": str(azure_facts.facts()["as_of"]),
            "findings": [found.record for found in self.findings],
            "not_asked": list(self.not_asked),
            "estimate": dict(self.estimate),
            "alternatives": [dict(one) for one in self.alternatives],
            "accepted": dict(accepted),
        }


def run(subject: Subject) -> Report:
    """All checks. What a check cannot find out, because the cloud refuses or does not answer, is unknown."""
    from tunestack.preflight import alternatives, cost_checks

    findings = tuple(asked(check, subject) for check in checks())
    estimate: Mapping[str, Any] = {}
    others: tuple[alternatives.Alternative, ...] = ()
    try:
        estimate = cost_checks.record(subject)
        others = alternatives.of_subject(subject)
    except TunestackError as error:  # the checks above say so too
        estimate = estimate or {"unknown": "; ".join(error.problems)}
    no = [one.check for one in findings if one.verdict in BLOCKING]
    stopped = [purpose for purpose in alternatives.PURPOSES if any(check.startswith(f"{purpose}-") for check in no)]
    cheaper = tuple(one.text for one in alternatives.worth_showing(others, stopped))
    return Report(findings, subject.cloud is None, estimate, tuple(one.record for one in others), cheaper)


def asked(check: Check, subject: Subject) -> Finding:
    """What one check says, an error of the cloud as unknown."""
    try:
        found = replace(check.of(subject), check=check.name)
    except TunestackError as error:
        return Finding(check.name, "unknown", "; ".join(error.problems), fix=error.fix)
    return replace(found, verdict="unknown") if found.verdict == "not asked" and subject.is_complete else found


def show(report: Report) -> None:
    """The table and what it rests on, memory term by term, other sizes, and one line that counts, on stderr."""
    from tunestack import cli, tables

    _table(report.findings)
    tables.show("GiB of one GPU, or of a machine without one", MEMORY, _terms(report.estimate.get("memory", {})))
    _cheaper(report)
    cli.note(report.summary)


def show_exceptions(report: Report, command: str) -> None:
    """What is not ok, what the run takes, and one line that counts, on stderr; `command` shows the rest."""
    from tunestack import cli

    _table(found for found in report.findings if found.verdict != "ok")
    if report.blocking():
        _cheaper(report)
    if "text" in report.estimate.get("run", {}):
        cli.note(f"one run: {report.estimate['run']['text']}")
    cli.note(f"preflight: {report.summary}; all: {command}")


def _table(findings: Iterable[Finding]) -> None:
    """What checks say, each with the number of its source, and the sources."""
    from tunestack import cli, tables

    numbers: dict[str, int] = {}
    lines = []
    for found in findings:
        number = numbers.setdefault(found.source, len(numbers) + 1) if found.source else 0
        said = f"{found.reason} [{number}]" if number else found.reason
        if found.fix:
            said += f"{' ' if len(said + found.fix) < SHORT else chr(10)}→ {found.fix}"
        lines.append((found.check, found.verdict, said))
    tables.show("preflight", COLUMNS, lines)
    for source, number in numbers.items():
        cli.note(f"[{number}] {source}")


def _terms(memory: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Of each estimate its terms with their formulas; the name stands in its first line only."""
    for name, one in memory.items():
        terms = [(term, "") for term in one["terms"]] + [(term, ", in the machine") for term in one["host_terms"]]
        for place, (term, where) in enumerate(terms):
            yield name if place == 0 else "", f"{term['name']}{where}", gpu_memory.span(*term["gib"]), term["formula"]


def _cheaper(report: Report) -> None:
    from tunestack import cli

    for text in report.cheaper:
        cli.note(f"instead: {text}")


def accepted(options: argparse.Namespace) -> dict[str, str]:
    """What `--accept CHECK --why TEXT` accept: the reason by check. Both are needed, and the check must be one."""
    names = [check.name for check in checks()]
    problems = [
        f"there is no check '{name}'{did_you_mean(name, names)}" for name in options.accept if name not in names
    ]
    if options.accept and not (options.why or "").strip():
        problems.append(f"--accept {options.accept[0]} was given without --why")
    if options.why and not options.accept:
        problems.append(f"--why '{options.why}' was given without --accept")
    if problems:
        raise UsageError(*problems, fix="Say which check and why: --accept CHECK --why TEXT")
    return {name: options.why.strip() for name in options.accept}


def refuse(report: Report, accepted: Mapping[str, str], *, shown: str = "") -> None:
    """GateSaidNo where something stands in the way; `shown` goes to stdout all the same.

    UsageError for an acceptance of what says neither error nor unknown: left in a script, it would hide what comes.
    """
    idle = [one for one in report.findings if one.check in accepted and one.verdict not in BLOCKING]
    if idle:
        raise UsageError(
            *(
                f"--accept {one.check} was given, and it says '{one.verdict}': nothing is to be accepted"
                for one in idle
            ),
            fix="Leave it out",
        )
    found = report.blocking(accepted)
    if found:
        all_of_it = " ".join(f"--accept {one.check}" for one in report.no(accepted))
        raise GateSaidNo(*_lines(found), fix=f"Mend it, or go on with: {all_of_it} --why TEXT", shown=shown)


def _lines(found: Iterable[Finding]) -> Iterator[str]:
    """One line for each reason, with all checks that give it."""
    said: dict[tuple[str, str], list[str]] = {}
    for one in found:
        said.setdefault((one.verdict, one.reason), []).append(f"'{one.check}'")
    for (verdict, reason), names in said.items():
        who = f"check {names[0]} says" if len(names) == 1 else f"checks {', '.join(names)} say"
        yield f"{who} {verdict}: {reason}"

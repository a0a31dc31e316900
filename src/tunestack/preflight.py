"""Every check that can be made before a cent is spent: the table of checks, one run of it, and what stands in its way.

A check is a function from a subject to one finding. An error or an unknown blocks, unless it is accepted by name with
a reason; a warning does not. What could not be asked is listed and never counts as a pass.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from tunestack import azure_facts
from tunestack.errors import GateSaidNo, TunestackError, UsageError, did_you_mean
from tunestack.preflight_subject import BLOCKING, Finding, Subject

__all__ = ["COLUMNS", "Check", "Finding", "Report", "Subject", "accepted", "checks", "refuse", "run", "show"]

COLUMNS = ("check", "verdict", "reason", "fix")
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
    from tunestack import preflight_budget as budget
    from tunestack import preflight_clusters as clusters
    from tunestack import preflight_models as models
    from tunestack import preflight_names as names
    from tunestack import preflight_quota as quota
    from tunestack import preflight_roles as roles
    from tunestack import preflight_sizes as sizes

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
        Check("training-quota", "is there quota for the nodes of a run", quota.training_quota),
        Check("serving-quota", "is there quota for blue plus green, with their reserves", quota.serving_quota),
        Check("limits", "are there counts left of endpoints, deployments and instances", quota.limits),
        Check("roles", "may whoever is signed in do the steps to come", roles.caller_roles),
        Check("names", "can everything be called what it will be called", names.lengths),
        Check("budget", "does the upper end of a run's cost fit the budgets", budget.budget),
    )


@dataclass(frozen=True)
class Report:
    """What all checks say of one subject."""

    findings: tuple[Finding, ...]
    is_offline: bool
    estimate: Mapping[str, Any]
    alternatives: tuple[Mapping[str, Any], ...] = ()

    def blocking(self, accepted: Collection[str] = ()) -> tuple[Finding, ...]:
        """What stands in the way: errors and unknowns that nobody accepted."""
        return tuple(found for found in self.findings if found.verdict in BLOCKING and found.check not in accepted)

    def accepted(self, given: Mapping[str, str]) -> str:
        """`check: why` of what would have stood in the way, as one text for a tag; empty where nothing would."""
        found = [f"{one.check}: {given[one.check]}" for one in self.blocking() if one.check in given]
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

    @property
    def record(self) -> dict[str, Any]:
        """As JSON; its members are documented in docs/preflight.md and stay."""
        return {
            "schema": 1,
            "verdict": self.verdict,
            "offline": self.is_offline,
            "table": str(azure_facts.facts()["as_of"]),
            "findings": [found.record for found in self.findings],
            "not_asked": list(self.not_asked),
            "estimate": dict(self.estimate),
            "alternatives": [dict(one) for one in self.alternatives],
        }


def run(subject: Subject) -> Report:
    """All checks. What a check cannot find out, because the cloud refuses or does not answer, is unknown."""
    findings = tuple(_asked(check, subject) for check in checks())
    return Report(findings, subject.cloud is None, {})


def _asked(check: Check, subject: Subject) -> Finding:
    try:
        found = replace(check.of(subject), check=check.name)
    except TunestackError as error:
        return Finding(check.name, "unknown", "; ".join(error.problems), fix=error.fix)
    return replace(found, verdict="unknown") if found.verdict == "not asked" and subject.is_complete else found


def show(report: Report) -> None:
    """The table, then what it rests on, on stderr."""
    from tunestack import cli, tables

    rows = [(found.check, found.verdict, found.reason, found.fix) for found in report.findings]
    tables.show("preflight", COLUMNS, rows)
    for source in dict.fromkeys(found.source for found in report.findings if found.source):
        cli.note(f"source: {source}")
    cli.note(report.summary)


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
    """GateSaidNo where something stands in the way; `shown` goes to stdout all the same."""
    found = report.blocking(accepted)
    if found:
        raise GateSaidNo(
            *(f"check '{one.check}' says {one.verdict}: {one.reason}" for one in found),
            fix="Mend it, or take it on with --accept CHECK --why TEXT",
            shown=shown,
        )

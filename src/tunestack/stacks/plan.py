"""The plan of a stack as one page of Markdown: what `pulumi up` would change, what the policies say, what it costs.

The engine is asked through its command line and its event log; nothing is changed and no value is shown, only the
names of members that change.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunestack.errors import CloudError, GateSaidNo, NotConfigured

POLICIES = Path("infra/policy")
COST = Path("scripts/cost.py")
BUDGET_EXCEEDED = GateSaidNo.code
SHOWN = 17  # lines of a table that a comment shows unfolded
_DRAWN = ("pulumi:", "tunestack:")  # the stack, providers and components: they are in the drawing and not in the cloud
_QUIET = ("same", "refresh", "read")
_WORDS = {
    "create": "create",
    "update": "update",
    "delete": "delete",
    "replace": "**replace**",
    "create-replacement": "",
    "delete-replaced": "",
}


@dataclass(frozen=True)
class Step:
    """One resource that would change; `members` are the names of what changes in it."""

    what: str
    kind: str
    name: str
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What a policy says about a resource, or about the stack where `name` is empty."""

    level: str
    policy: str
    name: str
    message: str

    @property
    def refuses(self) -> bool:
        return self.level == "mandatory"


@dataclass(frozen=True)
class Plan:
    """All that is known of a stack's plan. `error` is what the engine said when it could not make one."""

    stack: str
    steps: Sequence[Step] = ()
    unchanged: int = 0
    findings: Sequence[Finding] = ()
    error: str = ""
    cost: str = ""
    over_budget: str = ""

    @property
    def summary(self) -> str:
        counted = {word: sum(step.what == word for step in self.steps) for word in dict.fromkeys(_known(self.steps))}
        parts = [f"{count} to {word.strip('*')}" for word, count in counted.items()]
        return ", ".join([*(parts or ["nothing to change"]), f"{self.unchanged} unchanged"])

    @property
    def refusals(self) -> list[str]:
        """Why this plan must not be carried out; empty when it may."""
        refused = [f"policy '{one.policy}' refuses '{one.name or self.stack}'" for one in self.findings if one.refuses]
        return [*refused, *([self.over_budget] if self.over_budget else [])]

    @property
    def record(self) -> dict[str, Any]:
        return {
            "stack": self.stack,
            "summary": self.summary,
            "steps": [vars(step) for step in self.steps],
            "policies": [vars(one) for one in self.findings],
            "refusals": self.refusals,
            "error": self.error,
        }

    def markdown(self) -> str:
        """The page; a reader of the pull request sees the verdict first."""
        verdict = "could not be made" if self.error else "is refused" if self.refusals else "may be carried out"
        lines = [f"### The plan of stack `{self.stack}` {verdict}: {self.summary}", ""]
        lines += [f"- {_cell(refusal)}" for refusal in self.refusals]
        if self.error:
            lines += ["```", self.error.replace("```", "'''"), "```", ""]
        if self.steps:
            rows = [(one.what, one.kind, one.name, ", ".join(one.members)) for one in self.steps]
            lines += _folded(f"{len(rows)} changes", _table(("step", "type", "name", "changes"), rows))
        if self.findings:
            rows = [(one.level, one.policy, one.name, one.message) for one in self.findings]
            table = _table(("level", "policy", "resource", "says"), rows)
            lines += ["", "#### Policies", "", *_folded(f"{len(rows)} findings", table)]
        else:
            lines += ["", "No policy says anything against it."] if not self.error else []
        return "\n".join([*lines, "", self.cost.strip(), ""])


def make(stack: str) -> Plan:
    """Ask the engine and the price list. Raises NotConfigured where there is no engine."""
    with tempfile.TemporaryDirectory() as folder:
        # Policies speak in the event log only; what the price list wants is the digest on stdout.
        log, digest = Path(folder) / "events", Path(folder) / "plan.json"
        command = ["pulumi", "preview", "--stack", stack, "--policy-pack", str(POLICIES), "--event-log", str(log)]
        try:
            done = subprocess.run(
                [*command, "--json", "--non-interactive"],
                # The variable with which Pulumi's own automation library asks for the event log.
                env={**os.environ, "PULUMI_DEBUG_COMMANDS": "true"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            raise NotConfigured(
                f"the plan cannot be made: 'pulumi' does not run ({error.strerror})", fix="Put pulumi on PATH"
            ) from error
        events = log.read_text().splitlines() if log.exists() else []
        found = read(stack, (json.loads(line) for line in events if line.strip()))
        if done.returncode and not any(one.refuses for one in found.findings):
            return replace(found, error=found.error or done.stderr.strip() or f"pulumi ended with {done.returncode}")
        digest.write_text(done.stdout)
        return replace(found, **_cost(stack, digest))


def read(stack: str, events: Iterable[dict[str, Any]]) -> Plan:
    """The plan in the events of an engine's preview."""
    steps: list[Step] = []
    findings: list[Finding] = []
    errors: list[str] = []
    unchanged = 0
    for event in events:
        diagnostic = event.get("diagnosticEvent", {})
        if diagnostic.get("severity") == "error":
            errors += [line for line in diagnostic["message"].splitlines() if line.strip()]
        metadata = event.get("resourcePreEvent", {}).get("metadata")
        if metadata and not metadata["type"].startswith(_DRAWN):
            operation = metadata["op"]
            unchanged += operation == "same"
            what = _WORDS.get(operation, operation)
            if operation not in _QUIET and what:
                members = tuple(sorted(metadata.get("detailedDiff") or metadata.get("diffs") or ()))
                kind, name = metadata["type"].removeprefix("azure-native:"), metadata["urn"].rpartition("::")[2]
                steps.append(Step(what, kind, name, members if what != "create" else ()))
        policy = event.get("policyEvent")
        if policy:
            said = [line.strip() for line in policy["message"].splitlines() if line.strip()]
            name = policy.get("resourceUrn", "").rpartition("::")[2]
            message = ": ".join([said[0].rstrip("."), " ".join(said[1:])] if said[1:] else said)
            findings.append(Finding(policy["enforcementLevel"], policy["policyName"], name, message))
    once = list(dict.fromkeys(findings))
    failed = "" if any(one.refuses for one in once) else "\n".join(dict.fromkeys(errors))
    return Plan(stack, sorted(steps, key=lambda one: (one.what, one.kind, one.name)), unchanged, once, failed)


def refuse(found: Plan) -> None:
    """Raises what the plan's reader must not overlook: it could not be made, or must not be carried out."""
    if found.error:
        raise CloudError(f"the plan of stack '{found.stack}' could not be made", details=found.error.splitlines())
    if found.refusals:
        raise GateSaidNo(*found.refusals)


def _cost(stack: str, digest: Path) -> dict[str, Any]:
    command = [sys.executable, str(COST), "--stack", stack, "--plan", str(digest), "--markdown"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    said = [line.removeprefix("error: ") for line in done.stderr.splitlines() if line.startswith("error: ")]
    reason = " ".join(said) or f"'{COST}' ended with {done.returncode}"
    if done.returncode not in (0, BUDGET_EXCEEDED):
        raise CloudError(f"the cost of stack '{stack}' is not known: {reason}")
    return {"cost": done.stdout, "over_budget": reason if done.returncode else ""}


def _known(steps: Sequence[Step]) -> Iterable[str]:
    return sorted({step.what for step in steps})


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(_cell(text) for text in row)} |" for row in rows]


def _folded(title: str, table: list[str]) -> list[str]:
    """A long table behind its title, so that the next one is seen without scrolling."""
    if len(table) <= SHOWN:
        return table
    return ["<details>", f"<summary>{title}</summary>", "", *table, "", "</details>"]


def _cell(text: str) -> str:
    """Text that can neither leave its cell nor call somebody: a pull request's own code may have written it."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("@", "&#64;").replace("\n", " ")

"""A job as somebody names it: its name, its ARM id, or the studio's address; it is there, it is ours, it is no step."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote, urlsplit

from tunestack.errors import UsageError
from tunestack.jobs.run_history import RunHistory

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)  # what goes into an address must lead nowhere else
_ARM_ID = re.compile(r"(?:azureml:/?)?(?P<workspace>/subscriptions/.+/workspaces/[^/]+)/jobs/(?P<job>[^/]+)", re.I)
_SHORT = re.compile(r"azureml:(?://jobs/)?(?P<job>[^/:]+)(?:/outputs/.*)?", re.I)


def parse(text: str, workspace: str) -> str:
    """The name in what was given. `workspace` is the ARM id of this one; a job of another is a UsageError."""
    text = text.strip()
    owner, job = _taken_apart(text)
    if not _NAME.fullmatch(job):
        raise UsageError(
            f"'{text}' is no job", fix="Give the name that submit_finetune printed, the ARM id, or the studio's address"
        )
    if owner and owner.rstrip("/").lower() != workspace.lower():
        theirs, ours = owner.rstrip("/").rpartition("/")[2], workspace.rpartition("/")[2]
        raise UsageError(
            f"job '{job}' is one of workspace '{theirs}', and this is workspace '{ours}'",
            fix=f"Select its stack, or name it with --subscription, --resource-group and --workspace-name {theirs}",
        )
    return job


def find(history: RunHistory, text: str) -> str:
    """The name of a job that is there. UsageError for one that is not, and for a step of one."""
    workspace = history.connection.workspace
    job = parse(text, workspace.path)
    body = history.job(job)
    if body is None:
        raise UsageError(
            f"job '{job}' does not exist in workspace '{workspace.name}'",
            fix="Its name is what submit_finetune printed; one of another workspace is found there alone",
        )
    if not body.get("properties"):
        root = history.run(job).root
        raise UsageError(f"'{job}' is a step of job '{root}'", fix=f"Name the job: {root}")
    return job


def _taken_apart(text: str) -> tuple[str, str]:
    """(ARM id of the workspace, empty where it is not said; name)."""
    if found := _ARM_ID.fullmatch(text):
        return found["workspace"], found["job"]
    if text.startswith(("https://ml.azure.com/", "ml.azure.com/")):
        address = urlsplit(text if "://" in text else f"https://{text}")
        parts = [unquote(part) for part in address.path.split("/") if part]
        asked = parse_qs(address.query).get("wsid", [""])[0]
        return asked, parts[parts.index("runs") + 1] if "runs" in parts[:-1] else text
    short = _SHORT.fullmatch(text)
    return "", short["job"] if short else text

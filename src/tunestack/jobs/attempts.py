"""How often a test split has been looked at: each gate is one more chance that a worthless model passes by luck.

Counted from the tags of the workspace's jobs, so that nobody has to keep a list; `--evaluate` counts as well.
"""

from __future__ import annotations

from tunestack.connect import Connection
from tunestack.jobs.run_history import JOB_VERSION

TAG = "test_hash"
CONFIDENCE = 0.95
# A job that ended so showed nobody a verdict.
_NO_VERDICT = ("Failed", "Canceled", "NotResponding")


def next_attempt(connection: Connection, test_hash: str) -> int:
    """The number of a gate that is about to use this split: jobs that reached one, or are on their way, and one."""
    # Archived ones too: out of sight, they have still looked at the split.
    jobs = connection.arm.pages(f"{connection.workspace.path}/jobs", JOB_VERSION, tag=TAG, listViewType="All")
    seen = [
        job["name"]
        for job in jobs
        if (job["properties"].get("tags") or {}).get(TAG) == test_hash
        and job["properties"].get("status") not in _NO_VERDICT
    ]
    return 1 + len(seen)


def chance(attempt: int) -> float:
    """That at least one of so many independent tries passes a model that gained nothing."""
    return float(1 - CONFIDENCE**attempt)


def sentence(attempt: int) -> str:
    """For one line on stderr: how much luck the attempts so far allow."""
    text = f"attempt {attempt} on this test split: a worthless model would pass by chance with {_percent(attempt)}"
    return text if attempt == 1 else f"{text}; a test split that nobody has looked at brings it back to {_percent(1)}"


def _percent(attempt: int) -> str:
    return f"{100 * chance(attempt):.0f} %"

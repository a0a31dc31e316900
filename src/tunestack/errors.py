"""The errors meant for the user's eyes, and the exit code of each; nothing here but the standard library.

TunestackError
├── CloudError     1  the cloud refused, or the operation failed there
├── UsageError     2  wrong usage: a flag, a file, a recipe, a parameter
├── NotConfigured  3  outputs or credentials are missing
├── EndedBadly     4  a job or deployment ended badly, or time ran out
├── GateSaidNo     5  a gate said no: preflight, evaluation, canary, budget, sweep
└── Interrupted  130  Ctrl-C while the cloud goes on working
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar


class TunestackError(Exception):
    """One or more problems found together, each one sentence with the value in quotes, and how to fix them."""

    code: ClassVar[int] = 1

    def __init__(self, *problems: str, fix: str = "", details: Sequence[str] = ()) -> None:
        super().__init__(*problems)
        self.problems = problems
        self.fix = fix
        self.details = tuple(details)

    def __str__(self) -> str:
        return "; ".join(self.problems) + self.advice

    @property
    def advice(self) -> str:
        """The fix as the sentence behind the last problem, which may end with a question of its own."""
        if not self.fix:
            return ""
        return f" {self.fix}" if self.problems and self.problems[-1].endswith((".", "?", "!")) else f". {self.fix}"


class CloudError(TunestackError):
    """The cloud refused, or the operation failed there; `status` is HTTP's, 0 where nothing answered.

    `retry_after` is for how many seconds the cloud asked to be left alone, 0 where it did not.
    """

    code = 1

    def __init__(self, *problems: str, fix: str = "", details: Sequence[str] = (), status: int = -1) -> None:
        super().__init__(*problems, fix=fix, details=details)
        self.status = status
        self.retry_after = 0.0

    @property
    def is_passing(self) -> bool:
        """Whether to ask again later: no answer, too many requests, or trouble on the other side."""
        return self.status in (0, 408, 429) or (self.status >= 500 and self.status != 501)


class UsageError(TunestackError):
    """A flag, a file, a recipe or a parameter that cannot be right."""

    code = 2


class NotConfigured(TunestackError):
    """Stack outputs, workspace or credentials are missing."""

    code = 3


class EndedBadly(TunestackError):
    """A job or deployment failed, was cancelled, or did not end in time."""

    code = 4


class GateSaidNo(TunestackError):
    """All worked, and the answer is no; `shown` is what belongs on stdout all the same, such as a table."""

    code = 5

    def __init__(self, *problems: str, fix: str = "", details: Sequence[str] = (), shown: str = "") -> None:
        super().__init__(*problems, fix=fix, details=details)
        self.shown = shown


class Interrupted(TunestackError):
    """Ctrl-C: what was started goes on in the cloud; `fix` is the command that attaches to it again."""

    code = 130


def did_you_mean(value: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, or all of them when they are few."""
    from difflib import get_close_matches

    names = sorted(known)
    near = get_close_matches(value, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{near[0]}'?"
    if names and len(names) <= 12:
        return f"; known are {', '.join(names)}"
    return ""

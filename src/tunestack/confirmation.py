"""The question before something is destroyed: a production stack takes its name, any other a yes."""

from __future__ import annotations

import sys

from tunestack.cli import note
from tunestack.errors import UsageError


def require(stack: str, confirmed: str | None, *, production: bool, yes: bool) -> None:
    """Returns when the user wants it; UsageError otherwise, and nothing has been done."""
    if confirmed is not None:
        if confirmed != stack:
            raise UsageError(
                f"--confirm is '{confirmed}', and the stack is '{stack}': nothing was done",
                fix=f"Give --confirm {stack}",
            )
        return
    if yes and not production:
        return
    if not (sys.stdin and sys.stdin.isatty()):
        needed = f"--confirm {stack}" if production else "--yes"
        kind = "a production stack" if production else "a stack"
        raise UsageError(
            f"taking down {kind} needs a word, and nobody can be asked here: nothing was done", fix=f"Give {needed}"
        )
    wanted = stack if production else "yes"
    note(f"This takes down stack '{stack}' with all that is in it. Type {wanted} to go on:")
    typed = sys.stdin.readline().strip()
    if typed != wanted:
        raise UsageError(f"'{typed}' is not '{wanted}': nothing was done")

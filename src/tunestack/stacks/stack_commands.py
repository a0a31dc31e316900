"""`pulumi` as a child of a script: what a stack's config and outputs say, and a destroy that has the terminal.

Works for a stack that is half-built or not up: its config is always there.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from tunestack.errors import CloudError, Interrupted, NotConfigured, UsageError, did_you_mean

SAID_LINES = 20
_STDERR = 2  # stdout belongs to the handle


class StackCommands:
    """The commands on one stack of the project in the current folder."""

    def __init__(self, stack: str) -> None:
        self.stack = stack

    def config(self) -> dict[str, str]:
        """Every dial by its name without the project, the defaults of `Pulumi.yaml` included."""
        found = self._read("config", "--json")
        return {name.rpartition(":")[2]: str(value.get("value", "")) for name, value in found.items()}

    def outputs(self) -> dict[str, Any]:
        """What the stack puts out; empty where it is not up, partial where it is half-built."""
        return dict(self._read("stack", "output", "--json"))

    def unprotect(self) -> None:
        self._capture("state", "unprotect", "--all", "--yes", "--non-interactive")

    def destroy(self) -> None:
        """Run to its end, with the terminal's stdin and Ctrl-C; its output goes to stderr."""
        command = self._command("destroy", "--yes", "--skip-preview")
        with subprocess.Popen(command, stdout=_STDERR) as process:
            interrupted = False
            while True:
                try:
                    status = process.wait()
                    break
                except KeyboardInterrupt:
                    # The engine got it too: it stops in order, and must not be left alone before that.
                    interrupted = True
        if interrupted:
            raise Interrupted("interrupted; the engine stopped in order", fix="The same command goes on")
        if status:
            raise CloudError(
                f"`{' '.join(command)}` ended with {status}; what it said stands above",
                fix="Mend the cause, then run the same command again (see docs/recovery.md)",
            )

    def _read(self, *words: str) -> Mapping[str, Any]:
        said = self._capture(*words)
        try:
            found = json.loads(said or "{}")
        except ValueError as error:
            raise NotConfigured(f"the answer of `{' '.join(self._command(*words))}` is not JSON: {error}") from error
        return found if isinstance(found, dict) else {}

    def _capture(self, *words: str) -> str:
        command = self._command(*words)
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        except OSError as error:
            raise NotConfigured(f"'pulumi' does not run ({error.strerror})", fix="Put pulumi on PATH") from error
        if done.returncode == 0:
            return done.stdout
        if "no stack named" in done.stderr:
            raise UsageError(f"there is no stack '{self.stack}'" + did_you_mean(self.stack, _stacks()))
        raise NotConfigured(
            f"`{' '.join(command)}` ended with {done.returncode}", details=done.stderr.splitlines()[-SAID_LINES:]
        )

    def _command(self, *words: str) -> Sequence[str]:
        return ["pulumi", *words, "--stack", self.stack]


def _stacks() -> list[str]:
    done = subprocess.run(
        ["pulumi", "stack", "ls", "--json"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    found = json.loads(done.stdout) if done.returncode == 0 else []
    return [str(one["name"]).rpartition("/")[2] for one in found]

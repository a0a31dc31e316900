"""What can be made to fail or to wait, by name: a test (or a curious user) arms a fault, the next call meets it.

Every ARM type has `<type>.<phase>`, e.g. `Microsoft.KeyVault/vaults.create`. The phases `read`, `list`, `create`,
`update` and `delete` are met before anything is done; `created`, `updated` and `deleted` when it is done and the
answer not sent yet; `provision` and `deprovision` by the operation behind an accepted call. Services have names of
their own beside these, such as `compute.create`; each documents them. `job.preempt` is no error: it takes a node away.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from localcloud.arm import ArmError

BEFORE = ("read", "list", "create", "update", "delete")
AFTER = {"create": "created", "update": "updated", "delete": "deleted"}
OPERATION = ("provision", "deprovision")
PHASES = frozenset({*BEFORE, *AFTER.values(), *OPERATION, "allocate"})
_NAME = re.compile(r"[A-Za-z][\w.]*(/[A-Za-z]\w*)*\.(?P<phase>[a-z]+)")
_MEMBERS = ("status", "code", "message", "times", "retryAfter", "hold")
PREEMPTION = "job.preempt"
_PREEMPTION_MEMBERS = ("times", "at")


class Hold:
    """A gate: who comes to it waits until it is released. `reached` is set by the first one that waits."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], None]] = []
        self._open = False

    def when_open(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` when the gate is released, at once when it is open."""
        with self._lock:
            waits = not self._open
            if waits:
                self._waiting.append(go_on)
        if not waits:
            go_on()
        self.reached.set()

    @property
    def waiting(self) -> int:
        """How many wait at it now."""
        with self._lock:
            return len(self._waiting)

    async def wait(self) -> None:
        loop, passed = asyncio.get_running_loop(), asyncio.Event()

        def go_on() -> None:
            loop.call_soon_threadsafe(passed.set)

        self.when_open(go_on)
        await passed.wait()

    def release(self) -> None:
        with self._lock:
            self._open, waiting, self._waiting = True, self._waiting, []
        for go_on in waiting:
            go_on()


@dataclass
class Fault:
    """The error to answer with and how many times more, or the gate to wait at, or the moment of a preemption.

    `at` is the text in a step's log at which its node goes; empty: as soon as its process runs.
    """

    error: ArmError | None
    times: int = 1
    hold: Hold | None = None
    at: str | None = None


@dataclass
class Faults:
    """Armed faults by name, in any case. `raise_if_armed` uses one up."""

    armed: dict[str, Fault] = field(default_factory=dict)

    def arm(self, name: str, error: ArmError, times: int = 1) -> None:
        self.armed[name.lower()] = Fault(error, times)

    def hold(self, name: str) -> Hold:
        """Let every call of that name wait until the returned gate, or `disarm`, releases it."""
        made = Hold()
        self.armed[name.lower()] = Fault(None, hold=made)
        return made

    def preempt(self, at: str = "", times: int = 1) -> None:
        """Take away the nodes of the next steps that run on a low-priority cluster, at a text in their log."""
        self.armed[PREEMPTION] = Fault(None, times, at=at)

    def preempts(self, said: str) -> bool:
        """Whether a node goes now, given what its step has said since it started; one preemption is then used up."""
        fault = self.armed.get(PREEMPTION)
        if fault is None or fault.at is None or fault.at not in said:
            return False
        fault.times -= 1
        if fault.times <= 0:
            del self.armed[PREEMPTION]
        return True

    def disarm(self, name: str) -> bool:
        """Forget a fault and release who waits for it; false when it is not armed."""
        fault = self.armed.pop(name.lower(), None)
        if fault and fault.hold:
            fault.hold.release()
        return fault is not None

    def release_all(self) -> None:
        for name in list(self.armed):
            self.disarm(name)

    def take(self, name: str) -> ArmError | None:
        """The error when the fault is armed, counted down; None otherwise."""
        fault = self.armed.get(name.lower())
        if fault is None or fault.error is None:
            return None
        fault.times -= 1
        if fault.times <= 0:
            del self.armed[name.lower()]
        return fault.error

    def gate(self, name: str) -> Hold | None:
        fault = self.armed.get(name.lower())
        return fault.hold if fault else None

    def raise_if_armed(self, name: str) -> None:
        error = self.take(name)
        if error is not None:
            raise error

    async def meet(self, name: str) -> None:
        """Wait where the name is held, and raise where it is armed with an error."""
        gate = self.gate(name)
        if gate:
            await gate.wait()
        self.raise_if_armed(name)

    def shown(self) -> dict[str, Any]:
        return {
            name: {"hold": True, "reached": fault.hold.reached.is_set()}
            if fault.hold
            else {
                "times": fault.times,
                **({"at": fault.at} if fault.at is not None else {}),
                **({"status": fault.error.status, "code": fault.error.code} if fault.error else {}),
            }
            for name, fault in sorted(self.armed.items())
        }

    def arm_from(self, name: str, body: Mapping[str, Any]) -> None:
        """Arm what a request body asks for; ArmError 400 with everything that is wrong about it."""
        if name.lower() == PREEMPTION:
            self._preempt_from(body)
            return
        problems = [f"'{member}' is not known; use {', '.join(_MEMBERS)}" for member in body if member not in _MEMBERS]
        found = _NAME.fullmatch(name)
        if not found or found["phase"] not in PHASES:
            problems.append(f"the name '{name}' does not end with one of .{', .'.join(sorted(PHASES))}")
        if body.get("hold") is True:
            problems += [f"'{member}' does not go with 'hold'" for member in _MEMBERS[:-1] if member in body]
        else:
            problems += _problems(body)
        if problems:
            raise ArmError(400, "InvalidFault", "; ".join(problems) + ".")
        if body.get("hold"):
            self.hold(name)
            return
        headers = {"Retry-After": str(body["retryAfter"])} if "retryAfter" in body else None
        self.arm(name, ArmError(body["status"], body["code"], body["message"], headers=headers), body.get("times", 1))

    def _preempt_from(self, body: Mapping[str, Any]) -> None:
        known = ", ".join(_PREEMPTION_MEMBERS)
        problems = [f"'{name}' is not known; use {known}" for name in body if name not in _PREEMPTION_MEMBERS]
        problems += _wrong(body)
        if problems:
            raise ArmError(400, "InvalidFault", "; ".join(problems) + ".")
        self.preempt(body.get("at", ""), body.get("times", 1))


_WANTED: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "status": ("a whole number from 400 to 599", lambda value: _whole(value) and 400 <= value <= 599),
    "code": ("a text", lambda value: isinstance(value, str) and bool(value)),
    "message": ("a text", lambda value: isinstance(value, str) and bool(value)),
    "times": ("a whole number of 1 or more", lambda value: _whole(value) and value >= 1),
    "retryAfter": ("seconds, 0 or more", lambda value: _whole(value) and value >= 0),
    "hold": ("true", lambda value: value is True),
    "at": ("a text", lambda value: isinstance(value, str)),
}


def _problems(body: Mapping[str, Any]) -> list[str]:
    found = [f"'{name}' is missing" for name in ("status", "code", "message") if name not in body]
    return found + _wrong(body)


def _wrong(body: Mapping[str, Any]) -> list[str]:
    return [
        f"'{name}' is {body[name]!r}, not {what}"
        for name, (what, fits) in _WANTED.items()
        if name in body and not fits(body[name])
    ]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

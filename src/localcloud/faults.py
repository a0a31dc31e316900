"""What can be made to fail, by name: a test (or a curious user) arms a fault, the next call that asks for it fails.

Names are `<service>.<operation>`, e.g. `compute.create`; each service documents its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from localcloud.arm import ArmError


@dataclass
class Fault:
    """The error to answer with, and how many times more."""

    error: ArmError
    times: int = 1


@dataclass
class Faults:
    """Armed faults by name. `raise_if_armed` uses one up."""

    armed: dict[str, Fault] = field(default_factory=dict)

    def arm(self, name: str, error: ArmError, times: int = 1) -> None:
        self.armed[name] = Fault(error, times)

    def take(self, name: str) -> ArmError | None:
        """The error when the fault is armed, counted down; None otherwise."""
        fault = self.armed.get(name)
        if fault is None:
            return None
        fault.times -= 1
        if fault.times <= 0:
            del self.armed[name]
        return fault.error

    def raise_if_armed(self, name: str) -> None:
        error = self.take(name)
        if error is not None:
            raise error

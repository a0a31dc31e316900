"""Serves the pack, and sets its level by the stack that it judges.

The engine tells a pack the stack's configuration before it asks for anything, and `pulumi-policy` 1.21 keeps only the
tags of what it is told; so this listens in on that one call. Told nothing, the pack is mandatory: silence opens no
gate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pulumi_policy.policy as served
from pulumi_policy import EnforcementLevel, Policy, PolicyPack

Level = Callable[[Mapping[str, str]], EnforcementLevel]


def serve(name: str, policies: Sequence[Policy], level: Level) -> None:
    """Answers the engine until it goes; `level` says from the stack's configuration what a violation does."""
    for one in policies:
        one.enforcement_level = EnforcementLevel.MANDATORY

    class Servicer(served._PolicyAnalyzerServicer):
        def ConfigureStack(self, request: Any, context: Any) -> Any:
            for one in policies:
                one.enforcement_level = level(dict(request.config))
            return super().ConfigureStack(request, context)

    served._PolicyAnalyzerServicer = Servicer  # type: ignore[misc]
    PolicyPack(name, list(policies))

"""Serves the pack, and sets its level by the stack that it judges.

The engine tells a pack the stack's configuration before it asks for anything, and `pulumi-policy` 1.21 keeps only the
tags of what it is told; so this listens in on that one call. Told nothing, the pack is mandatory: silence opens no
gate.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pulumi_policy.policy as served
from pulumi.runtime import proto
from pulumi_policy import EnforcementLevel, Policy, PolicyPack

Level = Callable[[Mapping[str, str]], EnforcementLevel]


def serve(name: str, policies: Sequence[Policy], types: Mapping[str, Sequence[str]], level: Level) -> None:
    """Answers the engine until it goes.

    `types` names the resource types that a policy is for, and `level` says from the stack's configuration what a
    violation does.
    """
    for one in policies:
        one.enforcement_level = EnforcementLevel.MANDATORY

    class Servicer(served._PolicyAnalyzerServicer):
        asked = threading.local()

        def ConfigureStack(self, request: Any, context: Any) -> Any:
            for one in policies:
                one.enforcement_level = level(dict(request.config))
            return super().ConfigureStack(request, context)

        def Analyze(self, request: Any, context: Any) -> Any:
            self.asked.types = {request.type}
            return super().Analyze(request, context)  # type: ignore[no-untyped-call]

        def AnalyzeStack(self, request: Any, context: Any) -> Any:
            self.asked.types = {resource.type for resource in request.resources}
            return super().AnalyzeStack(request, context)  # type: ignore[no-untyped-call]

        def Remediate(self, request: Any, context: Any) -> Any:
            """Nothing: the pack says what is wrong, and changes no resource behind its author's back."""
            return proto.RemediateResponse()

        def _get_enforcement_level(self, policy: Policy) -> EnforcementLevel:
            # Each policy would unpack every resource anew, ten times the work: only those that are for it do.
            if self.asked.types.isdisjoint(types[policy.name]):
                return EnforcementLevel.DISABLED
            return super()._get_enforcement_level(policy)

    served._PolicyAnalyzerServicer = Servicer  # type: ignore[misc]
    PolicyPack(name, list(policies))

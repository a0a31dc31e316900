"""Where a stack is and what it is set to: what every component is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from infra import naming
from infra.settings import Settings


@dataclass(frozen=True)
class Place:
    """A stack in a subscription of a tenant (both GUIDs), with its settings and the tags of its resources."""

    stack: str
    subscription: str
    tenant: str
    settings: Settings
    tags: Mapping[str, str]

    @property
    def location(self) -> str:
        return self.settings.location

    def name(self, kind: naming.Kind, *parts: str) -> str:
        """The logical name of one of the stack's resources."""
        return naming.name(kind, self.stack, *parts)

"""Where the engine starts the pack: `pulumi up --policy-pack infra/policy`."""

from __future__ import annotations

from infra.policy.pack import level, policies, types
from infra.policy.stack import serve

serve("tunestack", policies(), types(), level)

"""What Azure accepted and could not make: it stays as `Failed`, and a refresh takes it for what was wanted.

With `refresh: always` the next `up` would say that nothing changes. So the program looks itself, and fails the `up`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import pulumi

ENDED_BADLY = ("Failed", "Canceled")

Made = TypeVar("Made", bound=pulumi.CustomResource)


def watched(resource: Made, state: pulumi.Output[Any]) -> Made:
    """The resource again; an error of the `up` where its `state` says that it could not be made.

    Nothing is said in a preview of what is still to be made: its state is not known.
    """

    def look(found: list[Any]) -> None:
        urn, said = found
        if said in ENDED_BADLY:
            # An error that is only logged leaves the exit status at 0.
            raise pulumi.RunError(
                f"Azure accepted '{urn.rpartition('::')[2]}' and could not make it: its provisioningState is '{said}'. "
                f"Mend the cause, then make it again with: pulumi up --replace '{urn}'"
            )

    pulumi.Output.all(resource.urn, state).apply(look)
    return resource


def state_of(properties: Any) -> str:
    """`provisioningState` of a resource's properties: an object of the SDK's or, for a union of types, a mapping."""
    # The SDK's objects are mappings as well, and warn when they are read as one.
    if hasattr(type(properties), "provisioning_state"):
        return str(properties.provisioning_state or "")
    return str(properties.get("provisioningState") or "") if isinstance(properties, Mapping) else ""

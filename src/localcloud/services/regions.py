"""The regions that a resource may stand in, and Azure's refusal of any other.

The list is that of the sizes in the catalog: East US first, and what else is on offer for machine learning.
"""

from __future__ import annotations

from localcloud.arm import ArmError
from localcloud.cloud import Cloud


def plain(location: str) -> str:
    """`East US` and `eastus` are one region."""
    return location.replace(" ", "").lower()


def known_regions(cloud: Cloud) -> list[str]:
    # Imported here: the sizes are a service themselves, and services import this module.
    from localcloud.services.ml.sizes import Sizes

    return cloud.part(Sizes, lambda: Sizes(cloud)).regions()


def require_region(cloud: Cloud, location: str, kind: str, *, everywhere: bool = False) -> None:
    """Azure's 400 unless the type is to be had in that location; `everywhere`: only in `global`."""
    known = ["global"] if everywhere else known_regions(cloud)
    if plain(location) not in known:
        raise ArmError(
            400,
            "LocationNotAvailableForResourceType",
            f"The provided location '{location}' is not available for resource type '{kind}'. "
            f"List of available regions for the resource type is '{','.join(known)}'.",
        )

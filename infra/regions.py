"""The regions where Azure ML has workspaces, as a dated list.

Compared with what the cloud says by: az provider show --namespace Microsoft.MachineLearningServices
--query "resourceTypes[?resourceType=='workspaces'].locations"
"""

from __future__ import annotations

from difflib import get_close_matches

AS_OF = "2026-11"
REGIONS = frozenset(
    [
        "australiaeast",
        "australiasoutheast",
        "brazilsouth",
        "canadacentral",
        "canadaeast",
        "centralindia",
        "centralus",
        "eastasia",
        "eastus",
        "eastus2",
        "francecentral",
        "germanywestcentral",
        "israelcentral",
        "italynorth",
        "japaneast",
        "japanwest",
        "koreacentral",
        "mexicocentral",
        "newzealandnorth",
        "northcentralus",
        "northeurope",
        "norwayeast",
        "polandcentral",
        "qatarcentral",
        "southafricanorth",
        "southcentralus",
        "southeastasia",
        "southindia",
        "spaincentral",
        "swedencentral",
        "switzerlandnorth",
        "switzerlandwest",
        "uaenorth",
        "uksouth",
        "ukwest",
        "westcentralus",
        "westeurope",
        "westus",
        "westus2",
        "westus3",
    ]
)


def region(value: str) -> str:
    """The short name of a region that has workspaces; ValueError with the nearest one otherwise."""
    if value in REGIONS:
        return value
    near = get_close_matches(value.lower().replace(" ", ""), REGIONS, n=1, cutoff=0.75)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise ValueError(f"it must be the short name of a region where Azure ML is (list of {AS_OF}){hint}")

"""Rules for every resource: tags that say whose it is, and a region that is allowed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from infra.policy.rule import UNKNOWN, Resource, Rule, StackRule, members, of
from infra.policy.sources import azure_ml, builtin, psrule
from infra.regions import REGIONS

GROUP = "resources:ResourceGroup"
TAGS = ("project", "stack", "managed-by", "owner")
# The types of these programs that Azure can tag.
TAGGED = (
    GROUP,
    "applicationinsights:Component",
    "containerregistry:Registry",
    "keyvault:Vault",
    "machinelearningservices:Compute",
    "machinelearningservices:OnlineEndpoint",
    "machinelearningservices:Registry",
    "machinelearningservices:Workspace",
    "managedidentity:UserAssignedIdentity",
    "monitor:ActionGroup",
    "monitor:MetricAlert",
    "network:PrivateEndpoint",
    "network:VirtualNetwork",
    "operationalinsights:Workspace",
    "privatedns:PrivateZone",
    "storage:StorageAccount",
)


def has_tags(resource: Resource, tags: Sequence[str]) -> Iterator[str]:
    given = resource.get("tags")
    if given is UNKNOWN:
        return
    missing = [name for name in tags if not members(given).get(name)]
    if missing:
        yield f"it has no tag {', '.join(repr(name) for name in missing)}"


def stands_in_allowed_region(resource: Resource, regions: Collection[str]) -> Iterator[str]:
    location = resource.get("location")
    if isinstance(location, str) and _short(location) not in {*regions, "global"}:
        yield f"'{location}' is no allowed region"


def stands_with_its_group(stack: Sequence[Resource]) -> Iterator[tuple[str, Resource | None]]:
    regions = {_short(group.get("location")) for group in of(stack, GROUP)} - {""}
    for resource in stack:
        location = _short(resource.get("location"))
        if regions and location and location not in {*regions, "global"}:
            yield f"it stands in '{location}', its resource group in '{min(regions)}'", resource


def _short(location: object) -> str:
    """`East US` and `eastus` are one region."""
    return location.replace(" ", "").casefold() if isinstance(location, str) else ""


RULES: tuple[Rule | StackRule, ...] = (
    Rule(
        "tags-present",
        "Every resource says by tags which project, stack and owner it belongs to",
        "tags=naming.tags(stack, owner); here: pulumi config set owner your-team",
        (
            psrule("Azure.Resource.UseTags", "AZR-000166"),
            psrule("Azure.Resource.RequiredTags", "AZR-000477"),
        ),
        TAGGED,
        has_tags,
        ("infra/naming.py", '"managed-by"'),
        {"tags": TAGS},
    ),
    Rule(
        "region-allowed",
        "Resources stand in allowed regions: those with Azure ML, unless a shorter list is given",
        "location of an allowed region; here: pulumi config set location eastus",
        (
            psrule("Azure.Resource.AllowedRegions", "AZR-000167"),
            builtin("General/AllowedLocations_Deny", "e56962a6-4747-49cd-b67b-bf8b01975c4c", "Allowed locations"),
        ),
        TAGGED,
        stands_in_allowed_region,
        ("infra/workspace.py", "location=self._place.location"),
        {"regions": tuple(sorted(REGIONS))},
    ),
    StackRule(
        "region-of-the-group",
        "Resources stand in the region of their resource group: traffic between regions costs",
        "the same location for all",
        (
            builtin(
                "General/ResourcesInResourceGroupLocation_Audit",
                "0a914e76-4921-4c19-b460-a2d36003525a",
                "Audit resource location matches resource group location",
            ),
            azure_ml("how-to-manage-optimize-cost", "manage and optimize costs"),
        ),
        TAGGED,
        stands_with_its_group,
        ("infra/workspace.py", "location=self._place.location"),
    ),
)

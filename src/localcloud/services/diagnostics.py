"""Diagnostic settings: which logs and metrics of a resource go where. Kept and checked; nothing is sent anywhere."""

from __future__ import annotations

from starlette.routing import Route

from localcloud.arm import ArmError, type_of
from localcloud.cloud import Cloud
from localcloud.services.tracked import ANY_SCOPE, TrackedResources, TrackedType
from localcloud.store import Body

SETTINGS = "Microsoft.Insights/diagnosticSettings"
MOST = 5
_SINKS = ("workspaceId", "storageAccountId", "eventHubAuthorizationRuleId", "marketplacePartnerId")
# A storage account has metrics only: its logs are its services', such as `…/blobServices/default`.
_METRICS_ONLY = ("microsoft.storage/storageaccounts",)


def routes(cloud: Cloud) -> list[Route]:
    return [*TrackedResources(cloud, _TYPE).routes()]


# -- model -----------------------------------------------------------------------------------------------------


def _bad(message: str) -> ArmError:
    return ArmError(400, "BadRequest", message)


def _check(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> None:
    sent = body.get("properties") or {}
    scope = wanted.rpartition(f"/providers/{SETTINGS}")[0]
    if not any(sent.get(sink) for sink in _SINKS):
        raise _bad("At least one data sink needs to be specified.")
    on = [entry for kind in ("logs", "metrics") for entry in sent.get(kind) or () if entry.get("enabled")]
    if not on:
        raise _bad("At least one metric or log needs to be enabled.")
    for entry in sent.get("logs") or ():
        if bool(entry.get("category")) == bool(entry.get("categoryGroup")):
            raise _bad("Each log must have either a 'category' or a 'categoryGroup'.")
    if type_of(scope).lower() in _METRICS_ONLY and sent.get("logs"):
        named = sent["logs"][0].get("category") or sent["logs"][0].get("categoryGroup")
        raise _bad(f"Category '{named}' is not supported.")
    for sink in ("workspaceId", "storageAccountId"):
        if sent.get(sink) and cloud.store.get(sent[sink]) is None:
            raise ArmError(
                404, "ResourceNotFound", f"The {sink} '{sent[sink]}' of the diagnostic setting was not found."
            )
    others = [found for found in cloud.store.children(scope, SETTINGS) if found["id"].lower() != wanted.lower()]
    if len(others) >= MOST:
        raise _bad(f"The maximum number of diagnostic settings per resource is {MOST}.")
    _refuse_twice(sent, others)


def _refuse_twice(sent: Body, others: list[Body]) -> None:
    """One category goes to one sink once."""
    for other in others:
        for sink in _SINKS:
            if not sent.get(sink) or str(sent[sink]).lower() != str(other["properties"].get(sink)).lower():
                continue
            both = _categories(sent) & _categories(other["properties"])
            if both:
                raise ArmError(
                    409,
                    "Conflict",
                    f"Data sink '{sent[sink]}' is already used in diagnostic setting '{other['name']}' for category "
                    f"'{sorted(both)[0]}'. Data sinks can't be reused in different settings on the same category for "
                    "the same resource.",
                )


def _categories(properties: Body) -> set[str]:
    entries = [*(properties.get("logs") or ()), *(properties.get("metrics") or ())]
    return {str(entry.get("category") or entry.get("categoryGroup")) for entry in entries if entry.get("enabled")}


_TYPE = TrackedType(
    SETTINGS,
    r"[^*<>%:&\\?+/]{1,260}",
    under=ANY_SCOPE,
    home="none",
    waits=False,
    members=(
        *("eventHubAuthorizationRuleId", "eventHubName", "logAnalyticsDestinationType", "logs", "marketplacePartnerId"),
        *("metrics", "serviceBusRuleId", "storageAccountId", "workspaceId"),
    ),
    check=_check,
    shape=lambda cloud, wanted, body, old: {
        name: (body.get("properties") or {}).get(name) or [] for name in ("logs", "metrics")
    },
)

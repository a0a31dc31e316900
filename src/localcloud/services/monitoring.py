"""Application Insights components and Log Analytics workspaces: their resources, not what is logged to them."""

from __future__ import annotations

import uuid

from starlette.routing import Route

from localcloud.arm import ArmError, timestamp
from localcloud.cloud import TENANT, Cloud
from localcloud.services.tracked import TrackedResources, TrackedType
from localcloud.store import Body


def routes(cloud: Cloud) -> list[Route]:
    return [*TrackedResources(cloud, _COMPONENT).routes(), *TrackedResources(cloud, _LOG_ANALYTICS).routes()]


# -- model -----------------------------------------------------------------------------------------------------


def _check_component(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> None:
    workspace = (body.get("properties") or {}).get("WorkspaceResourceId")
    if workspace and cloud.store.get(workspace) is None:
        raise ArmError(400, "InvalidWorkspaceResourceId", f"The Log Analytics workspace '{workspace}' does not exist.")


def _component(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> Body:
    kept = (old or {}).get("properties", {})
    key, app = kept.get("InstrumentationKey") or str(uuid.uuid4()), kept.get("AppId") or str(uuid.uuid4())
    region = (body.get("location") or (old or {}).get("location", "")).replace(" ", "").lower()
    return {
        "AppId": app,
        "ApplicationId": wanted.rpartition("/")[2],
        "InstrumentationKey": key,
        "ConnectionString": f"InstrumentationKey={key};IngestionEndpoint=https://{region}.in.applicationinsights.azure.com/",
        "CreationDate": kept.get("CreationDate") or timestamp(cloud.clock.now()),
        "TenantId": TENANT,
        "provisioningState": "Succeeded",
    }


_COMPONENT = TrackedType(
    "Microsoft.Insights/components",
    r"[^%&\\?/]{1,260}",
    top=("kind",),
    required=("kind",),
    members=(
        *("Application_Type", "Flow_Type", "Request_Source", "DisableIpMasking", "DisableLocalAuth", "HockeyAppId"),
        *("ForceCustomerStorageForProfiler", "ImmediatePurgeDataOn30Days", "IngestionMode", "RetentionInDays"),
        *("SamplingPercentage", "WorkspaceResourceId", "publicNetworkAccessForIngestion"),
        "publicNetworkAccessForQuery",
    ),
    read_only=(
        *("AppId", "ApplicationId", "InstrumentationKey", "ConnectionString", "CreationDate", "TenantId"),
        *("provisioningState", "HockeyAppToken", "LaMigrationDate", "PrivateLinkScopedResources"),
    ),
    check=_check_component,
    shape=_component,
)


def _log_analytics(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> Body:
    sent, kept = body.get("properties") or {}, (old or {}).get("properties", {})
    return {
        "customerId": kept.get("customerId") or str(uuid.uuid4()),
        "retentionInDays": sent.get("retentionInDays") or 30,
        "sku": sent.get("sku") or {"name": "PerGB2018"},
        "createdDate": kept.get("createdDate") or timestamp(cloud.clock.now()),
        "modifiedDate": timestamp(cloud.clock.now()),
        "provisioningState": "Succeeded",
    }


_LOG_ANALYTICS = TrackedType(
    "Microsoft.OperationalInsights/workspaces",
    r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]",
    top=("identity",),
    members=(
        *("defaultDataCollectionRuleResourceId", "features", "forceCmkForQuery", "publicNetworkAccessForIngestion"),
        *("publicNetworkAccessForQuery", "retentionInDays", "sku", "workspaceCapping"),
    ),
    read_only=("customerId", "createdDate", "modifiedDate", "provisioningState", "privateLinkScopedResources"),
    shape=_log_analytics,
)

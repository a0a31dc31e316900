"""Application Insights components and Log Analytics workspaces: their resources, not what is logged to them.

A deleted Log Analytics workspace is kept for 14 days; made again under its name it is the old one, recovered.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import ArmError, page, require_api_version, route, timestamp
from localcloud.cloud import TENANT, Cloud
from localcloud.services.tracked import TrackedResources, TrackedType, require_group
from localcloud.store import Body

LOG_ANALYTICS = "Microsoft.OperationalInsights"
DELETED = "deleted-log-workspace"
SOFT_DELETE_DAYS = 14
_DELETED_WORKSPACES = f"providers/{LOG_ANALYTICS}/deletedWorkspaces"

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = LogAnalytics(cloud, _LOG_ANALYTICS)
    return [
        *TrackedResources(cloud, _COMPONENT).routes(),
        route(f"/subscriptions/{{subscription}}/{_DELETED_WORKSPACES}", ["GET"], service.list_deleted),
        route(
            f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/{_DELETED_WORKSPACES}",
            ["GET"],
            service.list_deleted_in_group,
        ),
        *service.routes(),
    ]


# -- handlers --------------------------------------------------------------------------------------------------


class LogAnalytics(TrackedResources):
    """The generic handlers, and the workspaces that were deleted and are not gone."""

    async def list_deleted(self, request: Request) -> Response:
        require_api_version(request)
        return page(request, deleted_workspaces(self.cloud))

    async def list_deleted_in_group(self, request: Request) -> Response:
        require_api_version(request)
        inside = require_group(self.cloud, request)["id"].lower() + "/"
        return page(
            request, [found for found in deleted_workspaces(self.cloud) if found["id"].lower().startswith(inside)]
        )

    async def delete(self, request: Request) -> Response:
        """With `force=true` nothing is kept."""
        if request.query_params.get("force", "false").lower() == "true":
            found = self.cloud.store.get(self._wanted(request))
            if found:
                self.cloud.store.put(found["id"], {**found, "properties": {**found["properties"], "forced": True}})
        return await super().delete(request)


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


def deleted_workspaces(cloud: Cloud) -> list[Body]:
    """Those whose 14 days have not passed; the others are dropped."""
    found = []
    for key, body in cloud.store.records(DELETED):
        if cloud.clock.now() >= datetime.fromisoformat(body["until"]):
            cloud.store.delete_record(DELETED, key)
        else:
            found.append(body["workspace"])
    return found


def _keep_deleted(cloud: Cloud, found: Body) -> None:
    if found["properties"].get("forced"):
        return
    until = cloud.clock.now() + timedelta(days=SOFT_DELETE_DAYS)
    cloud.store.put_record(DELETED, found["id"].lower(), {"workspace": found, "until": until.isoformat()})


def _recovered(cloud: Cloud, wanted: str) -> Body:
    """The properties of the deleted workspace of that name, which is no longer a deleted one; empty when none."""
    for found in deleted_workspaces(cloud):
        if found["id"].lower() == wanted.lower():
            cloud.store.delete_record(DELETED, wanted.lower())
            properties: Body = found["properties"]
            return properties
    return {}


def _log_analytics(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> Body:
    sent, kept = body.get("properties") or {}, (old or {}).get("properties") or _recovered(cloud, wanted)
    return {
        "customerId": kept.get("customerId") or str(uuid.uuid4()),
        "retentionInDays": sent.get("retentionInDays") or 30,
        "sku": sent.get("sku") or {"name": "PerGB2018"},
        "createdDate": kept.get("createdDate") or timestamp(cloud.clock.now()),
        "modifiedDate": timestamp(cloud.clock.now()),
        "provisioningState": "Succeeded",
    }


_LOG_ANALYTICS = TrackedType(
    f"{LOG_ANALYTICS}/workspaces",
    r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]",
    top=("identity",),
    members=(
        *("defaultDataCollectionRuleResourceId", "features", "forceCmkForQuery", "publicNetworkAccessForIngestion"),
        *("publicNetworkAccessForQuery", "retentionInDays", "sku", "workspaceCapping"),
    ),
    read_only=("customerId", "createdDate", "modifiedDate", "provisioningState", "privateLinkScopedResources"),
    shape=_log_analytics,
    on_delete=_keep_deleted,
)

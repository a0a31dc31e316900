"""Metric alerts, and the action groups that they call. Kept and checked; no rule is evaluated and no mail is sent."""

from __future__ import annotations

import re
from datetime import timedelta

from starlette.routing import Route

from localcloud.arm import ArmError
from localcloud.cloud import Cloud
from localcloud.services.tracked import TrackedResources, TrackedType
from localcloud.store import Body

ALERTS = "Microsoft.Insights/metricAlerts"
GROUPS = "Microsoft.Insights/actionGroups"
_EVERY = ("PT1M", "PT5M", "PT15M", "PT30M", "PT1H")
_WINDOWS = (*_EVERY, "PT6H", "PT12H", "P1D")
_CRITERIA = (
    "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria",
    "Microsoft.Azure.Monitor.MultipleResourceMultipleMetricCriteria",
    "Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria",
)
_RECEIVERS = (
    *("armRoleReceivers", "automationRunbookReceivers", "azureAppPushReceivers", "azureFunctionReceivers"),
    *("emailReceivers", "eventHubReceivers", "incidentReceivers", "itsmReceivers", "logicAppReceivers"),
    *("smsReceivers", "voiceReceivers", "webhookReceivers"),
)


def routes(cloud: Cloud) -> list[Route]:
    return [*TrackedResources(cloud, _ALERT).routes(), *TrackedResources(cloud, _GROUP).routes()]


# -- model -----------------------------------------------------------------------------------------------------


def _bad(message: str) -> ArmError:
    return ArmError(400, "BadRequest", message)


def _length(period: str) -> timedelta:
    number, unit = int(re.sub(r"\D", "", period)), period[-1]
    return {"M": timedelta(minutes=number), "H": timedelta(hours=number), "D": timedelta(days=number)}[unit]


def _check_alert(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> None:
    sent = body.get("properties") or {}
    if sent["severity"] not in range(5):
        raise _bad(f"The severity '{sent['severity']}' is not from 0 to 4.")
    if sent["evaluationFrequency"] not in _EVERY:
        raise _bad(f"The evaluationFrequency '{sent['evaluationFrequency']}' is not one of {', '.join(_EVERY)}.")
    if sent["windowSize"] not in _WINDOWS:
        raise _bad(f"The windowSize '{sent['windowSize']}' is not one of {', '.join(_WINDOWS)}.")
    if _length(sent["windowSize"]) < _length(sent["evaluationFrequency"]):
        raise _bad("The windowSize must not be shorter than the evaluationFrequency.")
    for scope in sent["scopes"] or [""]:
        if cloud.store.get(scope) is None:
            raise ArmError(404, "ResourceNotFound", f"The scope '{scope}' of the alert was not found.")
    criteria = sent["criteria"]
    if criteria.get("odata.type") not in _CRITERIA:
        raise _bad(f"The criteria's 'odata.type' is '{criteria.get('odata.type')}', which is not known.")
    for one in criteria.get("allOf") or ():
        _check_criterion(sent["scopes"], one)
    for action in sent.get("actions") or ():
        if cloud.store.get(action.get("actionGroupId") or "") is None:
            raise ArmError(404, "ResourceNotFound", f"The action group '{action.get('actionGroupId')}' was not found.")


def _check_criterion(scopes: list[str], one: Body) -> None:
    # Imported here: the metrics' names are those of the endpoints that answer them.
    from localcloud.serving.insights import METRICS

    missing = [name for name in ("name", "metricName", "timeAggregation") if not one.get(name)]
    static = one.get("criterionType") != "DynamicThresholdCriterion"
    missing += [name for name in ("operator", "threshold") if static and one.get(name) is None]
    if missing:
        raise _bad(f"A criterion of the alert lacks {', '.join(missing)}.")
    endpoints = all("/onlineendpoints/" in scope.lower() for scope in scopes)
    if endpoints and not one.get("skipMetricValidation") and one["metricName"] not in METRICS:
        raise _bad(
            f"Couldn't find a metric named {one['metricName']}. Make sure the name is correct. "
            f"(Endpoints of the local cloud have {', '.join(METRICS)}.)"
        )


def _check_group(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> None:
    sent = body.get("properties") or {}
    if not 1 <= len(sent["groupShortName"]) <= 12:
        raise _bad(f"The groupShortName '{sent['groupShortName']}' must have 1 to 12 characters.")
    for receiver in sent.get("emailReceivers") or ():
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", str(receiver.get("emailAddress") or "")):
            raise _bad(f"The email address '{receiver.get('emailAddress')}' is not valid.")
    names = [one.get("name") for kind in _RECEIVERS for one in sent.get(kind) or ()]
    if len(set(names)) != len(names) or not all(names):
        raise _bad("Each receiver of an action group needs a name of its own.")


_ALERT = TrackedType(
    ALERTS,
    r"[^*#&+:<>?@%{}\\/|]{0,259}[^*#&+:<>?@%{}\\/|. ]",
    home="global",
    waits=False,
    required=tuple(
        f"properties.{name}"
        for name in ("criteria", "enabled", "evaluationFrequency", "scopes", "severity", "windowSize")
    ),
    members=(
        *("actions", "autoMitigate", "criteria", "description", "enabled", "evaluationFrequency", "scopes", "severity"),
        *("targetResourceRegion", "targetResourceType", "windowSize"),
    ),
    read_only=("isMigrated", "lastUpdatedTime"),
    check=_check_alert,
)
_GROUP = TrackedType(
    GROUPS,
    r"[^:<>+/&%\\?|]{0,259}[^:<>+/&%\\?|. ]",
    home="global",
    waits=False,
    top=("identity",),
    required=("properties.groupShortName", "properties.enabled"),
    members=("groupShortName", "enabled", *_RECEIVERS),
    check=_check_group,
    shape=lambda cloud, wanted, body, old: {
        kind: (body.get("properties") or {}).get(kind) or [] for kind in _RECEIVERS
    },
)

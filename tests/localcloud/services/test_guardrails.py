"""Diagnostic settings, budgets, alerts and autoscale settings: kept as sent, refused where Azure would refuse."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.client import CallFailed
from localcloud.cloud import SUBSCRIPTION
from tests.conftest import RunningCloud
from tests.localcloud.services.conftest import GROUP, STORAGE, WORKSPACE, Account, place

INSIGHTS = f"{GROUP}/providers/Microsoft.Insights"
LOGS = f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/logs"
ENDPOINT = f"{WORKSPACE}/onlineEndpoints/chat"
ALL_LOGS = {"categoryGroup": "allLogs", "enabled": True}
METRICS = {"category": "AllMetrics", "enabled": True}
TO_LOGS: dict[str, Any] = {"workspaceId": LOGS, "logs": [ALL_LOGS], "metrics": [METRICS]}


def put(cloud: RunningCloud, path: str, properties: Any, **top: Any) -> Any:
    return cloud.arm("PUT", f"{path}?api-version=2024-08-01", {**top, "properties": properties})


@pytest.fixture
def cloud(account: Account) -> RunningCloud:
    place(account.cloud, LOGS)
    place(account.cloud, WORKSPACE)
    place(account.cloud, ENDPOINT)
    return account.cloud


def setting(scope: str, name: str = "to-logs") -> str:
    return f"{scope}/providers/Microsoft.Insights/diagnosticSettings/{name}"


# -- diagnostic settings ---------------------------------------------------------------------------------------


def test_any_resource_and_a_part_that_nobody_makes_can_be_watched(cloud: RunningCloud) -> None:
    for scope in (WORKSPACE, ENDPOINT, f"{STORAGE}/blobServices/default"):
        put(cloud, setting(scope), TO_LOGS)
        listed = cloud.arm("GET", f"{setting(scope).rpartition('/')[0]}?api-version=2021-05-01-preview")
        assert [found["name"] for found in listed["value"]] == ["to-logs"]
    with pytest.raises(CallFailed, match=r"ResourceNotFound.*storageAccounts/acct9"):
        put(cloud, setting(f"{STORAGE}9/blobServices/default"), TO_LOGS)


@pytest.mark.parametrize(
    ("scope", "properties", "expected"),
    [
        (WORKSPACE, {"logs": [ALL_LOGS]}, "At least one data sink"),
        (WORKSPACE, {"workspaceId": LOGS}, "At least one metric or log"),
        (WORKSPACE, {"workspaceId": LOGS, "logs": [{**ALL_LOGS, "enabled": False}]}, "At least one metric or log"),
        (WORKSPACE, {"workspaceId": LOGS + "9", "logs": [ALL_LOGS]}, "workspaceId '.*logs9'.*not found"),
        (WORKSPACE, {"workspaceId": LOGS, "logs": [{"enabled": True}]}, "'category' or a 'categoryGroup'"),
        (STORAGE, TO_LOGS, "Category 'allLogs' is not supported"),
        (WORKSPACE, {**TO_LOGS, "sink": "x"}, "Could not find member 'sink'"),
    ],
)
def test_a_setting_that_could_send_nothing_is_refused(
    scope: str, properties: Any, expected: str, cloud: RunningCloud
) -> None:
    with pytest.raises(CallFailed, match=expected):
        put(cloud, setting(scope), properties)


def test_one_category_goes_to_one_sink_once_and_five_settings_are_the_limit(cloud: RunningCloud) -> None:
    put(cloud, setting(WORKSPACE), TO_LOGS)
    with pytest.raises(CallFailed, match=r"Conflict.*already used in diagnostic setting 'to-logs' for category"):
        put(cloud, setting(WORKSPACE, "again"), TO_LOGS)
    for number in range(4):
        place(cloud, f"{LOGS}{number}")
        put(cloud, setting(WORKSPACE, f"s{number}"), {**TO_LOGS, "workspaceId": f"{LOGS}{number}"})
    with pytest.raises(CallFailed, match="maximum number of diagnostic settings per resource is 5"):
        put(cloud, setting(WORKSPACE, "sixth"), {**TO_LOGS, "workspaceId": STORAGE})
    put(cloud, setting(WORKSPACE), {**TO_LOGS, "logs": []})


# -- budgets ---------------------------------------------------------------------------------------------------

MAIL = {"enabled": True, "operator": "GreaterThan", "threshold": 80, "contactEmails": ["team@example.com"]}
BUDGET: dict[str, Any] = {
    "amount": 200,
    "category": "Cost",
    "timeGrain": "Monthly",
    "timePeriod": {"startDate": "2026-11-01T00:00:00Z"},
    "notifications": {"spent": MAIL},
}


@pytest.mark.parametrize("scope", [f"/subscriptions/{SUBSCRIPTION}", GROUP])
def test_a_budget_stands_at_a_subscription_or_a_group(scope: str, cloud: RunningCloud) -> None:
    made = put(cloud, f"{scope}/providers/Microsoft.Consumption/budgets/b", BUDGET)
    assert made["properties"]["currentSpend"] == {"amount": 0, "unit": "USD"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"amount": 0}, "amount is '0'; it must be greater than 0"),
        ({"amount": -5}, "amount is '-5'"),
        ({"timePeriod": {"startDate": "2026-11-02"}}, "Start date '2026-11-02' must be the first of a month"),
        ({"timePeriod": {"startDate": "2017-05-01"}}, "on or after 2017-06-01"),
        ({"timePeriod": {"startDate": "soon"}}, "'soon' is no date"),
        ({"timePeriod": {"startDate": "2026-11-01", "endDate": "2026-10-01"}}, "End date '2026-10-01'"),
        ({"timeGrain": "Weekly"}, "'Weekly' is not one of Monthly"),
        ({"category": "Fun"}, "'Fun' is not 'Cost'"),
        ({"notifications": {"n": {**MAIL, "threshold": 1001}}}, "threshold of 'n' is '1001'"),
        ({"notifications": {"n": {**MAIL, "contactEmails": []}}}, "'n' has no contact"),
        ({"notifications": {str(number): MAIL for number in range(6)}}, "at most 5 notifications, not 6"),
    ],
)
def test_a_budget_that_azure_would_refuse(changes: dict[str, Any], expected: str, cloud: RunningCloud) -> None:
    with pytest.raises(CallFailed, match=expected):
        put(cloud, f"{GROUP}/providers/Microsoft.Consumption/budgets/b", BUDGET | changes)


def test_a_budget_keeps_its_start_and_has_no_scope_inside_a_group(cloud: RunningCloud) -> None:
    wanted = f"{GROUP}/providers/Microsoft.Consumption/budgets/b"
    put(cloud, wanted, BUDGET)
    put(cloud, wanted, {**BUDGET, "amount": 300})
    with pytest.raises(CallFailed, match="start date of a budget cannot be changed: it is '2026-11-01'"):
        put(cloud, wanted, {**BUDGET, "timePeriod": {"startDate": "2026-12-01"}})
    with pytest.raises(CallFailed, match="is no scope of a budget"):
        put(cloud, f"{STORAGE}/providers/Microsoft.Consumption/budgets/b", BUDGET)


# -- alerts ----------------------------------------------------------------------------------------------------

MAILS = f"{INSIGHTS}/actionGroups/mails"
CRITERION = {
    "criterionType": "StaticThresholdCriterion",
    "name": "slow",
    "metricName": "RequestLatency_P90",
    "operator": "GreaterThan",
    "threshold": 1000,
    "timeAggregation": "Average",
}
ALERT: dict[str, Any] = {
    "enabled": True,
    "severity": 2,
    "scopes": [ENDPOINT],
    "evaluationFrequency": "PT5M",
    "windowSize": "PT15M",
    "criteria": {
        "odata.type": "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria",
        "allOf": [CRITERION],
    },
    "actions": [{"actionGroupId": MAILS}],
}
RECEIVER = {"name": "team", "emailAddress": "team@example.com", "useCommonAlertSchema": True}


def test_an_alert_calls_a_group_that_exists(cloud: RunningCloud) -> None:
    alert = f"{INSIGHTS}/metricAlerts/slow"
    with pytest.raises(CallFailed, match=r"action group '.*mails' was not found"):
        put(cloud, alert, ALERT, location="global")
    put(cloud, MAILS, {"groupShortName": "mails", "enabled": True, "emailReceivers": [RECEIVER]}, location="Global")
    made = put(cloud, alert, ALERT, location="global")
    assert made["properties"]["criteria"]["allOf"] == [CRITERION]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"severity": 5}, "severity '5'"),
        ({"windowSize": "PT1M"}, "must not be shorter"),
        ({"windowSize": "PT7M"}, "'PT7M' is not one of"),
        ({"scopes": [ENDPOINT + "9"]}, "chat9' of the alert was not found"),
        ({"criteria": {"odata.type": "Mine"}}, "'Mine', which is not known"),
        ({"criteria": {**ALERT["criteria"], "allOf": [{**CRITERION, "metricName": "Joy"}]}}, "metric named Joy"),
        ({"criteria": {**ALERT["criteria"], "allOf": [{"name": "x"}]}}, "lacks metricName, timeAggregation"),
    ],
)
def test_an_alert_that_could_never_go_off_is_refused(
    changes: dict[str, Any], expected: str, cloud: RunningCloud
) -> None:
    with pytest.raises(CallFailed, match=expected):
        put(cloud, f"{INSIGHTS}/metricAlerts/slow", ALERT | changes, location="global")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"groupShortName": "thirteenchars"}, "1 to 12 characters"),
        ({"emailReceivers": [{**RECEIVER, "emailAddress": "team"}]}, "address 'team' is not valid"),
        ({"emailReceivers": [RECEIVER, RECEIVER]}, "a name of its own"),
    ],
)
def test_an_action_group_that_azure_would_refuse(changes: dict[str, Any], expected: str, cloud: RunningCloud) -> None:
    body = {"groupShortName": "mails", "enabled": True, "emailReceivers": [RECEIVER]} | changes
    with pytest.raises(CallFailed, match=expected):
        put(cloud, MAILS, body, location="global")


# -- autoscale -------------------------------------------------------------------------------------------------

SCALE: dict[str, Any] = {
    "enabled": True,
    "targetResourceUri": ENDPOINT,
    "profiles": [{"name": "all", "capacity": {"minimum": "1", "maximum": "3", "default": "1"}, "rules": []}],
}


def test_an_autoscale_setting_outlives_its_target(cloud: RunningCloud) -> None:
    scale = f"{INSIGHTS}/autoscaleSettings/scale"
    put(cloud, scale, SCALE, location="eastus")
    cloud.cloud.store.delete(ENDPOINT)
    assert cloud.arm("GET", f"{scale}?api-version=2022-10-01")["properties"]["targetResourceUri"] == ENDPOINT
    put(cloud, scale, {**SCALE, "enabled": False}, location="eastus")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"profiles": []}, "1 to 20 profiles, not 0"),
        ({"targetResourceUri": ENDPOINT + "9"}, "chat9' was not found"),
        (
            {"profiles": [{"name": "p", "capacity": {"minimum": "2", "maximum": "3", "default": "1"}}]},
            "not in order: minimum 2, default 1, maximum 3",
        ),
        ({"profiles": [{"name": "p", "capacity": {"minimum": "one"}}]}, "whole numbers"),
    ],
)
def test_an_autoscale_setting_that_azure_would_refuse(
    changes: dict[str, Any], expected: str, cloud: RunningCloud
) -> None:
    with pytest.raises(CallFailed, match=expected):
        put(cloud, f"{INSIGHTS}/autoscaleSettings/scale", SCALE | changes, location="eastus")


def test_a_target_has_one_autoscale_setting(cloud: RunningCloud) -> None:
    put(cloud, f"{INSIGHTS}/autoscaleSettings/one", SCALE, location="eastus")
    with pytest.raises(CallFailed, match=r"Conflict.*already has the autoscale setting 'one'"):
        put(cloud, f"{INSIGHTS}/autoscaleSettings/two", SCALE, location="eastus")

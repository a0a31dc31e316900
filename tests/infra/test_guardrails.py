"""What watches a stack: everything logs to one place, the budget has a start of its own, alerts reach somebody."""

from __future__ import annotations

import pytest

from tests.infra.conftest import Run, project_defaults, stack_file

WATCHED = {
    "machinelearningservices:Workspace": "",
    "keyvault:Vault": "",
    "containerregistry:Registry": "",
    "storage:StorageAccount": "",
    "machinelearningservices:OnlineEndpoint": "",
}


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_everything_that_holds_or_answers_logs_to_the_stacks_own_workspace(run: Run, stack: str) -> None:
    program = run(stack_file(stack), stack=stack)
    logs = program.one("operationalinsights:Workspace").id
    settings = program.of("monitor:DiagnosticSetting")
    assert {found.inputs["workspaceId"] for found in settings} == {logs}
    watched = [found.inputs["resourceUri"] for found in settings]
    assert len(set(watched)) == len(watched)
    wanted = {found.id for token in WATCHED for found in program.of(token)}
    assert set(watched) == wanted | {program.one("storage:StorageAccount").id + "/blobServices/default"}


def test_the_budget_is_the_dials_and_starts_when_the_dial_says(run: Run) -> None:
    dials = {"tunestack:budget": "321", "tunestack:budgetFrom": "2027-02-01"}
    program = run({**project_defaults(), **dials})
    inputs = program.one("consumption:Budget").inputs
    assert inputs["amount"] == 321
    assert inputs["timePeriod"] == {"startDate": "2027-02-01T00:00:00Z"}
    assert inputs["scope"] == program.one("resources:ResourceGroup").id
    assert {(one["threshold"], one["thresholdType"]) for one in inputs["notifications"].values()} == {
        (50, "Actual"),
        (80, "Actual"),
        (100, "Actual"),
        (100, "Forecasted"),
    }
    # Azure takes no notification that reaches nobody.
    assert all(one["contactRoles"] == ["Owner"] for one in inputs["notifications"].values())


def test_mails_go_to_those_named_and_to_the_action_group(run: Run) -> None:
    program = run(stack_file("prod"), stack="prod")
    group = program.one("monitor:ActionGroup")
    assert [one["emailAddress"] for one in group.inputs["emailReceivers"]] == ["your-team@example.com"]
    for one in program.one("consumption:Budget").inputs["notifications"].values():
        assert one["contactEmails"] == ["your-team@example.com"]
        assert one["contactGroups"] == [group.id]


def test_each_endpoint_has_an_alert_on_errors_and_one_on_latency(run: Run) -> None:
    program = run({**stack_file("prod"), "tunestack:endpoints": '["chat", "draft"]'}, stack="prod")
    endpoints = {found.id for found in program.of("machinelearningservices:OnlineEndpoint")}
    assert len(endpoints) == 2
    seen = set()
    for alert in program.of("monitor:MetricAlert"):
        (criterion,) = alert.inputs["criteria"]["allOf"]
        (scope,) = alert.inputs["scopes"]
        seen.add((scope, criterion["metricName"]))
        assert alert.inputs["enabled"] is True
        assert alert.inputs["actions"] == [{"actionGroupId": program.one("monitor:ActionGroup").id}]
    metrics = ("RequestsPerMinute", "RequestLatency_P95")
    assert seen == {(endpoint, metric) for endpoint in endpoints for metric in metrics}
    errors = [found for found in program.of("monitor:MetricAlert") if "errors" in found.name]
    assert all(
        found.inputs["criteria"]["allOf"][0]["dimensions"]
        == [{"name": "statusCodeClass", "operator": "Include", "values": ["5xx"]}]
        for found in errors
    )


def test_without_the_dial_there_are_no_alerts(run: Run) -> None:
    program = run(stack_file("dev"))
    assert program.of("monitor:MetricAlert") == []
    assert program.of("monitor:ActionGroup") == []

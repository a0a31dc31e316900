"""Rules for what watches over a stack: logs, alerts, and protection from deletion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from infra.policy import endpoint, registry, storage, vault, workspace
from infra.policy.rule import UNKNOWN, Resource, Rule, StackRule, elements, members, must_be_set, of
from infra.policy.sources import Source, azure_ml, builtin, psrule

SETTING = "monitor:DiagnosticSetting"
ALERT = "monitor:MetricAlert"
ACTION_GROUP = "monitor:ActionGroup"
INSIGHTS = "applicationinsights:Component"
MADE_IN = "infra/guardrails.py"
MONITOR_PAGE = azure_ml("how-to-monitor-online-endpoints", "monitor online endpoints")
LOGGED = (
    workspace.WORKSPACE,
    endpoint.ENDPOINT,
    storage.ACCOUNT,
    vault.VAULT,
    registry.REGISTRY,
)
KEEPS_DATA = (workspace.WORKSPACE, storage.ACCOUNT, vault.VAULT, registry.MODEL_REGISTRY)


def logs_are_kept(stack: Sequence[Resource]) -> Iterator[tuple[str, Resource | None]]:
    settings = of(stack, SETTING)
    for resource in of(stack, *LOGGED):
        if not any(setting.comes_from("resourceUri", resource) for setting in settings):
            yield "no diagnostic setting takes its logs", resource


def everything_is_sent(setting: Resource) -> Iterator[str]:
    if setting.get("workspaceId") in (None, ""):
        yield "'workspaceId' is not set: nothing goes to Log Analytics"
    target = setting.get("resourceUri")
    account = isinstance(target, str) and target.rpartition("/")[0].casefold().endswith("/storageaccounts")
    # A storage account has metrics only; the logs are its services'.
    if not account and target is not UNKNOWN and not _switched_on(setting, "logs", "categoryGroup", "allLogs"):
        yield "'logs' has no category group 'allLogs' that is switched on"
    if not _switched_on(setting, "metrics", "category", "AllMetrics"):
        yield "'metrics' has no category 'AllMetrics' that is switched on"


def _switched_on(setting: Resource, kind: str, path: str, name: str) -> bool:
    listed = setting.get(kind)
    if listed is UNKNOWN:
        return True
    on = [one for one in map(members, elements(listed)) if one.get("enabled") is True]
    return any(one.get(path) is UNKNOWN or str(one.get(path)).casefold() == name.casefold() for one in on)


def endpoints_have_alerts(stack: Sequence[Resource]) -> Iterator[tuple[str, Resource | None]]:
    alerts = [alert for alert in of(stack, ALERT) if alert.get("enabled") is not False]
    for found in of(stack, endpoint.ENDPOINT):
        if not any(alert.comes_from("scopes", found) for alert in alerts):
            yield "no alert watches its errors and latency", found


def alerts_reach_someone(stack: Sequence[Resource]) -> Iterator[tuple[str, Resource | None]]:
    for alert in of(stack, ALERT):
        if not alert.get("actions"):
            yield "it tells nobody: 'actions' is empty", alert
    for group in of(stack, ACTION_GROUP):
        given = [group.get(path) for path in group.properties if path.endswith("Receivers")]
        if not any(receivers is UNKNOWN or receivers for receivers in given):
            yield "it has no receiver", group


def data_is_protected(resource: Resource) -> Iterator[str]:
    if not resource.protect:
        yield "one `pulumi destroy`, or a change that replaces it, deletes it"


RULES: tuple[Rule | StackRule, ...] = (
    StackRule(
        "diagnostics-exist",
        "What has logs sends them to Log Analytics",
        "a monitor.DiagnosticSetting with its id as resource_uri",
        (
            builtin(
                "Machine Learning/AuditDiagnosticLog_Audit",
                "afe0c3be-ba3b-4544-ba52-0c99672a8ad6",
                "Resource logs in Azure Machine Learning Workspaces should be enabled",
            ),
            builtin(
                "Key Vault/AuditDiagnosticLog_Audit",
                "cf820ca0-f99e-4f3e-84fb-66e913812d21",
                "Resource logs in Key Vault should be enabled",
            ),
            psrule("Azure.KeyVault.Logs", "AZR-000119"),
            MONITOR_PAGE,
        ),
        LOGGED,
        logs_are_kept,
        (MADE_IN, "DiagnosticSetting("),
    ),
    Rule(
        "diagnostics-complete",
        "A diagnostic setting sends all logs and metrics to Log Analytics",
        "workspace_id, logs with category_group='allLogs', metrics with category='AllMetrics'",
        (
            builtin(
                "Machine Learning/AuditDiagnosticLog_Audit",
                "afe0c3be-ba3b-4544-ba52-0c99672a8ad6",
                "Resource logs in Azure Machine Learning Workspaces should be enabled",
            ),
        ),
        (SETTING,),
        everything_is_sent,
        (MADE_IN, "allLogs"),
    ),
    Rule(
        "insights-in-log-analytics",
        "Application Insights keeps its data in Log Analytics",
        "workspace_resource_id",
        (psrule("Azure.AppInsights.Workspace", "AZR-000069"),),
        (INSIGHTS,),
        must_be_set("workspaceResourceId"),
        ("infra/workspace.py", "workspace_resource_id="),
    ),
    StackRule(
        "endpoint-has-alerts",
        "Each endpoint has an alert on its errors or latency",
        "a monitor.MetricAlert with the endpoint as scope; here: pulumi config set alerts true",
        (MONITOR_PAGE,),
        (endpoint.ENDPOINT,),
        endpoints_have_alerts,
        (MADE_IN, "MetricAlert("),
    ),
    StackRule(
        "alerts-reach-someone",
        "An alert leads to somebody",
        "actions with an action group, and a receiver in the group; here: "
        "pulumi config set --path 'alertEmails[0]' team@example.com",
        (MONITOR_PAGE,),
        (ALERT, ACTION_GROUP),
        alerts_reach_someone,
        (MADE_IN, "ActionGroup("),
    ),
    Rule(
        "data-protected",
        "What keeps data cannot be deleted by one command",
        "protect=True; here: pulumi config set protect true",
        (
            Source(
                "Pulumi, resource option protect",
                "https://www.pulumi.com/docs/iac/concepts/resources/options/protect/",
            ),
        ),
        KEEPS_DATA,
        data_is_protected,
        ("infra/workspace.py", "protect=self._settings.protect"),
    ),
)

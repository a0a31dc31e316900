"""What watches a stack: logs and metrics of everything in one place, a budget, and alerts on its endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import consumption, machinelearningservices, monitor

from infra import naming
from infra.place import Place
from infra.workspace import Workspace

# Percent of the budget, and whether spent already or forecast for the end of the month.
THRESHOLDS = ((50, "Actual"), (80, "Actual"), (100, "Actual"), (100, "Forecasted"))
# Where an alert goes off; both over five minutes, looked at each minute.
SLOWEST_MILLISECONDS = 10_000
MOST_ERRORS_A_MINUTE = 1


@dataclass(frozen=True)
class GuardrailsArgs:
    """What the guardrails need."""

    place: Place
    """Required. The stack; its dials say how much money, who hears of it, and whether endpoints alert."""
    workspace: Workspace
    """Required. What is watched, and the Log Analytics workspace that keeps it."""
    endpoints: Mapping[str, machinelearningservices.OnlineEndpoint]
    """Required. The endpoints that are watched, by their name in the settings."""


class Guardrails(pulumi.ComponentResource):
    """Diagnostic settings of workspace, storage, key vault, container registry and endpoints to Log Analytics; a
    monthly budget of the resource group; with dial `alerts` two metric alerts per endpoint, on errors and on latency.

    A budget writes mails and stops nothing. It sets no quota and scales nothing: leases and autoscale belong to
    deployments, which scripts make.
    """

    def __init__(self, name: str, args: GuardrailsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tunestack:infra:Guardrails", name, None, opts)
        self._args = args
        self._place = args.place
        self._within = pulumi.ResourceOptions(parent=self)
        self._diagnostics()
        settings = args.place.settings
        group = self._action_group() if settings.alert_emails else None
        Budget("budget", BudgetArgs(args.place, args.workspace.group_id, group), self._within)
        if settings.alerts and group is not None:
            for one, endpoint in args.endpoints.items():
                self._alerts(one, endpoint.id, group)
        self.register_outputs({})

    def _diagnostics(self) -> None:
        workspace = self._args.workspace
        self._watch("workspace", workspace.id)
        self._watch("vault", workspace.vault.id)
        self._watch("registry", workspace.registry.id)
        # A storage account itself has metrics only: who read what is told by its services.
        self._watch("storage", workspace.storage.id, logs=False)
        self._watch("blobs", pulumi.Output.concat(workspace.storage.id, "/blobServices/default"))
        for one, endpoint in self._args.endpoints.items():
            self._watch(f"endpoint-{one}", endpoint.id)

    def _watch(self, what: str, resource: pulumi.Input[str], logs: bool = True) -> None:
        monitor.DiagnosticSetting(
            f"diagnostics-of-{what}",
            name=naming.PROJECT,
            resource_uri=resource,
            workspace_id=self._args.workspace.logs.id,
            logs=[monitor.DiagnosticsLogSettingsArgs(category_group="allLogs", enabled=True)] if logs else None,
            metrics=[monitor.DiagnosticsMetricSettingsArgs(category="AllMetrics", enabled=True)],
            opts=self._within,
        )

    def _action_group(self) -> monitor.ActionGroup:
        return monitor.ActionGroup(
            self._place.name(naming.ACTION_GROUP),
            resource_group_name=self._args.workspace.group,
            location="Global",
            enabled=True,
            group_short_name=naming.PROJECT,
            email_receivers=[
                monitor.MicrosoftCommonEmailReceiverArgs(
                    name=address, email_address=address, use_common_alert_schema=True
                )
                for address in self._place.settings.alert_emails
            ],
            tags=self._place.tags,
            opts=self._within,
        )

    def _alerts(self, one: str, endpoint: pulumi.Input[str], group: monitor.ActionGroup) -> None:
        """Metrics and dimensions as Azure lists them: supported metrics of workspaces/onlineEndpoints."""
        errors = monitor.MetricDimensionArgs(name="statusCodeClass", operator="Include", values=["5xx"])
        self._alert(
            (one, "errors"), endpoint, group, "RequestsPerMinute", MOST_ERRORS_A_MINUTE, severity=1, only=[errors]
        )
        self._alert((one, "latency"), endpoint, group, "RequestLatency_P95", SLOWEST_MILLISECONDS, severity=2, only=[])

    def _alert(
        self,
        parts: tuple[str, str],
        endpoint: pulumi.Input[str],
        group: monitor.ActionGroup,
        metric: str,
        threshold: float,
        severity: int,
        only: list[monitor.MetricDimensionArgs],
    ) -> None:
        monitor.MetricAlert(
            self._place.name(naming.ALERT, *parts),
            resource_group_name=self._args.workspace.group,
            location="global",
            description=f"{metric} of endpoint {parts[0]} is above {threshold} over five minutes",
            enabled=True,
            severity=severity,
            scopes=[endpoint],
            evaluation_frequency="PT1M",
            window_size="PT5M",
            auto_mitigate=True,
            criteria=monitor.MetricAlertSingleResourceMultipleMetricCriteriaArgs(
                odata_type="Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria",
                all_of=[
                    monitor.MetricCriteriaArgs(
                        criterion_type="StaticThresholdCriterion",
                        name=parts[1],
                        metric_name=metric,
                        metric_namespace="Microsoft.MachineLearningServices/workspaces/onlineEndpoints",
                        operator="GreaterThan",
                        threshold=threshold,
                        time_aggregation="Average",
                        dimensions=only,
                    )
                ],
            ),
            actions=[monitor.MetricAlertActionArgs(action_group_id=group.id)],
            tags=self._place.tags,
            opts=self._within,
        )


@dataclass(frozen=True)
class BudgetArgs:
    """What a budget needs."""

    place: Place
    """Required. The stack; its dials say how much a month, from when, and who hears of it."""
    scope: pulumi.Input[str]
    """Required. Id of the resource group whose cost counts."""
    action_group: monitor.ActionGroup | None = None
    """Conditional: where dial `alertEmails` names somebody; without, the subscription's owners get the mails."""


class Budget(pulumi.ComponentResource):
    """A monthly budget of a resource group, with mails at half, four fifths and all of it, and at a forecast of all.

    It stops nothing, and it counts what Azure has billed, which is hours behind.
    """

    def __init__(self, name: str, args: BudgetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tunestack:infra:Budget", name, None, opts)
        settings = args.place.settings
        consumption.Budget(
            args.place.name(naming.BUDGET),
            scope=args.scope,
            amount=settings.budget,
            category=consumption.CategoryType.COST,
            time_grain=consumption.TimeGrainType.MONTHLY,
            # The dial and never the clock: Azure refuses another start, and a plan would differ each month.
            time_period=consumption.BudgetTimePeriodArgs(start_date=f"{settings.budget_from}T00:00:00Z"),
            notifications={
                f"{kind}-{percent}": consumption.NotificationArgs(
                    enabled=True,
                    operator=consumption.OperatorType.GREATER_THAN_OR_EQUAL_TO,
                    threshold=percent,
                    threshold_type=kind,
                    contact_emails=list(settings.alert_emails),
                    contact_roles=None if settings.alert_emails else ["Owner"],
                    contact_groups=[args.action_group.id] if args.action_group else None,
                )
                for percent, kind in THRESHOLDS
            },
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})

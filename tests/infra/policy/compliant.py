"""A stack that every rule agrees with, and per rule what makes it disagree."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from infra.policy.pack import RULES
from infra.policy.rule import AnyRule, Resource

SUBSCRIPTION = "/subscriptions/11111111-2222-3333-4444-555555555555"
GROUP = f"{SUBSCRIPTION}/resourceGroups/rg"
ROLE = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions"
TAGS = {"project": "tunestack", "stack": "prod", "managed-by": "pulumi", "owner": "team"}
IDENTITY = {"type": "UserAssigned", "userAssignedIdentities": [f"{GROUP}/id"]}
PLACED = {"location": "eastus", "tags": TAGS}
RETIRED, GIVEN = "Standard_NC6s_v3", "Standard_NC24ads_A100_v4"


def _cluster() -> dict[str, Any]:
    return {
        "computeType": "AmlCompute",
        "disableLocalAuth": True,
        "properties": {
            "vmSize": GIVEN,
            "vmPriority": "Dedicated",
            "remoteLoginPortPublicAccess": "Disabled",
            "enableNodePublicIp": False,
            "scaleSettings": {"minNodeCount": 0.0, "maxNodeCount": 2.0, "nodeIdleTimeBeforeScaleDown": "PT120S"},
        },
    }


def _instance() -> dict[str, Any]:
    properties = {"vmSize": "Standard_D4ds_v5", "idleTimeBeforeShutdown": "PT30M"}
    return {"computeType": "ComputeInstance", "disableLocalAuth": True, "properties": properties}


# name, type, properties, and by property the names of the resources that it is made from
STACK: list[tuple[str, str, dict[str, Any], dict[str, list[str]]]] = [
    ("group", "resources:ResourceGroup", PLACED, {}),
    (
        "storage",
        "storage:StorageAccount",
        {
            **PLACED,
            "sku": {"name": "Standard_ZRS"},
            "allowSharedKeyAccess": False,
            "allowBlobPublicAccess": False,
            "minimumTlsVersion": "TLS1_2",
            "enableHttpsTrafficOnly": True,
            "encryption": {"requireInfrastructureEncryption": True},
            "allowCrossTenantReplication": False,
            "isLocalUserEnabled": False,
            "defaultToOAuthAuthentication": True,
            "publicNetworkAccess": "Disabled",
        },
        {},
    ),
    (
        "vault",
        "keyvault:Vault",
        {
            **PLACED,
            "properties": {
                "enableRbacAuthorization": True,
                "enableSoftDelete": True,
                "softDeleteRetentionInDays": 90.0,
                "enablePurgeProtection": True,
                "publicNetworkAccess": "disabled",
                "sku": {"family": "A", "name": "standard"},
            },
        },
        {},
    ),
    (
        "registry",
        "containerregistry:Registry",
        {
            **PLACED,
            "sku": {"name": "Premium"},
            "adminUserEnabled": False,
            "anonymousPullEnabled": False,
            "publicNetworkAccess": "Disabled",
            "policies": {"exportPolicy": {"status": "disabled"}},
            "zoneRedundancy": "Enabled",
            "networkRuleBypassOptions": "AzureServices",
        },
        {},
    ),
    ("insights", "applicationinsights:Component", {**PLACED, "workspaceResourceId": f"{GROUP}/log"}, {}),
    (
        "workspace",
        "machinelearningservices:Workspace",
        {
            **PLACED,
            "identity": IDENTITY,
            "primaryUserAssignedIdentity": f"{GROUP}/id",
            "publicNetworkAccess": "Disabled",
            "systemDatastoresAuthMode": "Identity",
            "hbiWorkspace": True,
            "imageBuildCompute": "cpu-cluster",
            "storageAccount": f"{GROUP}/storage",
            "keyVault": f"{GROUP}/vault",
            "containerRegistry": f"{GROUP}/registry",
            "managedNetwork": {
                "isolationMode": "AllowOnlyApprovedOutbound",
                "firewallSku": "Standard",
                "outboundRules": {
                    "packages": {"type": "FQDN", "destination": "pypi.org"},
                    "monitor": {"type": "ServiceTag", "destination": {"serviceTag": "AzureMonitor"}},
                },
            },
        },
        {"storageAccount": ["storage"], "keyVault": ["vault"], "containerRegistry": ["registry"]},
    ),
    (
        "outbound",
        "machinelearningservices:ManagedNetworkSettingsRule",
        {"properties": {"type": "PrivateEndpoint", "destination": {"serviceResourceId": f"{GROUP}/vault"}}},
        {"workspaceName": ["workspace"]},
    ),
    (
        "cluster",
        "machinelearningservices:Compute",
        {**PLACED, "identity": IDENTITY, "properties": _cluster()},
        {"workspaceName": ["workspace"]},
    ),
    (
        "instance",
        "machinelearningservices:Compute",
        {**PLACED, "identity": IDENTITY, "properties": _instance()},
        {"workspaceName": ["workspace"]},
    ),
    (
        "endpoint",
        "machinelearningservices:OnlineEndpoint",
        {
            **PLACED,
            "identity": IDENTITY,
            "properties": {"authMode": "AADToken", "publicNetworkAccess": "Disabled"},
        },
        {"workspaceName": ["workspace"]},
    ),
    *(
        (
            f"way-to-{target}-{group}",
            "network:PrivateEndpoint",
            {**PLACED, "privateLinkServiceConnections": [{"groupIds": [group]}]},
            {"privateLinkServiceConnections": [target]},
        )
        for target, group in (
            ("workspace", "amlworkspace"),
            ("storage", "blob"),
            ("storage", "file"),
            ("vault", "vault"),
            ("registry", "registry"),
        )
    ),
    *(
        (f"names-of-{target}", "network:PrivateDnsZoneGroup", {}, {"privateEndpointName": [f"way-to-{target}"]})
        for target in ("workspace-amlworkspace", "storage-blob", "storage-file", "vault-vault", "registry-registry")
    ),
    *(
        (zone, "privatedns:PrivateZone", {"privateZoneName": zone, "location": "global", "tags": TAGS}, {})
        for zone in (
            "privatelink.api.azureml.ms",
            "privatelink.notebooks.azure.net",
            "privatelink.blob.core.windows.net",
            "privatelink.file.core.windows.net",
            "privatelink.vaultcore.azure.net",
            "privatelink.azurecr.io",
        )
    ),
    *(
        (
            f"logs-of-{target}",
            "monitor:DiagnosticSetting",
            {
                "resourceUri": f"{GROUP}/{target}",
                "workspaceId": f"{GROUP}/log",
                "logs": [{"categoryGroup": "allLogs", "enabled": True}],
                "metrics": [{"category": "AllMetrics", "enabled": True}],
            },
            {"resourceUri": [target]},
        )
        for target in ("workspace", "endpoint", "storage", "vault", "registry")
    ),
    (
        "people",
        "monitor:ActionGroup",
        {"location": "global", "tags": TAGS, "emailReceivers": [{"emailAddress": "team@example.com"}]},
        {},
    ),
    (
        "errors",
        "monitor:MetricAlert",
        {"location": "global", "tags": TAGS, "enabled": True, "actions": [{"actionGroupId": f"{GROUP}/people"}]},
        {"scopes": ["endpoint"]},
    ),
    (
        "budget",
        "consumption:Budget",
        {
            "amount": 200.0,
            "notifications": {
                "spent": {"enabled": True, "threshold": 80.0, "contactEmails": ["team@example.com"]},
                "ahead": {"enabled": True, "thresholdType": "Forecasted", "contactEmails": ["team@example.com"]},
            },
        },
        {},
    ),
    ("identity", "managedidentity:UserAssignedIdentity", PLACED, {}),
    (
        "assignment",
        "authorization:RoleAssignment",
        {
            "scope": f"{GROUP}/providers/Microsoft.Storage/storageAccounts/st",
            "roleDefinitionId": f"{ROLE}/ba92f5b4-2d11-453d-a403-e96b0029c9fe",
            "principalType": "ServicePrincipal",
        },
        {"principalId": ["identity"]},
    ),
    (
        "administrator",
        "authorization:RoleAssignment",
        {
            "scope": GROUP,
            "roleDefinitionId": f"{ROLE}/f58310d9-a9f6-439a-9e8d-f62e7b41a168",
            "principalType": "ServicePrincipal",
            "condition": "@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:…",
        },
        {"principalId": ["identity"]},
    ),
    (
        "caller",
        "authorization:RoleDefinition",
        {"permissions": [{"actions": ["Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"]}]},
        {},
    ),
    ("models", "machinelearningservices:Registry", PLACED, {}),
    (
        "approved",
        "authorization:PolicyAssignment",
        {"policyDefinitionId": "/providers/…/policyDefinitions/19539b54-c61e-4196-9a38-67598701be90"},
        {},
    ),
]

Changed = Callable[[list[Resource]], list[Resource]]


def stack() -> list[Resource]:
    """The whole stack, anew."""
    return [
        Resource(
            type,
            name,
            copy.deepcopy(properties),
            urn=name,
            protect=True,
            uses={path: list(names) for path, names in uses.items()},
        )
        for name, type, properties, uses in STACK
    ]


def with_value(name: str, path: str, value: Any) -> Changed:
    """The stack with another value at a path of one resource; None takes it away."""

    def change(before: list[Resource]) -> list[Resource]:
        (resource,) = [one for one in before if one.name == name]
        *outer, last = path.split(".")
        properties: Any = resource.properties
        for part in outer:
            properties = properties.setdefault(part, {})
        if value is None:
            properties.pop(last)
        else:
            properties[last] = value
        return before

    return change


def without(*names: str) -> Changed:
    return lambda before: [one for one in before if one.name not in names]


def with_use(name: str, path: str, *used: str) -> Changed:
    return lambda before: [
        replace(one, uses={**one.uses, path: list(used)}) if one.name == name else one for one in before
    ]


def unprotected(name: str) -> Changed:
    return lambda before: [replace(one, protect=False) if one.name == name else one for one in before]


def with_twin(name: str) -> Changed:
    """The stack with a second one of a resource, made from the same others."""

    def change(before: list[Resource]) -> list[Resource]:
        (found,) = [one for one in before if one.name == name]
        return [*before, replace(found, name=f"{name}-2", urn=f"{name}-2")]

    return change


OWNER = f"{ROLE}/8e3af657-a8ff-443c-a75c-2fe8c4bcb635"

# Each line: the rule, and a change that it must complain of.
VIOLATIONS: list[tuple[str, Changed]] = [
    ("workspace-public-access-disabled", with_value("workspace", "publicNetworkAccess", "Enabled")),
    ("workspace-public-access-disabled", with_value("workspace", "publicNetworkAccess", None)),
    ("workspace-public-access-disabled", with_value("workspace", "allowPublicAccessWhenBehindVnet", True)),
    ("workspace-outbound-approved-only", with_value("workspace", "managedNetwork", None)),
    (
        "workspace-outbound-approved-only",
        with_value("workspace", "managedNetwork.isolationMode", "AllowInternetOutbound"),
    ),
    ("workspace-firewall-standard", with_value("workspace", "managedNetwork.firewallSku", "Basic")),
    (
        "workspace-outbound-rules-named",
        with_value("workspace", "managedNetwork.outboundRules.all", {"type": "FQDN", "destination": "*"}),
    ),
    (
        "workspace-outbound-rules-named",
        with_value("outbound", "properties", {"type": "ServiceTag", "destination": {"serviceTag": "Internet"}}),
    ),
    ("workspace-outbound-rules-named", with_value("outbound", "properties", {"type": "Everything"})),
    ("workspace-datastores-by-identity", with_value("workspace", "systemDatastoresAuthMode", "AccessKey")),
    ("workspace-datastores-by-identity", with_value("workspace", "systemDatastoresAuthMode", None)),
    ("workspace-sensitive-data", with_value("workspace", "hbiWorkspace", None)),
    ("workspace-sensitive-data", with_value("workspace", "hbiWorkspace", False)),
    ("workspace-user-assigned-identity", with_value("workspace", "identity.type", "SystemAssigned")),
    ("workspace-user-assigned-identity", with_value("workspace", "primaryUserAssignedIdentity", None)),
    ("workspace-v1-legacy-off", with_value("workspace", "v1LegacyMode", True)),
    ("workspace-builds-images-privately", with_value("workspace", "imageBuildCompute", None)),
    ("workspace-shared-data-isolated", with_twin("workspace")),
    ("workspace-shared-data-isolated", with_use("workspace", "keyVault")),
    ("compute-local-auth-disabled", with_value("cluster", "properties.disableLocalAuth", None)),
    ("compute-local-auth-disabled", with_value("instance", "properties.disableLocalAuth", False)),
    ("compute-in-network", with_value("workspace", "managedNetwork.isolationMode", "Disabled")),
    (
        "compute-ssh-port-closed",
        with_value("cluster", "properties.properties.remoteLoginPortPublicAccess", "NotSpecified"),
    ),
    ("compute-no-public-ip", with_value("cluster", "properties.properties.enableNodePublicIp", True)),
    ("compute-no-public-ip", with_value("cluster", "properties.properties.enableNodePublicIp", None)),
    ("compute-scales-to-zero", with_value("cluster", "properties.properties.scaleSettings.minNodeCount", 1.0)),
    *(
        (
            "compute-idle-time-short",
            with_value("cluster", "properties.properties.scaleSettings.nodeIdleTimeBeforeScaleDown", waits),
        )
        for waits in ("PT901S", "PT16M", "PT1H", "P1D", "fifteen minutes")
    ),
    ("compute-user-assigned-identity", with_value("cluster", "identity", None)),
    (
        "compute-instance-stops-when-idle",
        with_value("instance", "properties.properties.idleTimeBeforeShutdown", None),
    ),
    ("endpoint-no-keys", with_value("endpoint", "properties.authMode", "Key")),
    ("endpoint-no-keys", with_value("endpoint", "properties.authMode", "AMLToken")),
    ("endpoint-public-access-disabled", with_value("endpoint", "properties.publicNetworkAccess", "Enabled")),
    ("endpoint-user-assigned-identity", with_value("endpoint", "identity.type", "SystemAssigned")),
    ("storage-shared-key-disabled", with_value("storage", "allowSharedKeyAccess", None)),
    ("storage-shared-key-disabled", with_value("storage", "allowSharedKeyAccess", True)),
    ("storage-blob-public-access-disabled", with_value("storage", "allowBlobPublicAccess", True)),
    ("storage-min-tls", with_value("storage", "minimumTlsVersion", "TLS1_1")),
    ("storage-https-only", with_value("storage", "enableHttpsTrafficOnly", False)),
    ("storage-infrastructure-encryption", with_value("storage", "encryption", None)),
    ("storage-no-cross-tenant-replication", with_value("storage", "allowCrossTenantReplication", True)),
    ("storage-no-local-users", with_value("storage", "isLocalUserEnabled", True)),
    ("storage-oauth-default", with_value("storage", "defaultToOAuthAuthentication", None)),
    ("storage-redundant", with_value("storage", "sku.name", "Standard_LRS")),
    ("storage-public-access-disabled", with_value("storage", "publicNetworkAccess", None)),
    ("vault-rbac", with_value("vault", "properties.enableRbacAuthorization", None)),
    ("vault-no-access-policies", with_value("vault", "properties.accessPolicies", [{"objectId": "somebody"}])),
    ("vault-soft-delete", with_value("vault", "properties.enableSoftDelete", False)),
    ("vault-soft-delete-retention", with_value("vault", "properties.softDeleteRetentionInDays", 7.0)),
    ("vault-purge-protection", with_value("vault", "properties.enablePurgeProtection", None)),
    ("vault-sku-standard", with_value("vault", "properties.sku.name", "premium")),
    *(
        ("vault-not-for-machines", with_value("vault", f"properties.enabledFor{what}", True))
        for what in ("Deployment", "TemplateDeployment", "DiskEncryption")
    ),
    ("vault-public-access-disabled", with_value("vault", "properties.publicNetworkAccess", "enabled")),
    ("registry-admin-disabled", with_value("registry", "adminUserEnabled", True)),
    ("registry-no-anonymous-pull", with_value("registry", "anonymousPullEnabled", True)),
    ("registry-export-disabled", with_value("registry", "policies", None)),
    ("registry-premium", with_value("registry", "sku.name", "Standard")),
    ("registry-zone-redundant", with_value("registry", "zoneRedundancy", None)),
    ("registry-bypass-azure-services", with_value("registry", "networkRuleBypassOptions", "None")),
    ("registry-public-access-disabled", with_value("registry", "publicNetworkAccess", "Enabled")),
    ("model-registry-only-approved-models", without("approved")),
    ("workspace-private-endpoint", without("way-to-workspace-amlworkspace")),
    ("storage-private-endpoint", without("way-to-storage-file")),
    ("vault-private-endpoint", without("way-to-vault-vault")),
    ("registry-private-endpoint", without("way-to-registry-registry")),
    ("private-endpoint-names", without("names-of-storage-blob")),
    ("private-endpoint-names", without("privatelink.notebooks.azure.net")),
    ("role-from-the-list", with_value("assignment", "roleDefinitionId", OWNER)),
    ("role-from-the-list", with_value("assignment", "roleDefinitionId", f"{ROLE}/00000000-unheard-of")),
    ("role-narrow-scope", with_value("administrator", "scope", SUBSCRIPTION)),
    ("role-narrow-scope", with_value("administrator", "scope", "/")),
    ("role-administrator-has-condition", with_value("administrator", "condition", None)),
    ("role-principal-type", with_value("assignment", "principalType", "User")),
    ("role-principal-type", with_value("assignment", "principalType", None)),
    ("role-definition-no-wildcard", with_value("caller", "permissions", [{"actions": ["*"]}])),
    ("role-definition-no-wildcard", with_value("caller", "permissions", [{"dataActions": ["Microsoft.Storage/*"]}])),
    *(
        ("diagnostics-exist", without(f"logs-of-{target}"))
        for target in ("workspace", "endpoint", "storage", "vault", "registry")
    ),
    ("diagnostics-complete", with_value("logs-of-vault", "workspaceId", None)),
    ("diagnostics-complete", with_value("logs-of-vault", "logs", [{"categoryGroup": "allLogs", "enabled": False}])),
    ("diagnostics-complete", with_value("logs-of-vault", "logs", [{"category": "AuditEvent", "enabled": True}])),
    ("diagnostics-complete", with_value("logs-of-vault", "metrics", None)),
    ("insights-in-log-analytics", with_value("insights", "workspaceResourceId", None)),
    ("endpoint-has-alerts", without("errors")),
    ("endpoint-has-alerts", with_value("errors", "enabled", False)),
    ("alerts-reach-someone", with_value("errors", "actions", [])),
    ("alerts-reach-someone", with_value("people", "emailReceivers", [])),
    *(("data-protected", unprotected(name)) for name in ("workspace", "storage", "vault", "models")),
    ("budget-exists", without("budget")),
    ("budget-tells-someone", with_value("budget", "amount", 0.0)),
    ("budget-tells-someone", with_value("budget", "notifications.ahead", None)),
    ("budget-tells-someone", with_value("budget", "notifications.spent.contactEmails", [])),
    ("budget-tells-someone", with_value("budget", "notifications", None)),
    ("compute-size-not-retired", with_value("cluster", "properties.properties.vmSize", RETIRED)),
    ("compute-size-not-retired", with_value("cluster", "properties.properties.vmSize", RETIRED.upper())),
    ("compute-priority-decided", with_value("cluster", "properties.properties.vmPriority", None)),
    ("tags-present", with_value("endpoint", "tags", None)),
    ("tags-present", with_value("endpoint", "tags", {**TAGS, "owner": ""})),
    ("region-allowed", with_value("storage", "location", "atlantis")),
    ("region-of-the-group", with_value("storage", "location", "westeurope")),
]


def complaints(rule: AnyRule, resources: list[Resource]) -> list[str]:
    """All that a rule has to say about a stack, resource by resource or as a whole."""
    from infra.policy.rule import StackRule

    if isinstance(rule, StackRule):
        return [problem for problem, _ in rule.problems(resources)]
    return [problem for resource in resources for problem in rule.problems(resource)]


def named(name: str) -> AnyRule:
    (found,) = [rule for rule in RULES if rule.name == name]
    return found

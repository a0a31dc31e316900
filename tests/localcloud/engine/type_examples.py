"""One working example of every type that the provider knows, in an order in which each finds what it needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from localcloud.cloud import SUBSCRIPTION, TENANT

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
ML = f"{GROUP}/providers/Microsoft.MachineLearningServices"
WORKSPACE = f"{ML}/workspaces/mlw"
NETWORK = f"{GROUP}/providers/Microsoft.Network"
STORAGE = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/tunestackst"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv-tunestack"
LOGS = f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/logs"
IN_GROUP = {"resourceGroupName": "rg"}
IN_WORKSPACE = {**IN_GROUP, "workspaceName": "mlw"}
HERE = {"location": "eastus"}
EVERYWHERE = {"location": "global"}
AUTHORIZATION = "/providers/Microsoft.Authorization"
READER = f"/subscriptions/{SUBSCRIPTION}{AUTHORIZATION}/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7"
NO_SHARED_KEYS = f"{AUTHORIZATION}/policyDefinitions/8c6a50c6-9ffd-4ae7-986f-5fa6111f9a54"


@dataclass(frozen=True)
class Example:
    """`inputs` as a program gives them, `change` what an update changes in place; none where nothing can be."""

    token: str
    inputs: dict[str, Any]
    change: dict[str, Any] = field(default_factory=lambda: {"tags": {"owner": "team"}})
    # What goes only with its parent: Azure has no DELETE for it.
    stays: bool = False
    # Members that the service writes by itself after the program did: a program ignores changes of these.
    drifts: tuple[str, ...] = ()
    # What an import finds under other names than the program gives it.
    hidden: frozenset[str] = frozenset()


def _budget(amount: int) -> dict[str, Any]:
    told = {"enabled": True, "operator": "GreaterThan", "threshold": 80, "contactEmails": ["team@example.com"]}
    return {
        "scope": GROUP.strip("/"),
        "budgetName": "budget",
        "amount": amount,
        "category": "Cost",
        "timeGrain": "Monthly",
        "timePeriod": {"startDate": "2026-11-01T00:00:00Z"},
        "notifications": {"actual-80": told},
    }


EXAMPLES = (
    Example("resources:ResourceGroup", {"resourceGroupName": "rg", **HERE}),
    Example(
        "storage:StorageAccount",
        {**IN_GROUP, **HERE, "accountName": "tunestackst", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}},
        {"allowSharedKeyAccess": False},
    ),
    Example(
        "storage:BlobServiceProperties",
        {**IN_GROUP, "accountName": "tunestackst", "blobServicesName": "default", "isVersioningEnabled": True},
        {"deleteRetentionPolicy": {"enabled": True, "days": 7}},
        stays=True,
    ),
    Example(
        "storage:BlobContainer",
        {**IN_GROUP, "accountName": "tunestackst", "containerName": "state"},
        {"metadata": {"a": "b"}},
    ),
    Example(
        "keyvault:Vault",
        {
            **IN_GROUP,
            **HERE,
            "vaultName": "kv-tunestack",
            "properties": {"tenantId": TENANT, "sku": {"family": "A", "name": "standard"}},
        },
    ),
    Example(
        "keyvault:Key",
        {**IN_GROUP, "vaultName": "kv-tunestack", "keyName": "state", "properties": {"kty": "RSA", "keySize": 2048}},
        {},
        stays=True,
        hidden=frozenset({"properties"}),
    ),
    Example("operationalinsights:Workspace", {**IN_GROUP, **HERE, "workspaceName": "logs"}, {"retentionInDays": 60}),
    Example(
        "applicationinsights:Component",
        {
            **IN_GROUP,
            **HERE,
            "resourceName": "insights",
            "kind": "web",
            "applicationType": "web",
            "workspaceResourceId": LOGS,
        },
    ),
    Example(
        "containerregistry:Registry",
        {**IN_GROUP, **HERE, "registryName": "tunestackcr", "sku": {"name": "Premium"}},
        {"publicNetworkAccess": "Disabled"},
    ),
    Example("managedidentity:UserAssignedIdentity", {**IN_GROUP, **HERE, "resourceName": "ci-main"}),
    Example(
        "managedidentity:FederatedIdentityCredential",
        {
            **IN_GROUP,
            "resourceName": "ci-main",
            "federatedIdentityCredentialResourceName": "main",
            "issuer": "https://token.actions.githubusercontent.com",
            "subject": "repo:o/r:ref:refs/heads/main",
            "audiences": ["api://AzureADTokenExchange"],
        },
        {"subject": "repo:o/r:environment:prod"},
    ),
    Example(
        "authorization:RoleAssignment",
        {
            "scope": GROUP.strip("/"),
            "roleAssignmentName": "11111111-2222-4333-8444-555555555555",
            "principalId": "99999999-2222-4333-8444-555555555555",
            "principalType": "ServicePrincipal",
            "roleDefinitionId": READER,
        },
        {},
    ),
    Example(
        "authorization:RoleDefinition",
        {
            "scope": GROUP.strip("/"),
            "roleDefinitionId": "22222222-2222-4333-8444-555555555555",
            "roleName": "scorer",
            "roleType": "CustomRole",
            "assignableScopes": [GROUP],
            "permissions": [{"actions": ["Microsoft.MachineLearningServices/workspaces/read"]}],
        },
        {"description": "Asks an endpoint, and no more"},
    ),
    Example(
        "authorization:PolicyAssignment",
        {
            "scope": GROUP.strip("/"),
            "policyAssignmentName": "no-keys",
            "policyDefinitionId": NO_SHARED_KEYS,
            "parameters": {"effect": {"value": "Audit"}},
        },
        {"displayName": "No keys"},
    ),
    Example(
        "authorization:ManagementLockByScope",
        {"scope": VAULT.strip("/"), "lockName": "keep", "level": "CanNotDelete"},
        {"notes": "Holds the keys of the state"},
    ),
    Example(
        "authorization:ManagementLockAtResourceGroupLevel",
        {**IN_GROUP, "lockName": "keep-all", "level": "CanNotDelete"},
        {"notes": "Ask the team"},
    ),
    Example(
        "network:NetworkSecurityGroup",
        {
            **IN_GROUP,
            **HERE,
            "networkSecurityGroupName": "nsg",
            "securityRules": [
                {
                    "name": "no-internet",
                    "access": "Deny",
                    "direction": "Inbound",
                    "protocol": "*",
                    "priority": 4000,
                    "sourceAddressPrefix": "Internet",
                    "sourcePortRange": "*",
                    "destinationAddressPrefix": "*",
                    "destinationPortRange": "*",
                }
            ],
        },
    ),
    Example(
        "network:VirtualNetwork",
        {**IN_GROUP, **HERE, "virtualNetworkName": "vnet", "addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}},
    ),
    Example(
        "network:Subnet",
        {
            **IN_GROUP,
            "virtualNetworkName": "vnet",
            "subnetName": "endpoints",
            "addressPrefix": "10.0.1.0/24",
            "networkSecurityGroup": {"id": f"{NETWORK}/networkSecurityGroups/nsg"},
        },
        {"privateEndpointNetworkPolicies": "Enabled"},
    ),
    Example(
        "privatedns:PrivateZone",
        {**IN_GROUP, **EVERYWHERE, "privateZoneName": "privatelink.blob.core.windows.net"},
    ),
    Example(
        "privatedns:VirtualNetworkLink",
        {
            **IN_GROUP,
            **EVERYWHERE,
            "privateZoneName": "privatelink.blob.core.windows.net",
            "virtualNetworkLinkName": "vnet",
            "registrationEnabled": False,
            "virtualNetwork": {"id": f"{NETWORK}/virtualNetworks/vnet"},
        },
    ),
    Example(
        "network:PrivateEndpoint",
        {
            **IN_GROUP,
            **HERE,
            "privateEndpointName": "pe-blob",
            "subnet": {"id": f"{NETWORK}/virtualNetworks/vnet/subnets/endpoints"},
            "privateLinkServiceConnections": [
                {"name": "blob", "privateLinkServiceId": STORAGE, "groupIds": ["blob"]},
            ],
        },
    ),
    Example(
        "network:PrivateDnsZoneGroup",
        {
            **IN_GROUP,
            "privateEndpointName": "pe-blob",
            "privateDnsZoneGroupName": "default",
            "privateDnsZoneConfigs": [
                {
                    "name": "blob",
                    "privateDnsZoneId": f"{NETWORK}/privateDnsZones/privatelink.blob.core.windows.net",
                }
            ],
        },
        {},
    ),
    Example(
        "machinelearningservices:Workspace",
        {
            **IN_WORKSPACE,
            **HERE,
            "storageAccount": STORAGE,
            "keyVault": VAULT,
            "applicationInsights": f"{GROUP}/providers/Microsoft.Insights/components/insights",
            "identity": {"type": "SystemAssigned"},
            "managedNetwork": {"isolationMode": "AllowOnlyApprovedOutbound"},
        },
        {"description": "changed"},
        drifts=("managedNetwork.outboundRules", "managedNetwork.status"),
    ),
    Example(
        "machinelearningservices:ManagedNetworkSettingsRule",
        {**IN_WORKSPACE, "ruleName": "pypi", "properties": {"type": "FQDN", "destination": "pypi.org"}},
        {"properties": {"type": "FQDN", "destination": "*.pythonhosted.org"}},
        drifts=("properties.status",),
    ),
    Example(
        "machinelearningservices:Compute",
        {
            **IN_WORKSPACE,
            **HERE,
            "computeName": "cpu-cluster",
            "properties": {
                "computeType": "AmlCompute",
                "properties": {"vmSize": "Standard_DS3_v2", "scaleSettings": {"minNodeCount": 0, "maxNodeCount": 1}},
            },
        },
    ),
    Example(
        "machinelearningservices:Datastore",
        {
            **IN_WORKSPACE,
            "name": "own",
            "properties": {
                "datastoreType": "AzureBlob",
                "accountName": "tunestackst",
                "containerName": "state",
                "credentials": {"credentialsType": "None"},
            },
        },
        {},
    ),
    Example(
        "machinelearningservices:OnlineEndpoint",
        {
            **IN_WORKSPACE,
            **HERE,
            "endpointName": "chat-types",
            "kind": "Managed",
            "properties": {"authMode": "AADToken"},
        },
    ),
    Example(
        "machinelearningservices:Registry",
        {
            **IN_GROUP,
            **HERE,
            "registryName": "shared",
            "identity": {"type": "SystemAssigned"},
            "regionDetails": [
                {
                    "location": "eastus",
                    "acrDetails": [{"systemCreatedAcrAccount": {"acrAccountSku": "Premium"}}],
                    "storageAccountDetails": [
                        {
                            "systemCreatedStorageAccount": {
                                "storageAccountType": "standard_lrs",
                                "storageAccountHnsEnabled": False,
                            }
                        }
                    ],
                }
            ],
        },
    ),
    Example(
        "monitor:DiagnosticSetting",
        {
            "resourceUri": WORKSPACE.strip("/"),
            "name": "to-logs",
            "workspaceId": LOGS,
            "logs": [{"categoryGroup": "allLogs", "enabled": True}],
            "metrics": [{"category": "AllMetrics", "enabled": True}],
        },
        {"metrics": [{"category": "AllMetrics", "enabled": False}]},
    ),
    Example(
        "monitor:ActionGroup",
        {
            **IN_GROUP,
            **EVERYWHERE,
            "actionGroupName": "mails",
            "groupShortName": "mails",
            "enabled": True,
            "emailReceivers": [{"name": "team", "emailAddress": "team@example.com", "useCommonAlertSchema": True}],
        },
    ),
    Example(
        "monitor:MetricAlert",
        {
            **IN_GROUP,
            **EVERYWHERE,
            "ruleName": "slow",
            "enabled": True,
            "severity": 2,
            "scopes": [f"{WORKSPACE}/onlineEndpoints/chat-types"],
            "evaluationFrequency": "PT5M",
            "windowSize": "PT15M",
            "criteria": {
                "odataType": "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria",
                "allOf": [
                    {
                        "criterionType": "StaticThresholdCriterion",
                        "name": "p90",
                        "metricName": "RequestLatency_P90",
                        "operator": "GreaterThan",
                        "threshold": 10000,
                        "timeAggregation": "Average",
                    }
                ],
            },
            "actions": [{"actionGroupId": f"{GROUP}/providers/Microsoft.Insights/actionGroups/mails"}],
        },
    ),
    Example(
        "monitor:AutoscaleSetting",
        {
            **IN_GROUP,
            **HERE,
            "autoscaleSettingName": "scale",
            "enabled": True,
            "targetResourceUri": f"{WORKSPACE}/onlineEndpoints/chat-types",
            "profiles": [{"name": "all", "capacity": {"minimum": "1", "maximum": "2", "default": "1"}, "rules": []}],
        },
    ),
    Example("consumption:Budget", _budget(200), {"amount": 300}),
)
# A deployment needs a model to serve, a connection has no service in the local cloud.
ELSEWHERE = {
    "machinelearningservices:OnlineDeployment": "tests/localcloud/serving/test_deployments.py",
    "machinelearningservices:WorkspaceConnection": "not served: the local cloud answers 501",
}

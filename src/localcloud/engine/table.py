"""The resource types that the provider knows: their ARM path, api-version, names, and what forces a replacement.

What the service itself enforces is left to the local cloud; what can be read off the SDK is in `shapes.json`.
Paths and versions are those of azure-native 3.29.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

GROUP = "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}"
ML = GROUP + "/providers/Microsoft.MachineLearningServices"
WORKSPACE = ML + "/workspaces/{workspaceName}"
NETWORK = GROUP + "/providers/Microsoft.Network"
NETWORK_VERSION = "2024-05-01"
ML_VERSION = "2025-12-01"
ASSET_NAME = r"^[a-zA-Z0-9][a-zA-Z0-9\-_]{0,254}$"
LISTED_NAME = r"^[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}$"

AutoName = Literal["random", "copy", "uuid"]


@dataclass(frozen=True, slots=True)
class ResourceType:
    """One resource type: `path` is its ARM path with the SDK's input names in braces.

    `envelope`: inputs that stand beside `properties` in the body; of a type whose SDK has no `properties` input
    all others go inside it. `wire`: SDK path to wire name, where the two differ; lists and maps add no step.
    `nested`: inner objects in the form of ARM resources, with all but id, name and the like in `properties`.
    `replaces`: inputs beyond the path's that cannot be changed in place. `query`: inputs sent in the query.
    `name_pattern`: what the specification demands of the last path parameter. `maintained`: members that an
    update carries over from the live resource when the program does not set them. A `singleton` is there from its
    parent's beginning, so that creating it finds it.
    """

    path: str
    api_version: str
    autoname: AutoName = "random"
    envelope: frozenset[str] = frozenset({"location", "tags", "identity", "sku", "kind"})
    wire: Mapping[str, str] = field(default_factory=dict)
    replaces: tuple[str, ...] = ("location",)
    nested: tuple[str, ...] = ()
    query: frozenset[str] = frozenset()
    name_pattern: str | None = None
    maintained: tuple[str, ...] = ()
    auto_location: bool = True
    singleton: bool = False

    @property
    def parameters(self) -> tuple[str, ...]:
        """The inputs that the path is made of, in order; the subscription is the provider's own."""
        return tuple(name for name in re.findall(r"\{(\w+)\}", self.path) if name != "subscriptionId")

    @property
    def name_parameter(self) -> str:
        return self.parameters[-1]


class UnknownTypeError(Exception):
    """A resource type or function that the table does not have; the message names its token."""

    def __init__(self, token: str) -> None:
        super().__init__(
            f"the local cloud has no resource type '{token}'. "
            f"It has: {', '.join(sorted(one.removeprefix('azure-native:') for one in TABLE))}."
        )


def look_up(token: str) -> ResourceType:
    """The type of a token such as `azure-native:storage:StorageAccount`; an error that names it otherwise."""
    try:
        return TABLE[token]
    except KeyError:
        raise UnknownTypeError(token) from None


APPLICATION_INSIGHTS_WIRE = {
    "applicationType": "Application_Type",
    "flowType": "Flow_Type",
    "requestSource": "Request_Source",
    "appId": "AppId",
    "applicationId": "ApplicationId",
    "connectionString": "ConnectionString",
    "creationDate": "CreationDate",
    "disableIpMasking": "DisableIpMasking",
    "disableLocalAuth": "DisableLocalAuth",
    "forceCustomerStorageForProfiler": "ForceCustomerStorageForProfiler",
    "hockeyAppId": "HockeyAppId",
    "hockeyAppToken": "HockeyAppToken",
    "immediatePurgeDataOn30Days": "ImmediatePurgeDataOn30Days",
    "ingestionMode": "IngestionMode",
    "instrumentationKey": "InstrumentationKey",
    "laMigrationDate": "LaMigrationDate",
    "privateLinkScopedResources": "PrivateLinkScopedResources",
    "retentionInDays": "RetentionInDays",
    "samplingPercentage": "SamplingPercentage",
    "tenantId": "TenantId",
    "workspaceResourceId": "WorkspaceResourceId",
}

TABLE: Mapping[str, ResourceType] = {
    "azure-native:resources:ResourceGroup": ResourceType(
        path=GROUP,
        api_version="2024-03-01",
        envelope=frozenset({"location", "tags", "managedBy"}),
        name_pattern=r"^[-\w._()]{1,90}$",
    ),
    "azure-native:storage:StorageAccount": ResourceType(
        path=GROUP + "/providers/Microsoft.Storage/storageAccounts/{accountName}",
        api_version="2024-01-01",
        envelope=frozenset({"location", "tags", "identity", "sku", "kind", "extendedLocation"}),
        wire={
            "enableHttpsTrafficOnly": "supportsHttpsTrafficOnly",
            "enableNfsV3": "isNfsV3Enabled",
            "networkRuleSet": "networkAcls",
            "networkRuleSet.ipRules.iPAddressOrRange": "value",
            "networkRuleSet.virtualNetworkRules.virtualNetworkResourceId": "id",
            "encryption.keyVaultProperties": "keyvaultproperties",
            "encryption.encryptionIdentity": "identity",
            "encryption.encryptionIdentity.encryptionUserAssignedIdentity": "userAssignedIdentity",
            "encryption.encryptionIdentity.encryptionFederatedIdentityClientId": "federatedIdentityClientId",
        },
        replaces=("location", "isHnsEnabled"),
        name_pattern=r"^[a-z0-9]{3,24}$",
    ),
    "azure-native:storage:BlobServiceProperties": ResourceType(
        path=GROUP + "/providers/Microsoft.Storage/storageAccounts/{accountName}/blobServices/{blobServicesName}",
        api_version="2024-01-01",
        autoname="copy",
        envelope=frozenset(),
        singleton=True,
    ),
    "azure-native:storage:BlobContainer": ResourceType(
        path=GROUP
        + "/providers/Microsoft.Storage/storageAccounts/{accountName}/blobServices/default/containers/{containerName}",
        api_version="2024-01-01",
        autoname="copy",
        envelope=frozenset(),
        name_pattern=r"^.{3,63}$",
    ),
    "azure-native:keyvault:Vault": ResourceType(
        path=GROUP + "/providers/Microsoft.KeyVault/vaults/{vaultName}",
        api_version="2024-11-01",
        name_pattern=r"^[a-zA-Z0-9-]{3,24}$",
        maintained=("properties.accessPolicies",),
    ),
    "azure-native:keyvault:Key": ResourceType(
        path=GROUP + "/providers/Microsoft.KeyVault/vaults/{vaultName}/keys/{keyName}",
        api_version="2024-11-01",
        autoname="copy",
        envelope=frozenset({"tags"}),
        name_pattern=r"^[a-zA-Z0-9-]{1,127}$",
        auto_location=False,
    ),
    "azure-native:applicationinsights:Component": ResourceType(
        path=GROUP + "/providers/Microsoft.Insights/components/{resourceName}",
        api_version="2020-02-02",
        envelope=frozenset({"location", "tags", "kind", "etag"}),
        wire=APPLICATION_INSIGHTS_WIRE,
    ),
    "azure-native:operationalinsights:Workspace": ResourceType(
        path=GROUP + "/providers/Microsoft.OperationalInsights/workspaces/{workspaceName}",
        api_version="2023-09-01",
        envelope=frozenset({"location", "tags", "identity", "etag"}),
        name_pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]$",
    ),
    "azure-native:containerregistry:Registry": ResourceType(
        path=GROUP + "/providers/Microsoft.ContainerRegistry/registries/{registryName}",
        api_version="2023-01-01-preview",
        wire={"networkRuleSet.ipRules.iPAddressOrRange": "value"},
        name_pattern=r"^[a-zA-Z0-9]{5,50}$",
    ),
    "azure-native:managedidentity:UserAssignedIdentity": ResourceType(
        path=GROUP + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{resourceName}",
        api_version="2023-01-31",
        envelope=frozenset({"location", "tags"}),
    ),
    "azure-native:managedidentity:FederatedIdentityCredential": ResourceType(
        path=GROUP
        + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{resourceName}"
        + "/federatedIdentityCredentials/{federatedIdentityCredentialResourceName}",
        api_version="2023-01-31",
        autoname="copy",
        envelope=frozenset(),
        name_pattern=r"^[a-zA-Z0-9][a-zA-Z0-9-_]{2,119}$",
    ),
    "azure-native:authorization:RoleAssignment": ResourceType(
        path="/{scope}/providers/Microsoft.Authorization/roleAssignments/{roleAssignmentName}",
        api_version="2022-04-01",
        autoname="uuid",
        envelope=frozenset(),
        replaces=("principalId",),
    ),
    "azure-native:authorization:RoleDefinition": ResourceType(
        path="/{scope}/providers/Microsoft.Authorization/roleDefinitions/{roleDefinitionId}",
        api_version="2022-05-01-preview",
        autoname="uuid",
        envelope=frozenset(),
        wire={"roleType": "type"},
    ),
    "azure-native:machinelearningservices:Workspace": ResourceType(
        path=WORKSPACE, api_version=ML_VERSION, name_pattern=LISTED_NAME
    ),
    "azure-native:machinelearningservices:Compute": ResourceType(
        path=WORKSPACE + "/computes/{computeName}", api_version=ML_VERSION, autoname="copy"
    ),
    "azure-native:machinelearningservices:OnlineEndpoint": ResourceType(
        path=WORKSPACE + "/onlineEndpoints/{endpointName}",
        api_version=ML_VERSION,
        name_pattern=ASSET_NAME,
    ),
    "azure-native:machinelearningservices:OnlineDeployment": ResourceType(
        path=WORKSPACE + "/onlineEndpoints/{endpointName}/deployments/{deploymentName}",
        api_version=ML_VERSION,
        autoname="copy",
        name_pattern=ASSET_NAME,
    ),
    "azure-native:machinelearningservices:Datastore": ResourceType(
        path=WORKSPACE + "/datastores/{name}",
        api_version=ML_VERSION,
        autoname="copy",
        envelope=frozenset(),
        query=frozenset({"skipValidation"}),
        name_pattern=ASSET_NAME,
    ),
    "azure-native:machinelearningservices:Registry": ResourceType(
        path=ML + "/registries/{registryName}", api_version=ML_VERSION, name_pattern=LISTED_NAME
    ),
    "azure-native:machinelearningservices:WorkspaceConnection": ResourceType(
        path=WORKSPACE + "/connections/{connectionName}",
        api_version=ML_VERSION,
        autoname="copy",
        envelope=frozenset(),
        name_pattern=LISTED_NAME,
    ),
    "azure-native:monitor:DiagnosticSetting": ResourceType(
        path="/{resourceUri}/providers/Microsoft.Insights/diagnosticSettings/{name}",
        api_version="2021-05-01-preview",
        envelope=frozenset(),
    ),
    "azure-native:monitor:MetricAlert": ResourceType(
        path=GROUP + "/providers/Microsoft.Insights/metricAlerts/{ruleName}",
        api_version="2018-03-01",
        envelope=frozenset({"location", "tags"}),
        wire={"criteria.odataType": "odata.type"},
        auto_location=False,  # alerts are `global`: the group's region would be refused
    ),
    "azure-native:monitor:ActionGroup": ResourceType(
        path=GROUP + "/providers/Microsoft.Insights/actionGroups/{actionGroupName}",
        api_version="2024-10-01-preview",
        envelope=frozenset({"location", "tags", "identity"}),
        auto_location=False,
    ),
    "azure-native:monitor:AutoscaleSetting": ResourceType(
        path=GROUP + "/providers/Microsoft.Insights/autoscaleSettings/{autoscaleSettingName}",
        api_version="2021-05-01-preview",
        envelope=frozenset({"location", "tags"}),
        wire={
            "profiles.rules.metricTrigger.dimensions.dimensionName": "DimensionName",
            "profiles.rules.metricTrigger.dimensions.operator": "Operator",
            "profiles.rules.metricTrigger.dimensions.values": "Values",
        },
    ),
    "azure-native:consumption:Budget": ResourceType(
        path="/{scope}/providers/Microsoft.Consumption/budgets/{budgetName}",
        api_version="2024-08-01",
        envelope=frozenset({"eTag"}),
    ),
    "azure-native:authorization:ManagementLockByScope": ResourceType(
        path="/{scope}/providers/Microsoft.Authorization/locks/{lockName}",
        api_version="2020-05-01",
        envelope=frozenset(),
    ),
    "azure-native:authorization:ManagementLockAtResourceGroupLevel": ResourceType(
        path=GROUP + "/providers/Microsoft.Authorization/locks/{lockName}",
        api_version="2020-05-01",
        envelope=frozenset(),
    ),
    "azure-native:authorization:PolicyAssignment": ResourceType(
        path="/{scope}/providers/Microsoft.Authorization/policyAssignments/{policyAssignmentName}",
        api_version="2025-01-01",
        envelope=frozenset({"location", "identity"}),
        auto_location=False,
    ),
    "azure-native:machinelearningservices:ManagedNetworkSettingsRule": ResourceType(
        path=WORKSPACE + "/outboundRules/{ruleName}",
        api_version=ML_VERSION,
        autoname="copy",
        envelope=frozenset(),
    ),
    "azure-native:network:VirtualNetwork": ResourceType(
        path=NETWORK + "/virtualNetworks/{virtualNetworkName}",
        api_version=NETWORK_VERSION,
        envelope=frozenset({"location", "tags", "extendedLocation", "id"}),
        nested=("subnets", "subnets.delegations", "subnets.networkSecurityGroup", "virtualNetworkPeerings"),
        maintained=("properties.subnets",),
    ),
    "azure-native:network:Subnet": ResourceType(
        path=NETWORK + "/virtualNetworks/{virtualNetworkName}/subnets/{subnetName}",
        api_version=NETWORK_VERSION,
        autoname="copy",
        envelope=frozenset({"id", "name", "type"}),
        nested=("delegations", "networkSecurityGroup"),
    ),
    "azure-native:network:NetworkSecurityGroup": ResourceType(
        path=NETWORK + "/networkSecurityGroups/{networkSecurityGroupName}",
        api_version=NETWORK_VERSION,
        envelope=frozenset({"location", "tags", "id"}),
        nested=("securityRules",),
    ),
    "azure-native:network:PrivateEndpoint": ResourceType(
        path=NETWORK + "/privateEndpoints/{privateEndpointName}",
        api_version=NETWORK_VERSION,
        envelope=frozenset({"location", "tags", "extendedLocation", "id"}),
        nested=(
            *("privateLinkServiceConnections", "manualPrivateLinkServiceConnections", "ipConfigurations", "subnet"),
            "applicationSecurityGroups",
        ),
        replaces=("location", "subnet"),
    ),
    "azure-native:network:PrivateDnsZoneGroup": ResourceType(
        path=NETWORK + "/privateEndpoints/{privateEndpointName}/privateDnsZoneGroups/{privateDnsZoneGroupName}",
        api_version=NETWORK_VERSION,
        autoname="copy",
        envelope=frozenset({"id", "name"}),
        nested=("privateDnsZoneConfigs",),
    ),
    "azure-native:privatedns:PrivateZone": ResourceType(
        path=NETWORK + "/privateDnsZones/{privateZoneName}",
        api_version="2024-06-01",
        envelope=frozenset({"location", "tags"}),
    ),
    "azure-native:privatedns:VirtualNetworkLink": ResourceType(
        path=NETWORK + "/privateDnsZones/{privateZoneName}/virtualNetworkLinks/{virtualNetworkLinkName}",
        api_version="2024-06-01",
        autoname="copy",
        envelope=frozenset({"location", "tags"}),
    ),
}


@functools.cache
def id_pattern(path: str) -> re.Pattern[str]:
    """A resource's path template as an expression that takes an id apart; a leading scope may hold slashes."""
    fixed = re.split(r"\{(\w+)\}", path)
    made = "".join(
        re.escape(part) if at % 2 == 0 else f"(?P<{part}>{'.+' if part in ('scope', 'resourceUri') else '[^/]+'})"
        for at, part in enumerate(fixed)
    )
    return re.compile(f"^{made}$", re.IGNORECASE)

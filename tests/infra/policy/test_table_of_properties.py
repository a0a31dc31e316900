"""Each line of the security table (the properties that a review of an Azure ML stack goes through) has its rules."""

from __future__ import annotations

import pytest

from infra.policy.pack import RULES

# Resource and property as Azure calls them, and the rules that ask for its best value.
TABLE: dict[str, tuple[str, ...]] = {
    "workspace publicNetworkAccess": ("workspace-public-access-disabled", "workspace-private-endpoint"),
    "workspace private DNS": ("private-endpoint-names",),
    "workspace managedNetwork.isolationMode": ("workspace-outbound-approved-only",),
    "workspace managedNetwork.firewallSku": ("workspace-firewall-standard",),
    "workspace managedNetwork.outboundRules": ("workspace-outbound-rules-named",),
    "workspace systemDatastoresAuthMode": ("workspace-datastores-by-identity",),
    "workspace hbiWorkspace": ("workspace-sensitive-data",),
    "workspace identity, primaryUserAssignedIdentity": ("workspace-user-assigned-identity",),
    "workspace enableDataIsolation": ("workspace-shared-data-isolated",),
    "workspace v1LegacyMode": ("workspace-v1-legacy-off",),
    "workspace imageBuildCompute": ("workspace-builds-images-privately",),
    "workspace diagnostics": ("diagnostics-exist", "diagnostics-complete"),
    "compute disableLocalAuth": ("compute-local-auth-disabled",),
    "compute subnet or managed network": ("compute-in-network",),
    "compute remoteLoginPortPublicAccess": ("compute-ssh-port-closed",),
    "compute enableNodePublicIp": ("compute-no-public-ip",),
    "compute minNodeCount": ("compute-scales-to-zero",),
    "compute nodeIdleTimeBeforeScaleDown": ("compute-idle-time-short",),
    "endpoint authMode": ("endpoint-no-keys",),
    "endpoint publicNetworkAccess": ("endpoint-public-access-disabled",),
    "storage allowSharedKeyAccess": ("storage-shared-key-disabled",),
    "storage allowBlobPublicAccess": ("storage-blob-public-access-disabled",),
    "storage minimumTlsVersion": ("storage-min-tls",),
    "storage supportsHttpsTrafficOnly": ("storage-https-only",),
    "storage requireInfrastructureEncryption": ("storage-infrastructure-encryption",),
    "storage allowCrossTenantReplication": ("storage-no-cross-tenant-replication",),
    "storage isLocalUserEnabled": ("storage-no-local-users",),
    "storage defaultToOAuthAuthentication": ("storage-oauth-default",),
    "storage skuName": ("storage-redundant",),
    "vault enableRbacAuthorization": ("vault-rbac", "vault-no-access-policies"),
    "vault enableSoftDelete": ("vault-soft-delete",),
    "vault softDeleteRetentionInDays": ("vault-soft-delete-retention",),
    "vault enablePurgeProtection": ("vault-purge-protection",),
    "vault sku": ("vault-sku-standard",),
    "vault enabledForDeployment, TemplateDeployment, DiskEncryption": ("vault-not-for-machines",),
    "registry adminUserEnabled": ("registry-admin-disabled",),
    "registry anonymousPullEnabled": ("registry-no-anonymous-pull",),
    "registry exportPolicy.status": ("registry-export-disabled",),
    "registry sku": ("registry-premium",),
    "registry zoneRedundancy": ("registry-zone-redundant",),
    "registry networkRuleBypassOptions": ("registry-bypass-azure-services",),
}


@pytest.mark.parametrize("line", TABLE)
def test_each_line_of_the_table_has_a_rule(line: str) -> None:
    assert set(TABLE[line]) <= {rule.name for rule in RULES}


def test_the_properties_are_those_that_the_rules_of_their_noun_read() -> None:
    """A line without a rule of its noun would be asked of something else."""
    nouns = {rule.name: {type.rpartition(":")[2].casefold() for type in rule.types} for rule in RULES}
    means = {
        "workspace": {"workspace", "privateendpoint", "diagnosticsetting", "managednetworksettingsrule"},
        "compute": {"compute"},
        "endpoint": {"onlineendpoint"},
        "storage": {"storageaccount"},
        "vault": {"vault"},
        "registry": {"registry"},
    }
    for line, names in TABLE.items():
        for name in names:
            assert nouns[name] & means[line.partition(" ")[0]], (line, name)

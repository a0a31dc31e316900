"""The security properties that every stack is held to, as data: what they are, on prod and on dev, and who asks.

The list is that of the reference on Azure ML's security defaults: Azure Verified Modules, PSRule and the built-in
policies for Machine Learning. `test_properties` holds the plans against it, `pages` writes it into the docs.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ML = "machinelearningservices"
WORKSPACE, COMPUTE, ENDPOINT = f"{ML}:Workspace", f"{ML}:Compute", f"{ML}:OnlineEndpoint"
STORAGE, VAULT, REGISTRY = "storage:StorageAccount", "keyvault:Vault", "containerregistry:Registry"
ANY = "…"


@dataclass(frozen=True)
class Property:
    """A property of all resources of a type (or of the one called `name`), at its path in the inputs.

    `excuse` is what the comment in `Pulumi.dev.yaml` says where dev differs, `line` what the line that sets it has.
    """

    token: str
    path: str
    prod: Any
    dev: Any
    line: str
    excuse: str = ""
    file: str = "workspace.py"
    name: str = ""

    @property
    def place(self) -> str:
        """`infra/FILE:LINE` where it is set."""
        return f"infra/{self.file}:{_line(self.file, self.line)}"


@functools.cache
def _line(file: str, pattern: str) -> int:
    lines = (ROOT / "infra" / file).read_text().splitlines()
    found = [number for number, line in enumerate(lines, 1) if re.search(pattern, line)]
    if len(found) != 1:
        raise LookupError(f"'{pattern}' stands {len(found)} times in infra/{file}")
    return found[0]


OFF = "privateNetwork is off"
PLAIN = "sensitiveData is off"

PROPERTIES = (
    Property(WORKSPACE, "publicNetworkAccess", "Disabled", "Enabled", r"public_network_access=access\.", OFF),
    Property(
        "network:PrivateEndpoint",
        "privateLinkServiceConnections.0.groupIds",
        ["amlworkspace"],
        None,
        "group_ids=",
        OFF,
        "network.py",
        "pep-tunestack-workspace",
    ),
    Property(
        "privatedns:PrivateZone",
        "privateZoneName",
        "privatelink.api.azureml.ms",
        None,
        "privatelink.api.azureml.ms",
        OFF,
        "network.py",
        "privatelink.api.azureml.ms",
    ),
    Property(
        WORKSPACE,
        "managedNetwork.isolationMode",
        "AllowOnlyApprovedOutbound",
        None,
        "isolation_mode=",
        "the workspace has no managed network",
    ),
    Property(
        WORKSPACE,
        "managedNetwork.firewallSku",
        "Standard",
        None,
        "firewall_sku=",
        "the workspace has no managed network",
    ),
    Property(
        f"{ML}:ManagedNetworkSettingsRule",
        "properties.type",
        "FQDN",
        None,
        'type="FQDN"',
        "the workspace has no managed network",
        "network.py",
        "outbound-pypi",
    ),
    Property(
        f"{ML}:ManagedNetworkSettingsRule",
        "properties.type",
        "ServiceTag",
        None,
        'type="ServiceTag"',
        "the workspace has no managed network",
        "network.py",
        "outbound-registry-blobs",
    ),
    Property(WORKSPACE, "systemDatastoresAuthMode", "Identity", "Identity", "system_datastores_auth_mode="),
    Property(WORKSPACE, "hbiWorkspace", True, None, "hbi_workspace=", PLAIN),
    Property(WORKSPACE, "identity.type", "UserAssigned", "UserAssigned", r"IdentityType\.USER_ASSIGNED"),
    Property(WORKSPACE, "primaryUserAssignedIdentity", ANY, ANY, "primary_user_assigned_identity="),
    Property(WORKSPACE, "enableDataIsolation", True, None, "enable_data_isolation=", PLAIN),
    Property(WORKSPACE, "v1LegacyMode", False, False, "v1_legacy_mode="),
    Property(WORKSPACE, "imageBuildCompute", "build-cluster", None, "image_build_compute=", "builds images itself"),
    *(
        Property(
            "monitor:DiagnosticSetting",
            path,
            [{key: value, "enabled": True}],
            [{key: value, "enabled": True}],
            line,
            file="guardrails.py",
            name="diagnostics-of-workspace",
        )
        for path, key, value, line in (
            ("logs", "categoryGroup", "allLogs", "category_group="),
            ("metrics", "category", "AllMetrics", r"\(category="),
        )
    ),
    *(
        Property(COMPUTE, f"properties.{path}", prod, dev, line, excuse, "clusters.py")
        for path, prod, dev, line, excuse in (
            ("disableLocalAuth", True, True, "disable_local_auth=", ""),
            ("properties.remoteLoginPortPublicAccess", "Disabled", "Disabled", "remote_login_port_public_access=", ""),
            ("properties.enableNodePublicIp", False, True, "enable_node_public_ip=", "public addresses (without SSH)"),
            ("properties.scaleSettings.minNodeCount", 0, 0, "min_node_count=", ""),
            ("properties.scaleSettings.nodeIdleTimeBeforeScaleDown", "PT120S", "PT120S", "node_idle_time", ""),
        )
    ),
    Property(ENDPOINT, "properties.authMode", "AADToken", "AADToken", "auth_mode=", file="endpoints.py"),
    Property(
        ENDPOINT,
        "properties.publicNetworkAccess",
        "Disabled",
        "Enabled",
        "public_network_access=access",
        OFF,
        "endpoints.py",
    ),
    Property(STORAGE, "allowSharedKeyAccess", False, False, "allow_shared_key_access="),
    Property(STORAGE, "allowBlobPublicAccess", False, False, "allow_blob_public_access="),
    Property(STORAGE, "minimumTlsVersion", "TLS1_2", "TLS1_2", "minimum_tls_version="),
    Property(STORAGE, "enableHttpsTrafficOnly", True, True, "enable_https_traffic_only="),
    Property(
        STORAGE,
        "encryption.requireInfrastructureEncryption",
        True,
        None,
        "require_infrastructure_encryption=",
        "encrypted once",
    ),
    Property(STORAGE, "allowCrossTenantReplication", False, False, "allow_cross_tenant_replication="),
    Property(STORAGE, "isLocalUserEnabled", False, False, "is_local_user_enabled="),
    Property(STORAGE, "defaultToOAuthAuthentication", True, True, "default_to_o_auth_authentication="),
    Property(STORAGE, "sku.name", "Standard_ZRS", "Standard_LRS", r"storage\.SkuArgs", "the smallest of everything"),
    Property(
        STORAGE,
        "publicNetworkAccess",
        "Disabled",
        None,
        r"public_network_access=storage\.",
        "answer on public addresses",
    ),
    Property(
        STORAGE, "networkRuleSet.defaultAction", "Deny", None, r"=storage\.DefaultAction", "answer on public addresses"
    ),
    Property(VAULT, "properties.enableRbacAuthorization", True, True, "enable_rbac_authorization="),
    Property(VAULT, "properties.enableSoftDelete", True, True, "enable_soft_delete="),
    Property(VAULT, "properties.softDeleteRetentionInDays", 90, 7, "soft_delete_retention", "vaultDays 7"),
    Property(VAULT, "properties.enablePurgeProtection", True, None, "enable_purge_", "purgeProtection is off"),
    Property(VAULT, "properties.sku.name", "standard", "standard", r"keyvault\.SkuArgs"),
    Property(VAULT, "properties.enabledForDeployment", False, False, "enabled_for_deployment="),
    Property(VAULT, "properties.enabledForTemplateDeployment", False, False, "enabled_for_template_deployment="),
    Property(VAULT, "properties.enabledForDiskEncryption", False, False, "enabled_for_disk_encryption="),
    Property(
        VAULT,
        "properties.publicNetworkAccess",
        "Disabled",
        "enabled",
        r'public_network_access="Disabled"',
        "answer on public addresses",
    ),
    Property(REGISTRY, "adminUserEnabled", False, False, "admin_user_enabled="),
    Property(REGISTRY, "anonymousPullEnabled", False, False, "anonymous_pull_enabled="),
    Property(REGISTRY, "policies.exportPolicy.status", "disabled", None, "ExportPolicyStatus", "may be exported"),
    Property(REGISTRY, "sku.name", "Premium", "Basic", r"containerregistry\.SkuArgs", "registrySku Basic"),
    Property(REGISTRY, "zoneRedundancy", "Enabled", "Disabled", "zone_redundancy=", "no zones"),
    Property(REGISTRY, "networkRuleBypassOptions", "AzureServices", "AzureServices", "network_rule_bypass_options="),
    Property(
        REGISTRY,
        "publicNetworkAccess",
        "Disabled",
        "Enabled",
        r"public_network_access=containerregistry\.",
        "answer on public addresses",
    ),
)

"""Rules for storage accounts."""

from __future__ import annotations

from infra.policy.rule import Rule, StackRule, must_be, must_not_be
from infra.policy.sources import avm, builtin, psrule

ACCOUNT = "storage:StorageAccount"
AVM = "storage/storage-account"
MADE_IN = "infra/workspace.py"

RULES: tuple[Rule | StackRule, ...] = (
    Rule(
        "storage-shared-key-disabled",
        "A storage account takes no account keys",
        "allow_shared_key_access=False",
        (
            psrule("Azure.Storage.LocalAuth"),
            builtin(
                "Storage/StorageAccountAllowSharedKeyAccess_Audit",
                "8c6a50c6-9ffd-4ae7-986f-5fa6111f9a54",
                "Storage accounts should prevent shared key access",
            ),
        ),
        (ACCOUNT,),
        must_be("allowSharedKeyAccess", False, otherwise="true"),
        (MADE_IN, "allow_shared_key_access="),
    ),
    Rule(
        "storage-blob-public-access-disabled",
        "No container of a storage account can be made public",
        "allow_blob_public_access=False",
        (psrule("Azure.Storage.BlobPublicAccess", "AZR-000198"),),
        (ACCOUNT,),
        must_be("allowBlobPublicAccess", False),
        (MADE_IN, "allow_blob_public_access="),
    ),
    Rule(
        "storage-min-tls",
        "A storage account takes no TLS older than 1.2",
        "minimum_tls_version='TLS1_2'",
        (psrule("Azure.Storage.MinTLS", "AZR-000200"),),
        (ACCOUNT,),
        must_be("minimumTlsVersion", "TLS1_2", "TLS1_3", otherwise="TLS1_0"),
        (MADE_IN, "minimum_tls_version="),
    ),
    Rule(
        "storage-https-only",
        "A storage account takes encrypted connections only",
        "enable_https_traffic_only=True",
        (psrule("Azure.Storage.SecureTransfer", "AZR-000196"),),
        (ACCOUNT,),
        must_be("enableHttpsTrafficOnly", True),
        (MADE_IN, "enable_https_traffic_only="),
    ),
    Rule(
        "storage-infrastructure-encryption",
        "A storage account encrypts twice, by its infrastructure too: only creation can set it",
        "encryption with require_infrastructure_encryption=True; here: pulumi config set sensitiveData true",
        (
            builtin(
                "Storage/StorageAccountInfrastructureEncryptionEnabled_Audit",
                "4733ea7b-a883-42fe-8cac-97454c2a9e4a",
                "Storage accounts should have infrastructure encryption",
            ),
            avm(AVM, "parameter requireInfrastructureEncryption"),
        ),
        (ACCOUNT,),
        must_be("encryption.requireInfrastructureEncryption", True, otherwise="false"),
        (MADE_IN, "require_infrastructure_encryption="),
    ),
    Rule(
        "storage-no-cross-tenant-replication",
        "Objects of a storage account are not copied to other tenants",
        "allow_cross_tenant_replication=False",
        (
            builtin(
                "Storage/StorageAccountAllowCrossTenantReplication_Audit",
                "92a89a79-6c52-4a7e-a03f-61306fc49312",
                "Storage accounts should prevent cross tenant object replication",
            ),
        ),
        (ACCOUNT,),
        must_be("allowCrossTenantReplication", False),
        (MADE_IN, "allow_cross_tenant_replication="),
    ),
    Rule(
        "storage-no-local-users",
        "A storage account has no local users",
        "is_local_user_enabled=False",
        (avm(AVM, "parameter isLocalUserEnabled"),),
        (ACCOUNT,),
        must_be("isLocalUserEnabled", False),
        (MADE_IN, "is_local_user_enabled="),
    ),
    Rule(
        "storage-oauth-default",
        "The portal opens a storage account by identity",
        "default_to_o_auth_authentication=True",
        (avm(AVM, "parameter defaultToOAuthAuthentication"),),
        (ACCOUNT,),
        must_be("defaultToOAuthAuthentication", True, otherwise="false"),
        (MADE_IN, "default_to_o_auth_authentication="),
    ),
    Rule(
        "storage-redundant",
        "Data survives the loss of a datacentre: zones are enough here, where PSRule asks for a second region",
        "sku name 'Standard_ZRS' or wider; here: pulumi config set storageSku Standard_ZRS",
        (psrule("Azure.Storage.UseReplication", "AZR-000195"), avm(AVM, "parameter skuName")),
        (ACCOUNT,),
        must_not_be("sku.name", "Standard_LRS", "Premium_LRS"),
        (MADE_IN, "storage_sku"),
    ),
    Rule(
        "storage-public-access-disabled",
        "A storage account takes no traffic from the public internet",
        "public_network_access='Disabled'; here: pulumi config set privateNetwork true",
        (
            psrule("Azure.Storage.Firewall", "AZR-000202"),
            builtin(
                "Storage/StoragePublicNetworkAccess_AuditDeny",
                "b2982f36-99f2-4db5-8eff-283140c09693",
                "Storage accounts should disable public network access",
            ),
        ),
        (ACCOUNT,),
        must_be("publicNetworkAccess", "Disabled", "SecuredByPerimeter", otherwise="Enabled"),
        (MADE_IN, "storage.PublicNetworkAccess.DISABLED"),
    ),
)

"""Rules for key vaults."""

from __future__ import annotations

from collections.abc import Iterator

from infra.policy.rule import Resource, Rule, StackRule, both, must_be, must_not_be
from infra.policy.sources import avm, builtin, psrule

VAULT = "keyvault:Vault"
AVM = "key-vault/vault"
MADE_IN = "infra/workspace.py"


def keeps_what_is_deleted(vault: Resource, least_days: float) -> Iterator[str]:
    days = vault.get("properties.softDeleteRetentionInDays")
    # Not set is Azure's own 90 days.
    if isinstance(days, int | float) and days < least_days:
        yield f"'softDeleteRetentionInDays' is {days:g}; it must be at least {least_days:g}"


def has_no_access_policies(vault: Resource) -> Iterator[str]:
    given = vault.get("properties.accessPolicies")
    if isinstance(given, list | tuple) and given:
        yield f"{len(given)} access policies stand beside the roles"


def is_closed(vault: Resource) -> Iterator[str]:
    """Either switch closes it: the network rule or public access as a whole."""
    if str(vault.get("properties.networkAcls.defaultAction")).casefold() != "deny":
        yield from must_be("properties.publicNetworkAccess", "Disabled", otherwise="Enabled")(vault)


RULES: tuple[Rule | StackRule, ...] = (
    Rule(
        "vault-rbac",
        "A key vault gives rights by role, not by access policy",
        "enable_rbac_authorization=True",
        (
            psrule("Azure.KeyVault.RBAC", "AZR-000388"),
            builtin(
                "Key Vault/Should_Use_RBAC",
                "12d4fa5e-1f9f-4c21-97a9-b99b3c6611b5",
                "Azure Key Vault should use RBAC permission model",
            ),
        ),
        (VAULT,),
        must_be("properties.enableRbacAuthorization", True, otherwise="false"),
        (MADE_IN, "enable_rbac_authorization="),
    ),
    Rule(
        "vault-no-access-policies",
        "A key vault has no access policies",
        "no access_policies: give roles instead",
        (psrule("Azure.KeyVault.AccessPolicy", "AZR-000118"),),
        (VAULT,),
        has_no_access_policies,
    ),
    Rule(
        "vault-soft-delete",
        "A deleted key vault can be recovered",
        "enable_soft_delete=True",
        (psrule("Azure.KeyVault.SoftDelete", "AZR-000124"),),
        (VAULT,),
        must_be("properties.enableSoftDelete", True),
        (MADE_IN, "enable_soft_delete="),
    ),
    Rule(
        "vault-soft-delete-retention",
        "A deleted key vault can be recovered for 90 days",
        "soft_delete_retention_in_days=90; here: pulumi config set vaultDays 90 (fixed at creation)",
        (avm(AVM, "parameter softDeleteRetentionInDays"),),
        (VAULT,),
        keeps_what_is_deleted,
        (MADE_IN, "soft_delete_retention_in_days="),
        {"least_days": 90},
    ),
    Rule(
        "vault-purge-protection",
        "Nobody can purge a deleted key vault before its time",
        "enable_purge_protection=True; here: pulumi config set purgeProtection true (cannot be undone)",
        (
            psrule("Azure.KeyVault.PurgeProtect", "AZR-000125"),
            builtin(
                "Key Vault/Recoverable_Audit",
                "0b60c0b2-2dc2-4e1c-b5c9-abbed971de53",
                "Key vaults should have deletion protection enabled",
            ),
        ),
        (VAULT,),
        must_be("properties.enablePurgeProtection", True, otherwise="false"),
        (MADE_IN, "enable_purge_protection="),
    ),
    Rule(
        "vault-sku-standard",
        "A key vault is of tier standard: nothing here keeps a key in a hardware module, which premium is for",
        "sku name 'standard'",
        (avm(AVM, "parameter sku"),),
        (VAULT,),
        must_be("properties.sku.name", "standard"),
        (MADE_IN, "SkuName.STANDARD"),
    ),
    Rule(
        "vault-not-for-machines",
        "Virtual machines, templates and disk encryption have no way into a key vault: nothing here uses them",
        "enabled_for_deployment, …_template_deployment and …_disk_encryption False or left out",
        (avm(AVM, "parameters enableVaultForDeployment, …TemplateDeployment, …DiskEncryption"),),
        (VAULT,),
        both(
            must_not_be("properties.enabledForDeployment", True),
            must_not_be("properties.enabledForTemplateDeployment", True),
            must_not_be("properties.enabledForDiskEncryption", True),
        ),
        (MADE_IN, "enabled_for_deployment="),
    ),
    Rule(
        "vault-public-access-disabled",
        "A key vault takes no traffic from the public internet",
        "public_network_access='Disabled'; here: pulumi config set privateNetwork true",
        (
            psrule("Azure.KeyVault.Firewall", "AZR-000355"),
            builtin(
                "Key Vault/FirewallEnabled_Audit",
                "55615ac9-af46-4a59-874e-391cc3dfb490",
                "Azure Key Vault should have firewall enabled",
            ),
        ),
        (VAULT,),
        is_closed,
        (MADE_IN, 'public_network_access="Disabled"'),
    ),
)

"""Rules for container registries, and for the Azure ML registry that models are promoted through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from infra.policy.rule import Resource, Rule, StackRule, must_be, must_not_be, of, where
from infra.policy.sources import avm, builtin, psrule

REGISTRY = "containerregistry:Registry"
MODEL_REGISTRY = "machinelearningservices:Registry"
ASSIGNMENT = "authorization:PolicyAssignment"
AVM = "container-registry/registry"
MADE_IN = "infra/workspace.py"
ONLY_ALLOWED_MODELS = "19539b54-c61e-4196-9a38-67598701be90"


def only_approved_models(stack: Sequence[Resource]) -> Iterator[tuple[str, Resource | None]]:
    assigned = [str(one.get("policyDefinitionId")).casefold() for one in of(stack, ASSIGNMENT)]
    for registry in of(stack, MODEL_REGISTRY):
        if not any(ONLY_ALLOWED_MODELS in definition for definition in assigned):
            yield "no policy assignment of the stack restricts deployments to its models", registry


RULES: tuple[Rule | StackRule, ...] = (
    Rule(
        "registry-admin-disabled",
        "A container registry has no admin user",
        "admin_user_enabled=False: Azure ML turns it on in a registry that it makes by itself",
        (psrule("Azure.ACR.AdminUser", "AZR-000005"),),
        (REGISTRY,),
        must_not_be("adminUserEnabled", True),
        (MADE_IN, "admin_user_enabled="),
    ),
    Rule(
        "registry-no-anonymous-pull",
        "Nobody pulls from a container registry without a name",
        "anonymous_pull_enabled=False, or left out",
        (psrule("Azure.ACR.AnonymousAccess", "AZR-000401"),),
        (REGISTRY,),
        must_not_be("anonymousPullEnabled", True),
        (MADE_IN, "anonymous_pull_enabled="),
    ),
    Rule(
        "registry-export-disabled",
        "Images do not leave a closed container registry by export",
        "policies with export_policy status 'disabled'",
        (
            psrule("Azure.ACR.ExportPolicy"),
            builtin(
                "Container Registry/ACR_ExportPolicy_AuditDeny",
                "524b0254-c285-4903-bee6-bb8126cde579",
                "Container registries should have exports disabled",
            ),
        ),
        (REGISTRY,),
        # Azure refuses it while public access is on; that is a rule of its own.
        where(
            "publicNetworkAccess",
            "Disabled",
            must_be("policies.exportPolicy.status", "disabled", otherwise="enabled"),
        ),
        (MADE_IN, "export_policy="),
    ),
    Rule(
        "registry-premium",
        "A closed container registry is of tier Premium, the one that has private endpoints",
        "sku name 'Premium'; here: pulumi config set registrySku Premium",
        (
            builtin(
                "Container Registry/ACR_SkuSupportsPrivateEndpoints_AuditDeny",
                "bd560fc0-3c69-498a-ae9f-aa8eb7de0e13",
                "Container registries should have SKUs that support Private Links",
            ),
        ),
        (REGISTRY,),
        where("publicNetworkAccess", "Disabled", must_be("sku.name", "Premium")),
        (MADE_IN, "registry_sku"),
    ),
    Rule(
        "registry-zone-redundant",
        "A Premium container registry survives the loss of a datacentre",
        "zone_redundancy='Enabled', which only creation can set",
        (avm(AVM, "parameter zoneRedundancy"),),
        (REGISTRY,),
        where("sku.name", "Premium", must_be("zoneRedundancy", "Enabled", otherwise="Disabled")),
        (MADE_IN, "zone_redundancy="),
    ),
    Rule(
        "registry-bypass-azure-services",
        "Trusted services of Azure, Azure ML among them, reach a closed container registry",
        "network_rule_bypass_options='AzureServices', or left out",
        (avm(AVM, "parameter networkRuleBypassOptions"),),
        (REGISTRY,),
        must_not_be("networkRuleBypassOptions", "None"),
        (MADE_IN, "network_rule_bypass_options="),
    ),
    Rule(
        "registry-public-access-disabled",
        "A container registry takes no traffic from the public internet",
        "public_network_access='Disabled'; here: pulumi config set privateNetwork true",
        (
            psrule("Azure.ACR.Firewall", "AZR-000402"),
            builtin(
                "Container Registry/ACR_PublicNetworkAccess_AuditDeny",
                "0fdf0491-d080-4575-b627-ad0e843cba0f",
                "Public network access should be disabled for Container registries",
            ),
        ),
        (REGISTRY,),
        must_be("publicNetworkAccess", "Disabled", otherwise="Enabled"),
        (MADE_IN, "containerregistry.PublicNetworkAccess.DISABLED"),
    ),
    StackRule(
        "model-registry-only-approved-models",
        "Where there is a registry for promotion, only its models may be deployed",
        "a policy assignment of the built-in definition with the registry's name",
        (
            builtin(
                "Machine Learning/OnlyDeployAllowedRegistryModels_Deny",
                ONLY_ALLOWED_MODELS,
                "[Preview]: Azure Machine Learning Model Registry Deployments are restricted except for the allowed "
                "Registry",
            ),
        ),
        (MODEL_REGISTRY,),
        only_approved_models,
        ("infra/shared.py", "PolicyAssignment("),
    ),
)

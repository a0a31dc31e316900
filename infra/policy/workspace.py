"""Rules for the Azure ML workspace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from infra.policy.rule import (
    Resource,
    Rule,
    StackRule,
    both,
    members,
    must_be,
    must_be_set,
    must_not_be,
    of,
    where,
)
from infra.policy.sources import avm, azure_ml, builtin, landing_zone, psrule

WORKSPACE = "machinelearningservices:Workspace"
OUTBOUND_RULE = "machinelearningservices:ManagedNetworkSettingsRule"
AVM = "machine-learning-services/workspace"
MADE_IN = "infra/workspace.py"
NETWORK_PAGE = azure_ml("how-to-managed-network", "workspace managed virtual network isolation")
KINDS = ("PrivateEndpoint", "FQDN", "ServiceTag")
ANYWHERE = ("*", "*.*", "internet")
SHARED = {
    "storageAccount": "storage:StorageAccount",
    "keyVault": "keyvault:Vault",
    "containerRegistry": "containerregistry:Registry",
}


def outbound_is_named(resource: Resource) -> Iterator[str]:
    """Each outbound rule has a known kind and a destination that is less than the internet."""
    if resource.type == OUTBOUND_RULE:
        rules = {resource.name: resource.get("properties")}
    else:
        rules = resource.get("managedNetwork.outboundRules")
    for name, rule in members(rules).items():
        kind, destination = members(rule).get("type"), members(rule).get("destination")
        if isinstance(kind, str) and kind.casefold() not in {one.casefold() for one in KINDS}:
            yield f"outbound rule '{name}' is of type '{kind}'; known are {', '.join(KINDS)}"
        target = members(destination).get("serviceTag", destination)
        if isinstance(target, str) and target.casefold() in ANYWHERE:
            yield f"outbound rule '{name}' lets everything out: its destination is '{target}'"


def private_registry_has_builder(stack: Sequence[Resource]) -> Iterator[tuple[str, Resource | None]]:
    """A closed registry cannot build images by itself: https://aka.ms/acr/tasks need public access."""
    closed = [
        found
        for found in of(stack, "containerregistry:Registry")
        if str(found.get("publicNetworkAccess")).casefold() == "disabled"
    ]
    for workspace in of(stack, WORKSPACE):
        private = closed or str(workspace.get("publicNetworkAccess")).casefold() == "disabled"
        if private and workspace.get("imageBuildCompute") in (None, ""):
            yield "'imageBuildCompute' is not set, and its container registry takes no public traffic", workspace


def shared_data_is_isolated(stack: Sequence[Resource]) -> Iterator[tuple[str, Resource | None]]:
    """A store that another workspace uses too, or that this stack did not make, is shared."""
    workspaces = of(stack, WORKSPACE)
    for workspace in workspaces:
        if workspace.get("enableDataIsolation") is True:
            continue
        for path, type in SHARED.items():
            stores = [store for store in of(stack, type) if workspace.comes_from(path, store)]
            users = [one for one in workspaces if any(one.comes_from(path, store) for store in stores)]
            if workspace.get(path) is not None and (not stores or len(users) > 1):
                yield f"'{path}' is shared with other workspaces and 'enableDataIsolation' is not true", workspace


RULES: tuple[Rule | StackRule, ...] = (
    Rule(
        "workspace-public-access-disabled",
        "A workspace takes no traffic from the public internet",
        "public_network_access='Disabled'; here: pulumi config set privateNetwork true",
        (
            psrule("Azure.ML.PublicAccess", "AZR-000406"),
            builtin(
                "Machine Learning/Workspace_PublicNetworkAccessDisabled_Audit",
                "438c38d2-3772-465a-a9cc-7a6666a275ce",
                "Azure Machine Learning workspaces should disable public network access",
            ),
        ),
        (WORKSPACE,),
        both(
            must_be("publicNetworkAccess", "Disabled", otherwise="Enabled"),
            must_not_be("allowPublicAccessWhenBehindVnet", True),
        ),
        (MADE_IN, "access.DISABLED if self._private"),
    ),
    Rule(
        "workspace-outbound-approved-only",
        "The managed network of a workspace lets out only what is approved",
        "managed_network with isolation_mode='AllowOnlyApprovedOutbound'; here: pulumi config set privateNetwork true",
        (
            builtin(
                "Machine Learning/ManagedNetworkIsolationMode_Audit",
                "6ddb1705-c8cf-450e-aa4b-19ad6703c440",
                "Azure Machine Learning and Ai Studio should use Allow Only Approved Outbound Managed Vnet mode",
            ),
            avm(AVM, "WAF-aligned test"),
        ),
        (WORKSPACE,),
        must_be("managedNetwork.isolationMode", "AllowOnlyApprovedOutbound", otherwise="no managed network"),
        (MADE_IN, "isolation_mode="),
    ),
    Rule(
        "workspace-firewall-standard",
        "The firewall of an approved-only managed network is of tier Standard, not Basic",
        "managed_network with firewall_sku='Standard'",
        (azure_ml("how-to-managed-network", "workspace managed virtual network isolation, firewall version"),),
        (WORKSPACE,),
        where(
            "managedNetwork.isolationMode",
            "AllowOnlyApprovedOutbound",
            must_be("managedNetwork.firewallSku", "Standard"),
        ),
        (MADE_IN, "firewall_sku="),
    ),
    Rule(
        "workspace-outbound-rules-named",
        "Outbound rules name a private endpoint, a host or a service tag, and never the whole internet",
        "a destination for each rule that is as narrow as the document that asks for it",
        (NETWORK_PAGE, avm(AVM, "WAF-aligned test")),
        (WORKSPACE, OUTBOUND_RULE),
        outbound_is_named,
        ("infra/network.py", "FqdnOutboundRule"),
    ),
    Rule(
        "workspace-datastores-by-identity",
        "The datastores of a workspace are read by identity, not by key",
        "system_datastores_auth_mode='Identity'",
        (
            avm(AVM, "WAF-aligned test"),
            azure_ml("how-to-identity-based-service-authentication", "identity-based service authentication"),
        ),
        (WORKSPACE,),
        must_be("systemDatastoresAuthMode", "Identity", otherwise="AccessKey"),
        (MADE_IN, "system_datastores_auth_mode="),
    ),
    Rule(
        "workspace-sensitive-data",
        "A workspace is made for sensitive data, of which Azure collects less: only creation can set it",
        "hbi_workspace=True; here: pulumi config set sensitiveData true (fixed at creation)",
        (landing_zone("Deny-MachineLearning-HbiWorkspace"), avm(AVM, "parameter hbiWorkspace")),
        (WORKSPACE,),
        must_be("hbiWorkspace", True, otherwise="false"),
        (MADE_IN, "hbi_workspace="),
    ),
    Rule(
        "workspace-user-assigned-identity",
        "A workspace runs as a user-assigned identity",
        "identity of type 'UserAssigned', and its id as primary_user_assigned_identity",
        (
            psrule("Azure.ML.UserManagedIdentity", "AZR-000407"),
            builtin(
                "Machine Learning/Workspace_UAIEnabled_Audit",
                "5f0c7d88-c7de-45b8-ac49-db49e72eaa78",
                "Azure Machine Learning workspaces should use user-assigned managed identity",
            ),
        ),
        (WORKSPACE,),
        both(must_be("identity.type", "UserAssigned"), must_be_set("primaryUserAssignedIdentity")),
        (MADE_IN, "primary_user_assigned_identity="),
    ),
    Rule(
        "workspace-v1-legacy-off",
        "A workspace is of the v2 API: v1 legacy mode leaves out what this project uses",
        "v1_legacy_mode=False, or left out",
        (
            builtin(
                "Machine Learning/Workspace_EnableV1LegacyMode_Audit",
                "e413671a-dd10-4cc1-a943-45b598596cb7",
                "Azure Machine Learning workspaces should enable V1LegacyMode to support network isolation "
                "backward compatibility",
            ),
        ),
        (WORKSPACE,),
        must_not_be("v1LegacyMode", True),
        (MADE_IN, "v1_legacy_mode="),
    ),
    StackRule(
        "workspace-builds-images-privately",
        "A workspace with a private container registry has a compute that builds its images",
        "image_build_compute='<name of a CPU cluster>'",
        (
            azure_ml("how-to-secure-online-endpoint", "secure managed online endpoints by using network isolation"),
            azure_ml("how-to-secure-workspace-vnet", "secure a workspace with virtual networks"),
        ),
        (WORKSPACE,),
        private_registry_has_builder,
        (MADE_IN, "image_build_compute="),
    ),
    StackRule(
        "workspace-shared-data-isolated",
        "A workspace that shares its storage, key vault or registry isolates its data",
        "enable_data_isolation=True, which only creation can set, or stores of its own",
        (azure_ml("how-to-identity-based-service-authentication", "identity-based service authentication"),),
        (WORKSPACE,),
        shared_data_is_isolated,
        (MADE_IN, "enable_data_isolation="),
    ),
)

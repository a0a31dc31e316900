"""The registry that models are promoted through, from a development workspace to a production one."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import authorization, machinelearningservices, resources

from infra import naming
from infra.access import Grant, Operators, OperatorsArgs, Role
from infra.guardrails import Budget, BudgetArgs
from infra.place import Place

# Azure's built-in "Azure Machine Learning Model Registry Deployments are restricted except for the allowed Registry":
# Azure/azure-policy, policyDefinitions/Machine Learning/OnlyDeployAllowedRegistryModels_Deny.json, 1.0.0-preview.
ONLY_ALLOWED_REGISTRY = "19539b54-c61e-4196-9a38-67598701be90"


@dataclass(frozen=True)
class SharedArgs:
    """What the shared registry needs."""

    place: Place
    """Required. The stack; `operators` names who promotes models, `exemptGroups` where the policy does not reach."""


class Shared(pulumi.ComponentResource):
    """A resource group with an Azure ML registry in it; the right to use it for the operators; in the subscription
    the policy that a deployment takes a registry's model from this registry only; a budget.

    Storage and images of the registry are Azure's own business, in a group that it makes and takes away. The policy
    lets a workspace's own models through, and those of Azure's registry `azureml` not: where base models are tried
    out in the same subscription, dial `exemptGroups` names that group. No workspace is made here.
    """

    def __init__(self, name: str, args: SharedArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tunestack:infra:Shared", name, None, opts)
        place = args.place
        within = pulumi.ResourceOptions(parent=self)
        group = resources.ResourceGroup(
            place.name(naming.RESOURCE_GROUP), location=place.location, tags=place.tags, opts=within
        )
        registry = machinelearningservices.Registry(
            place.name(naming.ML_REGISTRY),
            resource_group_name=group.name,
            location=place.location,
            identity=machinelearningservices.ManagedServiceIdentityArgs(
                type=machinelearningservices.ManagedServiceIdentityType.SYSTEM_ASSIGNED
            ),
            region_details=[_in_region(place)],
            public_network_access="Enabled",
            tags=place.tags,
            opts=pulumi.ResourceOptions(parent=self, protect=place.settings.protect),
        )
        Operators(
            "operators",
            OperatorsArgs(place, [Grant(Role.REGISTRY_USER, "registry", registry.id)]),
            opts=within,
        )
        subscription = f"/subscriptions/{place.subscription}"
        authorization.PolicyAssignment(
            "only-models-of-the-shared-registry",
            policy_assignment_name=f"{naming.PROJECT}-{place.stack}"[:64],
            scope=subscription,
            policy_definition_id=f"/providers/Microsoft.Authorization/policyDefinitions/{ONLY_ALLOWED_REGISTRY}",
            display_name="Deployments take a registry's models from the shared registry only",
            not_scopes=[f"{subscription}/resourceGroups/{one}" for one in place.settings.exempt_groups],
            enforcement_mode=authorization.EnforcementMode.DEFAULT,
            parameters={
                "effect": authorization.ParameterValuesValueArgs(value="Deny"),
                "allowedRegistryName": authorization.ParameterValuesValueArgs(value=registry.name),
            },
            metadata=dict(place.tags),
            opts=within,
        )
        Budget("budget", BudgetArgs(place, group.id), opts=within)
        self.id = registry.id
        self.name = registry.name
        self.group = group.name
        self.register_outputs({"id": self.id, "name": self.name})


def _in_region(place: Place) -> machinelearningservices.RegistryRegionArmDetailsArgs:
    """What Azure makes for the registry in a region; where there is only one, it is the registry's own."""
    return machinelearningservices.RegistryRegionArmDetailsArgs(
        location=place.location,
        acr_details=[
            machinelearningservices.AcrDetailsArgs(
                system_created_acr_account=machinelearningservices.SystemCreatedAcrAccountArgs(
                    acr_account_sku="Premium"
                )
            )
        ],
        storage_account_details=[
            machinelearningservices.StorageAccountDetailsArgs(
                system_created_storage_account=machinelearningservices.SystemCreatedStorageAccountArgs(
                    storage_account_type=place.settings.storage_sku,
                    storage_account_hns_enabled=False,
                    allow_blob_public_access=False,
                )
            )
        ],
    )

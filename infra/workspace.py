"""The Azure ML workspace and what it cannot be without: group, logs, storage, key vault, container registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import (
    applicationinsights,
    containerregistry,
    keyvault,
    machinelearningservices,
    operationalinsights,
    resources,
    storage,
)

from infra import naming
from infra.access import Grant, Identity, IdentityArgs, Role
from infra.settings import Settings


@dataclass(frozen=True)
class WorkspaceArgs:
    """What a workspace needs.

    Required: `stack`, `subscription`, `tenant` (GUIDs), `settings`, `tags`.
    """

    stack: str
    subscription: str
    tenant: str
    settings: Settings
    tags: Mapping[str, str]


class Workspace(pulumi.ComponentResource):
    """A resource group with a workspace in it, keyless: datastores work by identity, the storage account has no keys
    and the registry no admin user.

    It makes no clusters, no endpoint, no network and no datastores of its own (Azure makes the default ones). Storage
    account, key vault and workspace are protected from deletion where the settings say so.
    """

    def __init__(self, name: str, args: WorkspaceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tunestack:infra:Workspace", name, None, opts)
        self._args = args
        self._within = pulumi.ResourceOptions(parent=self)
        self._keep = pulumi.ResourceOptions(parent=self, protect=args.settings.protect)
        group = resources.ResourceGroup(
            naming.name(naming.RESOURCE_GROUP, args.stack),
            location=args.settings.location,
            tags=args.tags,
            opts=self._within,
        )
        self.group = group.name
        self.storage = self._storage()
        self.vault = self._vault()
        self.registry = self._registry()
        self.insights = self._insights()
        self.identity = self._identity(group.id)
        workspace = self._workspace()
        self.id = workspace.id
        self.name = workspace.name
        self.register_outputs({"id": self.id, "name": self.name, "group": self.group})

    def _storage(self) -> storage.StorageAccount:
        return storage.StorageAccount(
            naming.name(naming.STORAGE_ACCOUNT, self._args.stack),
            resource_group_name=self.group,
            location=self._args.settings.location,
            kind=storage.Kind.STORAGE_V2,
            sku=storage.SkuArgs(name=self._args.settings.storage_sku),
            allow_shared_key_access=False,
            default_to_o_auth_authentication=True,
            allow_blob_public_access=False,
            allow_cross_tenant_replication=False,
            is_local_user_enabled=False,
            minimum_tls_version=storage.MinimumTlsVersion.TLS1_2,
            enable_https_traffic_only=True,
            tags=self._args.tags,
            opts=self._keep,
        )

    def _vault(self) -> keyvault.Vault:
        settings = self._args.settings
        return keyvault.Vault(
            naming.name(naming.KEY_VAULT, self._args.stack),
            resource_group_name=self.group,
            location=settings.location,
            properties=keyvault.VaultPropertiesArgs(
                tenant_id=self._args.tenant,
                sku=keyvault.SkuArgs(family=keyvault.SkuFamily.A, name=keyvault.SkuName.STANDARD),
                enable_rbac_authorization=True,
                enable_soft_delete=True,
                soft_delete_retention_in_days=settings.vault_days,
                # Azure refuses an explicit `false`: purge protection can be left out, but not turned off.
                enable_purge_protection=True if settings.purge_protection else None,
            ),
            tags=self._args.tags,
            opts=self._keep,
        )

    def _registry(self) -> containerregistry.Registry:
        return containerregistry.Registry(
            naming.name(naming.CONTAINER_REGISTRY, self._args.stack),
            resource_group_name=self.group,
            location=self._args.settings.location,
            sku=containerregistry.SkuArgs(name=self._args.settings.registry_sku),
            # Azure ML turns it on in a registry that it makes itself, which is why we make it.
            admin_user_enabled=False,
            tags=self._args.tags,
            opts=self._within,
        )

    def _insights(self) -> applicationinsights.Component:
        settings = self._args.settings
        logs = operationalinsights.Workspace(
            naming.name(naming.LOG_ANALYTICS, self._args.stack),
            resource_group_name=self.group,
            location=settings.location,
            sku=operationalinsights.WorkspaceSkuArgs(name=operationalinsights.WorkspaceSkuNameEnum.PER_GB2018),
            retention_in_days=settings.log_days,
            tags=self._args.tags,
            opts=self._within,
        )
        return applicationinsights.Component(
            naming.name(naming.APPLICATION_INSIGHTS, self._args.stack),
            resource_group_name=self.group,
            location=settings.location,
            kind="web",
            application_type=applicationinsights.ApplicationType.WEB,
            workspace_resource_id=logs.id,
            tags=self._args.tags,
            opts=self._within,
        )

    def _identity(self, group_id: pulumi.Input[str]) -> Identity:
        """The rights that Azure's documentation asks for a workspace that runs as an identity of ours."""
        return Identity(
            naming.name(naming.IDENTITY, self._args.stack, "workspace"),
            IdentityArgs(
                subscription=self._args.subscription,
                group=self.group,
                location=self._args.settings.location,
                tags=self._args.tags,
                grants=[
                    Grant(Role.AI_ADMINISTRATOR, "group", group_id),
                    Grant(Role.BLOB_CONTRIBUTOR, "storage", self.storage.id),
                    Grant(Role.FILE_CONTRIBUTOR, "storage", self.storage.id),
                    Grant(Role.VAULT_ADMINISTRATOR, "vault", self.vault.id),
                ],
            ),
            opts=self._within,
        )

    def _workspace(self) -> machinelearningservices.Workspace:
        return machinelearningservices.Workspace(
            naming.name(naming.WORKSPACE, self._args.stack),
            resource_group_name=self.group,
            location=self._args.settings.location,
            storage_account=self.storage.id,
            key_vault=self.vault.id,
            application_insights=self.insights.id,
            container_registry=self.registry.id,
            identity=machinelearningservices.ManagedServiceIdentityArgs(
                type=machinelearningservices.ManagedServiceIdentityType.USER_ASSIGNED,
                user_assigned_identities=[self.identity.id],
            ),
            primary_user_assigned_identity=self.identity.id,
            system_datastores_auth_mode=machinelearningservices.SystemDatastoresAuthMode.IDENTITY,
            public_network_access=machinelearningservices.PublicNetworkAccessType.ENABLED,
            tags=self._args.tags,
            # Storage account and key vault of a workspace are fixed for its life, and Azure ignores a change.
            opts=pulumi.ResourceOptions.merge(
                self._keep,
                pulumi.ResourceOptions(
                    depends_on=self.identity.ready, replace_on_changes=["storageAccount", "keyVault"]
                ),
            ),
        )

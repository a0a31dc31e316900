"""The Azure ML workspace and what it cannot be without: group, logs, storage, key vault, container registry."""

from __future__ import annotations

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

from infra import guards, naming
from infra.access import Grant, Identity, IdentityArgs, Role
from infra.clusters import BUILD
from infra.health import watched
from infra.place import Place


@dataclass(frozen=True)
class WorkspaceArgs:
    """What a workspace needs."""

    place: Place
    """Required. The stack; its dials say how redundant, how long kept, how private and how protected."""


class Workspace(pulumi.ComponentResource):
    """A resource group with a workspace in it, keyless: datastores work by identity, the storage account has no keys
    and the registry no admin user. With dial `privateNetwork` none of them is reached from the internet.

    It makes no clusters, no endpoint, no private endpoints and no datastores of its own (Azure makes the default
    ones). Storage account, key vault and workspace are protected from deletion where the settings say so, and what
    only creation can set is refused a change (`guards`).
    """

    def __init__(self, name: str, args: WorkspaceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tunestack:infra:Workspace", name, None, opts)
        self._place = args.place
        self._settings = args.place.settings
        self._within = pulumi.ResourceOptions(parent=self)
        group = resources.ResourceGroup(
            self._place.name(naming.RESOURCE_GROUP),
            location=self._place.location,
            tags=self._place.tags,
            opts=self._within,
        )
        self.group = group.name
        self.group_id = group.id
        self.storage = self._storage()
        self.vault = self._vault()
        self.registry = self._registry()
        self.logs = self._logs()
        self.insights = self._insights()
        self.identity = self._identity()
        workspace = self._workspace()
        self.id = workspace.id
        self.name = workspace.name
        self.register_outputs({"id": self.id, "name": self.name, "group": self.group})

    @property
    def _private(self) -> bool:
        return self._settings.private_network

    def _keep(self, kind: str, **more: object) -> pulumi.ResourceOptions:
        """For what holds data: no deletion where the settings say so, and no change of what creation fixed."""
        return pulumi.ResourceOptions(
            parent=self,
            protect=self._settings.protect,
            hooks=guards.keep(kind),
            **more,  # type: ignore[arg-type]
        )

    def _storage(self) -> storage.StorageAccount:
        return storage.StorageAccount(
            self._place.name(naming.STORAGE_ACCOUNT),
            resource_group_name=self.group,
            location=self._place.location,
            kind=storage.Kind.STORAGE_V2,
            sku=storage.SkuArgs(name=self._settings.storage_sku),
            allow_shared_key_access=False,
            default_to_o_auth_authentication=True,
            allow_blob_public_access=False,
            allow_cross_tenant_replication=False,
            is_local_user_enabled=False,
            minimum_tls_version=storage.MinimumTlsVersion.TLS1_2,
            enable_https_traffic_only=True,
            encryption=_twice_encrypted() if self._settings.sensitive_data else None,
            public_network_access=storage.PublicNetworkAccess.DISABLED if self._private else None,
            network_rule_set=storage.NetworkRuleSetArgs(
                default_action=storage.DefaultAction.DENY, bypass=storage.Bypass.AZURE_SERVICES
            )
            if self._private
            else None,
            tags=self._place.tags,
            opts=self._keep("storage"),
        )

    def _vault(self) -> keyvault.Vault:
        settings = self._settings
        return keyvault.Vault(
            self._place.name(naming.KEY_VAULT),
            resource_group_name=self.group,
            location=self._place.location,
            properties=keyvault.VaultPropertiesArgs(
                tenant_id=self._place.tenant,
                sku=keyvault.SkuArgs(family=keyvault.SkuFamily.A, name=keyvault.SkuName.STANDARD),
                enable_rbac_authorization=True,
                enable_soft_delete=True,
                soft_delete_retention_in_days=settings.vault_days,
                # Azure refuses an explicit `false`: purge protection can be left out, but not turned off.
                enable_purge_protection=True if settings.purge_protection else None,
                enabled_for_deployment=False,
                enabled_for_disk_encryption=False,
                enabled_for_template_deployment=False,
                public_network_access="Disabled" if self._private else None,
                network_acls=keyvault.NetworkRuleSetArgs(
                    default_action=keyvault.NetworkRuleAction.DENY,
                    bypass=keyvault.NetworkRuleBypassOptions.AZURE_SERVICES,
                )
                if self._private
                else None,
            ),
            tags=self._place.tags,
            opts=self._keep("vault"),
        )

    def _registry(self) -> containerregistry.Registry:
        premium = self._settings.registry_sku == containerregistry.SkuName.PREMIUM
        return containerregistry.Registry(
            self._place.name(naming.CONTAINER_REGISTRY),
            resource_group_name=self.group,
            location=self._place.location,
            sku=containerregistry.SkuArgs(name=self._settings.registry_sku),
            # Azure ML turns it on in a registry that it makes itself, which is why we make it.
            admin_user_enabled=False,
            anonymous_pull_enabled=False,
            # The tiers below Premium have no zones.
            zone_redundancy=containerregistry.ZoneRedundancy.ENABLED if premium else None,
            network_rule_bypass_options=containerregistry.NetworkRuleBypassOptions.AZURE_SERVICES,
            public_network_access=containerregistry.PublicNetworkAccess.DISABLED if self._private else None,
            # Azure takes this one only where public access is off.
            policies=containerregistry.PoliciesArgs(
                export_policy=containerregistry.ExportPolicyArgs(status=containerregistry.ExportPolicyStatus.DISABLED)
            )
            if self._private
            else None,
            tags=self._place.tags,
            # Zones are fixed at creation. Images are built again, so another registry costs time and no data.
            opts=pulumi.ResourceOptions(parent=self, replace_on_changes=["zoneRedundancy"]),
        )

    def _logs(self) -> operationalinsights.Workspace:
        return operationalinsights.Workspace(
            self._place.name(naming.LOG_ANALYTICS),
            resource_group_name=self.group,
            location=self._place.location,
            sku=operationalinsights.WorkspaceSkuArgs(name=operationalinsights.WorkspaceSkuNameEnum.PER_GB2018),
            retention_in_days=self._settings.log_days,
            tags=self._place.tags,
            opts=self._within,
        )

    def _insights(self) -> applicationinsights.Component:
        return applicationinsights.Component(
            self._place.name(naming.APPLICATION_INSIGHTS),
            resource_group_name=self.group,
            location=self._place.location,
            kind="web",
            application_type=applicationinsights.ApplicationType.WEB,
            workspace_resource_id=self.logs.id,
            tags=self._place.tags,
            opts=self._within,
        )

    def _identity(self) -> Identity:
        """The rights that Azure's documentation asks for a workspace that runs as an identity of ours.

        The role that it names for the private endpoints of a managed network (how-to-managed-network) is not among
        them: all that it allows on this group's resources, Azure AI Administrator allows too.
        """
        grants = [
            Grant(Role.AI_ADMINISTRATOR, "group", self.group_id),
            Grant(Role.BLOB_CONTRIBUTOR, "storage", self.storage.id),
            Grant(Role.FILE_CONTRIBUTOR, "storage", self.storage.id),
            Grant(Role.VAULT_ADMINISTRATOR, "vault", self.vault.id),
        ]
        return Identity(
            self._place.name(naming.IDENTITY, "workspace"),
            IdentityArgs(place=self._place, group=self.group, grants=grants),
            opts=self._within,
        )

    def _workspace(self) -> machinelearningservices.Workspace:
        settings = self._settings
        access = machinelearningservices.PublicNetworkAccessType
        made = machinelearningservices.Workspace(
            self._place.name(naming.WORKSPACE),
            resource_group_name=self.group,
            location=self._place.location,
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
            v1_legacy_mode=False,
            hbi_workspace=True if settings.sensitive_data else None,
            enable_data_isolation=True if settings.sensitive_data else None,
            public_network_access=access.DISABLED if self._private else access.ENABLED,
            managed_network=machinelearningservices.ManagedNetworkSettingsArgs(
                isolation_mode=machinelearningservices.IsolationMode.ALLOW_ONLY_APPROVED_OUTBOUND,
                firewall_sku=machinelearningservices.FirewallSku.STANDARD,
            )
            if self._private
            else None,
            # Without it the first cluster waits half an hour for its network, and its creation may run out of time.
            provision_network_now=True if self._private else None,
            # A private registry cannot build images itself: how-to-managed-network, "Configure image builds".
            image_build_compute=BUILD if self._private else None,
            tags=self._place.tags,
            opts=self._keep(
                "workspace",
                depends_on=self.identity.ready,
                # The service adds its own rules and a status; `provisionNetworkNow` counts at creation only.
                ignore_changes=["managedNetwork.status", "managedNetwork.outboundRules", "provisionNetworkNow"]
                if self._private
                else None,
            ),
        )
        return watched(made, made.provisioning_state)


def _twice_encrypted() -> storage.EncryptionArgs:
    """Azure's own keys, and a second layer beneath; services are named because Azure asks for them then."""
    on = storage.EncryptionServiceArgs(enabled=True, key_type=storage.KeyType.ACCOUNT)
    return storage.EncryptionArgs(
        key_source=storage.KeySource.MICROSOFT_STORAGE,
        require_infrastructure_encryption=True,
        services=storage.EncryptionServicesArgs(blob=on, file=on),
    )

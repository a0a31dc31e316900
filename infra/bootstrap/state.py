"""Where Pulumi keeps states and what it encrypts their secrets with: one container and one key for each environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import keyvault, storage

from infra import naming
from infra.bootstrap.settings import Settings

OWN = "bootstrap"


@dataclass(frozen=True)
class StateArgs:
    """What the state needs.

    Required: `tenant` (GUID), `group` (name of the resource group), `settings`, `tags`.
    """

    tenant: str
    group: pulumi.Input[str]
    settings: Settings
    tags: Mapping[str, str]


class State(pulumi.ComponentResource):
    """A storage account without keys that keeps every version of a state, and a key vault with RSA keys.

    One container and one key for each environment and for the bootstrap itself, so that who deploys dev can neither
    read nor write what prod is. Both are reachable from the internet, by identity only: hosted runners have no network
    of yours. It makes no stack.
    """

    def __init__(self, name: str, args: StateArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tunestack:bootstrap:State", name, None, opts)
        self._args = args
        self._keep = pulumi.ResourceOptions(parent=self, protect=args.settings.protect)
        names = [OWN, *(one.name for one in args.settings.environments)]
        self.account = self._account()
        self._versions()
        self.containers = {one: self._container(one) for one in names}
        self.vault = self._vault()
        self.keys = {one: self._key(one) for one in names}
        self.secrets = {
            one: pulumi.Output.concat("azurekeyvault://", self.vault.name, f".vault.azure.net/keys/{one}")
            for one in names
        }
        self.register_outputs({"account": self.account.name, "vault": self.vault.name})

    def _account(self) -> storage.StorageAccount:
        return storage.StorageAccount(
            naming.name(naming.STORAGE_ACCOUNT, "state"),
            resource_group_name=self._args.group,
            location=self._args.settings.location,
            kind=storage.Kind.STORAGE_V2,
            sku=storage.SkuArgs(name=storage.SkuName.STANDARD_ZRS),
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

    def _versions(self) -> storage.BlobServiceProperties:
        kept = storage.DeleteRetentionPolicyArgs(enabled=True, days=self._args.settings.state_days)
        return storage.BlobServiceProperties(
            "versions",
            account_name=self.account.name,
            resource_group_name=self._args.group,
            blob_services_name="default",
            is_versioning_enabled=True,
            delete_retention_policy=kept,
            container_delete_retention_policy=kept,
            # The account cannot be without: it goes when the account goes.
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=True),
        )

    def _container(self, name: str) -> storage.BlobContainer:
        return storage.BlobContainer(
            f"state-{name}",
            container_name=name,
            account_name=self.account.name,
            resource_group_name=self._args.group,
            public_access=storage.PublicAccess.NONE,
            opts=self._keep,
        )

    def _vault(self) -> keyvault.Vault:
        return keyvault.Vault(
            naming.name(naming.KEY_VAULT, "keys"),
            resource_group_name=self._args.group,
            location=self._args.settings.location,
            properties=keyvault.VaultPropertiesArgs(
                tenant_id=self._args.tenant,
                sku=keyvault.SkuArgs(family=keyvault.SkuFamily.A, name=keyvault.SkuName.STANDARD),
                enable_rbac_authorization=True,
                enable_soft_delete=True,
                soft_delete_retention_in_days=90,
                # Without its key a state's secrets are lost.
                enable_purge_protection=True,
            ),
            tags=self._args.tags,
            opts=self._keep,
        )

    def _key(self, name: str) -> keyvault.Key:
        return keyvault.Key(
            f"key-{name}",
            key_name=name,
            vault_name=self.vault.name,
            resource_group_name=self._args.group,
            properties=keyvault.KeyPropertiesArgs(
                kty=keyvault.JsonWebKeyType.RSA,
                key_size=3072,
                key_ops=[keyvault.JsonWebKeyOperation.ENCRYPT, keyvault.JsonWebKeyOperation.DECRYPT],
            ),
            tags=self._args.tags,
            # Resource Manager has no call that deletes a key: it goes with its vault.
            opts=pulumi.ResourceOptions.merge(self._keep, pulumi.ResourceOptions(retain_on_delete=True)),
        )

"""The drawing: a place for states, a key for each, and one identity for each thing that workflows do."""

from __future__ import annotations

import pulumi
from pulumi_azure_native import authorization, resources

from infra import naming
from infra.bootstrap.identities import Identities, IdentitiesArgs
from infra.bootstrap.settings import Settings
from infra.bootstrap.state import OWN, State, StateArgs
from infra.settings import require_own_subscription

settings = Settings.read(pulumi.runtime.get_config_env())
client = authorization.get_client_config()
require_own_subscription(pulumi.get_stack(), client.subscription_id)
# Another project than the stacks', so that `scripts/sweep.py` does not take it for something left behind.
tags = {"project": "tunestack-bootstrap", "managed-by": "pulumi"} | (
    {"owner": settings.owner} if settings.owner else {}
)

group = resources.ResourceGroup(naming.name(naming.RESOURCE_GROUP, "bootstrap"), location=settings.location, tags=tags)
state = State("state", StateArgs(client.tenant_id, group.name, settings, tags))
identities = Identities("identities", IdentitiesArgs(client.subscription_id, group.name, settings, tags, state))

pulumi.export("repository", settings.repository)
pulumi.export("tenant", client.tenant_id)
pulumi.export("state_account", state.account.name)
pulumi.export("state_url", pulumi.Output.concat("azblob://", OWN, "?storage_account=", state.account.name))
pulumi.export("secrets_provider", state.secrets[OWN])
pulumi.export("clients", identities.clients)
pulumi.export("principals", identities.principals)
pulumi.export("subscriptions", {one.name: one.subscription or client.subscription_id for one in settings.environments})
pulumi.export("secrets", state.secrets)

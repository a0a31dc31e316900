"""Rules for online endpoints. Deployments and traffic are the scripts' and no rule of infrastructure sees them."""

from __future__ import annotations

from infra.policy.rule import Rule, StackRule, must_be
from infra.policy.sources import azure_ml

ENDPOINT = "machinelearningservices:OnlineEndpoint"
MADE_IN = "infra/endpoints.py"
AUTH_PAGE = azure_ml("concept-endpoints-online-auth", "authentication for managed online endpoints")

RULES: tuple[Rule | StackRule, ...] = (
    Rule(
        "endpoint-no-keys",
        "Callers of an endpoint prove who they are with a token of Microsoft Entra, not with a key",
        "auth_mode='AADToken'; here: pulumi config set endpointAuthMode AADToken",
        (AUTH_PAGE,),
        (ENDPOINT,),
        must_be("properties.authMode", "AADToken"),
        (MADE_IN, "auth_mode="),
    ),
    Rule(
        "endpoint-public-access-disabled",
        "An endpoint takes no traffic from the public internet",
        "public_network_access='Disabled'; here: pulumi config set privateNetwork true",
        (azure_ml("how-to-secure-online-endpoint", "secure managed online endpoints by using network isolation"),),
        (ENDPOINT,),
        must_be("properties.publicNetworkAccess", "Disabled", otherwise="Enabled"),
        (MADE_IN, "public_network_access="),
    ),
    Rule(
        "endpoint-user-assigned-identity",
        "The container of a deployment runs as a user-assigned identity with the rights that are listed for it",
        "identity of type 'UserAssigned'",
        (AUTH_PAGE,),
        (ENDPOINT,),
        must_be("identity.type", "UserAssigned", otherwise="no identity"),
        (MADE_IN, "ManagedServiceIdentityType.USER_ASSIGNED"),
    ),
)

"""What a deployment cannot do for want of a role of its endpoint's identity: pull its image, read its model, count.

Simulated after Azure ML's pages on endpoints' identities and on troubleshooting deployments;
the conformance test test_a_deployment_without_its_endpoints_roles_fails settles it on Azure.
"""

from __future__ import annotations

from localcloud.arm import ArmError
from localcloud.cloud import Cloud
from localcloud.services.acting import PULL, READ_BLOB, WRITE_METRICS, Acting, acting_as, container_scope, registry_of
from localcloud.services.ml.ids import workspace_of
from localcloud.services.ml.paths import identity_place
from localcloud.store import Body


def check_deployment(cloud: Cloud, identity: Acting, deployment: Body) -> None:
    """ArmError 400 as the end of the deployment's operation.

    The image is built into the workspace's registry and pulled from there, whatever environment is named; model and
    code are read where they lie, which for a registry's model is not the workspace's storage.
    """
    workspace_id, properties = workspace_of(deployment["id"]), deployment["properties"]
    registry = registry_of(cloud, workspace_id)
    lack = identity.lacks(PULL, registry) if registry else None
    if lack:
        raise _failed(f"Endpoint identity does not have pull permission on the registry. {lack}")
    for what, reference in (
        ("model", properties.get("model")),
        ("code", (properties.get("codeConfiguration") or {}).get("codeId")),
    ):
        place = identity_place(cloud, workspace_id, reference) if reference else None
        lack = identity.lacks(READ_BLOB, container_scope(cloud, *place), data=True) if place else None
        if lack:
            raise _failed(
                f"Unable to download user {what}: not enough permissions. AuthorizationPermissionMismatch: This "
                f"request is not authorized to perform this operation using this permission. {lack}"
            )


def may_write_metrics(cloud: Cloud, endpoint: Body) -> bool:
    """Whether requests are counted: without the right an endpoint answers, and its metrics stay empty."""
    identity = acting_as(cloud, endpoint)
    return identity is None or identity.lacks(WRITE_METRICS, workspace_of(endpoint["id"])) is None


def _failed(message: str) -> ArmError:
    return ArmError(400, "BadArgument", f"Startup task failed due to authorization error. {message}")

"""The roles that `infra` hands out: to whom, on what, which step fails without each, and in which words.

`docs/roles.md` shows this table; `test_roles` runs every line of it.
"""

from __future__ import annotations

from dataclasses import dataclass

MISMATCH = "AuthorizationPermissionMismatch"


@dataclass(frozen=True)
class Line:
    """`identity` has `role` (a name in `infra.access.Role`) on `where`; without it `step` fails and says `words`."""

    identity: str
    role: str
    where: str
    step: str
    words: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.identity, self.role, self.where


TABLE = (
    Line("workspace", "AI_ADMINISTRATOR", "group", "the workspace is made or changed", "components/read"),
    Line("workspace", "FILE_CONTRIBUTOR", "storage", "the workspace is made or changed", "fileshares/files/write"),
    Line("workspace", "BLOB_CONTRIBUTOR", "storage", "an artifact of a run is written", MISMATCH),
    Line(
        "workspace", "VAULT_ADMINISTRATOR", "vault", "a datastore with a key is registered", "secrets/setSecret/action"
    ),
    Line(
        "clusters",
        "BLOB_CONTRIBUTOR",
        "storage",
        "a job reads its input",
        "StreamAccess.Authentication",
    ),
    Line("clusters", "IMAGE_PULL", "registry", "a job runs in an environment of the workspace", "registries/pull/read"),
    Line("builds", "BLOB_READER", "storage", "an image is built for a job", "containers/blobs/read"),
    Line("builds", "IMAGE_PUSH", "registry", "an image is built for a job", "registries/push/write"),
    Line("endpoint", "IMAGE_PULL", "registry", "a model is deployed", "does not have pull permission on the registry"),
    Line("endpoint", "BLOB_READER", "storage", "a model is deployed", "not enough permissions"),
    Line("endpoint", "METRICS_WRITER", "workspace", "a request to the endpoint is counted", "no requests counted"),
    Line("operators", "DATA_SCIENTIST", "workspace", "a job is submitted", "workspaces/jobs/write"),
    Line("operators", "BLOB_CONTRIBUTOR", "storage", "data is uploaded", MISMATCH),
    Line("operators", "FILE_CONTRIBUTOR", "storage", "a file share is opened", MISMATCH),
    Line("operators", "IDENTITY_OPERATOR", "identity", "traffic is shifted", "LinkedAuthorizationFailed"),
    Line("operators", "MONITORING_READER", "workspace", "a canary's metrics are read", "Insights/metrics/read"),
    Line("operators", "REGISTRY_USER", "registry", "the registry's models are read", "registries/assets/read"),
)

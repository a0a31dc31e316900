"""As whom a step runs, and what it may not touch for want of a role: inputs, outputs, and the image of its environment.

A cluster's identity reads and writes what a datastore without credentials holds. Without one, as on serverless compute,
nothing is asked: the data is reached as the person who submitted. Simulated after Azure ML's pages on identity-based
data access; the conformance test test_a_job_without_its_clusters_data_role_fails settles it on Azure.
"""

from __future__ import annotations

from localcloud.arm import ArmError
from localcloud.cloud import PRINCIPAL_ID, Cloud
from localcloud.runner.locations import DEFAULT_STORE
from localcloud.runner.runs import Run
from localcloud.services.acting import (
    PULL,
    PUSH,
    READ_BLOB,
    WRITE_BLOB,
    Acting,
    Lack,
    acting_as,
    container_scope,
    registry_of,
)
from localcloud.services.entra import issue_token
from localcloud.services.ml.paths import identity_place

RUN_TOKEN_SECONDS = 30 * 24 * 60 * 60  # longer than any job: nothing renews it
_HINTS = {
    READ_BLOB: ("ScriptExecution.StreamAccess.Authentication", "trying to access the stream"),
    WRITE_BLOB: ("ScriptExecution.WriteStreams.Authentication", "trying to access destination"),
}


class AccessDenied(Exception):
    """The identity lacks a role; `code` is Azure ML's for it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class StepAccess:
    """The rights of one run's compute."""

    def __init__(self, cloud: Cloud, run: Run) -> None:
        self._cloud, self._run = cloud, run
        self.identity: Acting | None = None
        if run.target:
            self.identity = acting_as(cloud, cloud.store.get(f"{run.workspace}/computes/{run.target}"))

    def check_data(self, what: str, uri: str, action: str) -> None:
        """AccessDenied when the identity may not read or write at an address; `what` opens the message."""
        place = identity_place(self._cloud, self._run.workspace, uri) if self.identity else None
        if self.identity is None or place is None:
            return
        try:
            scope = container_scope(self._cloud, *place)
        except ArmError:
            return  # an account of nobody's here: that it is not there is said when it is opened
        lack = self.identity.lacks(action, scope, data=True)
        if lack:
            code, doing = _HINTS[action]
            raise AccessDenied(
                code,
                f"{what}: authentication failed when {doing}. Make sure you have correct permissions set up. "
                "AuthorizationPermissionMismatch: This request is not authorized to perform this operation using this "
                f"permission. {self._of_cluster(lack)}",
            )

    def check_image(self, environment: str | None) -> None:
        """AccessDenied when the image of a workspace's own environment cannot be built, pushed or pulled.

        Images of environments in Azure's registries come from there and take no role of ours. Where the workspace
        names a cluster that builds, its identity reads the uploaded context and pushes.
        """
        registry = registry_of(self._cloud, self._run.workspace)
        if (
            self.identity is None
            or registry is None
            or not environment
            or environment.startswith("azureml://registries/")
        ):
            return
        self._check_build(registry)
        lack = self.identity.lacks(PULL, registry)
        if lack:
            raise AccessDenied(
                "FailedPullingImage",
                f"Unable to pull the docker image of '{environment.rpartition('/environments/')[2]}': unauthorized, "
                f"authentication required. {self._of_cluster(lack)}",
            )

    def _check_build(self, registry: str) -> None:
        workspace = self._cloud.store.get(self._run.workspace) or {}
        builder = (workspace.get("properties") or {}).get("imageBuildCompute")
        cluster = self._cloud.store.get(f"{self._run.workspace}/computes/{builder}") if builder else None
        identity = acting_as(self._cloud, cluster)
        if identity is None:
            return
        place = identity_place(self._cloud, self._run.workspace, f"azureml://datastores/{DEFAULT_STORE}/paths/")
        wanted = [(PUSH, registry, False)]
        if place:
            wanted.insert(0, (READ_BLOB, container_scope(self._cloud, *place), True))
        lack = identity.lacks_any(*wanted)
        if lack:
            raise AccessDenied("ImageBuildFailure", f"The image cannot be built on the cluster '{builder}'. {lack}")

    def _of_cluster(self, lack: Lack) -> str:
        return f"{lack} It is the identity of the cluster '{self._run.target}'."

    def environment(self) -> dict[str, str]:
        """The credentials in a step's process: the cluster's identity, and a token of the run for tracking."""
        found = self._cloud.client_environment()
        endpoint = self.identity.environment() if self.identity else {}
        if endpoint:
            for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"):
                del found[name]
            token = issue_token(
                self._cloud,
                "https://ml.azure.com",
                lifetime=RUN_TOKEN_SECONDS,
                oid=self._run.submitter or PRINCIPAL_ID,
                run=self._run.id,
            )
            endpoint["MLFLOW_TRACKING_TOKEN"] = token
        return {**found, **endpoint}

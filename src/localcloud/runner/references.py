"""What a job refers to: compute, environment, code, components and assets; each must exist when it is submitted.

The client builds these ids without asking, so nobody else would notice before the job runs (REST surface 17.18).
"""

from __future__ import annotations

import re
from typing import Any

from localcloud.arm import ArmError
from localcloud.catalog.content import Catalog
from localcloud.cloud import Cloud
from localcloud.runner.locations import LocationError, local
from localcloud.store import Body

_REGISTRY = re.compile(
    r"azureml://registries/([^/]+)/(components|environments)/([^/]+)/(versions|labels)/([^/]+)", re.I
)
_SHORT = re.compile(r"(?P<name>[^:/@]+)[:@](?P<version>[^:/@]+)")


def compute_name(reference: str) -> str:
    """The name in a compute's ARM id, `azureml:name` or bare name."""
    return reference.removeprefix("azureml:").rstrip("/").rpartition("/")[2]


class References:
    """Looks things up for one workspace and collects what is not there."""

    def __init__(self, cloud: Cloud, workspace: str) -> None:
        self._cloud, self.workspace = cloud, workspace
        self.problems: list[str] = []

    def compute(self, where: str, reference: str | None) -> None:
        """None and `serverless` are fine; else the compute must exist and not have failed."""
        name = compute_name(reference or "")
        if not name or name.lower() == "serverless":
            return
        resource = self._cloud.store.get(f"{self.workspace}/computes/{name}")
        if resource is None:
            self._add(f"{where} wants compute '{name}', which does not exist in the workspace.")
            return
        properties = resource["properties"]
        state = properties.get("provisioningState")
        if state != "Succeeded":
            self._add(f"{where} wants compute '{name}', which is in state '{state}'.")
        if properties.get("computeType") not in ("AmlCompute", "ComputeInstance"):
            self._add(f"{where} wants compute '{name}' of type '{properties.get('computeType')}', which runs no jobs.")

    def environment(self, where: str, reference: Any) -> str | None:
        """Images are not built here, so one of a registry is taken at its word; one of the workspace must exist."""
        if reference is None:
            return None
        if not isinstance(reference, str):
            return "inline"
        text = self._plain(reference, "environments")
        if text.lower().startswith("/subscriptions/"):
            head, _, version = text.rpartition("/")
            container, _, kind = head.rpartition("/")
            found = (
                self._cloud.store.children(container, "versions")
                if kind.lower() == "labels"
                else self._cloud.store.get(text)
            )
            # Azure's curated images are known in every workspace under names that begin so.
            if not found and "/environments/azureml-" not in text.lower():
                name = container.rpartition("/")[2]
                self._add(f"{where} wants environment '{name}' version '{version}', which does not exist.")
        elif not _REGISTRY.match(text):
            self._add(f"{where} wants environment '{reference}', which is not an id of an environment.")
        return text

    def code(self, where: str, reference: Any) -> str | None:
        if reference is None:
            return None
        text = self._plain(str(reference), "codes")
        if not text.lower().startswith("/subscriptions/"):
            self._add(f"{where} wants code '{reference}'; only code uploaded to the workspace can be run here.")
        elif self._cloud.store.get(text) is None:
            self._add(f"{where} wants code '{text.rpartition('/codes/')[2]}', which does not exist.")
        return text

    def asset(self, where: str, uri: str) -> None:
        try:
            local(self._cloud, self.workspace, uri)
        except LocationError as error:
            self._add(f"{where}: {error}")

    def component(self, reference: str) -> Body | None:
        """The `componentSpec` behind an id; None and a problem when there is none."""
        text = self._plain(reference, "components")
        if _REGISTRY.match(text):
            try:
                return self._cloud.part(Catalog, Catalog.load).component_spec(text)
            except ArmError as error:
                self._add(error.message)
                return None
        resource = self._cloud.store.get(text)
        if resource is None:
            self._add(
                f"Component '{text.rpartition('/components/')[2]}' does not exist in the workspace. Where the client "
                "remembers it from an earlier local cloud, set AZURE_ML_DISABLE_ON_DISK_CACHE=true and submit again."
            )
            return None
        found: Body = resource["properties"]["componentSpec"]
        return found

    def _plain(self, reference: str, kind: str) -> str:
        if reference.startswith("azureml:") and not reference.startswith("azureml://"):
            reference = reference.removeprefix("azureml:")
        short = _SHORT.fullmatch(reference)
        if short:
            link = "labels" if "@" in reference else "versions"
            return f"{self.workspace}/{kind}/{short['name']}/{link}/{short['version']}"
        return reference

    def _add(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

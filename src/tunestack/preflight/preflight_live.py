"""What a preflight asks of the cloud, each thing once: the region, clusters, sizes, quota, counts, the base model.

Only reads. An answer that cannot be had raises what the connection raises; whoever asks says then that it is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from tunestack import azure_facts
from tunestack.connect import Connection
from tunestack.cost.quota import granted, of_deployment
from tunestack.deployments.endpoint import DEPLOYMENT_VERSION, ENDPOINT_VERSION
from tunestack.errors import CloudError
from tunestack.preflight.preflight_subject import Machines
from tunestack.preflight.registry_model import RegistryModel
from tunestack.refusals import explain
from tunestack.registry_id import RegistryId

PROVIDER = "Microsoft.MachineLearningServices"
VERSION = "2023-08-01-preview"
RESOURCES_VERSION = "2021-04-01"
SKUS_VERSION = "2021-07-01"
# Where azure-ai-ml asks too; one address for all regions.
DISCOVERY = "https://eastus.api.azureml.ms/registrymanagement/v1.0/registries/{registry}/discovery"
DISCOVERY_VERSION = "v1.0"
Json = Mapping[str, Any]


class Live:
    """The workspace's region and what it offers."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._clusters: dict[str, Json | None] = {}
        self._assets: dict[str, Json | None] = {}
        self._registries: dict[str, str] = {}

    @property
    def region(self) -> str:
        return str(self.connection.body.get("location") or "").replace(" ", "").lower()

    # -- clusters ----------------------------------------------------------------------------------------------

    def cluster_name(self, role: str) -> str:
        place = self.connection.workspace
        return {"cpu": place.cpu_cluster, "gpu": place.gpu_cluster}[role]

    def cluster_body(self, role: str) -> Json | None:
        """The cluster of a role as it is; None where there is none."""
        if role not in self._clusters:
            name, place = self.cluster_name(role), self.connection.workspace
            self._clusters[role] = self.connection.arm.find(f"{place.path}/computes/{name}", VERSION) if name else None
        return self._clusters[role]

    def cluster(self, role: str) -> Machines | None:
        """The cluster of a role when it has most nodes; None where there is none."""
        own = self._own(role)
        if not own.get("vmSize"):
            return None
        count = int((own.get("scaleSettings") or {}).get("maxNodeCount") or 1)
        low = own.get("vmPriority") == "LowPriority"
        return Machines(str(own["vmSize"]), count, low, f"cluster '{self.cluster_name(role)}'")

    def nodes_now(self, role: str) -> int:
        return int(self._own(role).get("currentNodeCount") or 0)

    def _own(self, role: str) -> Json:
        found: Json = ((self.cluster_body(role) or {}).get("properties") or {}).get("properties") or {}
        return found

    # -- the region --------------------------------------------------------------------------------------------

    @cached_property
    def sizes(self) -> Mapping[str, Json] | None:
        """The sizes that the region offers, by name in lower case; None where the caller may not read them."""
        try:
            listed = self.connection.arm.get(f"{self._location}/vmSizes", VERSION).get("value", [])
        except CloudError as error:
            if error.status != 403:
                raise
            return None
        return {str(size["name"]).lower(): size for size in listed}

    def family(self, size: str) -> tuple[str, int] | None:
        """The quota family of a size and the cores of one machine, by the region's list, else by the dated table."""
        found = (self.sizes or {}).get(size.lower())
        return (str(found["family"]), int(found["vCPUs"])) if found else azure_facts.cores(size)

    @cached_property
    def quota(self) -> Mapping[str, tuple[int, int]]:
        """(cores in use, cores allowed) of the region, as `quota.granted` has them."""
        return granted(self.connection.arm.pages(f"{self._location}/usages", VERSION))

    @property
    def shows_restrictions(self) -> bool:
        """Whether the caller may read what of the region is closed to the subscription."""
        return self._skus is not None

    def restriction(self, size: str) -> str:
        """Why Azure gives this subscription no such machine here, in its own words; empty where nothing is known."""
        for sku in self._skus or ():
            if str(sku.get("name", "")).lower() == size.lower():
                for held in sku.get("restrictions") or ():
                    if held.get("type") == "Location":
                        return str(held.get("reasonCode") or "restricted")
        return ""

    @cached_property
    def _skus(self) -> list[Json] | None:
        """Machines of the region with what restricts them; None where the caller may not read that."""
        path = f"/subscriptions/{self.connection.workspace.subscription_id}/providers/Microsoft.Compute/skus"
        try:
            listed: list[Json] = list(
                self.connection.arm.pages(path, SKUS_VERSION, **{"$filter": f"location eq '{self.region}'"})
            )
        except CloudError as error:
            if error.status != 403:
                raise
            return None
        return listed

    @property
    def _location(self) -> str:
        return (
            f"/subscriptions/{self.connection.workspace.subscription_id}/providers/{PROVIDER}/locations/{self.region}"
        )

    # -- endpoints and deployments -----------------------------------------------------------------------------

    @cached_property
    def deployments(self) -> list[Json]:
        """Those of the stack's endpoint; none where there is no endpoint."""
        place = self.connection.workspace
        if not place.endpoint_name:
            return []
        path = f"{place.path}/onlineEndpoints/{self.connection.endpoint}/deployments"
        found = self.connection.arm.find(path, DEPLOYMENT_VERSION)
        return [] if found is None else list(found.get("value") or ())

    @cached_property
    def endpoint(self) -> Json | None:
        """The stack's endpoint as it is; None where there is none."""
        place = self.connection.workspace
        if not place.endpoint_name:
            return None
        return self.connection.arm.find(f"{place.path}/onlineEndpoints/{self.connection.endpoint}", ENDPOINT_VERSION)

    def deployed_cores(self, family: str) -> int:
        """Cores of a family that the endpoint's deployments take now, with their reserve."""
        return sum(cores for one, cores in self._cores_of_deployments() if one == family)

    def _cores_of_deployments(self) -> Iterator[tuple[str, int]]:
        for body in self.deployments:
            size = str(body["properties"].get("instanceType") or "")
            known = self.family(size)
            if known and body["properties"].get("provisioningState") != "Failed":
                count = int((body.get("sku") or {}).get("capacity") or 1)
                yield known[0], of_deployment(size, count, known[1])

    def counts(self) -> tuple[int, int] | None:
        """Endpoints and deployments of the subscription in this region; None where the caller may not list them."""
        kinds = (f"{PROVIDER}/workspaces/onlineEndpoints", f"{PROVIDER}/workspaces/onlineEndpoints/deployments")
        try:
            endpoints, deployments = (self._count(kind) for kind in kinds)
        except CloudError as error:
            if error.status != 403:
                raise
            return None
        return endpoints, deployments

    def _count(self, kind: str) -> int:
        path = f"/subscriptions/{self.connection.workspace.subscription_id}/resources"
        listed = self.connection.arm.pages(path, RESOURCES_VERSION, **{"$filter": f"resourceType eq '{kind}'"})
        return sum(str(item.get("location", "")).replace(" ", "").lower() == self.region for item in listed)

    # -- the registry ------------------------------------------------------------------------------------------

    def model(self, wanted: Any) -> RegistryModel | None:
        """A registry's model, `wanted` being its RegistryId; a label is the newest that is not archived."""
        found = self._asset(wanted)
        return None if found is None else RegistryModel(found)

    def component(self, wanted: RegistryId) -> Json | None:
        """The specification of a registry's component; None where there is none."""
        found = self._asset(wanted)
        return None if found is None else found.get("componentSpec") or {}

    def _asset(self, wanted: RegistryId) -> Json | None:
        key = str(wanted)
        if key not in self._assets:
            self._assets[key] = self._asked_asset(wanted)
        return self._assets[key]

    def _asked_asset(self, wanted: RegistryId) -> Json | None:
        registry = self._registry(wanted.registry)
        if not registry:
            return None
        versions = f"{registry}/{wanted.kind}/{wanted.name}/versions"
        if not wanted.is_label:
            body = self.connection.arm.find(f"{versions}/{wanted.version}", VERSION)
            return body["properties"] if body else None
        listed = self.connection.arm.find(f"{versions}?$orderBy=createdtime%20desc&$top=1", VERSION)
        newest = ((listed or {}).get("value") or [None])[0]
        return newest["properties"] if newest else None

    def _registry(self, name: str) -> str:
        """The address of a registry; empty where there is none of that name."""
        if name not in self._registries:
            found = self.connection.arm.find(DISCOVERY.format(registry=name), DISCOVERY_VERSION)
            self._registries[name] = (
                ""
                if found is None
                else (
                    f"{str(found['primaryRegionResourceProviderUri']).rstrip('/')}/mferp/managementfrontend"
                    f"/subscriptions/{found['subscriptionId']}/resourceGroups/{found['resourceGroup']}"
                    f"/providers/{PROVIDER}/registries/{name}"
                )
            )
        return self._registries[name]

    # -- rights ------------------------------------------------------------------------------------------------

    def permissions(self, scope: str) -> list[Json] | None:
        """What the caller may do at a scope, groups and inherited roles included; None where that may not be read."""
        path = f"{scope}/providers/Microsoft.Authorization/permissions"
        try:
            return list(self.connection.arm.pages(path, "2022-04-01"))
        except CloudError as error:
            if error.status != 403:
                raise
            return None

    @property
    def storage(self) -> str:
        """The id of the workspace's storage account; empty where the workspace does not say."""
        return str((self.connection.body.get("properties") or {}).get("storageAccount") or "")

    def reads_blobs(self) -> bool:
        """Whether the caller may list the storage account's containers, by doing it."""
        from azure.core.exceptions import AzureError
        from azure.storage.blob import BlobServiceClient

        account = self.storage.rpartition("/")[2]
        client = BlobServiceClient(f"https://{account}.blob.core.windows.net", self.connection.credential)
        try:
            next(iter(client.list_containers(results_per_page=1)), None)
        except AzureError as error:
            if getattr(error, "status_code", None) != 403:
                raise explain(error) from error
            return False
        return True

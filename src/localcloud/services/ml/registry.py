"""Registries as their clients see them: discovery, models, components, environments.

The registry `azureml` and any that `$LOCALCLOUD_CATALOG` adds are read only, as Microsoft's is for everyone else, and
their content is the catalog's. What is in a registry of one's own is `registry_assets`'.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import ArmError, Handler, json_response, page, require_api_version, route
from localcloud.catalog.content import Catalog, Entry
from localcloud.cloud import REGION, SUBSCRIPTION, Cloud
from localcloud.services.ml.assets import in_view, newest_first
from localcloud.services.ml.ids import PROVIDER
from localcloud.services.ml.registries import find_registry
from localcloud.services.ml.registry_assets import RegistryModels
from localcloud.services.ml.registry_files import CatalogFiles
from localcloud.store import Body

_REGISTRY = (
    f"/mferp/managementfrontend/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{PROVIDER}"
    "/registries/{registry}"
)
_KINDS = ("models", "components", "environments", "data", "codes")

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = Registry(cloud)
    found: list[Route] = [route("/registrymanagement/v1.0/registries/{registry}/discovery", ["GET"], service.discovery)]
    for kind in _KINDS:
        containers = f"{_REGISTRY}/{kind}"
        found += [
            route(containers, ["GET"], service.containers(kind)),
            route(f"{containers}/{{name}}", ["GET"], service.container(kind)),
            route(f"{containers}/{{name}}/versions", ["GET"], service.versions(kind)),
            route(f"{containers}/{{name}}/versions/{{version}}", ["GET"], service.version(kind)),
            route(f"{containers}/{{name}}/versions/{{version}}", ["PUT"], service.put_version(kind)),
            route(f"{containers}/{{rest:path}}", ["PUT", "PATCH", "POST", "DELETE"], service.refuse),
        ]
    found += [
        route(f"{_REGISTRY}/import", ["POST"], service.own("import_asset")),
        route(f"{_REGISTRY}/tempdatarefs/{{name}}/versions/{{version}}", ["PUT"], service.own("start_upload")),
        route(f"{_REGISTRY}/datarefs/{{name}}/versions/{{version}}", ["POST"], service.data_reference),
    ]
    return found


# -- handlers --------------------------------------------------------------------------------------------------


class Registry:
    """Registries as their clients see them."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._models, self._files = RegistryModels(cloud), CatalogFiles(cloud)

    def own(self, name: str) -> Handler:
        """What only a registry of one's own can do; the catalog's refuse it."""

        async def answer(request: Request) -> Response:
            if find_registry(self._cloud, request.path_params["registry"]) is None:
                return await self.refuse(request)
            found: Response = await getattr(self._models, name)(request)
            return found

        return answer

    async def data_reference(self, request: Request) -> Response:
        """Where the files of a model can be read: of one's own registry, or of the catalog's."""
        if find_registry(self._cloud, request.path_params["registry"]) is None:
            self._registry(request)
            return await self._files.data_reference(request)
        return await self._models.data_reference(request)

    def put_version(self, kind: str) -> Handler:
        async def answer(request: Request) -> Response:
            if find_registry(self._cloud, request.path_params["registry"]) is None:
                return await self.refuse(request)
            if kind != "models":
                raise ArmError(501, "NotImplemented", f"The local cloud keeps models in a registry, and no {kind}.")
            return await self._models.put_version(request)

        return answer

    def _read(self, kind: str, name: str, otherwise: Handler) -> Handler:
        """The answer of a registry of one's own where the path names one, and else the catalog's."""

        async def answer(request: Request) -> Response:
            if find_registry(self._cloud, request.path_params["registry"]) is None:
                return await otherwise(request)
            if kind == "models":
                found: Response = await getattr(self._models, name)(request)
                return found
            if name.startswith("list"):
                return page(request, [])
            raise ArmError(404, "NotFound", f"There is no '{request.path_params['name']}' among the {kind}.")

        return answer

    @property
    def _catalog(self) -> Catalog:
        return self._cloud.part(Catalog, Catalog.load)

    def _registry(self, request: Request) -> str:
        require_api_version(request)
        wanted: str = request.path_params["registry"]
        for name in self._catalog.registries:
            if name.lower() == wanted.lower():
                return name
        raise ArmError(404, "NotFound", f"The registry '{wanted}' was not found.")

    async def discovery(self, request: Request) -> Response:
        own = find_registry(self._cloud, request.path_params["registry"])
        if own:
            require_api_version(request)
            return json_response(_own_discovery(own))
        name = self._registry(request)
        base = f"https://{REGION}.api.azureml.ms"
        return json_response(
            {
                "registryName": name,
                "subscriptionId": SUBSCRIPTION,
                "resourceGroup": f"{name}-registry",
                "primaryRegion": REGION,
                # The final slash counts: clients append to it.
                "primaryRegionResourceProviderUri": f"{base}/",
                "registryFqdns": {REGION: {"uri": base}},
            }
        )

    def containers(self, kind: str) -> Handler:
        async def answer(request: Request) -> Response:
            entries = list(self._catalog.versions(self._registry(request), kind))
            names = sorted({entry.name for entry in entries}, key=str.lower)
            shown = [_container(kind, [entry for entry in entries if entry.name == name]) for name in names]
            return page(request, in_view(request, shown))

        return self._read(kind, "list_containers", answer)

    def container(self, kind: str) -> Handler:
        async def answer(request: Request) -> Response:
            name = request.path_params["name"]
            entries = list(self._catalog.versions(self._registry(request), kind, name))
            if not entries:
                raise ArmError(404, "NotFound", f"There is no '{name}' among the {kind} of the registry.")
            return json_response(_container(kind, entries))

        return self._read(kind, "get_container", answer)

    def versions(self, kind: str) -> Handler:
        async def answer(request: Request) -> Response:
            entries = self._catalog.versions(self._registry(request), kind, request.path_params["name"])
            oldest_first = [entry.wire() for entry in entries][::-1]
            return page(request, in_view(request, newest_first(request, oldest_first)))

        return self._read(kind, "list_versions", answer)

    def version(self, kind: str) -> Handler:
        async def answer(request: Request) -> Response:
            name, version = request.path_params["name"], request.path_params["version"]
            found = self._catalog.find(
                f"azureml://registries/{self._registry(request)}/{kind}/{name}/versions/{version}"
            )
            return json_response(found.wire())

        return self._read(kind, "get_version", answer)

    async def refuse(self, request: Request) -> Response:
        name = self._registry(request)
        raise ArmError(
            403,
            "AuthorizationFailed",
            f"The client does not have authorization to change the registry '{name}'. To add to it on the local cloud, "
            "put YAML files into the folder that LOCALCLOUD_CATALOG names.",
        )


# -- model -----------------------------------------------------------------------------------------------------


def _own_discovery(registry: Body) -> Body:
    regions = [detail["location"] for detail in registry["properties"]["regionDetails"]]
    parts = registry["id"].split("/")
    return {
        "registryName": registry["name"],
        "subscriptionId": parts[2],
        "resourceGroup": parts[4],
        "primaryRegion": regions[0],
        "primaryRegionResourceProviderUri": f"https://{regions[0]}.api.azureml.ms/",
        "registryFqdns": {region: {"uri": f"https://{region}.api.azureml.ms"} for region in regions},
    }


def _container(kind: str, entries: list[Entry]) -> Body:
    """A name and its latest version; archived when all its versions are."""
    active = [entry for entry in entries if not entry.archived]
    first = (active or entries)[0]
    numbers = [int(entry.version) for entry in entries if entry.version.isdigit()]
    return {
        "id": first.id.rsplit("/versions/", 1)[0],
        "name": first.name,
        "type": f"{PROVIDER}/registries/{kind}",
        "properties": {
            "description": (first.described.get("description") or "").strip(),
            "tags": {},
            "properties": {},
            "isArchived": not active,
            "latestVersion": active[0].version if active else None,
            "nextVersion": str(max(numbers, default=0) + 1),
        },
    }

"""Who reaches the data of what is private: callers inside a network that has a private endpoint to it.

A caller says where it stands with `localcloud run --network internet` or `--network NAME`, the name of a virtual
network; one that says nothing is not asked. No packet is routed: this is simulated after the documents on private
endpoints; tests/conformance/azure/test_simulations.py::test_what_is_private_refuses_from_outside settles it on Azure.
Resource Manager is public always, as on Azure.
"""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from localcloud.arm import json_response
from localcloud.cloud import Cloud
from localcloud.services.blob_files import BlobError
from localcloud.store import Body

INTERNET = "internet"
_WORKSPACE = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft.MachineLearningServices/workspaces/[^/]+",
    re.IGNORECASE,
)
_NO_PUBLIC = (
    "Public network access is disabled and request is not from a trusted service nor via an approved private link."
)


def refusal(cloud: Cloud, request: Request) -> Response | None:
    """Azure's 403 for a caller outside; None when it may go on to be authorised."""
    network = cloud.stands.get(request.client.port) if request.client else None
    if network is None:
        return None
    host = (request.url.hostname or "").lower()
    found = _asked(cloud, host, request.url.path)
    if found is None or found["properties"].get("publicNetworkAccess") != "Disabled":
        return None
    if network != INTERNET and any(_stands_in(cloud, one, network) for one in _connections(cloud, found)):
        return None
    if host.endswith((".blob.core.windows.net", ".file.core.windows.net")):
        error = BlobError(403, "AuthorizationFailure", "This request is not authorized to perform this operation.")
        return Response(error.xml(), 403, media_type="application/xml", headers={"x-ms-error-code": error.code})
    if host.endswith(".vault.azure.net"):
        inner = {"code": "ForbiddenByConnection"}
        return json_response({"error": {"code": "Forbidden", "message": _NO_PUBLIC, "innererror": inner}}, 403)
    return json_response({"error": {"code": "Forbidden", "message": f"'{found['name']}': {_NO_PUBLIC}"}}, 403)


def _asked(cloud: Cloud, host: str, path: str) -> Body | None:
    """The resource whose data is asked for."""
    label, _, suffix = host.partition(".")
    kinds = {
        "blob.core.windows.net": "Microsoft.Storage/storageAccounts",
        "file.core.windows.net": "Microsoft.Storage/storageAccounts",
        "vault.azure.net": "Microsoft.KeyVault/vaults",
    }
    if suffix in kinds:
        return _named(cloud, kinds[suffix], label)
    if suffix.endswith("inference.ml.azure.com"):
        return _named(cloud, "onlineEndpoints", label)
    workspace = _WORKSPACE.search(path)
    return cloud.store.get(workspace[0]) if workspace else None


def _named(cloud: Cloud, kind: str, name: str) -> Body | None:
    return next((one for one in cloud.store.beneath("/subscriptions", kind) if one["name"].lower() == name), None)


def _connections(cloud: Cloud, found: Body) -> list[Body]:
    """Its approved connections; an endpoint is reached through its workspace's."""
    workspace = _WORKSPACE.match(found["id"])
    holder = cloud.store.get(workspace[0]) if workspace else found
    listed: list[Body] = ((holder or {}).get("properties") or {}).get("privateEndpointConnections") or []
    return [one for one in listed if one["properties"]["privateLinkServiceConnectionState"]["status"] == "Approved"]


def _stands_in(cloud: Cloud, connection: Body, network: str) -> bool:
    endpoint = cloud.store.get(connection["properties"]["privateEndpoint"]["id"])
    subnet = str(((endpoint or {}).get("properties") or {}).get("subnet", {}).get("id", ""))
    return f"/virtualnetworks/{network.lower()}/" in subnet.lower()

"""Where Azure ML's resources lie in ARM, and the workspace that a request names."""

from __future__ import annotations

import re

from starlette.requests import Request

from localcloud.arm import ArmError, not_found
from localcloud.cloud import Cloud
from localcloud.store import Body

PROVIDER = "Microsoft.MachineLearningServices"
GROUP = "/subscriptions/{subscription}/resourceGroups/{group}"
WORKSPACES = f"{GROUP}/providers/{PROVIDER}/workspaces"
WORKSPACE = f"{WORKSPACES}/{{workspace}}"
LOCATION = f"/subscriptions/{{subscription}}/providers/{PROVIDER}/locations/{{location}}"

_WORKSPACE_ID = re.compile(
    rf"(/subscriptions/[^/]+/resourcegroups/[^/]+/providers/{re.escape(PROVIDER)}/workspaces/[^/]+)(?=/|$)",
    re.IGNORECASE,
)


def workspace_id(request: Request) -> str:
    """The id of the workspace in the request's path, in the request's own case."""
    return WORKSPACE.format(**request.path_params)


def workspace_of(resource_id: str) -> str:
    """The workspace's part of the id of anything inside it."""
    found = _WORKSPACE_ID.match(resource_id)
    if found is None:
        raise ArmError(400, "InvalidResourceId", f"'{resource_id}' is not inside a workspace.")
    return found[1]


def require_workspace(cloud: Cloud, request: Request) -> Body:
    """The workspace resource that the path names; 404 when there is none."""
    wanted = workspace_id(request)
    found = cloud.store.get(wanted)
    if found is None:
        group = GROUP.format(**request.path_params)
        if cloud.store.get(group) is None:
            raise not_found(group)
        raise not_found(wanted)
    return found


def last_part(resource_id: str) -> str:
    """The name at the end of an id."""
    return resource_id.rstrip("/").rpartition("/")[2]

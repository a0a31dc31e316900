"""Components: steps and pipelines with typed inputs and outputs, kept as their whole specification."""

from __future__ import annotations

from starlette.routing import Route

from localcloud.arm import ArmError
from localcloud.cloud import Cloud
from localcloud.services.ml.assets import AssetKind, asset_routes
from localcloud.services.ml.ids import last_part
from localcloud.store import Body

_TYPES = ("command", "pipeline", "parallel", "import", "spark", "sweep", "automl", "data_transfer")
_TEXTS = ("description", "display_name", "tags")


def _prepare(cloud: Cloud, workspace: Body, asset_id: str, properties: Body) -> Body:
    spec = properties["componentSpec"]
    if not isinstance(spec, dict):
        raise ArmError(400, "UserError", "'componentSpec' must be an object.")
    kind = str(spec.get("type", "")).split("@")[0]
    if kind not in _TYPES:
        raise ArmError(400, "UserError", f"The component type '{kind}' is not one of {', '.join(_TYPES)}.")
    if kind == "command" and not spec.get("command"):
        raise ArmError(400, "UserError", "A command component needs a 'command'.")
    named = {"name": last_part(asset_id.rsplit("/versions/", 1)[0]), "version": last_part(asset_id)}
    return properties | {"componentSpec": {**spec, **named}}


def _content(properties: Body) -> Body:
    """The specification without its texts, which may change."""
    return {name: value for name, value in properties["componentSpec"].items() if name not in _TEXTS}


COMPONENT = AssetKind(
    segment="components",
    members=("componentSpec",),
    required=("componentSpec",),
    content=_content,
    prepare=_prepare,
    conflict="A component with this name and version exists with other content; use another version.",
)


def routes(cloud: Cloud) -> list[Route]:
    return asset_routes(cloud, COMPONENT)

"""What the registries hold: models, components and environments, read once from YAML files.

Beside our own files those in the folder `$LOCALCLOUD_CATALOG` are read, so that a test or a user can put a model of
their own into the registry. A file is one entry: `kind`, `name`, `version`, `created`, and what its kind needs.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from localcloud.arm import ArmError, timestamp
from localcloud.store import Body

REGISTRY = "azureml"
_KINDS = {"model": "models", "component": "components", "environment": "environments"}
# Ten times as fast where PyYAML was built with libyaml; both are the safe loader.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_REFERENCE = re.compile(
    r"azureml://registries/(?P<registry>[^/]+)/(?P<kind>models|components|environments|data|codes)/(?P<name>[^/]+)"
    r"/(?P<by>versions|labels)/(?P<which>[^/]+)"
)


@dataclass(frozen=True)
class Entry:
    """One version of an asset in a registry. `described` is the YAML as read, `source` where it stood."""

    kind: str
    name: str
    version: str
    created: datetime
    described: Body = field(repr=False)
    source: Path = field(repr=False)
    registry: str = REGISTRY

    @property
    def id(self) -> str:
        return f"azureml://registries/{self.registry}/{_KINDS[self.kind]}/{self.name}/versions/{self.version}"

    @property
    def archived(self) -> bool:
        return bool(self.described.get("archived", False))

    def folder(self) -> Path | None:
        """Where a model's weights should lie; None for one that is metadata only."""
        named = str(self.described.get("folder") or "")
        if not named:
            return None
        if self.source.is_relative_to(Path(__file__).parent):
            from localcloud.catalog.weights import cache_root

            return cache_root() / named
        return self.source.parent / named

    def wire(self) -> Body:
        """The version as the registry answers it."""
        moment = timestamp(self.created)
        described = self.described
        properties: Body = {
            "description": (described.get("description") or "").strip(),
            "tags": {name: as_text(value) for name, value in (described.get("tags") or {}).items()},
            "properties": {name: as_text(value) for name, value in (described.get("properties") or {}).items()},
            "isArchived": self.archived,
            "isAnonymous": False,
            "provisioningState": "Succeeded",
            **getattr(self, f"_{self.kind}")(),
        }
        return {
            "id": self.id,
            "name": self.version,
            "type": f"Microsoft.MachineLearningServices/registries/{_KINDS[self.kind]}/versions",
            "properties": properties,
            "systemData": {
                "createdAt": moment,
                "createdBy": "Microsoft" if self.registry == REGISTRY else "localcloud",
                "createdByType": "User",
                "lastModifiedAt": moment,
            },
        }

    def _model(self) -> Body:
        return {
            "modelUri": f"azureml://registries/{self.registry}/models/{self.name}/versions/{self.version}/package",
            "modelType": self.described.get("type", "mlflow_model"),
            "flavors": {
                name: {"data": {key: str(value) for key, value in (data or {}).items()}}
                for name, data in (self.described.get("flavors") or {}).items()
            },
        }

    def _component(self) -> Body:
        spec: Body = {**self.described["spec"], "name": self.name, "version": self.version}
        if "jobs" in spec:
            spec["jobs"] = {name: _node(name, node) for name, node in spec["jobs"].items()}
        return {"componentSpec": spec}

    def _environment(self) -> Body:
        return {"image": self.described["image"], "osType": "Linux", "environmentType": "Curated"}


def _node(name: str, node: Body) -> Body:
    """An inner job as the wire has it: the YAML says bindings as plain texts."""
    return {
        **node,
        "name": name,
        "inputs": {key: {"job_input_type": "literal", "value": value} for key, value in node["inputs"].items()},
        "outputs": {key: {"type": "literal", "value": value} for key, value in node["outputs"].items()},
    }


def as_text(value: Any) -> str:
    """Tags are strings on the wire: a mapping is published as JSON text, a list as its Python text."""
    if isinstance(value, dict):
        return json.dumps(value)
    return str(value)


class Catalog:
    """All entries of all registries. Reach it with `cloud.part(Catalog, Catalog.load)`."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries

    @classmethod
    def load(cls) -> Catalog:
        """Our own files and those of `$LOCALCLOUD_CATALOG`; ArmError 500 names a file that cannot be read."""
        folders = [Path(__file__).parent / name for name in _KINDS.values()]
        if given := os.environ.get("LOCALCLOUD_CATALOG"):
            folders.append(Path(given).resolve())
            if not folders[-1].is_dir():
                raise ArmError(500, "CatalogError", f"LOCALCLOUD_CATALOG names '{given}', which is no folder.")
        return cls([_read(path) for folder in folders for path in sorted(folder.rglob("*.yaml"))])

    @cached_property
    def registries(self) -> set[str]:
        return {REGISTRY, *(entry.registry for entry in self._entries)}

    def versions(self, registry: str, kind: str, name: str | None = None) -> Iterator[Entry]:
        """Entries of one kind (`models`, …), the newest first."""
        found = [
            entry
            for entry in self._entries
            if entry.registry == registry and _KINDS[entry.kind] == kind and name in (None, entry.name)
        ]
        yield from sorted(found, key=lambda entry: entry.created, reverse=True)

    def find(self, reference: str) -> Entry:
        """The entry of `azureml://registries/<r>/<kind>/<name>/versions/<v>` or `…/labels/latest`; ArmError 404."""
        parts = _REFERENCE.match(reference)
        if parts is None:
            raise ArmError(400, "UserError", f"'{reference}' is no id of an asset in a registry.")
        if parts["registry"] not in self.registries:
            raise ArmError(404, "NotFound", f"There is no registry '{parts['registry']}'.")
        for entry in self.versions(parts["registry"], parts["kind"], parts["name"]):
            latest = parts["by"] == "labels" and parts["which"] == "latest" and not entry.archived
            if latest or (parts["by"] == "versions" and entry.version == parts["which"]):
                return entry
        raise ArmError(
            404,
            "NotFound",
            f"'{parts['name']}' {parts['by'][:-1]} '{parts['which']}' is not among the {parts['kind']} of registry "
            f"'{parts['registry']}' on the local cloud.",
        )

    def component_spec(self, reference: str) -> Body:
        """The whole specification of a component, inner jobs included."""
        spec: Body = self.find(reference).wire()["properties"]["componentSpec"]
        return spec

    def model_folder(self, reference: str) -> Path:
        """The MLflow folder of a registry model; ArmError when the catalog has no weights for it or they are absent."""
        entry = self.find(reference)
        folder = entry.folder()
        if folder is None:
            raise ArmError(
                404,
                "ModelWithoutWeights",
                f"The local cloud knows '{entry.id}' as metadata only and has no weights for it. "
                f"Use {', '.join(self._with_weights())}.",
            )
        if not folder.is_dir():
            raise ArmError(
                404,
                "ModelWithoutWeights",
                f"The weights of '{entry.id}' are not in '{folder}'. Make them with: make setup",
            )
        return folder

    def _with_weights(self) -> list[str]:
        return [f"'{entry.id}'" for entry in self._entries if entry.kind == "model" and entry.described.get("folder")]


def _read(path: Path) -> Entry:
    try:
        described = yaml.load(path.read_text(), _LOADER)
        created = described["created"]
        if isinstance(created, date) and not isinstance(created, datetime):
            created = datetime.combine(created, time(), UTC)
        if described["kind"] not in _KINDS:
            raise ValueError(f"its kind '{described['kind']}' is not one of {', '.join(_KINDS)}")
        return Entry(
            kind=described["kind"],
            name=str(described["name"]),
            version=str(described["version"]),
            created=created if created.tzinfo else created.replace(tzinfo=UTC),
            described=described,
            source=path,
            registry=str(described.get("registry", REGISTRY)),
        )
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ArmError(500, "CatalogError", f"The catalog file '{path}' cannot be used: {error}") from None

"""Writes the tables of `docs/infrastructure.md` from what is so: `python -m tests.infra.pages`.

The dials come from `Pulumi.yaml` and the stack files, the security properties with their lines from `properties`, the
outbound rules from `infra.network`. `test_pages` fails where the page says something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from infra.network import NAMES, TAGS
from tests.infra.properties import PROPERTIES, ROOT, Property

PAGE = ROOT / "docs" / "infrastructure.md"
STACKS = ("local", "dev", "prod", "shared")
PREFIX = "tunestack:"


def written(page: str) -> str:
    """The page with every table between its marks made anew."""
    for name, table in TABLES.items():
        mark = rf"(<!-- {name}: .*? -->\n).*?(<!-- end of {name} -->)"
        page, count = re.subn(mark, lambda found, made=table: f"{found[1]}{made()}{found[2]}", page, flags=re.DOTALL)
        if count != 1:
            raise LookupError(f"docs/infrastructure.md has {count} places for the table '{name}'")
    return page


def dials() -> str:
    declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    rows = ["| dial | type | default | what it means and costs | set by |", "|---|---|---|---|---|"]
    for key, dial in declared.items():
        by = ", ".join(f"{stack}: `{_value(set_to[key])}`" for stack, set_to in _stacks().items() if key in set_to)
        kind = f"list of {dial['items']['type']}s" if dial["type"] == "array" else dial["type"]
        rows.append(f"| `{key}` | {kind} | `{_value(dial['default'])}` | {_cell(dial['description'])} | {by} |")
    return _table(rows)


def _stacks() -> Mapping[str, Mapping[str, Any]]:
    found = {}
    for stack in STACKS:
        config = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
        found[stack] = {key.removeprefix(PREFIX): value for key, value in config.items() if key.startswith(PREFIX)}
    return found


def properties() -> str:
    rows = ["| resource | property | prod | dev | set in |", "|---|---|---|---|---|"]
    for one in PROPERTIES:
        dev = "the same" if one.dev == one.prod else f"{_value(one.dev)}: {_cell(one.excuse)}"
        rows.append(f"| {_resource(one)} | `{one.path}` | `{_value(one.prod)}` | {dev} | `{one.place}` |")
    return _table(rows)


def _resource(one: Property) -> str:
    return f"{one.token}{f' `{one.name}`' if one.name else ''}"


def outbound() -> str:
    rows = ["| rule | kind | to | asked for by |", "|---|---|---|---|"]
    rows += [f"| `{one.name}` | FQDN | `{one.host}` | {one.asked_for_by} |" for one in NAMES]
    rows += [
        f"| `{one.name}` | service tag | `{one.tag.format(region='REGION')}` | {one.asked_for_by} |" for one in TAGS
    ]
    return _table(rows)


def _table(rows: list[str]) -> str:
    return "\n".join(rows) + "\n"


def _value(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(_value(one) for one in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_value(one)}" for key, one in value.items())
    return str(value) or '""'


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


TABLES: Mapping[str, Callable[[], str]] = {"dials": dials, "properties": properties, "outbound": outbound}

if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))

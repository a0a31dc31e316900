"""Who may import whom: the direction of dependencies, checked on the source, with file and line."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("infra", "scripts", "pipelines", "tunestack", "localcloud", "tests", "tools")


def imported(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def violations(folder: str, forbidden: tuple[str, ...], excused: tuple[str, ...] = ()) -> list[str]:
    def under(name: str, packages: tuple[str, ...]) -> bool:
        return any(name == package or name.startswith(package + ".") for package in packages)

    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, name in imported(path)
        if under(name, forbidden) and not under(name, excused)
    ]


def _except(*kept: str) -> tuple[str, ...]:
    return tuple(name for name in OURS if name not in kept)


@pytest.mark.parametrize(
    ("folder", "forbidden", "excused"),
    [
        ("src/tunestack", (*_except("tunestack"), "pulumi", "pulumi_azure_native"), ()),
        ("src/localcloud", _except("localcloud"), ()),
        ("infra", _except("infra"), ("tunestack.outputs", "tunestack.errors")),
        ("scripts", _except("tunestack"), ()),
        ("pipelines", OURS, ()),
    ],
)
def test_dependencies_point_one_way(folder: str, forbidden: tuple[str, ...], excused: tuple[str, ...]) -> None:
    assert violations(folder, forbidden, excused) == []


def test_the_check_itself_sees_a_wrong_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "wrong.py").write_text("import os\nfrom localcloud.store import Store\n")
    monkeypatch.setitem(violations.__globals__, "ROOT", tmp_path)
    assert violations("scripts", ("localcloud",)) == ["scripts/wrong.py:2 imports localcloud.store.Store"]

"""The page on the infrastructure says what is so."""

from __future__ import annotations

import re

import yaml

from tests.infra.pages import PAGE, ROOT, written


def test_the_tables_are_those_that_the_sources_give() -> None:
    page = PAGE.read_text()
    assert written(page) == page, "run: python -m tests.infra.pages"


def test_every_file_that_the_page_names_is_there() -> None:
    for named in set(re.findall(r"`((?:infra|tests|docs|scripts)/[\w./-]+?\.\w+)(?::\d+)?`", PAGE.read_text())):
        assert (ROOT / named).is_file(), named


def test_every_component_of_infra_is_on_the_page() -> None:
    page = PAGE.read_text()
    for path in (ROOT / "infra").glob("*.py"):
        if path.name not in ("__init__.py", "__main__.py"):
            assert f"`infra/{path.name}`" in page, path.name


def test_the_dials_that_the_page_and_the_comments_of_stacks_speak_of_are_dials() -> None:
    dials = set(yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"])
    for named in re.findall(r"pulumi config set (?:--path ')?(\w+)", PAGE.read_text()):
        assert named in dials, named

"""The documents say what is true: generated pages are current, links lead somewhere, the README's story is run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import HANG_SECONDS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_generated_pages_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "tools/reference.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def anchors(page: Path) -> set[str]:
    """What a link may name behind `#`: GitHub's short form of each heading, and ids that the page gives itself."""
    text = page.read_text()
    headings = (
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, re.M)
    )
    return {*headings, *re.findall(r'id="([^"]+)"', text)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_into_pages_name_a_heading(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]*\.md)?#([^)]+)\)", page.read_text())
    assert [link for link in links if link[1] not in anchors((page.parent / link[0]) if link[0] else page)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(r"`((?:src|scripts|tests|pipelines|infra|tools|benchmarks|docs)/[\w./-]+)`", page.read_text())
    made = ("BASE-MODEL", "infra/bootstrap/")  # any model's file, and what the bootstrap writes
    assert [name for name in named if not (ROOT / name).exists() and not any(word in name for word in made)] == []


def test_flags_that_pages_show_with_a_script_are_known() -> None:
    sections = re.findall(r"^## scripts/(\S+)\n(.*?)(?=^## |\Z)", (ROOT / "docs/commands.md").read_text(), re.M | re.S)
    known = {name: set(re.findall(r"--[a-z-]+", usage)) for name, usage in sections}
    shown = [
        (page.name, script, flag)
        for page in PAGES
        for script, words in re.findall(r"scripts/(\w+\.py)((?: +(?!scripts/)[^\s`|;&)]+)*)", page.read_text())
        for flag in re.findall(r"(?<!\S)--[a-z][a-z-]+", words)
        if page.name != "commands.md"
    ]
    assert len(shown) > 50
    assert [use for use in shown if use[2] not in known[use[1]]] == []


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs/decisions/README.md").read_text()
    pages = [p.name for p in (ROOT / "docs/decisions").glob("[0-9]*.md")]
    assert [name for name in pages if name not in index] == []

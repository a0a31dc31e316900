"""docs/preflight.md lists every check with the tests that show both of its verdicts; this file writes that table.

Run: python -m tests.tunestack.preflight.test_preflight_page
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

from tests.tunestack.preflight.preflight_subjects import Case, offline
from tunestack.preflight import preflight

PAGE = Path(__file__).parents[3] / "docs" / "preflight.md"
BEGIN, END = "<!-- checks -->\n", "<!-- /checks -->\n"
ORDER = ("ok", "warning", "error", "unknown", "not asked")


def cases() -> Iterator[tuple[str, Case]]:
    """(file, case) of every module of tests that has `CASES`."""
    for file in sorted(Path(__file__).parent.glob("test_preflight*.py")):
        module = importlib.import_module(f"{__package__}.{file.stem}")
        yield from ((file.name, case) for case in getattr(module, "CASES", ()))


def table() -> str:
    """One line a check: what it asks, whether it can be answered offline, and which file shows which verdicts."""
    shown: dict[str, set[str]] = {}
    files: dict[str, str] = {}
    for file, case in cases():
        shown.setdefault(case.check, set()).add(case.verdict)
        files[case.check] = file
    answered = {one.check: one for one in preflight.run(offline()).findings}
    lines = ["| check | asks | offline | shown by | with |", "|---|---|---|---|---|"]
    for check in preflight.checks():
        found = answered[check.name]
        needs = {"--data": "with `--data`", "gpuQuota": "with the dial `gpuQuota`"}
        other = next((how for word, how in needs.items() if word in found.fix), "no")
        how = other if found.verdict == "not asked" else "yes"
        one = shown.get(check.name, set())
        verdicts = ", ".join(verdict for verdict in ORDER if verdict in one)
        lines.append(f"| `{check.name}` | {check.asks} | {how} | `{files.get(check.name, '')}` | {verdicts} |")
    return "\n".join(lines) + "\n"


def test_every_check_is_shown_with_both_verdicts() -> None:
    shown: dict[str, set[str]] = {}
    for _, case in cases():
        shown.setdefault(case.check, set()).add(case.verdict)
    names = [check.name for check in preflight.checks()]
    assert sorted(shown) == sorted(names)
    assert [name for name in names if "ok" not in shown[name]] == []
    assert [name for name in names if not shown[name] & {"warning", "error", "unknown"}] == []


def test_the_page_lists_every_check() -> None:
    page = PAGE.read_text()
    assert page.partition(BEGIN)[2].partition(END)[0] == table(), (
        "write it anew: python -m tests.tunestack.preflight.test_preflight_page"
    )


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2])

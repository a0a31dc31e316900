"""Writes the generated pages of docs/: every command's `--help`, what the local cloud answers, and causes of failures.

`--check` writes nothing and fails when a page is out of date; a test runs it so.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
MADE = "<!-- Written by `make docs`; do not edit. -->\n"


def _help(words: list[str]) -> str:
    env = {**os.environ, "COLUMNS": "110", "NO_COLOR": "1"}
    done = subprocess.run([*words, "--help"], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    return done.stdout.rstrip()


def commands_page() -> str:
    """`--help` of every script and of `localcloud`."""
    python = sys.executable
    parts = [MADE, "# Commands\n"]
    for script in sorted((ROOT / "scripts").glob("*.py")):
        parts.append(f"## scripts/{script.name}\n\n```\n{_help([python, str(script)])}\n```\n")
    for sub in ("", "up", "run", "workspace", "env", "reset", "coverage"):
        title = f"localcloud {sub}".strip()
        text = _help([python, "-m", "localcloud", *([sub] if sub else [])])
        parts.append(f"## {title}\n\n```\n{text}\n```\n")
    return "\n".join(parts)


def coverage_page() -> str:
    """The operations of the local cloud, one table per host."""
    from localcloud.app import coverage

    parts = [
        MADE,
        "# What the local cloud answers\n",
        "Everything else gets `501` with its method and path. `localcloud coverage` prints this list.\n",
    ]
    host = ""
    for line in coverage():
        method, _, url = line.partition(" ")
        name, _, path = url.removeprefix("https://").partition("/")
        if name != host:
            host = name
            parts.append(f"\n## {host}\n\n| method | path |\n|---|---|")
        parts.append(f"| {method} | `/{path}` |")
    return "\n".join(parts) + "\n"


def failures_page() -> str:
    """docs/failures.md with its table of causes as `causes.yml` has them; the rest of the page is written by hand."""
    from tunestack.jobs.causes import causes

    rows = [
        f"| {cause.error} | {', '.join(cause.steps) or 'any'} | {cause.what} | {cause.fix} |".replace("\n", " ")
        for cause in causes()
    ]
    table = "\n".join(["| error | step | cause | fix |", "|---|---|---|---|", *rows])
    before, begin, rest = (ROOT / "docs/failures.md").read_text().partition("<!-- causes: written by `make docs` -->\n")
    _, end, after = rest.partition("<!-- end of causes -->\n")
    return f"{before}{begin}{table}\n{end}{after}"


def main() -> int:
    pages = {
        "docs/commands.md": commands_page(),
        "docs/coverage.md": coverage_page(),
        "docs/failures.md": failures_page(),
    }
    stale = [name for name, text in pages.items() if not (ROOT / name).exists() or (ROOT / name).read_text() != text]
    if "--check" in sys.argv[1:]:
        for name in stale:
            print(f"error: '{name}' is out of date; write it anew with: make docs", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (ROOT / name).write_text(pages[name])
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`tools/comment.py`: one comment per name, written anew in its place, and nobody else's touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BOT = "github-actions[bot]"
GH = """#!/usr/bin/env python3
import json, sys
from pathlib import Path
here = Path(__file__).parent
with (here / "calls").open("a") as calls:
    calls.write(json.dumps([sys.argv[1:], sys.stdin.read() if "--input" in sys.argv else ""]) + "\\n")
if "--slurp" in sys.argv:
    print((here / "comments.json").read_text())
elif (here / "refuse").exists():
    sys.exit("HTTP 403: Resource not accessible by integration")
else:
    print('{"html_url": "https://github.com/acme/tunestack/pull/7#issuecomment-1"}')
"""


@pytest.fixture
def gh(tmp_path: Path) -> Path:
    """A `gh` that keeps what it is called with; it stands for GitHub."""
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    (tmp_path / "page.md").write_text("### The plan\n")
    return tmp_path


def comment(gh: Path, *comments: tuple[int, str, str]) -> subprocess.CompletedProcess[str]:
    pages = [[{"id": number, "user": {"login": who}, "body": body} for number, who, body in comments], []]
    (gh / "comments.json").write_text(json.dumps(pages))
    flags = ["--repository", "acme/tunestack", "--pull", "7", "--name", "plan-dev", "--body", str(gh / "page.md")]
    return subprocess.run(
        [sys.executable, ROOT / "tools" / "comment.py", *flags],
        env={**os.environ, "PATH": f"{gh}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def written(gh: Path) -> tuple[list[str], str]:
    words, body = json.loads((gh / "calls").read_text().splitlines()[-1])
    return words, json.loads(body)["body"]


def test_the_first_time_a_comment_is_made_with_a_mark_to_find_it_by(gh: Path) -> None:
    done = comment(gh, (1, BOT, "<!-- tunestack: plan-prod -->\nprod's"), (2, "somebody", "hello"))
    assert done.stdout.strip().endswith("#issuecomment-1"), done.stderr
    words, body = written(gh)
    assert words[:4] == ["api", "--method", "POST", "repos/acme/tunestack/issues/7/comments"]
    assert body == "<!-- tunestack: plan-dev -->\n### The plan\n"


def test_the_next_time_it_is_written_anew_and_nobody_elses_is(gh: Path) -> None:
    mark = "<!-- tunestack: plan-dev -->\n"
    assert comment(gh, (4, "somebody", f"{mark}forged"), (5, BOT, f"{mark}old")).returncode == 0
    words, _ = written(gh)
    assert words[:4] == ["api", "--method", "PATCH", "repos/acme/tunestack/issues/comments/5"]


def test_a_page_longer_than_github_takes_is_cut(gh: Path) -> None:
    (gh / "page.md").write_text("x" * 100_000)
    assert comment(gh).returncode == 0
    assert len(written(gh)[1]) < 65_536


def test_a_refusal_is_one_error(gh: Path) -> None:
    (gh / "refuse").touch()
    done = comment(gh)
    assert done.returncode == 1
    assert done.stderr == "error: the comment could not be written: HTTP 403: Resource not accessible by integration\n"

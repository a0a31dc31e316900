"""One comment per name on a pull request, written anew when it is there already: python3 tools/comment.py --help

Standard library and the `gh` command only, so that the job that may write comments needs no other code.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LONGEST = 65_000  # GitHub refuses a body of 65,536 characters and more


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--repository", required=True, metavar="OWNER/NAME", help="the repository")
    flags.add_argument("--pull", required=True, type=int, metavar="N", help="number of the pull request")
    flags.add_argument("--name", required=True, help="which of the comments")
    flags.add_argument("--author", default="github-actions[bot]", metavar="LOGIN", help="who writes (%(default)s)")
    flags.add_argument("--body", required=True, type=Path, metavar="FILE", help="Markdown to write")
    options = flags.parse_args()
    mark = f"<!-- tunestack: {options.name} -->"
    text = f"{mark}\n{options.body.read_text()}"[:LONGEST]
    comments = f"repos/{options.repository}/issues/{options.pull}/comments"
    try:
        found = _gh("--paginate", "--slurp", comments)
        written_here = [one for page in found for one in page if one["body"].startswith(mark)]
        # Anybody can write the mark, and this token could overwrite anybody's comment.
        ours = [one["id"] for one in written_here if one["user"]["login"] == options.author]
        place = f"repos/{options.repository}/issues/comments/{ours[0]}" if ours else comments
        written = _gh("--method", "PATCH" if ours else "POST", place, "--input", "-", body={"body": text})
    except subprocess.CalledProcessError as error:
        print(f"error: the comment could not be written: {error.stderr.strip()}", file=sys.stderr)
        return 1
    print(written["html_url"])
    return 0


def _gh(*words: str, body: object = None) -> Any:
    said = None if body is None else json.dumps(body)
    return json.loads(
        subprocess.run(["gh", "api", *words], input=said, capture_output=True, text=True, check=True).stdout
    )


if __name__ == "__main__":
    sys.exit(main())

"""The page that leads from a login to an answer and back, line by line as it stands there, on the local cloud."""

from __future__ import annotations

import re
import shlex

from tests.e2e.conftest import ROOT, Story

PAGE = ROOT / "docs" / "azure.md"
OPERATOR = "ServicePrincipal:00000000-0000-0000-0000-000000000003"


def blocks(page: str, mark: str) -> list[str]:
    """The lines of every shell block that stands right below a comment beginning with `mark`."""
    found = re.findall(rf"<!-- {mark}[^>]*-->\n```sh\n(.*?)```", page, re.DOTALL)
    return [line for block in found for line in block.splitlines() if line.strip()]


def test_every_block_of_the_page_is_either_run_or_says_why_not() -> None:
    page = PAGE.read_text()
    shown = [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines() if line]
    assert sorted(shown) == sorted(blocks(page, "run") + blocks(page, "not run:"))


def test_the_page_leads_to_an_answer_and_back_to_nothing(story: Story) -> None:
    project = story.folder / "project"
    # Stacks called `local-…` are those that run on the local cloud; everything else is what the page's stack has.
    (project / "Pulumi.local-dev.yaml").write_text((project / "Pulumi.dev.yaml").read_text())
    story.run("pulumi stack select --create local-dev")
    # The page asks `az` who is logged in; here it is the local cloud's principal.
    story.run(f"pulumi config set --path 'operators[0]' {OPERATOR}")
    said: list[str] = []
    shell = {"STACK": "local-dev", "RECIPE": "tiny.yml"}
    for line in blocks(PAGE.read_text(), "run"):
        given = "; ".join(f"{name}={shlex.quote(value)}" for name, value in shell.items())
        handle = re.match(r"(\w+)=(\$\(.*\))$", line)
        said.append(story.run(f"{given}; {'echo ' + handle[2] if handle else line}"))
        if handle:
            shell[handle[1]] = said[-1].splitlines()[-1]
    assert said[-1] == "nothing left"
    assert said[-3], "the endpoint's answer"

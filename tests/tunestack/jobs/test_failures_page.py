"""docs/failures.md: its recipes are recipes, its example of a failure is what a failure looks like."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tunestack.jobs.failed_job import failure
from tunestack.jobs.run_history import Run
from tunestack.recipes import recipe

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "failures.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=["early stopping", "low priority"])
def test_the_recipes_of_the_page_are_recipes(example: str, tmp_path: Path) -> None:
    given = yaml.safe_load((ROOT / "pipelines" / "finetune" / "smollm2-local.yml").read_text())
    asked = yaml.safe_load(example)["training"]
    file = tmp_path / "mine.yml"
    file.write_text(yaml.safe_dump({**given, "training": {**given["training"], **asked}}))
    found = recipe.read(file).parameters
    assert {name: found[name] for name in asked} == asked


def test_the_failure_on_the_page_is_what_is_said_of_one() -> None:
    message = "The number of training examples is 9 after preprocessing; the minimum is 10."

    class History:
        def steps(self, job: str) -> list[Run]:
            return [Run("a", "chat_completion_datapreprocess", "Failed", error=message)]

        def logs(self, run: str, lines: int) -> list[list[str]]:
            return [[f"UserError: {message}"]]

    said = failure(History(), Run("chat-5f2c", "chat", "Failed"))  # type: ignore[arg-type]
    shown = [f"  | {line}" for line in said.details] + [f"error: {problem}" for problem in said.problems]
    assert "\n".join(shown) + f". {said.fix}\n" in PAGE

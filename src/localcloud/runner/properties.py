"""Properties that a step leaves for its run and for the pipeline's, as the published steps set them by themselves."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from localcloud.runner.runs import Run, Runs

log = logging.getLogger("localcloud.runner")


def take_over(runs: Runs, run: Run, file: Path) -> None:
    """Put what the file says, `{"run": {…}, "root": {…}}`, onto the step's run and onto its root."""
    if not file.is_file():
        return
    try:
        said = json.loads(file.read_text())
    except ValueError as error:
        log.warning("Properties of run '%s' are not taken over: %s", run.id, error)
        return
    root = runs.find(run.workspace, run.root)
    for owner, section in ((run, "run"), (root, "root")):
        if owner is not None and said.get(section):
            owner.properties = {**owner.properties, **{name: str(value) for name, value in said[section].items()}}
            runs.save(owner)

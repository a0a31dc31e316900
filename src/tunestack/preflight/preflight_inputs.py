"""From the flags of a script to the subject of a preflight: files are read here, and nothing is checked yet.

Which stack: the one that is connected to; offline the one that `--stack` or a file of outputs names. Its dials are
read from the project's files, so that no engine is needed.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunestack import outputs
from tunestack.cost import stack_plan
from tunestack.data import data_folder
from tunestack.deployments import deployment_settings
from tunestack.errors import NotConfigured, UsageError
from tunestack.preflight.preflight_subject import Subject
from tunestack.recipes import recipe

if TYPE_CHECKING:
    from tunestack.connect import Connection
    from tunestack.deployments.deployment_settings import Settings


def subject(options: argparse.Namespace, serve: Path) -> Subject:
    """What `scripts/preflight.py` checks; `serve` is the folder with deployment settings per base model."""
    found = recipe.read(options.recipe, options.settings)
    data = data_folder.read(options.data) if options.data else None
    settings = deployment(options.deployment, serve, found)
    cloud = None if options.offline else _connected(options)
    stack = options.stack or (cloud.workspace.stack if cloud else _stack_of_outputs(options.outputs))
    return Subject(found, _dials(stack, cloud), data, settings, stack, cloud=cloud)


def of_submission(
    found: recipe.Recipe,
    data: data_folder.DataFolder | None,
    cloud: Connection,
    serve: Path,
    deployment_file: Path | None = None,
) -> Subject:
    """The subject of a submission: its workspace is connected to, and its data is there."""
    settings = deployment(deployment_file, serve, found)
    stack = cloud.workspace.stack
    return Subject(found, _dials(stack, cloud), data, settings, stack, cloud=cloud)


def deployment(file: Path | None, serve: Path, found: recipe.Recipe) -> Settings | None:
    """The deployment settings of a file, else those of the base model, else None where there are none."""
    if file is not None:
        return deployment_settings.read(file)
    own = serve / f"{found.model.name}.yml"
    return deployment_settings.read(own) if own.is_file() else None


def _connected(options: argparse.Namespace) -> Connection:
    from tunestack import connect

    cloud = connect.connect(options)
    if options.stack and cloud.workspace.stack and options.stack != cloud.workspace.stack:
        raise UsageError(
            f"--stack is '{options.stack}', and the stack that is connected to is '{cloud.workspace.stack}'",
            fix=f"Select it with `pulumi stack select {options.stack}`, or add --offline",
        )
    return cloud


def _stack_of_outputs(file: Path | None) -> str:
    """The stack that a file of outputs names; offline no engine is asked which one is selected."""
    named = file or (Path(os.environ[outputs.VARIABLE]) if os.environ.get(outputs.VARIABLE) else None)
    if named is None:
        raise UsageError("--offline was given without --stack", fix="Name the stack whose dials to read: --stack dev")
    try:
        found = json.loads(named.read_text())
    except (OSError, ValueError) as error:
        raise NotConfigured(
            f"the outputs file '{named}' cannot be read: {error}", fix="Name it with --stack"
        ) from error
    if not isinstance(found, dict) or not found.get("stack"):
        raise NotConfigured(f"the outputs file '{named}' names no stack", fix="Name it with --stack")
    return str(found["stack"])


def _dials(stack: str, cloud: Connection | None) -> Mapping[str, Any]:
    """The stack's dials, and over them what the stack that is up says of itself.

    With a cloud to ask there need be no file of that stack here or above.
    """
    here, told = Path.cwd(), _of_stack(cloud) if cloud else {}
    if cloud and not any((folder / f"Pulumi.{stack}.yaml").is_file() for folder in (here, *here.parents)):
        return told
    dials = stack_plan.dials(stack_plan.project_folder(here), stack)
    if dials.get("purpose") == "registry":
        raise UsageError(
            f"stack '{stack}' is a registry for models: nothing is trained or served in it",
            fix="Name the stack of an environment: --stack dev",
        )
    return {**dials, **told}


def _of_stack(cloud: Connection) -> dict[str, Any]:
    place = cloud.workspace
    counts = {"budget": place.monthly_budget, "maxInstances": place.max_instances}
    lease = {"leaseCap": place.lease_cap} if place.lease_cap else {}
    return {**{name: int(value) for name, value in counts.items() if value.isdigit()}, **lease}

"""One step: its folder, its code, its inputs as paths, its process, and how that ended.

Whether a step that lost its node starts again is the runner's to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcloud import processes
from localcloud.cloud import Cloud
from localcloud.runner import logs, preemption
from localcloud.runner.access import AccessDenied, StepAccess
from localcloud.runner.command import CommandError, render
from localcloud.runner.environment import distributed_environment, step_environment
from localcloud.runner.locations import LocationError, local
from localcloud.runner.plans import StepPlan
from localcloud.runner.preemption import Preempted
from localcloud.runner.runs import Run
from localcloud.runner.values import Asset, Value
from localcloud.services.acting import READ_BLOB, WRITE_BLOB

GRACE_SECONDS = 5.0
_LOOK_SECONDS = 0.02
# The variable that names the file of properties; what the published steps say to run history themselves.
PROPERTIES = "LOCALCLOUD_PROPERTIES"


class StepError(Exception):
    """A step that failed; `error` is its `{code, message}`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message}


@dataclass(frozen=True)
class Launch:
    """A process about to be started."""

    argv: list[str]
    environment: dict[str, str]
    folder: Path
    is_preemptible: bool = False


@dataclass(frozen=True)
class Machine:
    """What the simulated node of a step is; `gpus` is None where the size is not known."""

    size: str
    gpus: int | None = None
    is_low_priority: bool = False


class Step:
    """Prepares and runs the process of one run. `started` is told its pid, so that it can be written down."""

    def __init__(self, cloud: Cloud, run: Run, plan: StepPlan, started: Callable[[int], None]) -> None:
        self._cloud, self._run, self._plan, self._started = cloud, run, plan, started
        self._access = StepAccess(cloud, run)
        self.log = logs.log_file(cloud, run)

    @property
    def folder(self) -> Path:
        return self._cloud.state / "jobs" / self._run.id

    @property
    def properties(self) -> Path:
        """Where a step leaves properties for its run and for the pipeline's: `{"run": {…}, "root": {…}}`."""
        return self.folder / "properties.json"

    def prepare(self, values: Mapping[str, Value], machine: Machine) -> Launch:
        """Copy the code, find the inputs, make places for the outputs. StepError when something is not there."""
        self._explain(machine.size)
        try:
            self._access.check_image(self._plan.environment)
            folder = self._copy_code()
            inputs = {name: self._input(name, value) for name, value in values.items()}
            outputs = {name: str(self._output(name)) for name in self._plan.outputs}
            line = render(self._plan.command, inputs, outputs)
        except (LocationError, CommandError) as error:
            raise StepError("UserError", str(error)) from None
        except AccessDenied as error:
            raise StepError(error.code, str(error)) from None
        own = dict(self._plan.variables)
        if self._plan.processes > 1:
            own = {**distributed_environment(), **own}
        if machine.gpus is not None:
            own = {"LOCALCLOUD_GPUS": str(machine.gpus), "LOCALCLOUD_SIZE": machine.size, **own}
        own = {PROPERTIES: str(self.properties), **own}
        environment = step_environment(self._cloud, self._run, self._access, own, os.environ)
        return Launch(["bash", "-c", line], environment, folder, machine.is_low_priority)

    def lose_node(self) -> None:
        """What lay on the node that is gone: code, downloaded inputs, and outputs that are uploaded only at the end."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for name, spec in self._plan.outputs.items():
            if (spec.mode or "").lower() == "upload":
                path = local(self._cloud, self._run.workspace, self._run.outputs[name]["uri"])
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _explain(self, size: str) -> None:
        """Say in the log what is simulated."""
        target = self._run.target or "serverless compute"
        logs.write_line(self.log, f"The process runs on this machine; the size {size} of {target} is simulated.")
        if self._plan.environment:
            image = self._plan.environment.rpartition("/environments/")[2] or self._plan.environment
            logs.write_line(
                self.log,
                f"Environment '{image}' is not built: the interpreter is {sys.executable}, as it is installed.",
            )
        if self._plan.processes > 1:
            logs.write_line(self.log, f"One process runs, not {self._plan.processes}: distribution is simulated.")

    def _copy_code(self) -> Path:
        target = self.folder / "code"
        target.mkdir(parents=True, exist_ok=True)
        if self._plan.code:
            resource = self._cloud.store.get(self._plan.code)
            if resource is None:
                raise LocationError(f"Code '{self._plan.code}' does not exist any more.")
            source = local(self._cloud, self._run.workspace, resource["properties"]["codeUri"])
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            elif source.is_file():
                shutil.copy2(source, target)
            else:
                raise LocationError(f"The uploaded code '{resource['properties']['codeUri']}' is empty or gone.")
        return target

    def _input(self, name: str, value: Value) -> str:
        if not isinstance(value, Asset):
            return value.text
        assert value.uri is not None
        if (value.mode or "").lower() == "direct":
            return value.uri
        path = local(self._cloud, self._run.workspace, value.uri)
        self._access.check_data(f"Input '{name}'", value.uri, READ_BLOB)
        if not path.exists():
            raise LocationError(f"Input '{name}': there is nothing at '{value.uri}'.")
        if (value.mode or "").lower() == "download":
            copy = self.folder / "inputs" / name / path.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, copy)
            return str(copy)
        return str(path)

    def _output(self, name: str) -> Path:
        recorded = self._run.outputs[name]
        path = local(self._cloud, self._run.workspace, recorded["uri"])
        self._access.check_data(f"Output '{name}'", recorded["uri"], WRITE_BLOB)
        is_file = self._plan.outputs[name].type == "uri_file"
        (path.parent if is_file else path).mkdir(parents=True, exist_ok=True)
        return path

    async def run(self, launch: Launch) -> None:
        """Run the process to its end. StepError when it fails or takes too long; a cancelled task ends the group.

        Preempted when the node went under a process that may be preempted.
        """
        start = self.log.stat().st_size
        with self.log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *launch.argv,
                env=launch.environment,
                cwd=launch.folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        self._started(process.pid)
        try:
            ended = asyncio.ensure_future(process.wait())
            if launch.is_preemptible:
                await asyncio.wait_for(self._end_when_preempted(process, ended, start), self._plan.timeout)
            code = await asyncio.wait_for(asyncio.shield(ended), self._plan.timeout)
        except TimeoutError:
            await end_group(process)
            raise StepError(
                "JobExceededTimeout", f"The job ran longer than its limit of {self._plan.timeout:g} seconds."
            ) from None
        except asyncio.CancelledError:
            await end_group(process)
            raise
        # What the command left running in the background ends with its step.
        await _kill_group(process.pid)
        if launch.is_preemptible and preemption.is_killed(code):
            raise Preempted
        if code != 0:
            found = logs.error_of(self.log, code)
            raise StepError(found["code"], found["message"])

    async def _end_when_preempted(
        self, process: asyncio.subprocess.Process, ended: asyncio.Future[int], start: int
    ) -> None:
        """Return when the process has ended, by itself or as its node goes: nothing is asked of it then."""
        notice = asyncio.create_task(preemption.notice(self._cloud.faults, self.log, start))
        either: set[asyncio.Future[Any]] = {ended, notice}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if notice.done() and not ended.done():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(ended)
        finally:
            notice.cancel()


async def end_group(process: asyncio.subprocess.Process) -> None:
    """Ask a step's processes to end; kill them when they do not within the grace."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), GRACE_SECONDS)
    await _kill_group(process.pid)
    await process.wait()


async def _kill_group(group: int) -> None:
    """Return when none of it runs: what a large process holds is free again only then."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE_SECONDS):
            while processes.group_runs(group):
                await asyncio.sleep(_LOOK_SECONDS)


def sweep(run: Run) -> bool:
    """End the process that a killed server left of a run; false when there is none."""
    if run.pid is None or run.pid_started is None:
        return False
    return processes.stop_leftover(run.pid, run.pid_started)

"""One step from its queue to its end: prepared, given a node, run, and queued again when that node is preempted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping

from localcloud import processes
from localcloud.cloud import Cloud
from localcloud.runner import logs
from localcloud.runner.nodes import Nodes
from localcloud.runner.plans import StepPlan
from localcloud.runner.preemption import MOST, Preempted
from localcloud.runner.properties import take_over
from localcloud.runner.runs import Run, runs_of
from localcloud.runner.steps import Machine, Step, StepError
from localcloud.runner.values import Value
from localcloud.tracking import tracking_of


class Attempts:
    """Runs steps on nodes. `set_status` writes a run's status down, `say` puts a line into its pipeline's log."""

    def __init__(self, cloud: Cloud, set_status: Callable[[Run, str], None], say: Callable[[Run, str], None]) -> None:
        self._cloud, self._runs = cloud, runs_of(cloud)
        self._nodes = Nodes(cloud, at_once=max(2, (os.cpu_count() or 2) // 2))
        self._set, self._say = set_status, say

    async def run(self, run: Run, plan: StepPlan, values: Mapping[str, Value]) -> None:
        """Return when the step has ended well. StepError when it failed or lost its node too often."""
        compute = f"{run.workspace}/computes/{run.target}" if run.target else None
        nodes = self._nodes
        machine = Machine(nodes.size(compute), nodes.gpus(compute), nodes.is_low_priority(compute))
        step = Step(self._cloud, run, plan, lambda pid: self._started(run, pid))
        while not await self._attempt(step, run, values, compute, machine):
            step.lose_node()
        take_over(self._runs, run, step.properties)
        self._set(run, "Finalizing")

    def release_all(self) -> None:
        self._nodes.release_all()

    async def _attempt(
        self, step: Step, run: Run, values: Mapping[str, Value], compute: str | None, machine: Machine
    ) -> bool:
        """Run the step on one node; false when that was preempted and the step may have another."""
        self._set(run, "Preparing")
        launch = await asyncio.to_thread(step.prepare, values, machine)
        self._set(run, "Queued")
        try:
            async with self._nodes.node(compute):
                await tracking_of(self._cloud).flush_if_ready()
                self._set(run, "Running")
                await step.run(launch)
        except Preempted:
            self._note_preemption(step, run)
            return False
        return True

    def _note_preemption(self, step: Step, run: Run) -> None:
        run.pid = run.pid_started = None
        run.preemptions += 1
        run.properties["localcloud.preemptions"] = str(run.preemptions)
        self._runs.save(run)
        if run.preemptions >= MOST:
            gone = f"The node of cluster '{run.target}' was preempted {run.preemptions} times; it is not started again."
            logs.write_line(step.log, gone)
            raise StepError("NodePreempted", gone)
        again = f"it stands in the queue again, with the same outputs ({run.preemptions} of at most {MOST - 1})"
        logs.write_line(step.log, f"The node was preempted; the step ended, and {again}.")
        if run.parent is not None:
            self._say(run, f"Step '{run.node}' lost its node; {again}")

    def _started(self, run: Run, pid: int) -> None:
        run.pid, run.pid_started = pid, processes.started_at(pid)
        self._runs.save(run)

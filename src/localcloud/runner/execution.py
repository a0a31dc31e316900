"""The runner: takes plans, carries out steps and graphs of steps, and keeps run history in step with them.

A graph starts every node whose inputs are there; how many run at once is the machine's limit. Results of earlier
runs are never reused: a step runs again each time.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from graphlib import TopologicalSorter

from localcloud.arm import ArmError
from localcloud.cloud import Cloud
from localcloud.runner import logs
from localcloud.runner.attempts import Attempts
from localcloud.runner.locations import output_uri
from localcloud.runner.plans import SERVERLESS, GraphPlan, NodePlan, StepPlan
from localcloud.runner.recording import record_later
from localcloud.runner.references import compute_name
from localcloud.runner.runs import Run, runs_of
from localcloud.runner.sources import FromNode, resolve
from localcloud.runner.steps import StepError, sweep
from localcloud.runner.values import Asset, Literal, OutputSpec, Value
from localcloud.tracking import tracking_of

Work = Callable[[], Awaitable[None]]

log = logging.getLogger("localcloud.runner")

STOPPED = (
    "The local cloud stopped while this job ran, and its process was ended. Submit the job again; "
    "what it had written is still there."
)


class Runner:
    """Runs the jobs of one local cloud as tasks of its event loop."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud, self._runs = cloud, runs_of(cloud)
        self._attempts = Attempts(cloud, self._set, self._say)
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        tracking_of(cloud)  # its start hook comes before ours, so that it can be told what became of old runs
        cloud.on_start.append(self.recover)
        cloud.on_stop.append(self.stop)

    # -- from outside ------------------------------------------------------------------------------------------

    def submit_step(self, run: Run, plan: StepPlan, values: Mapping[str, Value], compute: str | None) -> None:
        """Start a command job; `compute` is a reference or None for serverless."""
        self._describe(run, values, plan.outputs, compute)
        self._begin(run, partial(self._attempts.run, run, plan, values))

    def submit_graph(
        self, run: Run, plan: GraphPlan, values: Mapping[str, Value], targets: Mapping[str, OutputSpec]
    ) -> None:
        """Start a pipeline job; `targets` say where its outputs are wanted."""
        self._describe(run, values, {}, plan.compute)
        self._begin(run, partial(self._graph, run, plan, values, targets))

    def is_active(self, workspace: str, root: str) -> bool:
        return (workspace.lower(), root) in self._tasks

    async def wait(self, workspace: str, root: str) -> None:
        """Return when the job has ended, at once when it has already."""
        task = self._tasks.get((workspace.lower(), root))
        if task:
            await asyncio.wait([task])

    async def cancel(self, workspace: str, root: str) -> None:
        """Cancel a job with all its steps; returns when their processes are gone."""
        task = self._tasks.get((workspace.lower(), root))
        if task:
            await asyncio.sleep(0)  # a task that is cancelled before its first step never runs at all
            task.cancel()
            await asyncio.wait([task])

    def end_workspace(self, workspace: str) -> None:
        """The workspace is deleted: its jobs are canceled, and its run history goes with it."""

        def forget(_: object = None) -> None:
            for run in self._runs.of_workspace(workspace):
                self._runs.forget(run)

        running = [task for (owner, _), task in self._tasks.items() if owner == workspace.lower()]
        for task in running:
            task.add_done_callback(forget)
            task.cancel()
        if not running:
            forget()

    async def recover(self) -> None:
        """After a start: runs that a killed server left unfinished are failed, and their processes ended."""
        for run in self._runs.everywhere():
            if not run.is_over:
                await asyncio.to_thread(sweep, run)
                logs.write_line(logs.log_file(self._cloud, run), STOPPED)
                self._end(run, "Failed", {"code": "LocalCloudStopped", "message": STOPPED})
            elif run.recorded != run.status:
                record_later(self._cloud, run)
        self._attempts.release_all()

    async def stop(self) -> None:
        """Before the server ends: running jobs end with it."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel("stopped")
        if tasks:
            await asyncio.wait(tasks)

    # -- one job -----------------------------------------------------------------------------------------------

    def _begin(self, run: Run, work: Work) -> None:
        self._runs.save(run)
        record_later(self._cloud, run)
        key = (run.workspace.lower(), run.id)
        task = asyncio.create_task(self._carry_out(run, work), name=f"job {run.id}")
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._tasks.pop(key, None))

    async def _carry_out(self, run: Run, work: Work) -> None:
        """Run the work to its end, whatever that is, and write the end down for the run and its children."""
        error: dict[str, str] | None = None
        status = "Completed"
        try:
            await work()
        except StepError as failure:
            status, error = "Failed", failure.error
        except ArmError as failure:
            status, error = "Failed", {"code": failure.code, "message": failure.message}
        except asyncio.CancelledError as canceled:
            if "stopped" in canceled.args:
                status, error = "Failed", {"code": "LocalCloudStopped", "message": STOPPED}
            else:
                status = "Canceled"
        except Exception as failure:
            log.exception("Job '%s' failed in the local cloud itself", run.id)
            status, error = "Failed", {"code": "InternalServerError", "message": f"The local cloud failed: {failure}"}
        for other in self._runs.family(run.workspace, run.root):
            if other.id != run.id and other.parent and not other.is_over and self._is_beneath(other, run):
                self._end(other, "Canceled", None)
        self._end(run, status, error)
        if status in ("Failed", "Canceled") and run.parent is None:
            reason = error["message"] if error else "Canceled by the user."
            logs.write_line(logs.log_file(self._cloud, run), f"{status}: {reason}")

    def _is_beneath(self, other: Run, run: Run) -> bool:
        parent = other.parent
        while parent is not None and parent != run.id:
            above = self._runs.find(run.workspace, parent)
            parent = above.parent if above else None
        return parent == run.id

    def _describe(
        self, run: Run, values: Mapping[str, Value], outputs: Mapping[str, OutputSpec], compute: str | None
    ) -> None:
        for name, value in values.items():
            if isinstance(value, Literal):
                run.inputs[name] = {"type": "literal", "value": value.text}
            else:
                run.inputs[name] = {"type": value.type, "uri": value.uri}
        for name, spec in outputs.items():
            run.outputs[name] = {"type": spec.type, "uri": output_uri(run, name, spec.type, spec.uri)}
        name = compute_name(compute or "")
        run.target = name if name and name.lower() != SERVERLESS else None

    def _set(self, run: Run, status: str) -> None:
        run.status = status
        if status == "Running" and run.started is None:
            run.started = self._runs.now()
        with self._cloud.store.transaction():
            self._runs.save(run)
            self._publish(run)

    def _end(self, run: Run, status: str, error: dict[str, str] | None) -> None:
        run.status, run.error, run.ended = status, error, self._runs.now()
        run.pid = run.pid_started = None
        with self._cloud.store.transaction():
            self._runs.save(run)
            self._publish(run)
        record_later(self._cloud, run)

    def _publish(self, run: Run) -> None:
        """Write state and outputs onto the job's resource: whoever resolves `azureml://jobs/…/outputs/…` reads it."""
        job = self._cloud.store.get(f"{run.workspace}/jobs/{run.id}")
        if job is None:
            return
        job["properties"]["status"] = run.status
        if run.is_over:
            outputs = dict(job["properties"].get("outputs") or {})
            for name, place in run.outputs.items():
                outputs[name] = {**(outputs.get(name) or {}), "uri": place["uri"], "jobOutputType": place["type"]}
            job["properties"]["outputs"] = outputs
        self._cloud.store.put(job["id"], job)

    # -- a graph -----------------------------------------------------------------------------------------------

    async def _graph(
        self, run: Run, plan: GraphPlan, values: Mapping[str, Value], targets: Mapping[str, OutputSpec]
    ) -> None:
        self._set(run, "Preparing")
        children = {name: self._child(run, node, plan, targets) for name, node in plan.nodes.items()}
        if run.parent is None:
            self._say(run, f"Steps: {', '.join(children)}. Results of earlier runs are not reused: each step runs.")
        self._set(run, "Running")
        sorter = TopologicalSorter({name: node.before() for name, node in plan.nodes.items()})
        sorter.prepare()
        made: dict[FromNode, Asset] = {}
        tasks: dict[asyncio.Task[None], str] = {}
        failed: list[str] = []
        try:
            while sorter.is_active():
                for name in sorter.get_ready():
                    wanted = self._targets(plan, name, targets)
                    work = partial(self._node, children[name], plan.nodes[name], values, made, wanted)
                    self._say(run, f"Step '{name}' starts as run {children[name].id}")
                    tasks[asyncio.create_task(self._carry_out(children[name], work))] = name
                if not tasks:
                    break
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for name in (tasks.pop(task) for task in done):
                    child = children[name]
                    self._say(run, f"Step '{name}' is {child.status}")
                    if child.status == "Completed":
                        for output, place in child.outputs.items():
                            made[FromNode(name, output)] = Asset(place["type"], place["uri"])
                        sorter.done(name)
                    else:
                        failed.append(name)
                if failed and not plan.continue_on_step_failure:
                    break
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
        if failed:
            raise self._failure(children, failed)
        for output, source in plan.exports.items():
            run.outputs[output] = children[source.node].outputs[source.output]
        self._set(run, "Finalizing")

    def _say(self, run: Run, text: str) -> None:
        """A line for who streams the pipeline; a nested one speaks in its root's log too."""
        root = self._runs.find(run.workspace, run.root)
        for speaker in {run.id: run, run.root: root or run}.values():
            logs.write_line(logs.log_file(self._cloud, speaker), f"{self._runs.now()} {text}")

    def _failure(self, children: Mapping[str, Run], failed: list[str]) -> StepError:
        first = children[failed[0]]
        error = first.error or {"code": "Canceled", "message": "The step was canceled."}
        if first.kind == "pipeline" and error["message"].startswith("Step '"):
            return StepError(error["code"], error["message"])
        also = f" Also failed: {', '.join(failed[1:])}." if failed[1:] else ""
        return StepError(error["code"], f"Step '{first.node}' failed: {error['message']}{also}")

    def _targets(self, plan: GraphPlan, node: str, targets: Mapping[str, OutputSpec]) -> dict[str, OutputSpec]:
        """Which places that the parent's outputs are wanted at fall to this node, by its own output names."""
        return {
            source.output: targets[output]
            for output, source in plan.exports.items()
            if source.node == node and output in targets and targets[output].uri
        }

    def _child(self, parent: Run, node: NodePlan, plan: GraphPlan, targets: Mapping[str, OutputSpec]) -> Run:
        """The child's run, visible from the start. Its id must not begin with the parent's (REST surface 17.7)."""
        run = Run(
            workspace=parent.workspace,
            id=str(uuid.uuid4()),
            root=parent.root,
            parent=parent.id,
            experiment=parent.experiment,
            display_name=node.title,
            kind="command" if isinstance(node.work, StepPlan) else "pipeline",
            created=self._runs.now(),
            node=node.name,
            submitter=parent.submitter,
        )
        if isinstance(node.work, StepPlan):
            outputs = {**node.outputs, **self._targets(plan, node.name, targets)}
            self._describe(run, {}, {name: outputs[name] for name in node.outputs}, None)
        self._runs.save(run)
        record_later(self._cloud, run)
        return run

    async def _node(
        self,
        run: Run,
        node: NodePlan,
        parent: Mapping[str, Value],
        made: Mapping[FromNode, Asset],
        targets: Mapping[str, OutputSpec],
    ) -> None:
        values = {
            name: value for name, source in node.sources.items() if (value := resolve(source, parent, made)) is not None
        }
        for name, spec in node.work.inputs.items():
            if name not in values and spec.default is not None:
                values[name] = Literal(spec.default)
        compute = resolve(node.compute, parent, made)
        self._describe(run, values, {}, compute.text if isinstance(compute, Literal) else None)
        record_later(self._cloud, run)
        if isinstance(node.work, StepPlan):
            await self._attempts.run(run, node.work, values)
        else:
            await self._graph(run, node.work, values, targets)


def runner_of(cloud: Cloud) -> Runner:
    return cloud.part(Runner, lambda: Runner(cloud))

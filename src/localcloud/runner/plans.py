"""What a job is going to do, taken from its request body: steps, graphs of steps, and how values flow between them.

Everything that can be known before anything runs is checked here; `problems` collects what is wrong, all of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from localcloud.arm import ArmError
from localcloud.runner.command import check_command
from localcloud.runner.references import References
from localcloud.runner.sources import FromNode, FromParent, Source, parent_output, parse_source, resolve, source_of_text
from localcloud.runner.values import (
    Asset,
    InputSpec,
    Literal,
    OutputSpec,
    Value,
    check_values,
    input_spec,
    text_of,
)
from localcloud.store import Body

_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
SERVERLESS = "serverless"


@dataclass(frozen=True)
class StepPlan:
    """One process: a command for the shell, what it needs, and how long it may take (in seconds)."""

    inputs: dict[str, InputSpec]
    outputs: dict[str, OutputSpec]
    command: str = ""
    code: str | None = None
    environment: str | None = None
    variables: dict[str, str] = field(default_factory=dict)
    timeout: float | None = None
    processes: int = 1


@dataclass(frozen=True)
class NodePlan:
    """A step or a nested graph at its place: what it is fed with, where its outputs go, which compute it asks for."""

    name: str
    title: str
    work: StepPlan | GraphPlan
    sources: dict[str, Source]
    outputs: dict[str, OutputSpec]
    compute: Source | None = None

    def before(self) -> set[str]:
        """The nodes that must be done first."""
        return {source.node for source in self.sources.values() if isinstance(source, FromNode)}


@dataclass(frozen=True)
class GraphPlan:
    """A pipeline. `exports` names, for each of its outputs, the node and output that make it."""

    nodes: dict[str, NodePlan]
    inputs: dict[str, InputSpec]
    exports: dict[str, FromNode]
    compute: str | None = None
    continue_on_step_failure: bool = True


def seconds_of(duration: str | None) -> float | None:
    """An ISO 8601 duration such as `PT1H30M` in seconds."""
    if not duration:
        return None
    found = _DURATION.fullmatch(duration)
    if not found or not any(found.groups()):
        raise ArmError(400, "UserError", f"'{duration}' is not a duration; use ISO 8601, e.g. 'PT1H'.")
    days, hours, minutes, seconds = (float(each or 0) for each in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


class Planner:
    """Makes plans for one request in one workspace."""

    def __init__(self, references: References) -> None:
        self._references = references
        self.problems: list[str] = references.problems

    # -- a command job -----------------------------------------------------------------------------------------

    def command_job(self, properties: Body) -> tuple[StepPlan, dict[str, Value]]:
        given: dict[str, Value] = {}
        specs: dict[str, InputSpec] = {}
        for name, body in (properties.get("inputs") or {}).items():
            source = parse_source(body)
            if isinstance(source, Literal | Asset):
                given[name] = source
                specs[name] = InputSpec("string" if isinstance(source, Literal) else source.type)
        outputs = {name: _output(body) for name, body in (properties.get("outputs") or {}).items()}
        spec: Body = {
            "command": properties.get("command"),
            "code": properties.get("codeId"),
            "environment": properties.get("environmentId"),
            "environment_variables": properties.get("environmentVariables"),
            "limits": properties.get("limits"),
            "distribution": properties.get("distribution"),
        }
        if properties.get("componentId"):
            spec = self._references.component(properties["componentId"]) or spec
            specs = {name: input_spec(body) for name, body in (spec.get("inputs") or {}).items()} or specs
        plan = self._step("The job", spec, specs, outputs)
        values, wrong = check_values("The job", specs, given)
        self.problems += wrong
        self._check_assets("The job", values)
        return plan, values

    # -- a pipeline job ----------------------------------------------------------------------------------------

    def pipeline_job(self, properties: Body) -> tuple[GraphPlan, dict[str, Value]]:
        settings = properties.get("settings") or {}
        given: dict[str, Value] = {}
        for name, body in (properties.get("inputs") or {}).items():
            source = parse_source(body)
            if isinstance(source, Literal | Asset):
                given[name] = source
        compute = settings.get("default_compute") or properties.get("computeId")
        specs: dict[str, InputSpec] = {}
        jobs = properties.get("jobs") or {}
        if not jobs and properties.get("componentId"):
            spec = self._references.component(properties["componentId"]) or {}
            jobs = spec.get("jobs") or {}
            specs = {name: input_spec(body) for name, body in (spec.get("inputs") or {}).items()}
            given, wrong = check_values("The pipeline", specs, given)
            self.problems += wrong
        if not jobs:
            self.problems.append("The pipeline has no job.")
        self._check_assets("The pipeline", given)
        go_on = settings.get("continue_on_step_failure")
        plan = self._graph("", jobs, specs, given, compute, True if go_on is None else bool(go_on))
        for name in properties.get("outputs") or {}:
            if name not in plan.exports:
                self.problems.append(f"The pipeline's output '{name}' is made by none of its jobs.")
        return plan, given

    def _graph(
        self,
        prefix: str,
        jobs: Mapping[str, Body],
        specs: dict[str, InputSpec],
        known: Mapping[str, Value],
        compute: str | None,
        go_on: bool,
    ) -> GraphPlan:
        nodes: dict[str, NodePlan] = {}
        exports: dict[str, FromNode] = {}
        made = {
            FromNode(node, name): Asset(str((_scalar(body, "type")) or "uri_folder"))
            for node, job in jobs.items()
            for name, body in ((self._spec_of(job) or {}).get("outputs") or {}).items()
        }
        for name, job in jobs.items():
            where = f"Node '{prefix}{name}'"
            sources = {key: source for key, body in (job.get("inputs") or {}).items() if (source := parse_source(body))}
            self._check_sources(where, sources, jobs, known, specs, made)
            given = {
                key: value
                for key, source in sources.items()
                if (value := resolve(source, known, _Lenient(made))) is not None
            }
            node = self._node(where, prefix + name, name, job, sources, given, known, compute)
            nodes[name] = node
            for output, body in (job.get("outputs") or {}).items():
                bound = parent_output(body)
                if bound:
                    exports[bound] = FromNode(name, output)
        order = TopologicalSorter({name: node.before() & set(nodes) for name, node in nodes.items()})
        try:
            order.prepare()
        except CycleError as error:
            self.problems.append(f"The jobs wait for each other in a circle: {' -> '.join(error.args[1])}.")
        return GraphPlan(nodes, specs, exports, compute, go_on)

    def _node(
        self,
        where: str,
        path: str,
        name: str,
        job: Body,
        sources: dict[str, Source],
        given: dict[str, Value],
        parent: Mapping[str, Value],
        compute: str | None,
    ) -> NodePlan:
        spec = self._spec_of(job)
        if spec is None:
            spec = {}
        specs = {key: input_spec(body) for key, body in (spec.get("inputs") or {}).items()}
        values, wrong = check_values(where, specs, given) if spec else (given, [])
        self.problems += wrong
        self._check_assets(where, {key: value for key, value in given.items() if key in sources})
        outputs = {key: _output(body) for key, body in (spec.get("outputs") or {}).items()}
        for key, body in (job.get("outputs") or {}).items():
            if spec and key not in outputs:
                self.problems.append(f"{where} has no output '{key}'. Its outputs: {', '.join(sorted(outputs))}.")
            elif not parent_output(body):
                asked = _output(body)
                outputs[key] = OutputSpec(outputs[key].type if key in outputs else asked.type, asked.mode, asked.uri)
        own_compute = job.get("computeId") or job.get("compute")
        asked_compute = source_of_text(str(own_compute)) if own_compute else (Literal(compute) if compute else None)
        work: StepPlan | GraphPlan
        if "jobs" in spec:
            work = self._graph(f"{path}/", spec["jobs"], specs, values, str(own_compute or compute or ""), False)
        else:
            resolved = resolve(asked_compute, parent, {})
            if isinstance(resolved, Literal):
                self._references.compute(where, resolved.text)
            work = self._step(where, {**spec, **_overrides(job)}, specs, outputs) if spec else StepPlan(specs, outputs)
        title = str(job.get("display_name") or job.get("displayName") or name)
        return NodePlan(name, title, work, sources, outputs, asked_compute)

    def _spec_of(self, job: Body) -> Body | None:
        kind = job.get("type", "command")
        if kind not in ("command", "pipeline"):
            raise ArmError(501, "NotImplemented", f"A pipeline's node of type '{kind}' is not in the local cloud.")
        reference = job.get("componentId") or job.get("component")
        if isinstance(reference, Mapping):
            return dict(reference)
        if not reference:
            return job if job.get("command") else None
        return self._references.component(str(reference))

    def _step(self, where: str, spec: Body, specs: dict[str, InputSpec], outputs: dict[str, OutputSpec]) -> StepPlan:
        command = str(spec.get("command") or "")
        if not command:
            self.problems.append(f"{where} has no command.")
        else:
            self.problems += [f"{where}: {each}" for each in check_command(command, set(specs), set(outputs))]
        limits = spec.get("limits") or {}
        timeout = limits.get("timeout")
        return StepPlan(
            inputs=specs,
            outputs=outputs,
            command=command,
            code=self._references.code(where, spec.get("code")),
            environment=self._references.environment(where, spec.get("environment")),
            variables={str(key): text_of(value) for key, value in (spec.get("environment_variables") or {}).items()},
            timeout=float(timeout) if isinstance(timeout, int | float) else seconds_of(timeout),
            processes=_processes(spec.get("distribution") or {}),
        )

    def _check_sources(
        self,
        where: str,
        sources: Mapping[str, Source],
        jobs: Mapping[str, Body],
        known: Mapping[str, Value],
        specs: Mapping[str, InputSpec],
        made: Mapping[FromNode, Asset],
    ) -> None:
        for key, source in sources.items():
            if isinstance(source, FromParent) and source.input not in known and source.input not in specs:
                self.problems.append(f"{where}: input '{key}' is bound to '{source.input}', no input of the pipeline.")
            if isinstance(source, FromNode) and source.node not in jobs:
                self.problems.append(f"{where}: input '{key}' is bound to node '{source.node}', which does not exist.")
            elif isinstance(source, FromNode) and source not in made:
                self.problems.append(f"{where}: node '{source.node}' has no output '{source.output}'.")

    def _check_assets(self, where: str, values: Mapping[str, Value]) -> None:
        for name, value in values.items():
            if isinstance(value, Asset) and value.uri is not None:
                self._references.asset(f"{where}: input '{name}'", value.uri)


class _Lenient(dict[FromNode, Asset]):
    """Outputs of nodes that could not be read stand in as folders: the reason is reported elsewhere."""

    def __missing__(self, key: FromNode) -> Asset:
        return Asset("uri_folder")


def _scalar(body: Any, name: str) -> Any:
    return body.get(name) if isinstance(body, Mapping) else None


def _output(body: Any) -> OutputSpec:
    if not isinstance(body, Mapping):
        return OutputSpec()
    kind = body.get("jobOutputType") or body.get("job_output_type") or body.get("type") or "uri_folder"
    return OutputSpec(str(kind), body.get("mode"), body.get("uri") or body.get("path"))


def _overrides(job: Body) -> Body:
    names = ("environment_variables", "limits", "distribution")
    return {name: job[name] for name in names if job.get(name)}


def _processes(distribution: Mapping[str, Any]) -> int:
    count = distribution.get("process_count_per_instance") or distribution.get("processCountPerInstance") or 1
    return int(count) if str(count).isdigit() else 1

"""Keeps every deployment's process as its resource says: brought up after a PUT, taken up again at server start.

The operation of a PUT is held until its process is healthy or has failed. Where a deployment's files lie is told here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from localcloud.arm import ArmError
from localcloud.cloud import Cloud
from localcloud.services.acting import Acting, acting_as
from localcloud.serving import access, programs
from localcloud.serving.fleet import Fleet, NotReady, Order
from localcloud.serving.settings import Probe
from localcloud.store import Body

log = logging.getLogger("localcloud.serving")


class Upkeep:
    """One per local cloud: `cloud.part(Upkeep, lambda: Upkeep(cloud))`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._fleet = cloud.part(Fleet, lambda: Fleet(cloud))
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        cloud.on_start.append(self.take_up)
        cloud.on_stop.append(self.shut_down)

    def folder(self, deployment: Body) -> Path:
        """Where a deployment's logs, code and links lie."""
        segments = str(deployment["id"]).lower().split("/")
        return self._cloud.state / "deployments" / segments[-3] / segments[-1]

    def begin(self, resource: Body, sources: programs.Sources, operation: str) -> None:
        """Bring the process up in the background; the operation ends with it."""
        self._in_background(resource["id"], self._bring_up(resource, sources, operation))

    async def wait(self, deployment_id: str) -> None:
        """Until nothing is being brought up for the deployment."""
        task = self._tasks.get(deployment_id.lower())
        if task:
            await asyncio.wait([task])

    def is_served(self, deployment_id: str) -> bool:
        return self._fleet.worker(deployment_id) is not None

    def _in_background(self, deployment_id: str, work: Coroutine[Any, Any, None]) -> None:
        key, task = deployment_id.lower(), asyncio.create_task(work)
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._tasks.pop(key, None) if self._tasks.get(key) is done else None)

    async def _bring_up(self, resource: Body, sources: programs.Sources, operation: str | None) -> None:
        """Lay out the folder, start the process, and end the operation when it is healthy or has failed."""
        error: ArmError | None = None
        try:
            identity = self._identity(resource)
            if identity:
                access.check_deployment(self._cloud, identity, resource)
            await self._serve(resource, sources, identity)
        except NotReady as trouble:
            message = f"{trouble} Read the logs: az ml online-deployment get-logs --name {resource['name']} …"
            error = ArmError(400, "ResourceNotReady", message)
        except ArmError as trouble:
            error = trouble
        except OSError as trouble:
            error = ArmError(400, "BadArgument", f"The deployment's files could not be laid out: {trouble}")
        if operation:
            self._cloud.operations.finish(operation, error)

    def _identity(self, deployment: Body) -> Acting | None:
        return acting_as(self._cloud, self._cloud.store.get(deployment["id"].rpartition("/deployments/")[0]))

    async def _serve(self, resource: Body, sources: programs.Sources, identity: Acting | None) -> None:
        folder, properties = self.folder(resource), resource["properties"]
        program = await asyncio.to_thread(programs.prepare, self._cloud, sources, properties, folder, identity)
        with (folder / "storage.log").open("a") as log:
            log.write(f"Model: {sources.model or 'none'} ({', '.join(sorted(sources.flavors)) or 'no MLflow model'})\n")
            log.write(f"Code: {sources.script or 'none'}\n")
            if properties.get("environmentId"):
                log.write(f"The environment '{properties['environmentId']}' is not built: this Python runs the code.\n")
            log.write(f"Serves with: {program.module}\n")
        await self._fleet.serve(
            Order(
                key=resource["id"].lower(),
                program=program,
                probe=Probe.read(properties, "livenessProbe"),
                log=folder / "server.log",
                wanted=lambda: self._cloud.store.get(resource["id"]) is not None,
            )
        )

    async def retire(self, deployment_id: str) -> None:
        """Stop what serves a deployment or is being started for it; an operation that waited for it is cancelled."""
        task = self._tasks.pop(deployment_id.lower(), None)
        if task:
            task.cancel()
            await asyncio.wait([task])
        for operation, resource_id in self._cloud.operations.unfinished("deployment.write"):
            if resource_id.lower() == deployment_id.lower():
                canceled = ArmError(409, "OperationCanceled", "The deployment was deleted while it was being started.")
                self._cloud.operations.finish(operation, canceled)
        await self._fleet.stop(deployment_id)

    def retire_beneath(self, parent_id: str) -> None:
        """Stop, in the background, everything that is served under a workspace or group that is being deleted."""
        prefix = parent_id.lower().rstrip("/") + "/"
        keys = {key for key in (*self._tasks, *self._fleet.keys()) if key.startswith(prefix)}
        for key in keys:
            task = asyncio.create_task(self.retire(key))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def take_up(self) -> None:
        """At server start: end what a killed server left, and start every deployment that served, in the background."""
        await self._fleet.sweep()
        waiting = {resource.lower(): key for key, resource in self._cloud.operations.unfinished("deployment.write")}
        for resource in self._cloud.store.beneath("/subscriptions", "deployments"):
            state = resource["properties"].get("provisioningState")
            if resource["properties"].get("endpointComputeType") and state in ("Succeeded", "Creating", "Updating"):
                operation = waiting.get(resource["id"].lower())
                self._in_background(resource["id"], self._take_up_one(resource, operation))

    async def _take_up_one(self, resource: Body, operation: str | None) -> None:
        try:
            sources = programs.find_sources(self._cloud, resource["id"], resource["properties"])
            await self._bring_up(resource, sources, operation)
        except ArmError as error:
            log.error("'%s' cannot be served again: %s", resource["id"], error.message)
            if operation:
                self._cloud.operations.finish(operation, error)

    async def shut_down(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._fleet.stop_all()

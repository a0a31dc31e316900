"""Long-running operations and the clock: how soon a PUT or DELETE that Azure takes minutes for is done here.

A pace says when an operation ends: at once, after n polls, after n seconds, or (held) when whoever does the work
says so. Operations are records, so that one started before a restart can still be polled after it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import ArmError, json_response, route, type_of
from localcloud.faults import Faults
from localcloud.store import Body, Store

POLL_MILLISECONDS = 100
_ENDINGS = (".delete", ".purge")
_ROOT = "/subscriptions/{subscription}/providers/{namespace}/locations/{location}"


class Clock(Protocol):
    """Where the local cloud reads the time; a test hands in one that it moves itself."""

    def now(self) -> datetime: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that stands still until `advance` is called; sleepers wake when it has passed their time."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 1, tzinfo=UTC)
        self._moved = asyncio.Condition()

    def now(self) -> datetime:
        return self._now

    async def sleep(self, seconds: float) -> None:
        until = self._now + timedelta(seconds=seconds)
        async with self._moved:
            await self._moved.wait_for(lambda: self._now >= until)

    async def advance(self, seconds: float) -> None:
        async with self._moved:
            self._now += timedelta(seconds=seconds)
            self._moved.notify_all()


@dataclass(frozen=True)
class Pace:
    """`polls` times the state is asked before it ends, then not before `seconds` have passed."""

    polls: int = 0
    seconds: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Pace:
        """`immediate`, `polls:3` or `seconds:1.5`; ValueError names the text and the forms."""
        kind, _, number = text.partition(":")
        try:
            if kind == "immediate" and not number:
                return cls()
            if kind == "polls":
                return cls(polls=int(number))
            if kind == "seconds":
                return cls(seconds=float(number))
        except ValueError:
            pass
        raise ValueError(f"'{text}' is no pace; use 'immediate', 'polls:N' or 'seconds:N'.")


# Called once when an operation ends: (resource id, error or None).
Finisher = Callable[[str, ArmError | None], None]


class Operations:
    """Starts, ends and answers for long-running operations.

    A service names what is to be done at the end with `on`; names and not functions are stored, so that an
    operation outlives the process.
    """

    def __init__(self, store: Store, clock: Clock, pace: Pace = Pace(), faults: Faults | None = None) -> None:
        self._store, self._clock, self.pace = store, clock, pace
        self._faults = faults or Faults()
        self._finishers: dict[str, Finisher] = {}

    def on(self, kind: str, finisher: Finisher) -> None:
        """What happens when an operation of this kind ends, e.g. `compute.delete`."""
        self._finishers[kind] = finisher

    def start(self, kind: str, resource_id: str, *, held: bool = False) -> str:
        """Begin an operation and return its id. A held one ends only with `finish`.

        Faults: `<type>.provision`, and `<type>.deprovision` where the kind ends with `.delete` or `.purge`.
        """
        operation_id = str(uuid.uuid4())
        name = f"{type_of(resource_id)}.{'deprovision' if kind.endswith(_ENDINGS) else 'provision'}"
        error, gate = (None, None) if held else (self._faults.take(name), self._faults.gate(name))
        held = held or error is not None or gate is not None
        due = self._clock.now() + timedelta(seconds=self.pace.seconds)
        self._store.put_record(
            "operation",
            operation_id,
            {
                "kind": kind,
                "resource": resource_id,
                "status": "InProgress",
                "held": held,
                "polls": self.pace.polls,
                "due": due.isoformat(),
                "start": self._clock.now().isoformat(),
            },
        )
        if error:
            self.finish(operation_id, error)
        elif gate:
            gate.when_open(lambda: self.finish(operation_id))
        elif not held:
            self._step(operation_id, polled=False)
        return operation_id

    def finish(self, operation_id: str, error: ArmError | None = None) -> None:
        """End an operation; one that has ended already stays as it is."""
        operation = self._store.record("operation", operation_id)
        if operation is None or operation["status"] != "InProgress":
            return
        operation["status"] = "Failed" if error else "Succeeded"
        operation["end"] = self._clock.now().isoformat()
        if error:
            operation["error"] = error.body()["error"]
        with self._store.transaction():
            self._store.put_record("operation", operation_id, operation)
            finisher = self._finishers.get(operation["kind"])
            if error and operation["kind"].endswith(_ENDINGS):
                self._leave(operation["resource"])
            elif finisher:
                finisher(operation["resource"], error)

    def _leave(self, resource_id: str) -> None:
        """What could not be deleted stays, half-deleted, and says so."""
        found = self._store.get(resource_id)
        if found and "provisioningState" in found.get("properties", {}):
            found["properties"]["provisioningState"] = "Failed"
            self._store.put(resource_id, found)

    def unfinished(self, kind: str) -> list[tuple[str, str]]:
        """(operation id, resource id) of all that still run, e.g. to be taken up again after a restart."""
        return [
            (key, body["resource"])
            for key, body in self._store.records("operation")
            if body["kind"] == kind and body["status"] == "InProgress"
        ]

    def _step(self, operation_id: str, *, polled: bool) -> Body | None:
        operation = self._store.record("operation", operation_id)
        if operation is None or operation["held"] or operation["status"] != "InProgress":
            return operation
        if operation["polls"] > 0:
            if polled:
                operation["polls"] -= 1
                self._store.put_record("operation", operation_id, operation)
            return operation
        if self._clock.now() >= datetime.fromisoformat(operation["due"]):
            self.finish(operation_id)
        return self._store.record("operation", operation_id)

    def status(self, operation_id: str) -> str:
        operation = self._store.record("operation", operation_id)
        return str(operation["status"]) if operation else "Unknown"

    # -- answers -----------------------------------------------------------------------------------------------

    def respond(
        self,
        request: Request,
        operation_id: str,
        body: Body | None,
        status: int,
        *,
        location_only: bool = False,
    ) -> Response:
        """The first answer. One that is done already carries no polling header, as Azure's synchronous answers;
        a finished DELETE or POST (body None) becomes 200.

        `location_only` leaves `Azure-AsyncOperation` out (job cancel, key regeneration: REST surface 7d).
        """
        operation = self._store.record("operation", operation_id)
        if operation is None or (operation["status"] == "Succeeded" and not location_only):
            return json_response(body, status) if body is not None else Response(status_code=200)
        base = f"https://management.azure.com/subscriptions/{operation['resource'].split('/')[2]}"
        parts = operation["resource"].split("/providers/", 1)
        namespace = parts[1].split("/")[0] if len(parts) > 1 else "Microsoft.Resources"
        base += f"/providers/{namespace}/locations/eastus"
        version = request.query_params.get("api-version", "2024-01-01")
        headers = {
            "Location": f"{base}/operationResults/{operation_id}?api-version={version}",
            "x-ms-retry-after-ms": str(POLL_MILLISECONDS),
        }
        if not location_only:
            headers["Azure-AsyncOperation"] = f"{base}/operationsStatus/{operation_id}?api-version={version}"
        if body is None:
            return Response(status_code=202, headers=headers)
        return json_response(body, status, headers)

    def routes(self) -> list[Route]:
        return [
            route(_ROOT + "/operationsStatus/{operation}", ["GET"], self._get_status),
            route(_ROOT + "/operationResults/{operation}", ["GET"], self._get_result),
        ]

    def _polled(self, request: Request) -> tuple[str, Body]:
        operation_id = request.path_params["operation"]
        operation = self._step(operation_id, polled=True)
        if operation is None:
            raise ArmError(404, "OperationNotFound", f"The operation '{operation_id}' was not found.")
        return operation_id, operation

    async def _get_status(self, request: Request) -> Response:
        operation_id, operation = self._polled(request)
        body: Body = {
            "id": request.url.path,
            "name": operation_id,
            "status": operation["status"],
            "startTime": operation["start"],
        }
        if "end" in operation:
            body["endTime"] = operation["end"]
        if "error" in operation:
            body["error"] = operation["error"]
        return json_response(body, 200, {"x-ms-retry-after-ms": str(POLL_MILLISECONDS)})

    async def _get_result(self, request: Request) -> Response:
        _, operation = self._polled(request)
        if operation["status"] == "InProgress":
            # A relative Location is what the service has been seen to send; clients resolve it.
            return Response(
                status_code=202,
                headers={"Location": str(request.url), "x-ms-retry-after-ms": str(POLL_MILLISECONDS)},
            )
        if operation["status"] == "Failed":
            return json_response({"error": operation["error"]}, 400)
        resource = self._store.get(operation["resource"])
        return json_response(resource) if resource else Response(status_code=204)

"""What happens to one resource: checked, compared, created, read, updated, deleted, by azure-native's order of calls.

Inputs and outputs are plain values with `Secret` and `UNKNOWN`; gRPC is left to `provider`.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.cloud import SUBSCRIPTION
from localcloud.engine import difference, translation
from localcloud.engine.arm_client import ArmClient, Patience, RequestError
from localcloud.engine.difference import Change
from localcloud.engine.naming import CREATE_BEFORE_DELETE, Problem, Proposal, automatic_name, problems
from localcloud.engine.shapes import members, shapes_of
from localcloud.engine.table import ResourceType, look_up
from localcloud.engine.values import Values, holds_unknown, mark_secrets, plain

GROUP_VERSION = "2020-10-01"  # the one with which azure-native asks a group for its region
STABLE_OUTPUTS = ("name", "location", "type")


class RefusedError(Exception):
    """The provider will not do this; the message says why and what to do."""


class InitFailedError(Exception):
    """The PUT was taken but did not end well: the resource is there, as `outputs` show."""

    def __init__(self, message: str, resource: str, inputs: Values, outputs: Values) -> None:
        super().__init__(message)
        self.id, self.inputs, self.outputs = resource, inputs, outputs


@dataclass(frozen=True, slots=True)
class Checked:
    inputs: Values
    problems: list[Problem]


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as Pulumi's state keeps it."""

    id: str
    inputs: Values
    outputs: Values


def require_reserved(scope: str) -> None:
    """An error when an id or scope lies in any subscription but the local cloud's own."""
    found = re.match(r"/?subscriptions/([^/]+)", scope, re.IGNORECASE)
    if found and found.group(1) != SUBSCRIPTION:
        raise RefusedError(
            f"the local cloud serves only the reserved subscription '{SUBSCRIPTION}', not '{found.group(1)}'. "
            "Deploy this stack without `localcloud run`, or take 'azure-native:subscriptionId' out of its config."
        )


class Lifecycle:
    """The operations on resources of all types in the table."""

    def __init__(self, arm: ArmClient) -> None:
        self._arm = arm

    def check(
        self,
        token: str,
        logical: str,
        old: Values,
        new: Values,
        *,
        seed: bytes,
        proposal: Proposal | None,
        location: str | None,
        patience: Patience,
    ) -> Checked:
        """The inputs with names, region and api-version filled in, and all that is wrong with them."""
        kind, shapes = look_up(token), shapes_of(token)
        inputs = dict(new)
        found: list[Problem] = []
        if kind.name_parameter not in inputs:
            if kind.name_parameter in old:
                inputs[kind.name_parameter] = old[kind.name_parameter]
                if CREATE_BEFORE_DELETE in old:
                    inputs[CREATE_BEFORE_DELETE] = old[CREATE_BEFORE_DELETE]
            else:
                named = automatic_name(kind, logical, seed, proposal)
                if isinstance(named, Problem):
                    found.append(named)
                else:
                    inputs[kind.name_parameter] = named.name
                    if named.is_random:
                        inputs[CREATE_BEFORE_DELETE] = True
        if kind.auto_location and "location" in members(shapes.inputs) and "location" not in inputs:
            region = old.get("location") or location or self._group_region(kind, inputs, patience)
            if region:
                inputs["location"] = region
            elif kind.parameters == ("resourceGroupName",):
                found.append(
                    Problem(
                        "location", "no region is given: set 'location', or the config value 'azure-native:location'"
                    )
                )
        inputs["azureApiVersion"] = kind.api_version
        return Checked(inputs, found + problems(kind, shapes, inputs))

    def _group_region(self, kind: ResourceType, inputs: Mapping[str, Any], patience: Patience) -> str | None:
        group = plain(inputs.get("resourceGroupName"))
        if "resourceGroupName" not in kind.parameters[:-1] or not isinstance(group, str):
            return None
        found = self._arm.get(f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}", GROUP_VERSION, patience)
        return str(found["location"]) if found else None

    def diff(self, token: str, old: Values, new: Values) -> list[Change]:
        return difference.changes(look_up(token), old, new)

    def preview_create(self, token: str, inputs: Values) -> Values:
        look_up(token)
        shapes = shapes_of(token)
        return mark_secrets(translation.preview(shapes, plain(inputs)), inputs)  # type: ignore[no-any-return]

    def preview_update(self, token: str, inputs: Values, old: Values) -> Values:
        """As for a new resource, but what an update can never change is known already."""
        stable = {name: old[name] for name in STABLE_OUTPUTS if name in old}
        return {**self.preview_create(token, inputs), **stable}

    def create(self, token: str, inputs: Values, patience: Patience) -> Resource:
        kind = look_up(token)
        path = self._path(kind, inputs)
        if not kind.singleton and self._arm.get(path, kind.api_version, patience) is not None:
            raise RefusedError(
                f"cannot create already existing resource '{path}': "
                "give it another name, or take it into the stack with the option `import_`"
            )
        return self._put(token, path, inputs, patience)

    def update(self, token: str, path: str, inputs: Values, patience: Patience) -> Resource:
        """PUTs the whole body built from the inputs: what they leave out is cleared, as on Azure."""
        require_reserved(path)
        return self._put(token, path, inputs, patience, updates=True)

    def _put(self, token: str, path: str, inputs: Values, patience: Patience, *, updates: bool = False) -> Resource:
        kind, shapes = look_up(token), shapes_of(token)
        given = plain(inputs)
        if holds_unknown(given):
            raise RefusedError(f"{path}: an input is not known yet")
        body = translation.request_body(kind, shapes, given)
        if updates:
            self._maintain(kind, path, body, patience)
        query = translation.query(kind, given)
        try:
            answer = self._arm.put(path, kind.api_version, body, patience, query)
        except RequestError as error:
            if not error.accepted:
                raise
            # a cancelled wait must not cancel this read as well: the state would forget the resource
            found = self._arm.get(path, kind.api_version, Patience(threading.Event()))
            if found is None:
                raise
            outputs = translation.outputs_of(kind, shapes, found)
            raise InitFailedError(str(error), path, inputs, mark_secrets(outputs, inputs)) from None
        found = self._arm.get(path, kind.api_version, patience) or answer
        outputs = translation.outputs_of(kind, shapes, found)
        return Resource(str(found.get("id", path)), inputs, mark_secrets(outputs, inputs))

    def _maintain(self, kind: ResourceType, path: str, body: Values, patience: Patience) -> None:
        """Carries over what other clients of the resource own and the program does not set."""
        unset = [member for member in kind.maintained if _member(body, member) is None]
        live = self._arm.get(path, kind.api_version, patience) if unset else None
        for member in unset:
            value = _member(live or {}, member)
            if value is not None:
                container, _, name = member.rpartition(".")
                body.setdefault(container, {})[name] = value

    def read(self, token: str, path: str, inputs: Values, state: Values, patience: Patience) -> Resource | None:
        """The resource as it is now, or None when it is gone.

        Inputs follow what changed since the state was written: members added, changed or removed behind
        Pulumi's back. Without inputs (an import) they are read off the resource.
        """
        kind, shapes = look_up(token), shapes_of(token)
        require_reserved(path)
        found = self._arm.get(path, kind.api_version, patience)
        if found is None:
            return None
        outputs = translation.outputs_of(kind, shapes, found)
        if not inputs:
            try:
                fresh = translation.imported_inputs(kind, shapes, path, outputs)
            except ValueError as error:
                raise RefusedError(str(error)) from None
            return Resource(str(found.get("id", path)), fresh, outputs)
        known = plain(inputs)
        before = translation.project(kind, shapes, plain(state))
        after = translation.project(kind, shapes, outputs)
        flat = "properties" not in members(shapes.inputs)
        for member in (name.removeprefix("properties.") if flat else name for name in kind.maintained):
            if _member(known, member) is None:
                _drop(after, member)
                _drop(before, member)
        carried = translation.carry_over(known, before, after)
        return Resource(path, mark_secrets(carried, inputs), mark_secrets(mark_secrets(outputs, inputs), state))

    def delete(self, token: str, path: str, patience: Patience) -> None:
        kind = look_up(token)
        require_reserved(path)
        self._arm.delete(path, kind.api_version, patience)

    def _path(self, kind: ResourceType, inputs: Values) -> str:
        path = translation.resource_id(kind, plain(inputs), SUBSCRIPTION)
        require_reserved(path)
        return path


def _member(values: Mapping[str, Any], path: str) -> Any:
    found: Any = values
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _drop(values: Values, path: str) -> None:
    container, _, name = path.rpartition(".")
    holder = _member(values, container) if container else values
    if isinstance(holder, dict):
        holder.pop(name, None)

"""Every type that the provider knows, on a real local cloud: created, read, updated and deleted as the engine asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from localcloud.cloud import CLIENT_ID, SUBSCRIPTION, TENANT
from localcloud.engine.arm_client import ArmClient, Patience, Principal
from localcloud.engine.lifecycle import Lifecycle, Resource
from localcloud.engine.table import TABLE
from localcloud.engine.values import plain
from localcloud.server import Options
from tests.conftest import RunningCloud, serve
from tests.localcloud.engine.type_examples import ELSEWHERE, EXAMPLES, Example

EACH = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.token)
LOCKS = "authorization:ManagementLock"


@dataclass
class World:
    """All the examples, made in one cloud; `failed` says what kept one from being made."""

    cloud: RunningCloud
    lifecycle: Lifecycle
    patience: Patience
    made: dict[str, Resource] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def inputs(self, example: Example, given: dict[str, Any]) -> Any:
        token = f"azure-native:{example.token}"
        checked = self.lifecycle.check(
            token, "thing", {}, given, seed=b"seed", proposal=None, location=None, patience=self.patience
        )
        assert not checked.problems, checked.problems
        return checked.inputs

    def create(self, example: Example) -> None:
        try:
            inputs = self.inputs(example, example.inputs)
            self.made[example.token] = self.lifecycle.create(f"azure-native:{example.token}", inputs, self.patience)
        except Exception as error:
            self.failed[example.token] = f"{type(error).__name__}: {error}"

    def require(self, example: Example) -> Resource:
        assert example.token not in self.failed, self.failed[example.token]
        return self.made[example.token]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serve(Options(tmp_path_factory.mktemp("types") / "state", engine=False, tracking=False)) as cloud:
        state = cloud.cloud
        principal = Principal(CLIENT_ID, state.client_secret, TENANT, SUBSCRIPTION)
        arm = ArmClient(f"https://127.0.0.1:{state.addresses.tls}", state.state / "ca-bundle.pem", principal)
        found = World(cloud, Lifecycle(arm), Patience(threading.Event(), 30))
        for example in EXAMPLES:
            found.create(example)
        yield found
        arm.close()


def test_every_type_of_the_table_has_an_example() -> None:
    shown = {f"azure-native:{token}" for token in (*(example.token for example in EXAMPLES), *ELSEWHERE)}
    assert shown == set(TABLE)


@EACH
def test_a_type_is_made_and_read_back_without_drift(example: Example, world: World) -> None:
    made, token = world.require(example), f"azure-native:{example.token}"
    read = world.lifecycle.read(token, made.id, made.inputs, made.outputs, world.patience)
    assert read is not None
    again = world.inputs(example, example.inputs)
    changed = [change.path for change in world.lifecycle.diff(token, read.inputs, again)]
    assert sorted(changed) == sorted(example.drifts)


@EACH
def test_a_type_is_imported_as_the_program_would_have_written_it(example: Example, world: World) -> None:
    made, token = world.require(example), f"azure-native:{example.token}"
    read = world.lifecycle.read(token, made.id, {}, {}, world.patience)
    assert read is not None
    missing = {name for name in example.inputs if name not in plain(read.inputs)}
    assert missing == example.hidden


@pytest.mark.parametrize("example", [one for one in EXAMPLES if one.change], ids=lambda example: example.token)
def test_a_type_is_changed_in_place(example: Example, world: World) -> None:
    made, token = world.require(example), f"azure-native:{example.token}"
    wanted = world.inputs(example, {**example.inputs, **example.change})
    changes = world.lifecycle.diff(token, made.inputs, wanted)
    assert changes
    assert not any(change.replaces for change in changes)
    updated = world.lifecycle.update(token, made.id, wanted, world.patience)
    outputs = plain(updated.outputs)
    shown = {**outputs, **(outputs.get("properties") or {})}
    for name, value in example.change.items():
        assert _holds(shown.get(name, outputs.get(name)), value), (name, shown.get(name))
    world.made[example.token] = updated


def test_all_of_it_goes_in_the_reverse_order(world: World) -> None:
    assert world.failed == {}
    locks = [example for example in EXAMPLES if example.token.startswith(LOCKS)]
    for example in (*locks, *(one for one in reversed(EXAMPLES) if one not in locks)):
        if not example.stays:
            made, token = world.made[example.token], f"azure-native:{example.token}"
            world.lifecycle.delete(token, made.id, world.patience)
            assert world.lifecycle.read(token, made.id, made.inputs, made.outputs, world.patience) is None, token
    assert world.cloud.cloud.store.beneath(f"/subscriptions/{SUBSCRIPTION}") == []


def _holds(found: Any, wanted: Any) -> bool:
    """Whether what was sent is in what is answered, which may say more."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_holds(found.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_holds, found, wanted))
    return bool(found == wanted)

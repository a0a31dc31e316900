"""The policy pack run by the real engine over a production stack on the local cloud: passed, shown, refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.infra.conftest import ROOT
from tests.infra.live_stack import LiveStack, live_stack

PACK = ("--policy-pack", "infra/policy")
SOUND = "✅ tunestack@v1.0.0"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """A stack that is set like production, up under the pack; the tests below preview changes of it."""
    with live_stack(tmp_path_factory, "local-prod") as found:
        file = found.folder / "Pulumi.local-prod.yaml"
        settings = yaml.safe_load(file.read_text()) or {}
        settings["config"] = yaml.safe_load((ROOT / "Pulumi.prod.yaml").read_text())["config"]
        file.write_text(yaml.safe_dump(settings))
        yield found


def test_a_stack_like_production_is_planned_and_made_without_a_violation(stack: LiveStack) -> None:
    planned = stack.pulumi("preview", *PACK)
    assert SOUND in planned
    assert "can't run policy" not in planned
    made = stack.up(*PACK)
    assert SOUND in made
    assert "Asked by" not in made


def test_in_production_a_violation_fails_the_preview_and_a_file_excuses_or_narrows_rules(
    stack: LiveStack, tmp_path: Path
) -> None:
    excuses = tmp_path / "excuses.json"
    excuses.write_text(
        json.dumps({"compute-idle-time-short": "disabled", "region-allowed": {"regions": ["westeurope"]}})
    )
    with stack_set(stack, storageSku="Standard_LRS", idleMinutes="60"):
        said = stack.pulumi("preview", *PACK, "--policy-pack-config", str(excuses), status=1)
    assert "[mandatory]  storage-redundant  (azure-native:storage:StorageAccount: sttunestack" in said
    assert "'sku.name' is 'Standard_LRS'" in said
    assert "pulumi config set storageSku Standard_ZRS" in said
    assert "PSRule Azure.Storage.UseReplication, AZR-000195" in said
    assert "compute-idle-time-short" not in said
    assert "[mandatory]  region-allowed" in said
    assert "'eastus' is no allowed region" in said
    assert "Traceback" not in said


def test_elsewhere_the_same_violation_is_shown_and_stops_nothing(stack: LiveStack) -> None:
    with stack_set(stack, storageSku="Standard_LRS", production="false"):
        said = stack.pulumi("preview", *PACK)
    assert "[advisory]  storage-redundant" in said
    assert "[mandatory]" not in said


@contextmanager
def stack_set(stack: LiveStack, **dials: str) -> Iterator[None]:
    """The stack with other dials, for as long as the block."""
    file = stack.folder / "Pulumi.local-prod.yaml"
    before = file.read_text()
    settings = yaml.safe_load(before)
    settings["config"].update({f"tunestack:{dial}": value for dial, value in dials.items()})
    file.write_text(yaml.safe_dump(settings))
    yield
    file.write_text(before)

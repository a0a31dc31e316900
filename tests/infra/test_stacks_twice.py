"""The committed stack files of dev, prod and shared on the real engine: up, and up again changes nothing.

They run as stacks `local-…`, which are all that the local cloud takes. Stack `local` itself is in `test_stack`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml

from tests.infra.conftest import ROOT
from tests.infra.live_stack import LiveStack, live_stack


@contextmanager
def made_from(factory: pytest.TempPathFactory, source: str) -> Iterator[LiveStack]:
    """A stack of the local cloud with the dials of a committed stack file."""
    with live_stack(factory, f"local-{source}") as found:
        path = found.folder / f"Pulumi.local-{source}.yaml"
        dials = yaml.safe_load((ROOT / f"Pulumi.{source}.yaml").read_text())
        path.write_text(yaml.safe_dump({**(yaml.safe_load(path.read_text()) or {}), **dials}))
        found.up()
        yield found


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    with made_from(tmp_path_factory, "dev") as found:
        yield found


def planned(stack: LiveStack) -> dict[str, str]:
    """What a preview would do: resource to operation, for all that would not stay the same."""
    steps = json.loads(stack.pulumi("preview", "--json"))["steps"]
    return {step["urn"].rpartition("::")[2]: step["op"] for step in steps if step["op"] not in ("same", "refresh")}


def test_up_again_changes_nothing_in_shared(tmp_path_factory: pytest.TempPathFactory) -> None:
    with made_from(tmp_path_factory, "shared") as stack:
        stack.up("--expect-no-changes")


def test_up_again_changes_nothing_in_prod_and_its_network_is_never_opened_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with made_from(tmp_path_factory, "prod") as stack:
        stack.up("--expect-no-changes")
        for dial in ("production", "privateNetwork"):
            stack.pulumi("config", "set", dial, "false")
        said = stack.pulumi("preview", status=1)
        assert "is refused, and it stays as it is" in said
        assert "pulumi config set privateNetwork true" in said


def test_up_again_changes_nothing_in_dev(dev: LiveStack) -> None:
    dev.up("--expect-no-changes")


def test_a_stack_of_the_release_before_is_not_made_anew_where_a_component_was_renamed(dev: LiveStack) -> None:
    """Its state had one endpoint in a component `endpoint`, and the names that went with it."""
    state = dev.pulumi("stack", "export")
    before = state.replace("tunestack:infra:Endpoints", "tunestack:infra:Endpoint").replace("::endpoints", "::endpoint")
    before = before.replace("::tunestack-chat-local-dev", "::tunestack-local-dev")
    assert before != state
    (dev.folder / "before.json").write_text(before)
    dev.pulumi("stack", "import", "--file", "before.json")
    assert planned(dev) == {}


@pytest.mark.parametrize(
    ("dial", "value", "property_", "mend"),
    [
        ("sensitiveData", "true", "requireInfrastructureEncryption", "pulumi config set sensitiveData false"),
        ("vaultDays", "30", "softDeleteRetentionInDays", "pulumi config set vaultDays 7"),
    ],
)
def test_a_preview_refuses_to_change_what_only_creation_sets(
    dev: LiveStack, dial: str, value: str, property_: str, mend: str
) -> None:
    dev.pulumi("config", "set", dial, value)
    try:
        said = dev.pulumi("preview", status=1)
    finally:
        dev.pulumi("config", "rm", dial)
    assert property_ in said
    assert mend in said
    assert "Traceback" not in said


@pytest.mark.long
def test_a_network_can_be_closed_later_and_not_even_an_up_without_preview_opens_it(dev: LiveStack) -> None:
    for dial, value in (("registrySku", "Premium"), ("privateNetwork", "true")):
        dev.pulumi("config", "set", dial, value)
    dev.up()
    dev.up("--expect-no-changes")
    dev.pulumi("config", "set", "privateNetwork", "false")
    before = dev.get(dev.workspace)["properties"]["managedNetwork"]
    dev.up(status=1)
    assert dev.get(dev.workspace)["properties"]["managedNetwork"] == before

"""What is sent for a deployment: its lease, and the machines that autoscale has chosen since."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tunestack.deployments import deployment
from tunestack.deployments.deployment import Served, Wanted
from tunestack.deployments.deployment_settings import Settings
from tunestack.deployments.endpoint import Deployment

SCALE = {"min": 2, "max": 4, "metric": "CpuUtilizationPercentage", "out_above": 70, "in_below": 25}


def sent(settings: dict[str, Any], live: int | None) -> Any:
    """The entity that goes to Azure, with so many machines there now."""
    seen: list[Any] = []
    operations = SimpleNamespace(begin_create_or_update=seen.append)
    connection = SimpleNamespace(endpoint="chat", created=None, ml=SimpleNamespace(online_deployments=operations))
    body = {"name": "blue", "properties": {}, "tags": {"traffic_before": "100"}, "sku": {"capacity": live}}
    wanted = Wanted("blue", Served("m:2", None, {"job": "j"}), Settings(instance_type="x", **settings), "8h")
    deployment.start(connection, wanted, None if live is None else Deployment.parse(body))  # type: ignore[arg-type]
    return seen[0]


@pytest.mark.parametrize(("live", "count"), [(None, 2), (3, 3), (1, 2), (9, 4)])
def test_a_roll_out_keeps_the_machines_that_autoscale_has_chosen(live, count) -> None:
    assert sent({"instance_count": 2, "autoscale": SCALE}, live).instance_count == count


def test_without_autoscale_the_settings_say_how_many() -> None:
    assert sent({"instance_count": 2}, 5).instance_count == 2


def test_a_deployment_is_sent_with_its_lease_and_lineage_and_keeps_what_a_roll_back_needs() -> None:
    tags = sent({"instance_count": 1}, 1).tags
    assert tags["lease"] == "8h"
    assert tags["lease-until"].endswith("Z")
    assert (tags["job"], tags["model"], tags["traffic_before"]) == ("j", "m:2", "100")


def test_a_longer_lease_is_no_other_deployment_and_autoscale_is() -> None:
    def tags(lease: str, **settings: Any) -> dict[str, str]:
        asked = Settings(instance_type="x", instance_count=2, **settings)
        return Wanted("blue", Served("m:2", None, {}), asked, lease).tags

    assert tags("8h") == tags("never")
    assert tags("8h", autoscale=SCALE)["settings"] != tags("8h")["settings"]
    assert tags("8h", autoscale=SCALE)["autoscale"] == "2 to 4"

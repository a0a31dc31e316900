"""Metrics come from the requests that were really made, in Azure Monitor's form."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from localcloud.client import CallFailed
from localcloud.serving.metrics import Dimensions, Metrics
from tests.localcloud.serving.playground import Playground


def _total(playground: Playground, query: str, path: str = "onlineEndpoints/chat") -> dict[str, float]:
    """Per value of the split dimension: requests in the last hour."""
    answer = playground.arm("GET", f"{path}/providers/microsoft.insights/metrics?{query}&aggregation=Total")
    (metric,) = answer["value"]
    return {
        "/".join(part["value"] for part in series["metadatavalues"]): sum(point["total"] for point in series["data"])
        for series in metric["timeseries"]
    }


@pytest.fixture
def scored(playground: Playground) -> Playground:
    """Three requests answered by blue, one that failed in green's container, one that was refused."""
    url = playground.endpoint()
    playground.fake("blue")
    playground.fake("green")
    for body, deployment in ({}, "blue"), ({}, "blue"), ({}, "blue"), ({"status": 500}, "green"):
        playground.score(url, body, deployment=deployment)
    playground.score(url, headers={"Authorization": "Bearer wrong"})
    return playground


def test_requests_are_counted_by_deployment_and_status(scored: Playground) -> None:
    query = "metricnames=RequestsPerMinute&timespan=PT5M"
    assert _total(scored, query) == {"": 4}
    assert _total(scored, f"{query}&$filter=deployment eq '*'".replace(" ", "%20")) == {"blue": 3, "green": 1}
    by_code = f"{query}&$filter=deployment eq 'green' and statusCode eq '*' and modelStatusCode eq '*'"
    assert _total(scored, by_code.replace(" ", "%20")) == {"green/424/500": 1}
    assert _total(scored, query, "onlineEndpoints/chat/deployments/blue") == {"": 3}


def test_latency_is_that_of_the_requests(scored: Playground) -> None:
    path = "onlineEndpoints/chat/providers/microsoft.insights/metrics?metricnames=RequestLatency,RequestLatency_P99"
    answer = scored.arm("GET", f"{path}&timespan=PT5M&aggregation=Average,Count")
    mean, high = answer["value"]
    counted = [point for point in mean["timeseries"][0]["data"] if point["count"]]
    assert sum(point["count"] for point in counted) == 4
    assert all(0 < point["average"] < 10_000 for point in counted)
    assert mean["unit"] == high["unit"] == "Milliseconds"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("metricnames=Nothing", "metric configuration for 'Nothing'"),
        ("timespan=yesterday", "'yesterday' is neither"),
        ("aggregation=Median", "'Median' is no aggregation"),
        ("interval=PT1S", "shorter than a minute"),
        ("$filter=colour%20eq%20'red'", "not understood"),
    ],
)
def test_a_wrong_query_is_named(query: str, words: str, playground: Playground) -> None:
    playground.endpoint()
    with pytest.raises(CallFailed, match=f"BadRequest.*{words}"):
        playground.arm("GET", f"onlineEndpoints/chat/providers/microsoft.insights/metrics?{query}")


def test_definitions_name_every_metric_and_dimension(playground: Playground) -> None:
    playground.endpoint()
    found = playground.arm("GET", "onlineEndpoints/chat/providers/microsoft.insights/metricDefinitions")["value"]
    assert {"RequestsPerMinute", "RequestLatency_P95"} <= {item["name"]["value"] for item in found}
    assert {"value": "statusCodeClass", "localizedValue": "statusCodeClass"} in found[0]["dimensions"]


def test_a_percentile_is_what_so_many_requests_do_not_exceed_and_old_minutes_go() -> None:
    moment = [datetime(2026, 1, 1, tzinfo=UTC)]
    metrics = Metrics(lambda: moment[0])
    for milliseconds in range(1, 101):
        metrics.record("/E", Dimensions("blue", 200, 200), milliseconds / 1000, 10)
    ((_, _, tally),) = _all(metrics)
    assert (tally.percentile(50), tally.percentile(95), tally.percentile(99)) == (50, 95, 99)
    assert (tally.requests, tally.received) == (100, 1000)
    moment[0] = datetime(2026, 1, 3, tzinfo=UTC)
    metrics.record("/e", Dimensions("blue", 200, 200), 0.1, 0)
    assert len(_all(metrics)) == 1


def _all(metrics: Metrics) -> list[Any]:
    return list(metrics.between("/e", datetime(2025, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)))

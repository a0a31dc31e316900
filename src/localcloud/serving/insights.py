"""The metrics of endpoints and deployments in Azure Monitor's form: `GET {id}/providers/microsoft.insights/metrics`.

Names and dimensions are those of Azure's table for managed online endpoints; the ones here come from real requests.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import ArmError, json_response, not_found, route
from localcloud.cloud import Cloud
from localcloud.serving.metrics import Dimensions, Metrics, Tally
from localcloud.serving.settings import seconds_of
from localcloud.store import Body

_ENDPOINT = (
    "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.MachineLearningServices"
    "/workspaces/{workspace}/onlineEndpoints/{endpoint}"
)
_NAMESPACE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"
_FILTER = re.compile(r"\s*(\w+)\s+eq\s+'([^']*)'\s*", re.IGNORECASE)
AGGREGATIONS = ("average", "total", "count")


@dataclass(frozen=True)
class Metric:
    """One name of Azure's table: its unit, what it is called in words, and how it is read from a tally."""

    unit: str
    words: str
    read: Callable[[Tally, float], float]


METRICS: dict[str, Metric] = {
    "RequestsPerMinute": Metric("Count", "Requests Per Minute", lambda tally, minutes: tally.requests / minutes),
    "RequestLatency": Metric(
        "Milliseconds", "Request Latency", lambda tally, _: 1000 * tally.seconds / max(1, tally.requests)
    ),
    "RequestLatency_P50": Metric("Milliseconds", "Request Latency P50", lambda tally, _: tally.percentile(50)),
    "RequestLatency_P90": Metric("Milliseconds", "Request Latency P90", lambda tally, _: tally.percentile(90)),
    "RequestLatency_P95": Metric("Milliseconds", "Request Latency P95", lambda tally, _: tally.percentile(95)),
    "RequestLatency_P99": Metric("Milliseconds", "Request Latency P99", lambda tally, _: tally.percentile(99)),
    "NetworkBytes": Metric("BytesPerSecond", "Network Bytes", lambda tally, minutes: tally.received / (60 * minutes)),
}

DIMENSIONS: dict[str, Callable[[Dimensions], str]] = {
    "deployment": lambda found: found.deployment,
    "statuscode": lambda found: str(found.status),
    "statuscodeclass": lambda found: f"{found.status // 100}xx",
    "modelstatuscode": lambda found: str(found.model_status),
}
_SPELLED = {
    "deployment": "deployment",
    "statuscode": "statusCode",
    "statuscodeclass": "statusCodeClass",
    "modelstatuscode": "modelStatusCode",
}


def routes(cloud: Cloud) -> list[Route]:
    service = Insights(cloud)
    found: list[Route] = []
    for owner in (_ENDPOINT, _ENDPOINT + "/deployments/{deployment}"):
        base = owner + "/providers/microsoft.insights"
        found.append(route(base + "/metrics", ["GET"], service.metrics))
        found.append(route(base + "/metricDefinitions", ["GET"], service.definitions))
    return found


class Insights:
    """Answers for one endpoint, or for one deployment of it."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._metrics = cloud.part(Metrics, lambda: Metrics(cloud.clock.now))

    async def definitions(self, request: Request) -> Response:
        owner, _ = self._owner(request)
        value = [
            {
                "id": f"{owner['id']}/providers/microsoft.insights/metricdefinitions/{name}",
                "resourceId": owner["id"],
                "namespace": _NAMESPACE,
                "name": {"value": name, "localizedValue": metric.words},
                "unit": metric.unit,
                "primaryAggregationType": "Average",
                "supportedAggregationTypes": [word.capitalize() for word in AGGREGATIONS],
                "metricAvailabilities": [{"timeGrain": "PT1M", "retention": "P1D"}],
                "dimensions": [{"value": word, "localizedValue": word} for word in _SPELLED.values()],
            }
            for name, metric in METRICS.items()
        ]
        return json_response({"value": value})

    async def metrics(self, request: Request) -> Response:
        owner, deployment = self._owner(request)
        query = {name.lower(): value for name, value in request.query_params.items()}
        start, end = _span(query.get("timespan", "PT1H"), self._cloud.clock.now())
        grain = _grain(query.get("interval", "PT1M"))
        names = [_known(name) for name in query.get("metricnames", "RequestsPerMinute").split(",")]
        wanted = [_aggregation(word) for word in query.get("aggregation", "Average").split(",")]
        matches, split = _filter(query.get("$filter", ""))
        if deployment:
            matches["deployment"] = deployment
        series = self._series(owner["id"].partition("/deployments/")[0], start, end, grain, matches, split)
        value = [
            {
                "id": f"{owner['id']}/providers/Microsoft.Insights/metrics/{name}",
                "type": "Microsoft.Insights/metrics",
                "name": {"value": name, "localizedValue": METRICS[name].words},
                "displayDescription": METRICS[name].words,
                "unit": METRICS[name].unit,
                "timeseries": [_timeseries(key, split, points, METRICS[name], wanted, grain) for key, points in series],
                "errorCode": "Success",
            }
            for name in names
        ]
        return json_response(
            {
                "cost": 0,
                "timespan": f"{_moment(start)}/{_moment(end)}",
                "interval": query.get("interval", "PT1M"),
                "namespace": _NAMESPACE,
                "resourceregion": owner["location"],
                "value": value,
            }
        )

    def _owner(self, request: Request) -> tuple[Body, str | None]:
        path = request.url.path.lower().partition("/providers/microsoft.insights")[0]
        owner = self._cloud.store.get(path)
        if owner is None:
            raise not_found(path)
        return owner, owner["name"] if "deployment" in request.path_params else None

    def _series(
        self,
        endpoint_id: str,
        start: datetime,
        end: datetime,
        grain: timedelta,
        matches: dict[str, str],
        split: list[str],
    ) -> list[tuple[tuple[str, ...], list[tuple[datetime, Tally]]]]:
        """Per combination of the split dimensions: one tally per grain of the span, empty ones included."""
        found: dict[tuple[str, ...], dict[int, Tally]] = {} if split else {(): {}}
        for minute, dimensions, tally in self._metrics.between(endpoint_id, start, end):
            if any(DIMENSIONS[name](dimensions).lower() != text.lower() for name, text in matches.items()):
                continue
            key = tuple(DIMENSIONS[name](dimensions) for name in split)
            found.setdefault(key, {}).setdefault(int((minute - start) / grain), Tally()).add(tally)
        steps = range(max(1, -int(-((end - start) / grain) // 1)))
        return [
            (key, [(start + step * grain, tallies.get(step, Tally())) for step in steps])
            for key, tallies in sorted(found.items())
        ]


def _timeseries(
    key: tuple[str, ...],
    split: list[str],
    points: list[tuple[datetime, Tally]],
    metric: Metric,
    wanted: list[str],
    grain: timedelta,
) -> Body:
    minutes = grain / timedelta(minutes=1)
    data: list[dict[str, Any]] = []
    for moment, tally in points:
        value = metric.read(tally, minutes)
        shown: dict[str, float] = {"average": value} if "average" in wanted else {}
        if "total" in wanted:
            shown["total"] = value * minutes if metric.words == "Requests Per Minute" else value
        if "count" in wanted:
            shown["count"] = tally.requests
        data.append({"timeStamp": _moment(moment), **shown})
    named = [
        {"name": {"value": _SPELLED[name], "localizedValue": _SPELLED[name]}, "value": value}
        for name, value in zip(split, key, strict=True)
    ]
    return {"metadatavalues": named, "data": data}


def _bad(message: str) -> ArmError:
    return ArmError(400, "BadRequest", message)


def _known(name: str) -> str:
    for known in METRICS:
        if known.lower() == name.strip().lower():
            return known
    raise _bad(f"Failed to find metric configuration for '{name.strip()}'. Valid metrics: {', '.join(METRICS)}.")


def _aggregation(word: str) -> str:
    if word.strip().lower() not in AGGREGATIONS:
        raise _bad(f"'{word}' is no aggregation; use one of {', '.join(AGGREGATIONS)}.")
    return word.strip().lower()


def _span(text: str, now: datetime) -> tuple[datetime, datetime]:
    """`PT1H` (until now) or `start/end`, cut to whole minutes; the running minute is inside."""
    try:
        first, _, second = text.partition("/")
        if not second:
            end = now.astimezone(UTC)
            start = end - timedelta(seconds=seconds_of(first))
        else:
            end = datetime.fromisoformat(second).astimezone(UTC)
            start = (
                end - timedelta(seconds=seconds_of(first))
                if first.startswith("P")
                else datetime.fromisoformat(first).astimezone(UTC)
            )
    except ValueError:
        raise _bad(f"The timespan '{text}' is neither a duration such as 'PT1H' nor 'start/end'.") from None
    if start >= end:
        raise _bad(f"The timespan '{text}' ends before it begins.")
    end = end if end == end.replace(second=0, microsecond=0) else end + timedelta(minutes=1)
    return start.replace(second=0, microsecond=0), end.replace(second=0, microsecond=0)


def _grain(text: str) -> timedelta:
    try:
        grain = timedelta(seconds=seconds_of(text))
    except ValueError:
        raise _bad(f"The interval '{text}' is no duration such as 'PT1M'.") from None
    if grain < timedelta(minutes=1):
        raise _bad(f"The interval '{text}' is shorter than a minute.")
    return grain


def _filter(text: str) -> tuple[dict[str, str], list[str]]:
    """`deployment eq 'green' and statusCode eq '*'`: what must match, and what to split by."""
    matches: dict[str, str] = {}
    split: list[str] = []
    for part in re.split(r"\s+and\s+", text, flags=re.IGNORECASE) if text else []:
        found = _FILTER.fullmatch(part)
        name = found[1].lower() if found else ""
        if found is None or name not in DIMENSIONS:
            raise _bad(
                f"The filter '{part}' is not understood; write \"name eq 'value'\" "
                f"with one of {', '.join(_SPELLED.values())}."
            )
        split.append(name)
        if found[2] != "*":
            matches[name] = found[2]
    return matches, split


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

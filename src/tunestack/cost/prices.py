"""What a machine or a meter costs: today's retail price where its API can be asked, else the dated table's.

The API, `prices.azure.com`, wants no login. One query names size and region exactly: unfiltered, it is 20 minutes long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from tunestack import azure_facts
from tunestack.azure_facts import Figure

URL = "https://prices.azure.com/api/retail/prices"
VERSION = "2023-01-01-preview"
TABLE_REGION = "eastus"
MOST_PAGES = 5
SOURCE = "retail price API"
_UNITS = {
    "1 Hour": "hour",
    "1/Day": "day",
    "1/Month": "month",
    "1": "month",
    "1 GB": "GB",
    "1 GB/Month": "GB-month",
    "10K": "10K operations",
}
Row = Mapping[str, Any]


class Unreachable(Exception):
    """The price API did not answer as it should; the text says how."""


class PriceBook:
    """Prices of one region. `notes` are what a reader must know about where they came from."""

    def __init__(self, region: str, *, live: bool) -> None:
        self.region = region
        self.notes: list[str] = []
        self._live = live
        self._sizes: dict[tuple[str, bool], Figure | None] = {}
        if not live:
            self._fall_back("offline")

    def size(self, size: str, *, low_priority: bool = False) -> Figure | None:
        """An hour of one Linux machine; None where nobody knows its price. Asked once for each size."""
        key = (size.lower(), low_priority)
        if key not in self._sizes:
            self._sizes[key] = self._asked_size(size, low_priority)
        return self._sizes[key]

    def _asked_size(self, size: str, low_priority: bool) -> Figure | None:
        named = azure_facts.facts()["sizes"].get(size.lower(), {}).get("name", size)  # the API minds the case
        rows = self._asked({"serviceName": "Virtual Machines", "armSkuName": named, "armRegionName": self.region})
        found = _one([row for row in rows if _is_plain_machine(row, low_priority)], "hour")
        return found or self._from_table(
            azure_facts.price_of_size(size, low_priority=low_priority), f"size '{size}'", rows is not _NOT_ASKED
        )

    def meter(self, name: str) -> Figure:
        """What is no machine, by its name in `azure_facts.yml`."""
        known = azure_facts.price_of_meter(name)
        wanted = azure_facts.facts()["meters"][name]["find"]
        rows = self._asked({**wanted, "armRegionName": self.region})
        if rows is not _NOT_ASKED and not rows:
            rows = self._asked({**wanted, "armRegionName": "Global"})
        found = _one([row for row in rows if row["retailPrice"] > 0], known.per)
        priced = found or self._from_table(known, f"meter '{name}'", rows is not _NOT_ASKED)
        assert priced
        return priced

    def _from_table(self, figure: Figure | None, what: str, was_asked: bool) -> Figure | None:
        if was_asked:
            said = "its East US price in the dated table is taken" if figure else "and none in the dated table"
            self.notes.append(f"the retail price API has no one price for {what} in '{self.region}': {said}")
        return figure

    def _fall_back(self, reason: str) -> None:
        self._live = False
        dated = f"prices are those of azure_facts.yml of {azure_facts.facts()['as_of']} ({reason})"
        elsewhere = "" if self.region == TABLE_REGION else f"; they are East US prices, and '{self.region}' differs"
        self.notes.append(dated + elsewhere)

    def _asked(self, wanted: Mapping[str, str]) -> list[Row]:
        if not self._live:
            return _NOT_ASKED
        try:
            return list(self._rows(wanted))
        except Unreachable as error:
            self._fall_back(str(error))
            return _NOT_ASKED

    def _rows(self, wanted: Mapping[str, str]) -> Iterator[Row]:
        quoted = {name: value.replace("'", "''") for name, value in {**wanted, "priceType": "Consumption"}.items()}
        filtered = " and ".join(f"{name} eq '{value}'" for name, value in quoted.items())
        parameters = {"api-version": VERSION, "meterRegion": "'primary'", "$filter": filtered}
        page = self._page(URL, parameters)
        for _ in range(MOST_PAGES):
            yield from page["Items"]
            if not page.get("NextPageLink"):
                return
            page = self._page(page["NextPageLink"], {})
        raise Unreachable(f"more than {MOST_PAGES} pages for one query")

    def _page(self, url: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        from azure.core.exceptions import AzureError
        from azure.core.rest import HttpRequest

        try:
            response = self._client.send_request(
                HttpRequest("GET", url, params=dict(parameters)), connection_timeout=5, read_timeout=20
            )
            if response.status_code != 200:
                raise Unreachable(f"the retail price API answered with {response.status_code}")
            page: dict[str, Any] = response.json()
        except (AzureError, ValueError) as error:
            raise Unreachable("the retail price API cannot be reached") from error
        if not isinstance(page.get("Items"), list):
            raise Unreachable("the retail price API answered in another shape")
        return page

    @cached_property
    def _client(self) -> Any:
        from azure.core import PipelineClient
        from azure.core.pipeline.policies import RetryPolicy, UserAgentPolicy

        return PipelineClient(
            URL, policies=[UserAgentPolicy("tunestack"), RetryPolicy(retry_total=2, retry_backoff_max=2)]
        )


_NOT_ASKED: list[Row] = []


def _is_plain_machine(row: Row, low_priority: bool) -> bool:
    """Linux, by the hour, pay as you go; neither spot nor a reservation nor another service's name for the machine."""
    named = f"{row['skuName']} {row['meterName']}"
    return (
        row["type"] == "Consumption"
        and row["unitOfMeasure"] == "1 Hour"
        and row.get("isPrimaryMeterRegion", True)
        and "Windows" not in row["productName"]
        and "CloudServices" not in row["productName"].replace(" ", "")
        and "Spot" not in named
        and ("Low Priority" in named) == low_priority
    )


def _one(rows: list[Row], per: str) -> Figure | None:
    """The price that all these rows agree on, in the unit asked for; of a tiered meter, its first tier that costs."""
    fitting = [row for row in rows if _UNITS.get(row["unitOfMeasure"]) == per]
    first = min((row["tierMinimumUnits"] for row in fitting), default=None)
    prices = {float(row["retailPrice"]) for row in fitting if row["tierMinimumUnits"] == first}
    return Figure(prices.pop(), per, SOURCE) if len(prices) == 1 else None

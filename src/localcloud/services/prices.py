"""Retail prices, `prices.azure.com`, asked without a login: the documented shape, filter and pages.

Simulated after the page "Azure Retail Prices overview" of Microsoft's REST reference: the figures are the dated table
in the catalog, and of the filter's grammar there are `eq`, `and`, `or`, `contains` and brackets. The conformance test
`test_prices` settles it on Azure.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib.resources import files
from typing import Any

import yaml
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import json_response, route
from localcloud.cloud import Cloud

HOST = "prices.azure.com"
PAGE = 1000
PREVIEW = "2023-01-01-preview"
VERSIONS = ("2021-10-01-preview", "2021-10-01", PREVIEW)
_NAMESPACE = uuid.UUID("f1bf5eaa-26a5-4fe8-9f1d-3b0a0f6c1b1a")
_FILTERED = {
    name.lower(): member
    for name, member in {
        **{name: name for name in ("armRegionName", "location", "meterId", "meterName", "productId", "skuId")},
        **{name: name for name in ("productName", "skuName", "serviceName", "serviceId", "serviceFamily")},
        **{name: name for name in ("armSkuName", "currencyCode", "isPrimaryMeterRegion")},
        "priceType": "type",
    }.items()
}

Row = Mapping[str, Any]
Test = Callable[[Row], bool]

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = Prices()
    return [route("/api/retail/prices", ["GET"], service.get, anonymous=True)]


# -- handlers --------------------------------------------------------------------------------------------------


class Prices:
    """Answers the one call there is."""

    async def get(self, request: Request) -> Response:
        query = request.query_params
        unknown = set(query) - {"api-version", "$filter", "$skip", "$top", "currencyCode", "meterRegion"}
        version, skip, top = query.get("api-version"), query.get("$skip", "0"), query.get("$top", str(PAGE))
        if unknown or (version and version not in VERSIONS) or not skip.isdecimal() or not top.isdecimal():
            return _refused("Invalid OData parameters supplied")
        if query.get("currencyCode", "USD").strip("'") != "USD":
            return _refused("The local cloud has prices in USD only, the currency that Azure prices in.", 501)
        try:
            # Only the older versions compare without regard to case.
            wanted = Filter(query.get("$filter", ""), version in (None, PREVIEW)).test
        except ValueError:
            return _refused("Invalid OData parameters supplied")
        primary = query.get("meterRegion", "").strip("'") == "primary"
        found = [row for row in self._rows if wanted(row) and (row["isPrimaryMeterRegion"] or not primary)]
        start, size = int(skip), min(int(top), PAGE)
        shown = [_as_of(row, version) for row in found[start : start + size]]
        more = start + len(shown) < len(found) and "$top" not in query
        link = request.url.include_query_params(**{"$skip": start + PAGE}) if more else None
        return json_response(
            {
                "BillingCurrency": "USD",
                "CustomerEntityId": "Default",
                "CustomerEntityType": "Retail",
                "Items": shown,
                "NextPageLink": str(link.replace(scheme="https", netloc=f"{HOST}:443")) if link else None,
                "Count": len(shown),
            }
        )

    # -- model -------------------------------------------------------------------------------------------------

    @cached_property
    def _rows(self) -> list[Row]:
        table: dict[str, Any] = yaml.safe_load((files("localcloud") / "catalog" / "prices.yaml").read_text())
        return [*_machines(table), *_meters(table)]


class Filter:
    """`$filter` taken apart once: comparisons joined by `and` (binds closer) and `or`; ValueError when it is none."""

    def __init__(self, text: str, exact: bool) -> None:
        self._tokens = re.findall(r"'(?:[^']|'')*'|[(),]|[^\s(),']+", text)
        if "".join(self._tokens) != re.sub(r"\s+(?=(?:[^']*'[^']*')*[^']*$)", "", text):
            raise ValueError(text)
        self._exact = exact
        self.test: Test = self._any() if self._tokens else lambda row: True
        if self._tokens:
            raise ValueError(self._tokens[0])

    def _any(self) -> Test:
        parts = [self._all()]
        while self._took("or"):
            parts.append(self._all())
        return lambda row: any(part(row) for part in parts)

    def _all(self) -> Test:
        parts = [self._one()]
        while self._took("and"):
            parts.append(self._one())
        return lambda row: all(part(row) for part in parts)

    def _one(self) -> Test:
        if self._took("("):
            inner = self._any()
            self._need(")")
            return inner
        if self._took("contains"):
            self._need("(")
            field = self._field()
            self._need(",")
            part = self._value()
            self._need(")")
            return lambda row: part in self._cased(row.get(field, ""))
        field = self._field()
        self._need("eq")
        value = self._value()
        return lambda row: self._cased(row.get(field, "")) == value

    def _field(self) -> str:
        return _FILTERED.get(self._next().lower()) or _raise("no field that can be filtered")

    def _value(self) -> str:
        token = self._next()
        if token in ("true", "false"):
            return self._cased(token == "true")
        if len(token) < 2 or token[0] != "'":
            raise ValueError(token)
        return self._cased(token[1:-1].replace("''", "'"))

    def _cased(self, value: Any) -> str:
        return str(value) if self._exact else str(value).lower()

    def _next(self) -> str:
        return self._tokens.pop(0) if self._tokens else _raise("it ends too early")

    def _took(self, word: str) -> bool:
        if self._tokens and self._tokens[0].lower() == word:
            self._tokens.pop(0)
            return True
        return False

    def _need(self, word: str) -> None:
        if not self._took(word):
            raise ValueError(f"'{word}' is missing")


def _raise(problem: str) -> str:
    raise ValueError(problem)


def _machines(table: Mapping[str, Any]) -> Iterator[Row]:
    """As in reality, each size has rows that a careless client takes for its price."""
    for region, (location, factor) in table["regions"].items():
        for family, sizes in table["sizes"].items():
            for size, (cores, hour, spot) in sizes.items():
                short = size.removeprefix("Standard_").replace("_", " ")
                windows = f"Virtual Machines {family} Series Windows"
                common = {
                    "serviceName": "Virtual Machines",
                    "serviceFamily": "Compute",
                    "productName": f"Virtual Machines {family} Series",
                    "armSkuName": size,
                    "armRegionName": region,
                    "location": location,
                    "unitOfMeasure": "1 Hour",
                }
                prices = {
                    "": (hour, common),
                    " Spot": (spot, common),
                    " Low Priority": (hour * table["low_priority"], common),
                }
                for suffix, (price, members) in prices.items():
                    yield _row(
                        table, members | {"skuName": short + suffix, "meterName": short + suffix}, price * factor
                    )
                named = common | {"skuName": short, "meterName": short}
                with_licence = (hour + cores * table["windows_core"]) * factor
                yield _row(table, named | {"productName": windows}, with_licence)
                yield _row(table, named | {"productName": windows, "type": "DevTestConsumption"}, hour * factor)
                year = hour * factor * 8760 * table["reservation_year"]
                yield _row(table, named | {"type": "Reservation", "reservationTerm": "1 Year"}, year)
                yield _row(table, named | {"isPrimaryMeterRegion": False}, hour * factor * 1.1)


def _meters(table: Mapping[str, Any]) -> Iterator[Row]:
    for meter in table["meters"]:
        named = {name: meter[name] for name in ("serviceName", "serviceFamily", "productName", "skuName", "meterName")}
        places = {"Global": ("Global", 1.0)} if meter.get("region") else table["regions"]
        for region, (location, factor) in places.items():
            for least, price in meter.get("tiers", [[0, meter.get("price")]]):
                where = {"armRegionName": region, "location": location, "armSkuName": "", "tierMinimumUnits": least}
                yield _row(table, named | where | {"unitOfMeasure": meter["unit"]}, price * factor)


def _row(table: Mapping[str, Any], members: Row, price: float) -> Row:
    price = round(price, 6)
    told = [str(members.get(name, "")) for name in ("productName", "skuName", "armRegionName", "meterName", "type")]
    return {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": price,
        "unitPrice": price,
        "effectiveStartDate": table["effective"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        "meterId": str(uuid.uuid5(_NAMESPACE, "/".join(told))),
        "productId": "SIM" + uuid.uuid5(_NAMESPACE, told[0]).hex[:9].upper(),
        "skuId": "SIM" + uuid.uuid5(_NAMESPACE, "/".join(told[:3])).hex[:14].upper(),
        "serviceId": "SIM" + uuid.uuid5(_NAMESPACE, str(members["serviceName"])).hex[:9].upper(),
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        **members,
    }


def _as_of(row: Row, version: str | None) -> Row:
    """Savings plans stand in answers of the preview version only."""
    plain = row["type"] == "Consumption" and row["serviceName"] == "Virtual Machines"
    if version != PREVIEW or not plain or " " in row["armSkuName"] or "Spot" in row["skuName"]:
        return row
    terms = {"1 Year": 0.73, "3 Years": 0.52}
    plans = [
        {
            "unitPrice": round(row["unitPrice"] * part, 6),
            "retailPrice": round(row["retailPrice"] * part, 6),
            "term": term,
        }
        for term, part in terms.items()
    ]
    return {**row, "savingsPlan": plans}


def _refused(message: str, status: int = 400) -> Response:
    return json_response({"Error": {"Code": "BadRequest", "Message": message}}, status)

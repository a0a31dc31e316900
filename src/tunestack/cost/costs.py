"""The bill of a stack before it comes: each resource with its price per hour, idle and busy, and per month.

What is billed by use stands with the use that is assumed. A type that is not known here is a line without a price, and
so is a machine without one: nothing unknown counts as free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunestack import azure_facts
from tunestack.azure_facts import Figure
from tunestack.cost.prices import PriceBook
from tunestack.cost.stack_plan import Item

HOURS_A_MONTH = 730
DAYS_A_MONTH = HOURS_A_MONTH / 24
FREE_LOG_DAYS = 31
# What a team of a few people uses; a bill by use cannot be told without such figures, so they are told with it.
ASSUMED_GB, ASSUMED_LOG_GB, ASSUMED_OPERATIONS = 100, 5, 10_000
# In a managed network Azure makes these by itself: how-to-managed-network, "List of required rules".
OWN_PRIVATE_ENDPOINTS = ("blob", "file", "vault", "registry")


@dataclass(frozen=True)
class Line:
    """One resource. Dollars an hour while nothing runs and at most, and what it comes to in a month as it stands.

    None is a price that nobody knows; a cluster that scales to zero is 0.0 when idle.
    """

    name: str
    kind: str
    idle: float | None
    busy: float | None
    month: float | None
    note: str = ""

    @property
    def is_known(self) -> bool:
        return self.month is not None


@dataclass(frozen=True)
class Bill:
    """All lines, and how many resources have none because they cost nothing by themselves."""

    lines: tuple[Line, ...]
    free: int = 0

    @property
    def month(self) -> float:
        return round(sum(line.month or 0.0 for line in self.lines), 2)

    @property
    def unknown(self) -> list[Line]:
        return [line for line in self.lines if not line.is_known]


FREE: Mapping[str, str] = {
    "applicationinsights:Component": "its data is billed with the logs",
    "authorization:ManagementLockByScope": "",
    "authorization:PolicyAssignment": "",
    "authorization:PolicyDefinition": "",
    "authorization:RoleAssignment": "",
    "authorization:RoleDefinition": "",
    "consumption:Budget": "",
    "machinelearningservices:OnlineEndpoint": "its deployments cost, not the endpoint",
    "managedidentity:FederatedIdentityCredential": "",
    "managedidentity:UserAssignedIdentity": "",
    "monitor:ActionGroup": "the first 1,000 mails of a month",
    "monitor:DiagnosticSetting": "what it sends is billed with the logs",
    "network:PrivateDnsZoneGroup": "",
    "network:Subnet": "",
    "network:VirtualNetwork": "",
    "privatedns:VirtualNetworkLink": "",
    "resources:ResourceGroup": "",
}


def bill(items: Sequence[Item], prices: PriceBook) -> Bill:
    """Every resource that costs or whose price is unknown; what is free is left out."""
    lines = [line for item in items if item.kind not in FREE for line in _lines(item, prices)]
    return Bill((*lines, *_firewall(items, prices)), sum(item.kind in FREE for item in items))


def _lines(item: Item, prices: PriceBook) -> Iterable[Line]:
    priced = _PRICED.get(item.kind)
    return priced(item, prices) if priced else [unpriced(item.name, item.kind)]


def always(name: str, kind: str, figure: Figure, count: float = 1, note: str = "") -> Line:
    """What is billed whether used or not, by its figure per hour, day or month."""
    hours = {"hour": 1.0, "day": 1 / 24, "month": 1 / HOURS_A_MONTH}[figure.per]
    hour = figure.dollars * count * hours
    return Line(name, kind, hour, hour, round(hour * HOURS_A_MONTH, 2), _said(figure, note))


def by_use(name: str, kind: str, month: float, figure: Figure, note: str) -> Line:
    """What is billed by use: the month under the assumption that the note tells, spread over its hours."""
    hour = month / HOURS_A_MONTH
    return Line(name, kind, hour, hour, round(month, 2), _said(figure, f"by use; assumes {note}"))


def machines(name: str, kind: str, size: str, figure: Figure | None, least: int, most: int, note: str = "") -> Line:
    """So many machines of a size: the least of them always, the most when busy."""
    what = f"{most} x {size}" if least == most else f"{least} to {most} x {size}"
    said = f"{what}; {note}" if note else what
    if figure is None:
        return unpriced(name, kind, said)
    idle, busy = figure.dollars * least, figure.dollars * most
    return Line(name, kind, idle, busy, round(idle * HOURS_A_MONTH, 2), _said(figure, said))


def unpriced(name: str, kind: str, what: str = "") -> Line:
    """A line whose price nobody knows."""
    return Line(name, kind, None, None, None, f"price unknown: {what}" if what else "price unknown")


def _of_sku(meter: str, sku: str, prices: PriceBook) -> Figure | None:
    """The price of a meter that comes in several SKUs; None for one that the table has not got."""
    name = f"{meter}_{sku.removeprefix('Standard_').lower()}"
    return prices.meter(name) if name in azure_facts.facts()["meters"] else None


def _kept(name: str, kind: str, sku: str, prices: PriceBook) -> Line:
    figure = _of_sku("storage", sku, prices)
    if figure is None:
        return unpriced(name, kind, sku)
    return by_use(name, kind, figure.dollars * ASSUMED_GB, figure, f"{ASSUMED_GB} GB kept, {sku}")


def _said(figure: Figure, note: str) -> str:
    return "; ".join(part for part in (note, "rough" if figure.is_rough else "") if part)


def _storage(item: Item, prices: PriceBook) -> Iterator[Line]:
    yield _kept(item.name, item.kind, _at(item.inputs, "sku", "name"), prices)


def _vault(item: Item, prices: PriceBook) -> Iterator[Line]:
    figure = prices.meter("vault_operations")
    yield by_use(
        item.name, item.kind, figure.dollars * ASSUMED_OPERATIONS / 10_000, figure, f"{ASSUMED_OPERATIONS:,} operations"
    )


def _registry(item: Item, prices: PriceBook) -> Iterator[Line]:
    sku = _at(item.inputs, "sku", "name")
    figure = _of_sku("registry", sku, prices)
    yield always(item.name, item.kind, figure, note=sku) if figure else unpriced(item.name, item.kind, sku)


def _logs(item: Item, prices: PriceBook) -> Iterator[Line]:
    """Kept data is billed from the 32nd day on."""
    days = int(item.inputs.get("retentionInDays") or FREE_LOG_DAYS)
    ingested, kept = prices.meter("logs_ingestion"), prices.meter("logs_retention")
    months = max(days - FREE_LOG_DAYS, 0) / DAYS_A_MONTH
    month = ASSUMED_LOG_GB * (ingested.dollars + kept.dollars * months)
    yield by_use(item.name, item.kind, month, ingested, f"{ASSUMED_LOG_GB} GB a month, kept {days} days")


def _cluster(item: Item, prices: PriceBook) -> Iterator[Line]:
    own = item.inputs.get("properties", {}).get("properties", {})
    size, low = str(own.get("vmSize", "")), own.get("vmPriority") == "LowPriority"
    scale = own.get("scaleSettings", {})
    figure = prices.size(size, low_priority=low)
    yield machines(
        item.name,
        item.kind,
        size,
        figure,
        int(scale.get("minNodeCount") or 0),
        int(scale.get("maxNodeCount") or 0),
        "low priority" if low else "",
    )


def _workspace(item: Item, prices: PriceBook) -> Iterator[Line]:
    """Itself free; its managed network has private endpoints that no plan shows."""
    if _is_managed(item):
        named = f"private endpoints of {item.name}'s managed network"
        count = len(OWN_PRIVATE_ENDPOINTS)
        note = f"assumes {count} that Azure makes: {', '.join(OWN_PRIVATE_ENDPOINTS)}"
        yield always(named, item.kind, prices.meter("private_endpoint"), count, note)


def _rule(item: Item, prices: PriceBook) -> Iterator[Line]:
    """A rule by name is part of the firewall, one by service tag costs nothing."""
    if item.inputs.get("properties", {}).get("type") == "PrivateEndpoint":
        yield always(item.name, item.kind, prices.meter("private_endpoint"))


def _firewall(items: Sequence[Item], prices: PriceBook) -> Iterator[Line]:
    """Azure starts it with the first outbound rule by name, and bills it by the hour from then on."""
    workspaces = [item for item in items if item.kind == "machinelearningservices:Workspace" and _is_managed(item)]
    rules = [item.inputs.get("properties", {}) for item in items if item.kind.endswith(":ManagedNetworkSettingsRule")]
    for item in workspaces:
        network = item.inputs["managedNetwork"]
        written = [rule for rule in (network.get("outboundRules") or {}).values() if isinstance(rule, Mapping)]
        if any(rule.get("type") == "FQDN" for rule in [*rules, *written]):
            sku = str(network.get("firewallSku") or "Standard")
            note = f"{sku}; Azure starts it with the first outbound rule by name; without data processed"
            name, figure = f"firewall of {item.name}'s managed network", _of_sku("firewall", sku, prices)
            yield always(name, item.kind, figure, note=note) if figure else unpriced(name, item.kind, note)


def _is_managed(item: Item) -> bool:
    mode = (item.inputs.get("managedNetwork") or {}).get("isolationMode", "Disabled")
    return str(mode) != "Disabled"


def _shared_registry(item: Item, prices: PriceBook) -> Iterator[Line]:
    """Azure makes a container registry and a storage account for it, in a group of its own."""
    yield always(f"images of {item.name}", item.kind, prices.meter("registry_premium"), note="Premium, made by Azure")
    details = item.inputs.get("regionDetails") or [{}]
    accounts = details[0].get("storageAccountDetails") or [{}]
    sku = str((accounts[0].get("systemCreatedStorageAccount") or {}).get("storageAccountType") or "Standard_LRS")
    yield _kept(f"models of {item.name}", item.kind, sku, prices)


def _per(meter: str) -> Callable[[Item, PriceBook], Iterator[Line]]:
    def line(item: Item, prices: PriceBook) -> Iterator[Line]:
        yield always(item.name, item.kind, prices.meter(meter))

    return line


def _at(inputs: Mapping[str, Any], *path: str) -> str:
    found: Any = inputs
    for step in path:
        found = found.get(step, {}) if isinstance(found, Mapping) else {}
    return str(found or "")


_PRICED: Mapping[str, Callable[[Item, PriceBook], Iterable[Line]]] = {
    "containerregistry:Registry": _registry,
    "keyvault:Vault": _vault,
    "machinelearningservices:Compute": _cluster,
    "machinelearningservices:ManagedNetworkSettingsRule": _rule,
    "machinelearningservices:Registry": _shared_registry,
    "machinelearningservices:Workspace": _workspace,
    "monitor:MetricAlert": _per("alert"),
    "network:PrivateEndpoint": _per("private_endpoint"),
    "operationalinsights:Workspace": _logs,
    "privatedns:PrivateZone": _per("private_zone"),
    "storage:StorageAccount": _storage,
}

"""Budgets of a subscription or a group, and their notifications. Kept and checked; nothing is counted or mailed.

Azure refuses a new budget whose start date lies before the running period. That rule is left out here, so that a
stack which was right in one month is right in the next.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from starlette.routing import Route

from localcloud.arm import ArmError
from localcloud.cloud import Cloud
from localcloud.services.tracked import ANY_SCOPE, TrackedResources, TrackedType
from localcloud.store import Body

BUDGETS = "Microsoft.Consumption/budgets"
MOST_NOTIFICATIONS = 5
_EARLIEST = datetime(2017, 6, 1, tzinfo=UTC)
_GRAINS = ("Monthly", "Quarterly", "Annually", "BillingMonth", "BillingQuarter", "BillingAnnual")
_OPERATORS = ("EqualTo", "GreaterThan", "GreaterThanOrEqualTo")


def routes(cloud: Cloud) -> list[Route]:
    return [*TrackedResources(cloud, _TYPE).routes()]


# -- model -----------------------------------------------------------------------------------------------------


def _bad(message: str) -> ArmError:
    return ArmError(400, "400", message)


def _day(period: Body, name: str) -> datetime | None:
    text = period.get(name)
    if not text:
        return None
    try:
        found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        raise _bad(f"'{text}' is no date in 'timePeriod.{name}'.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _check(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> None:
    scope = wanted.rpartition(f"/providers/{BUDGETS}")[0]
    if not re.fullmatch(r"/subscriptions/[^/]+(/resourceGroups/[^/]+)?", scope, re.IGNORECASE):
        raise _bad(f"'{scope}' is no scope of a budget: a subscription or a resource group.")
    sent = body.get("properties") or {}
    amount = sent.get("amount")
    if not isinstance(amount, int | float) or isinstance(amount, bool) or amount <= 0:
        raise _bad(f"Budget amount is '{amount}'; it must be greater than 0.")
    if sent.get("category") != "Cost":
        raise _bad(f"The category '{sent.get('category')}' is not 'Cost'.")
    if sent.get("timeGrain") not in _GRAINS:
        raise _bad(f"The timeGrain '{sent.get('timeGrain')}' is not one of {', '.join(_GRAINS)}.")
    start, end = _day(sent["timePeriod"], "startDate"), _day(sent["timePeriod"], "endDate")
    if start is None or start.day != 1 or start < _EARLIEST:
        raise _bad(
            f"Start date '{sent['timePeriod'].get('startDate')}' must be the first of a month, on or after 2017-06-01."
        )
    if end is not None and end <= start:
        raise _bad(f"End date '{sent['timePeriod']['endDate']}' must be after the start date.")
    before = _day(old["properties"]["timePeriod"], "startDate") if old else None
    if before is not None and before != start:
        raise _bad(f"The start date of a budget cannot be changed: it is '{before:%Y-%m-%d}'.")
    _check_notifications(sent.get("notifications") or {})


def _check_notifications(notifications: Body) -> None:
    if len(notifications) > MOST_NOTIFICATIONS:
        raise _bad(f"A budget has at most {MOST_NOTIFICATIONS} notifications, not {len(notifications)}.")
    for name, told in notifications.items():
        threshold = told.get("threshold")
        if not isinstance(threshold, int | float) or not 0 <= threshold <= 1000:
            raise _bad(f"The threshold of '{name}' is '{threshold}'; it must be between 0 and 1000.")
        if told.get("operator") not in _OPERATORS:
            raise _bad(f"The operator of '{name}' is not one of {', '.join(_OPERATORS)}.")
        if (told.get("thresholdType") or "Actual") not in ("Actual", "Forecasted"):
            raise _bad(f"The thresholdType of '{name}' is not Actual or Forecasted.")
        if not any(told.get(kind) for kind in ("contactEmails", "contactRoles", "contactGroups")):
            raise _bad(f"The notification '{name}' has no contact: contactEmails, contactRoles or contactGroups.")


_TYPE = TrackedType(
    BUDGETS,
    r"[A-Za-z0-9_-]{1,63}",
    under=ANY_SCOPE,
    home="none",
    waits=False,
    top=("eTag",),
    required=("properties.amount", "properties.category", "properties.timeGrain", "properties.timePeriod"),
    members=("amount", "category", "filter", "notifications", "timeGrain", "timePeriod"),
    read_only=("currentSpend", "forecastSpend"),
    check=_check,
    shape=lambda cloud, wanted, body, old: {"currentSpend": {"amount": 0, "unit": "USD"}},
)

"""Leases of deployments: how long one may live, written as its tags by whoever deploys it.

`lease` is the length as it was asked for, `lease-until` the instant that it ends (none for `never`), `lease-state` and
`lease-warned` what the sweep of expired ones has done so far. What is done to an expired one is in `expiry.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tunestack.errors import UsageError

NEVER = "never"
LEASE, UNTIL, STATE, WARNED = "lease", "lease-until", "lease-state", "lease-warned"
TAGS = (LEASE, UNTIL, STATE, WARNED)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_FORM = "so many minutes, hours or days such as 30m, 8h or 3d"


def now() -> datetime:
    return datetime.now(UTC)


def length(text: str) -> timedelta | None:
    """How long a lease is; None for `never`. UsageError for what is neither."""
    return None if text == NEVER else duration(text, "lease", f"{_FORM}, or never")


def duration(text: str, what: str, form: str = _FORM) -> timedelta:
    """A time span as a person writes it."""
    found = re.fullmatch(r"([0-9]{1,5})([mhd])", text)
    if not found:
        raise UsageError(f"{what} '{text}' is no time span", fix=f"Write {form}")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def chosen(asked: str | None, cap: str) -> str:
    """The lease that a deployment gets: the one asked for, else the stack's longest.

    UsageError where it is above the cap, is no time, or where neither is known: a lease decides what is paid.
    """
    if asked is None:
        if not cap:
            raise UsageError("how long the deployment may live is not known", fix="Say it with --lease 8h, or never")
        return cap
    wanted = length(asked)
    if wanted is not None and not wanted:
        raise UsageError(f"lease '{asked}' ends before it begins", fix=f"Write {_FORM}, or never")
    most = length(cap) if cap else None
    if cap and most is not None and (wanted is None or wanted > most):
        raise UsageError(
            f"lease '{asked}' is longer than the stack allows, which is {cap}",
            fix=f"Ask for --lease {cap} at most, or raise the cap with "
            f"`pulumi config set leaseCap {_as_cap(asked)}` and `pulumi up`",
        )
    return asked


def _as_cap(asked: str) -> str:
    """The stack's dial is in whole hours, or never."""
    wanted = length(asked)
    return NEVER if wanted is None else f"{-(-int(wanted.total_seconds()) // 3600)}h"


def tags(lease: str, start: datetime) -> dict[str, str]:
    """The tags of a lease that begins now; a warning given before is not among them."""
    long = length(lease)
    return {LEASE: lease} if long is None else {LEASE: lease, UNTIL: instant(start + long)}


def shown(lease: str) -> str:
    """One sentence for the reader of a deployment that begins now."""
    found = tags(lease, now())
    return f"lease {lease}, until {found[UNTIL]}" if UNTIL in found else f"lease {lease}: it costs until it is deleted"


def instant(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Lease:
    """What a deployment's tags say: its lease, when it ends, and when it was warned (None where they do not say)."""

    text: str
    until: datetime | None
    warned: datetime | None

    @classmethod
    def read(cls, found: Mapping[str, str]) -> Lease:
        """ValueError, naming the tag, where one is no instant."""
        return cls(found.get(LEASE, ""), _moment(found, UNTIL), _moment(found, WARNED))


def _moment(found: Mapping[str, str], name: str) -> datetime | None:
    if name not in found:
        return None
    try:
        moment = datetime.fromisoformat(found[name])
    except ValueError:
        raise ValueError(f"tag '{name}' is '{found[name]}', which is no instant") from None
    if moment.tzinfo is None:
        raise ValueError(f"tag '{name}' is '{found[name]}', which has no time zone")
    return moment

"""What a deployment says about its requests and its probes, with Azure's defaults and limits.

Defaults and limits: the managed online deployment's REST contract and its limits page (request time at most 180 s).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from localcloud.arm import ArmError, refuse_unknown

LONGEST_REQUEST = 180.0

_DURATION = re.compile(
    r"P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)


@lru_cache(maxsize=512)
def seconds_of(text: str) -> float:
    """`PT1M30S` as 90.0; ValueError for what is no ISO 8601 duration."""
    found = _DURATION.fullmatch(text)
    if not found or text in ("P", "PT"):
        raise ValueError(text)
    part = {name: float(value or 0) for name, value in found.groupdict().items()}
    return part["days"] * 86400 + part["hours"] * 3600 + part["minutes"] * 60 + part["seconds"]


@dataclass(frozen=True)
class RequestSettings:
    """`timeout` in seconds. `maxQueueWait` is taken and echoed but has no effect: Azure has deprecated it."""

    timeout: float = 5.0
    concurrent_per_instance: int = 1

    @classmethod
    def read(cls, properties: Mapping[str, Any]) -> RequestSettings:
        """From a deployment's `properties`; ArmError 400 names a wrong value."""
        given = properties.get("requestSettings") or {}
        where = "properties.requestSettings"
        refuse_unknown(given, ("maxConcurrentRequestsPerInstance", "maxQueueWait", "requestTimeout"), where)
        timeout = _duration(given, "requestTimeout", where, cls.timeout)
        _duration(given, "maxQueueWait", where, 0.5)
        if not 0 < timeout <= LONGEST_REQUEST:
            raise _bad(
                f"'{where}.requestTimeout' is '{given['requestTimeout']}'; it must be above 0 and at most 180 seconds."
            )
        concurrent = _count(given, "maxConcurrentRequestsPerInstance", where, cls.concurrent_per_instance)
        return cls(timeout, concurrent)


@dataclass(frozen=True)
class Probe:
    """When a container counts as ready or alive. All times in seconds."""

    initial_delay: float = 10.0
    period: float = 10.0
    timeout: float = 2.0
    failures: int = 30

    @classmethod
    def read(cls, properties: Mapping[str, Any], name: str) -> Probe:
        """`name` is `livenessProbe` or `readinessProbe`."""
        given = properties.get(name) or {}
        where = f"properties.{name}"
        known = ("failureThreshold", "successThreshold", "timeout", "period", "initialDelay")
        refuse_unknown(given, known, where)
        _count(given, "successThreshold", where, 1)
        return cls(
            _duration(given, "initialDelay", where, cls.initial_delay),
            _duration(given, "period", where, cls.period) or cls.period,
            _duration(given, "timeout", where, cls.timeout) or cls.timeout,
            _count(given, "failureThreshold", where, cls.failures),
        )

    @property
    def patience(self) -> float:
        """After so many seconds without an answer Azure gives a starting container up.

        The delay itself is not waited out: a process that answers sooner is ready sooner.
        """
        return self.initial_delay + self.period * self.failures


def _bad(message: str) -> ArmError:
    return ArmError(400, "BadRequest", message)


def _duration(given: Mapping[str, Any], name: str, where: str, default: float) -> float:
    value = given.get(name)
    if value is None:
        return default
    try:
        return seconds_of(str(value))
    except ValueError:
        raise _bad(f"'{where}.{name}' is '{value}', which is no ISO 8601 duration such as 'PT1M30S'.") from None


def _count(given: Mapping[str, Any], name: str, where: str, default: int) -> int:
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _bad(f"'{where}.{name}' is '{value}'; it must be a whole number of 1 or more.")
    return value

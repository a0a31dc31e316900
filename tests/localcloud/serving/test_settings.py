"""Durations, probes and request settings: Azure's defaults and limits."""

from __future__ import annotations

import pytest

from localcloud.arm import ArmError
from localcloud.serving.settings import Probe, RequestSettings, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"), [("PT1M30S", 90), ("PT0.5S", 0.5), ("P1DT2H", 93600), ("PT10M", 600), ("PT0S", 0)]
)
def test_iso_durations_are_seconds(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "90", "PT5", "5S", "PT-1S", "P1W "])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        seconds_of(text)


def test_what_is_left_out_has_azures_defaults() -> None:
    assert RequestSettings.read({}) == RequestSettings(timeout=5.0, concurrent_per_instance=1)
    assert Probe.read({"livenessProbe": None}, "livenessProbe") == Probe(10.0, 10.0, 2.0, 30)
    assert Probe.read({}, "livenessProbe").patience == 310


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"requestTimeout": "PT181S"}, "'PT181S'; it must be above 0 and at most 180 seconds"),
        ({"requestTimeout": "PT0S"}, "above 0"),
        ({"maxConcurrentRequestsPerInstance": 0}, "is '0'; it must be a whole number"),
        ({"maxConcurrentRequestsPerInstance": "4"}, "is '4'"),
        ({"maxConcurrentRequestsPerInstance": True}, "is 'True'"),
        ({"maxQueueWait": "soon"}, "'soon'"),
        ({"timeout": "PT1S"}, "Could not find member 'timeout'"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ArmError, match=words):
        RequestSettings.read({"requestSettings": settings})

"""Every rule on plain data: it agrees with a compliant stack, complains of each violation, and of nothing unknown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.access import Role
from infra.policy import cost
from infra.policy.access import KNOWN
from infra.policy.pack import RULES
from infra.policy.rule import UNKNOWN, AnyRule, Resource, Rule, StackRule
from tests.infra.policy.compliant import GIVEN, VIOLATIONS, Changed, complaints, named, stack, with_value

EVERY = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


@EVERY
def test_a_compliant_stack_pleases_every_rule(rule: AnyRule) -> None:
    assert complaints(rule, stack()) == []


@EVERY
def test_every_rule_has_a_resource_that_it_passes_and_one_that_it_fails(rule: AnyRule) -> None:
    assert any(resource.type in rule.types for resource in stack())
    assert any(name == rule.name for name, _ in VIOLATIONS)


@pytest.mark.parametrize(("name", "change"), VIOLATIONS, ids=[name for name, _ in VIOLATIONS])
def test_a_violation_is_told(name: str, change: Changed) -> None:
    found = complaints(named(name), change(stack()))
    assert found
    assert all(problem and not problem.endswith(".") for problem in found)


@EVERY
def test_every_rule_names_its_source_and_the_fix(rule: AnyRule) -> None:
    assert rule.sources
    for source in rule.sources:
        assert source.url.startswith("https://")
        assert source.title
    assert rule.fix
    assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", rule.name)
    assert not rule.asks.endswith(".")


def test_no_two_rules_share_a_name() -> None:
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)


@EVERY
def test_what_a_preview_does_not_know_is_no_violation(rule: AnyRule) -> None:
    unknown = [
        Resource(one.type, one.name, _unknown(one.properties), one.urn, one.protect, one.uses) for one in stack()
    ]
    # Names of groups and zones are literals in any program: unknown ones say nothing about what is missing.
    if not isinstance(rule, StackRule):
        assert complaints(rule, unknown) == []


def _unknown(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {path: {} if path == "properties" else UNKNOWN for path in properties} | (
        {"properties": dict.fromkeys(properties["properties"], UNKNOWN)}
        if isinstance(properties.get("properties"), dict)
        else {}
    )


@given(
    st.sampled_from([rule for rule in RULES if isinstance(rule, Rule)]),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.just(UNKNOWN),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(
                    ["properties", "logs", "tags", "sku", "name", "permissions", "actions", "notifications"]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    ),
)
def test_no_rule_breaks_on_strange_properties(rule: Rule, value: Any) -> None:
    """A rule that raises would stop `up` with a traceback in place of an answer."""
    properties = value if isinstance(value, dict) else {"properties": value, "tags": value, "permissions": value}
    for type in rule.types:
        rule.problems(Resource(type, "strange", properties))


@given(st.integers(min_value=0, max_value=7 * 86_400))
def test_idle_time_is_judged_by_its_seconds(seconds: int) -> None:
    path = "properties.properties.scaleSettings.nodeIdleTimeBeforeScaleDown"
    changed = with_value("cluster", path, f"PT{seconds}S")(stack())
    assert bool(complaints(named("compute-idle-time-short"), changed)) == (seconds > 900)
    hours, rest = divmod(seconds, 3_600)
    minutes, left = divmod(rest, 60)
    changed = with_value("cluster", path, f"PT{hours}H{minutes}M{left}S")(stack())
    assert bool(complaints(named("compute-idle-time-short"), changed)) == (seconds > 900)


@given(st.integers(min_value=7, max_value=90))
def test_retention_is_judged_by_its_days(days: int) -> None:
    changed = with_value("vault", "properties.softDeleteRetentionInDays", float(days))(stack())
    assert bool(complaints(named("vault-soft-delete-retention"), changed)) == (days < 90)


@pytest.mark.parametrize(
    ("days", "told"), [(-1, "was retired on"), (0, "was retired on"), (90, "retires on"), (91, "")]
)
def test_a_size_is_told_90_days_before_it_ends(monkeypatch: pytest.MonkeyPatch, days: int, told: str) -> None:
    class Noon(date):
        """A day that does not end while the test runs."""

        @classmethod
        def today(cls) -> Noon:
            return cls(2026, 11, 21)

    monkeypatch.setattr(cost, "date", Noon)
    monkeypatch.setattr(cost, "retired_sizes", lambda: {GIVEN.casefold(): Noon.today() + timedelta(days=days)})
    found = complaints(named("compute-size-not-retired"), stack())
    assert [told in problem for problem in found] == ([True] if told else [])


@given(st.uuids(), st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True))
def test_a_group_is_narrow_and_a_subscription_is_not(subscription: UUID, name: str) -> None:
    whole = f"/subscriptions/{subscription}"
    for scope, told in ((whole, True), (f"{whole}/", True), (f"{whole}/resourceGroups/{name}", False)):
        changed = with_value("administrator", "scope", scope)(stack())
        assert bool(complaints(named("role-narrow-scope"), changed)) == told


def test_options_change_what_is_asked() -> None:
    (storage,) = [one for one in stack() if one.name == "storage"]
    rule = named("region-allowed")
    assert isinstance(rule, Rule)
    assert rule.problems(storage) == []
    assert rule.problems(storage, regions=["westeurope"]) == ["'eastus' is no allowed region"]


def test_every_role_that_infra_assigns_is_on_the_list() -> None:
    assert {role.value for role in Role} <= set(KNOWN)


def test_a_violation_names_the_value_and_what_it_must_be() -> None:
    found = complaints(
        named("storage-shared-key-disabled"), with_value("storage", "allowSharedKeyAccess", None)(stack())
    )
    assert found == ["'allowSharedKeyAccess' is not set, and Azure takes that as true; it must be false"]

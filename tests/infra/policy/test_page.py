"""docs/policy.md says what the pack says, and what it says of `infra` is there."""

from __future__ import annotations

import re

import pytest

from infra.policy.pack import RULES
from infra.policy.page import PAGE, ROOT, current, line_of
from infra.policy.rule import AnyRule

# Azure's own default is what is asked, or infra makes nothing of the kind.
WITHOUT_A_PLACE = {"compute-instance-stops-when-idle", "vault-no-access-policies"}


def test_the_tables_are_current() -> None:
    page = PAGE.read_text()
    assert current(page) == page, "write it anew: python -m infra.policy.page"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_where_infra_does_what_a_rule_asks_is_really_there(rule: AnyRule) -> None:
    if rule.name in WITHOUT_A_PLACE:
        assert rule.sets == ("", "")
    else:
        assert line_of(rule), f"'{rule.sets[1]}' is not in {rule.sets[0]}"


def test_the_pages_example_is_what_the_engine_prints() -> None:
    """The pack's part of it; the engine's own words are tested where the engine runs."""
    page = PAGE.read_text()
    (rule,) = [rule for rule in RULES if rule.name == "storage-redundant"]
    for words in (rule.asks, f"Set {rule.fix}", f"Asked by {rule.sources[0].title}"):
        assert words in page
    version = re.search(r"^version: (\S+)$", (ROOT / "infra/policy/PulumiPolicy.yaml").read_text(), re.MULTILINE)
    assert version
    assert f"tunestack@v{version[1]}" in page

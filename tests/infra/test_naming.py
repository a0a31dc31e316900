"""Names that Azure takes, for every stack name that Pulumi takes."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import naming

DIGITS = "0a1b2c3d"
# Azure's rules for the whole name: learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
RULES = {
    naming.RESOURCE_GROUP: r"[\w.()-]{1,89}[\w()-]",
    naming.LOG_ANALYTICS: r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]",
    naming.APPLICATION_INSIGHTS: r"[^%&\\?/]{1,254}[^%&\\?/. ]",
    naming.STORAGE_ACCOUNT: r"[a-z0-9]{3,24}",
    naming.KEY_VAULT: r"(?!.*--)[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]",
    naming.CONTAINER_REGISTRY: r"[A-Za-z0-9]{5,50}",
    naming.WORKSPACE: r"[A-Za-z0-9][A-Za-z0-9_-]{2,32}",
    naming.IDENTITY: r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}",
    naming.VIRTUAL_NETWORK: r"[A-Za-z0-9][\w.-]{0,62}\w",
    naming.PRIVATE_ENDPOINT: r"[A-Za-z0-9][\w.-]{0,62}\w",
    naming.ACTION_GROUP: r"[^:<>+/&%\\?|]{1,259}[^:<>+/&%\\?|. ]",
    naming.ALERT: r"[^*#&+:<>?@%{}\\/]{1,259}[^*#&+:<>?@%{}\\/. ]",
    naming.BUDGET: r"[A-Za-z0-9_-]{1,63}",
    naming.ML_REGISTRY: r"[A-Za-z0-9][A-Za-z0-9_-]{2,32}",
    naming.ENDPOINT: r"(?!.*--)[A-Za-z][A-Za-z0-9-]{1,30}[A-Za-z0-9]",
}


# What Pulumi takes as the name of a stack.
STACKS = st.text(string.ascii_letters + string.digits + "_.-", min_size=1, max_size=100)


@pytest.mark.parametrize("kind", RULES, ids=lambda kind: kind.abbreviation or "endpoint")
@given(stack=STACKS)
def test_a_name_with_its_random_digits_is_one_that_azure_takes(kind: naming.Kind, stack: str) -> None:
    assert re.fullmatch(RULES[kind], naming.name(kind, stack) + DIGITS)


@given(stack=STACKS)
def test_two_identities_of_a_stack_never_share_a_name(stack: str) -> None:
    assert naming.name(naming.IDENTITY, stack, "workspace") != naming.name(naming.IDENTITY, stack, "endpoint")


def test_every_kind_of_name_is_held_to_azures_rule() -> None:
    assert {kind for kind in vars(naming).values() if isinstance(kind, naming.Kind)} == set(RULES)


@given(stack=STACKS, endpoint=st.from_regex(r"[a-z](-?[a-z0-9])*", fullmatch=True).filter(lambda one: len(one) <= 14))
def test_an_endpoint_keeps_its_own_name_whole_whatever_the_stack_is_called(stack: str, endpoint: str) -> None:
    name = naming.name(naming.ENDPOINT, stack, endpoint)
    assert name.startswith(f"tunestack-{endpoint}")
    assert re.fullmatch(RULES[naming.ENDPOINT], name + DIGITS)


def test_names_tell_kind_project_and_stack() -> None:
    assert naming.name(naming.WORKSPACE, "dev") == "mlw-tunestack-dev"
    assert naming.name(naming.STORAGE_ACCOUNT, "dev") == "sttunestackdev"
    assert naming.name(naming.ENDPOINT, "Pr_42") == "tunestack-pr-42"


def test_an_owner_is_a_tag_where_there_is_one() -> None:
    assert naming.tags("dev", "team")["owner"] == "team"
    assert "owner" not in naming.tags("dev", "")

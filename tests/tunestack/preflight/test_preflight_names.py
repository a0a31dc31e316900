"""Names that are still to be made are checked as the stack will make them."""

from __future__ import annotations

import pytest

from infra import naming
from tunestack.preflight import names_checks


@pytest.mark.parametrize("stack", ["dev", "Dev_1", "team.prod", "a-stack-with-a-long-name", "x" * 40])
@pytest.mark.parametrize("name", ["chat", "summaries"])
def test_an_endpoint_is_checked_by_the_name_that_the_stack_gives_it(name: str, stack: str) -> None:
    made = names_checks.endpoint(name, stack)
    assert made == naming.name(naming.ENDPOINT, stack, name)
    assert names_checks.RANDOM_DIGITS == naming.RANDOM_DIGITS
    assert not names_checks.objection("endpoint", made + "0" * naming.RANDOM_DIGITS, names_checks.SERVED)

"""Plans from request bodies: values, bindings, durations, and what is wrong with them, without running anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.arm import ArmError
from localcloud.runner import logs
from localcloud.runner.plans import seconds_of
from localcloud.runner.sources import FromNode, FromParent, Template, parse_source, resolve
from localcloud.runner.values import Asset, InputSpec, Literal, check_values


@pytest.mark.parametrize(
    ("body", "source"),
    [
        (3, Literal("3")),
        (True, Literal("true")),
        ({"job_input_type": "literal", "value": "2"}, Literal("2")),
        ({"jobInputType": "uri_file", "uri": "azureml://x"}, Asset("uri_file", "azureml://x")),
        ("${{parent.inputs.a}}", FromParent("a")),
        ({"job_input_type": "literal", "value": "${{parent.jobs.n.outputs.o}}"}, FromNode("n", "o")),
        ({"type": "uri_folder", "path": "${{parent.inputs.a}}"}, FromParent("a")),
        ("${{parent.inputs.a}}-x", Template("${{parent.inputs.a}}-x")),
        (None, None),
        ({"type": "string", "value": None}, None),
    ],
)
def test_an_input_is_read_in_every_form_in_which_it_travels(body: object, source: object) -> None:
    assert parse_source(body) == source


def test_an_optional_input_of_the_parent_without_a_value_is_absent() -> None:
    assert resolve(FromParent("a"), {}, {}) is None
    assert resolve(Template("${{parent.inputs.a}}-x"), {"a": Literal("1")}, {}) == Literal("1-x")


def test_defaults_fill_what_is_not_given() -> None:
    specs = {"a": InputSpec("integer", default="3"), "b": InputSpec("string", optional=True)}
    assert check_values("Node 'n'", specs, {}) == ({"a": Literal("3")}, [])


@given(st.integers())
def test_a_whole_number_is_an_integer_and_a_number(value: int) -> None:
    for kind in ("integer", "number"):
        assert check_values("", {"a": InputSpec(kind)}, {"a": Literal(str(value))})[1] == []


@given(st.integers(-50, 50), st.integers(-50, 50))
def test_a_minimum_is_obeyed_exactly(minimum: int, value: int) -> None:
    problems = check_values("", {"a": InputSpec("integer", minimum=minimum)}, {"a": Literal(str(value))})[1]
    assert bool(problems) == (value < minimum)


@pytest.mark.parametrize(("text", "seconds"), [("PT90S", 90), ("PT1H30M", 5400), ("P1D", 86400), ("PT0.5S", 0.5)])
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["soon", "P", "PT", "1H"])
def test_what_is_no_duration_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ArmError, match=f"'{text}'"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("log", "code", "message"),
    [
        ("a\nUserError: no rows\n", 1, "no rows"),
        ("UserError: first\nUserError: last\nTrace\n", 1, "last"),
        ("a\nb\n", 7, "status code 7"),
        ("", -9, "signal 9"),
    ],
)
def test_the_error_of_a_process_is_what_it_said_last(tmp_path: Path, log: str, code: int, message: str) -> None:
    (tmp_path / "log").write_text(log)
    assert message in logs.error_of(tmp_path / "log", code)["message"]

"""The command line of a step: what is put in, what vanishes, what is refused."""

from __future__ import annotations

import pytest

from localcloud.runner.command import CommandError, check_command, render


def test_inputs_and_outputs_are_put_in_as_they_are() -> None:
    line = "train ${{inputs.data}} --rate ${{ inputs.rate }} -o ${{outputs.model.path}}"
    assert render(line, {"data": "/d a", "rate": "1e-3"}, {"model": "/m"}) == "train /d a --rate 1e-3 -o /m"


@pytest.mark.parametrize(
    ("inputs", "line"),
    [({"a": "1", "b": "2"}, "x --a 1 --b 2"), ({"a": "1"}, "x --a 1 "), ({}, "x  ")],
)
def test_an_optional_fragment_is_there_when_all_its_inputs_are(inputs: dict[str, str], line: str) -> None:
    assert render("x $[[--a ${{inputs.a}}]] $[[--b ${{inputs.b}}]]", inputs, {}) == line


def test_an_input_without_a_value_outside_of_a_fragment_is_an_error() -> None:
    with pytest.raises(CommandError, match="input 'a'"):
        render("x ${{inputs.a}}", {}, {})


def test_every_name_that_the_job_does_not_have_is_reported() -> None:
    problems = check_command("x ${{inputs.a}} $[[${{outputs.b}}]] ${{c}}", {"d"}, set())
    assert len(problems) == 3
    assert "no input 'a'" in problems[0]
    assert "no output 'b'" in problems[1]
    assert "'${{c}}'" in problems[2]


def test_values_that_look_like_places_are_not_put_in_again() -> None:
    assert render("x ${{inputs.a}}", {"a": "${{inputs.b}}", "b": "no"}, {}) == "x ${{inputs.b}}"

"""Answers in every shape that Azure ML's two servers give, and requests that both take."""

from __future__ import annotations

import pytest

from tunestack.deployments import scoring
from tunestack.errors import CloudError, UsageError

USER, ASSISTANT = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}


@pytest.mark.parametrize(
    "body",
    [
        {"output": "text"},
        [{"0": "text"}],
        ["text"],
        "text",
        {"choices": [{"message": {"role": "assistant", "content": "text"}}]},
        {"output": ["text"]},
    ],
)
def test_every_known_shape_gives_its_text(body):
    assert scoring.answer_text(body) == "text"


@pytest.mark.parametrize(
    ("body", "said"), [({}, "could not make sense"), ({"x": 1}, "no known shape"), ([], "no known")]
)
def test_what_has_no_text_is_an_error(body, said):
    with pytest.raises(CloudError, match=said):
        scoring.answer_text(body)


def test_a_question_ends_with_the_user():
    assert scoring.question({"prompt_id": "x", "messages": [USER, ASSISTANT]}) == [USER]
    assert scoring.question({"prompt_id": "x", "messages": [USER, ASSISTANT, USER]}) == [USER, ASSISTANT, USER]


def test_a_row_without_a_user_has_no_question():
    with pytest.raises(UsageError, match="no user turn"):
        scoring.question({"prompt_id": "x", "messages": [ASSISTANT]})


@pytest.mark.parametrize(("text", "said"), [("{", "is not JSON"), ("[]", "neither 'input_data' nor 'messages'")])
def test_a_wrong_request_file_is_named(tmp_path, text, said):
    file = tmp_path / "request.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        scoring.read_request(file)
    assert str(file) in str(caught.value)

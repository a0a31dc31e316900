"""A job as somebody names it: what is taken for a name, and what is refused before it is sent anywhere."""

from __future__ import annotations

import pytest

from tunestack.errors import UsageError
from tunestack.jobs import job_name

OURS = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"


@pytest.mark.parametrize(
    "text",
    [
        "chat-5f2c",
        " chat-5f2c\n",
        f"{OURS}/jobs/chat-5f2c",
        f"azureml:{OURS.upper()}/jobs/chat-5f2c",
        "azureml:chat-5f2c",
        "azureml://jobs/chat-5f2c/outputs/trained_model",
        f"https://ml.azure.com/runs/chat-5f2c?wsid={OURS}&tid=t",
        f"ml.azure.com/experiments/id/e/runs/chat-5f2c?wsid={OURS}",
    ],
)
def test_a_name_an_id_and_an_address_are_one_job(text: str) -> None:
    assert job_name.parse(text, OURS) == "chat-5f2c"


@pytest.mark.parametrize(
    "text", ["a b", "a/cancel", "..", "../../computes/gpu", "a?b", "a#b", "ä", "https://ml.azure.com/x"]
)
def test_what_is_no_name_is_refused_before_anything_is_asked(text: str) -> None:
    with pytest.raises(UsageError, match="is no job") as caught:
        job_name.parse(text, OURS)
    assert f"'{text}'" in caught.value.problems[0]

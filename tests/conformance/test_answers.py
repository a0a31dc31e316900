"""What the cloud answers is what the public contract says, and what the client cannot do without is there."""

from __future__ import annotations

from typing import Any

import pytest
from azure.ai.ml._restclient.arm_ml_service import models as arm

from localcloud.app import coverage
from tests.conformance.answers import ANSWERS, PAGE, STATED, Answer, page, unlisted
from tests.conformance.conftest import ON_AZURE, Said
from tests.conformance.contract import absent, deviations

KINDS = pytest.mark.parametrize(
    "answer", [item for item in ANSWERS if not (ON_AZURE and item.local)], ids=lambda item: item.kind
)


def _is_child(item: Said) -> bool:
    return Answer("child of a pipeline", "GET WS/jobs/*", arm.JobBase).fits(item.method, item.path) and not (
        item.document.get("properties")
    )


def _documents(said: list[Said], answer: Answer) -> list[Any]:
    """All that was answered of one kind; the items of the pages of a list."""
    found = [
        item.document
        for item in said
        if item.status < 400 and answer.fits(item.method, item.path, item.document) and not _is_child(item)
    ]
    found = [item for document in found for item in document["value"]] if answer.listed else found
    if not found and ON_AZURE:
        pytest.skip(f"the workspace on Azure has no {answer.kind}")
    assert found, f"the client got no {answer.kind}"
    return found


def _told(answer: Answer, document: Any) -> list[str]:
    return [] if isinstance(answer.model, str) else list(deviations(answer.model, document))


@KINDS
def test_an_answer_is_what_the_contract_says(answer: Answer, said: list[Said]) -> None:
    stated = tuple(f"{at}:" for kind, at, _ in STATED if kind == answer.kind)
    found = {line for document in _documents(said, answer) for line in _told(answer, document)}
    assert [line for line in sorted(found) if not (stated and line.startswith(stated))] == []


@KINDS
def test_an_answer_has_what_the_client_needs(answer: Answer, said: list[Said]) -> None:
    found = {line for item in _documents(said, answer) for need in answer.needs for line in absent(item, need)}
    assert sorted(found) == []


def test_every_answer_is_of_one_kind(said: list[Said]) -> None:
    whole = [item for item in said if item.status < 400 and not _is_child(item)]
    kinds = {str(item): [a.kind for a in ANSWERS if a.fits(item.method, item.path, item.document)] for item in whole}
    assert {call: found for call, found in kinds.items() if len(found) != 1} == {}


def test_a_list_is_a_page(said: list[Said]) -> None:
    pages = [i for i in said if i.status < 400 and any(a.listed and a.fits(i.method, i.path) for a in ANSWERS)]
    assert pages
    for item in pages:
        assert set(item.document) <= {"value", "nextLink"}, item
        assert isinstance(item.document["value"], list), item
        assert item.document.get("nextLink") is None or item.document["nextLink"].startswith("https://"), item


def test_a_refusal_has_azures_form(said: list[Said]) -> None:
    refused = [item for item in said if item.status >= 400]
    assert len({item.path.split("/")[-2] for item in refused}) >= 5
    for item in refused:
        lines = [line for need in ("error.code", "error.message") for line in absent(item.document, need)]
        assert [*deviations(arm.ErrorResponse, item.document), *lines] == [], item


@pytest.mark.parametrize(("kind", "at"), [] if ON_AZURE else [stated[:2] for stated in STATED])
def test_a_stated_deviation_is_still_one(kind: str, at: str, said: list[Said]) -> None:
    if kind == "child of a pipeline":
        documents = [(Answer(kind, "", arm.JobBase), item.document) for item in said if _is_child(item)]
    else:
        answer = next(item for item in ANSWERS if item.kind == kind)
        documents = [(answer, document) for document in _documents(said, answer)]
    assert any(line.startswith(f"{at}:") for answer, document in documents for line in _told(answer, document))


def test_every_operation_is_checked_or_listed_as_unchecked() -> None:
    assert unlisted(coverage()) == [], "add it to ANSWERS or to UNCHECKED in tests/conformance/answers.py"


def test_the_page_is_written_from_the_tables() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.conformance.answers"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"colour": "red"}, ".colour: not in the contract (OnlineEndpoint)"),
        ({"location": None}, ".location: required (OnlineEndpoint) and absent"),
        ({"tags": {"a": 1}}, ".tags.a: str is wanted, not 1"),
        ({"properties": {"authMode": "Kee"}}, ".properties.authMode: 'Kee' is no known EndpointAuthMode"),
        (
            {"properties": {"authMode": "Key", "traffic": {"blue": True}}},
            ".properties.traffic.blue: int is wanted, not True",
        ),
        (
            {"properties": {"authMode": "Key", "keys": {"primaryKey": "x"}}},
            ".properties.keys: may be sent but is never answered (OnlineEndpointProperties)",
        ),
        ({"systemData": {"createdAt": "today"}}, ".systemData.createdAt: 'today' is no time in ISO 8601"),
    ],
)
def test_a_deviation_is_found(changes: dict[str, Any], line: str) -> None:
    right = {"location": "eastus", "properties": {"authMode": "Key"}}
    assert list(deviations(arm.OnlineEndpoint, right)) == []
    assert list(deviations(arm.OnlineEndpoint, right | changes)) == [line]


def test_an_unknown_kind_of_a_kind_is_found() -> None:
    document = {"properties": {"endpointComputeType": "Lunar"}, "location": "eastus"}
    assert list(deviations(arm.OnlineDeployment, document)) == [
        ".properties.endpointComputeType: unknown value 'Lunar'"
    ]

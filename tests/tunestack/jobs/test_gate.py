"""The gate's word as it is told: yes, or no with its reasons."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.scripts.fine_tunes import TAGS, FineTune
from tests.tunestack.stored import MemoryFolder
from tunestack import stored_files
from tunestack.errors import GateSaidNo, UsageError
from tunestack.jobs import gate
from tunestack.jobs.gate import Verdict, weaker

Read = Callable[..., Verdict]
PASSED = FineTune().metrics
NO = replace(FineTune(), gain=(0.05, -0.01, 0.1)).metrics


def verdict(metrics, *reasons: str) -> Verdict:
    return Verdict(metrics["verdict"] == "passed", reasons, ("demonstration",), metrics, "e", "j", MemoryFolder({}))


def test_inconclusive_is_a_no_with_reason_label_and_the_job_still_shown() -> None:
    with pytest.raises(GateSaidNo, match="the gate says inconclusive") as caught:
        verdict(NO, "The gain is too uncertain.").require(shown="j")
    assert "(demonstration)" in str(caught.value)
    assert "The gain is too uncertain" in str(caught.value)
    assert (caught.value.code, caught.value.shown) == (5, "j")
    verdict(PASSED).require()


def test_the_gain_is_shown_with_its_interval_and_unknown_is_unknown() -> None:
    assert verdict(PASSED).gain == "+0.2000 [+0.1000, +0.3000] nats per token, 120 clusters"
    assert verdict({**NO, "gain": {"estimate": 0.1, "lower": None, "upper": None}}).gain == "unknown"


def test_a_later_gate_that_asks_for_less_or_draws_anew_is_labelled_and_one_that_asks_for_more_is_not() -> None:
    asked = {"min_gain": "0.05", "max_regression": "0.05", "min_clusters": "100", "seed": "42"}
    inputs = {name: {"value": value, "job_input_type": "literal"} for name, value in asked.items()}
    body = {"properties": {"jobs": {"evaluate": {"inputs": inputs}}}}

    def labels(**used: Any) -> list[str]:
        return weaker(body, body, {**PASSED, "gate": {"seed": 42, **used}})

    said = "not the gate that the job was submitted with: "
    assert labels(min_gain=0.02) == [said + "min_gain 0.02 in place of 0.05"]
    assert labels(max_regression=0.1, seed=7) == [said + "max_regression 0.1 in place of 0.05, seed 7 in place of 42"]
    assert labels(min_gain=0.1, max_regression=0.01, min_clusters=200) == []
    assert weaker({"properties": {}}, {"properties": {}}, PASSED) == []


@pytest.mark.parametrize(("before", "after"), [({}, {"questions": "a"}), ({"questions": "a"}, {})])
def test_a_later_gate_with_another_regression_set_is_labelled(before: dict[str, str], after: dict[str, str]) -> None:
    body, source = ({"properties": {"tags": tags}} for tags in (before, after))
    assert weaker(body, source, PASSED) == ["not the gate that the job was submitted with: another regression set"]
    assert weaker(source, source, PASSED) == []


def test_archiving_a_later_evaluation_does_not_bring_the_verdict_before_it_back() -> None:
    def evaluation(name: str, created: str) -> dict[str, Any]:
        tags = {gate.EVALUATES: "j", "test_hash": "a"}
        times = {"createdAt": created}
        return {"name": name, "systemData": times, "properties": {"status": "Completed", "tags": tags}}

    old, archived = evaluation("j-1", "2026-11-20T00:00:00Z"), evaluation("j-2", "2026-11-21T00:00:00Z")

    def pages(*_: str, listViewType: str = "ActiveOnly", **__: str) -> list[dict[str, Any]]:
        return [old, archived] if listViewType == "All" else [old]

    connection: Any = SimpleNamespace(workspace=SimpleNamespace(path="/w"), arm=SimpleNamespace(pages=pages))
    assert gate.later(connection, "j", {"test_hash": "a"}) == archived


# -- whose word counts: a workspace of jobs that are mappings, each with the verdict that it left

HASH = TAGS["test_hash"]


def job(name: str, status: str = "Completed", created: str = "2026-11-20T10:00:00Z", **tags: str) -> dict[str, Any]:
    outputs = {"evaluation": {"uri": f"azureml://datastores/d/paths/{name}"}}
    properties = {"status": status, "tags": {**TAGS, **tags}, "outputs": outputs}
    return {"name": name, "systemData": {"createdAt": created}, "properties": properties}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Read:
    """Reads the verdict on job `j` in a workspace of these jobs; `no` names those that say no, `left` other files."""

    def told(*jobs: dict[str, Any], no: tuple[str, ...] = (), left: dict[str, dict[str, Any]] | None = None) -> Verdict:
        def output(connection: Any, body: dict[str, Any], name: str) -> MemoryFolder:
            metrics = (left or {}).get(body["name"], NO if body["name"] in no else PASSED)
            return MemoryFolder({"metrics.json": json.dumps(metrics)} if metrics else {})

        found = {f"/w/jobs/{one['name']}": one for one in jobs}
        later = [one for one in jobs if gate.EVALUATES in one["properties"]["tags"]]
        arm = SimpleNamespace(find=lambda path, version: found.get(path), pages=lambda *_, **__: later)
        monkeypatch.setattr(stored_files, "job_output", output)
        connection: Any = SimpleNamespace(workspace=SimpleNamespace(path="/w"), arm=arm)
        return gate.read(connection, "j")

    return told


@pytest.mark.parametrize(
    ("others", "speaks"),
    [
        ([], "j"),
        ([job("e", evaluates="j")], "e"),
        ([job("e", evaluates="other")], "j"),
        ([job("e", "Running", evaluates="j"), job("f", "Failed", evaluates="j")], "j"),
        # Azure leaves noughts at the end of a second's parts away: such times have no order as texts.
        (
            [
                job("old", created="2026-11-21T10:00:00Z", evaluates="j"),
                job("new", created="2026-11-21T10:00:00.25Z", evaluates="j"),
                job("older", created="2026-11-20T23:00:00Z", evaluates="j"),
            ],
            "new",
        ),
    ],
    ids=["its own", "a later one", "another job's", "not ended well", "the newest"],
)
def test_the_newest_evaluation_that_ended_well_has_the_word(read: Read, others: Any, speaks: str) -> None:
    names = {"j", *(one["name"] for one in others)}
    yes, no = (read(job("j"), *others, no=tuple(say)) for say in (names - {speaks}, {speaks}))
    assert (yes.passed, yes.job, yes.evaluated) == (True, speaks, "j")
    assert (no.passed, no.word, no.reasons) == (False, "inconclusive", ("The gain is too uncertain.",))


@pytest.mark.parametrize("status", ["Failed", "Canceled", "NotResponding"])
def test_what_a_gate_that_ended_badly_has_written_is_no_verdict_and_a_later_one_is(read: Read, status: str) -> None:
    with pytest.raises(UsageError, match="job 'j' has no evaluation of its model") as caught:
        read(job("j", status))
    assert "--evaluate j" in str(caught.value.fix)
    assert read(job("j", status), job("e", evaluates="j")).job == "e"


@pytest.mark.parametrize("tag", ["base_model", "data_hash", "test_hash"])
def test_an_evaluation_of_another_model_or_of_other_rows_is_refused(read: Read, tag: str) -> None:
    with pytest.raises(UsageError, match=f"job 'e' evaluates 'j', and has {tag} 'x' in place of '{TAGS[tag]}'"):
        read(job("j"), job("e", evaluates="j", **{tag: "x"}))


def test_a_verdict_on_test_rows_that_nobody_names_or_on_others_is_none(read: Read) -> None:
    other = {**PASSED, "test": {"sha256": "8" * 64}}
    with pytest.raises(UsageError, match=f"hash '{'8' * 64}', and job 'j' has those with '{HASH}'"):
        read(job("j"), left={"j": other})
    with pytest.raises(UsageError, match="made on test rows with the hash 'None'"):
        read(job("j"), left={"j": {name: found for name, found in PASSED.items() if name != "test"}})
    with pytest.raises(UsageError, match="names no test rows in a tag 'test_hash'"):
        read(job("j", test_hash=""), left={"j": {**PASSED, "test": {"sha256": ""}}})
    with pytest.raises(UsageError, match=r"its output 'evaluation' has no file 'metrics\.json'"):
        read(job("j"), left={"j": {}})
    with pytest.raises(UsageError, match="job 'j' does not exist"):
        read()


def test_labels_of_the_evaluation_stay_and_those_of_another_gate_come_beside_them(read: Read) -> None:
    said = {**PASSED, "labels": ["demonstration: 49 clusters"]}
    assert read(job("j"), left={"j": said}).labels == ("demonstration: 49 clusters",)
    other = read(job("j"), job("e", evaluates="j", questions="of their own"), left={"e": said})
    assert other.labels == (
        "demonstration: 49 clusters",
        "not the gate that the job was submitted with: another regression set",
    )
    bare = {name: found for name, found in PASSED.items() if name not in ("labels", "reasons")}
    assert (read(job("j"), left={"j": bare}).labels, read(job("j"), left={"j": bare}).reasons) == ((), ())

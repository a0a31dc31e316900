"""Row checks: every fault has its reason, the first one counts, and a digest set is a set in 16 bytes a row."""

from __future__ import annotations

import hashlib
import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tests.tunestack.conversations import row, table
from tunestack.data import leaks, row_checks, row_lines, rows
from tunestack.data.digest_set import DigestSet
from tunestack.data.rejects import Rejects
from tunestack.data.row_filter import DUPLICATE, IN_TEST, RowFilter

GOOD = row("q", "a")


def reasons(*found, answered=True):
    return row_checks.check(table(found), answered=answered).reasons


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (row(), row_checks.NO_MESSAGES),
        (row("q", "a", roles=("user", "bot")), row_checks.UNKNOWN_ROLE),
        (row("q", "a", roles=("User", "assistant")), row_checks.UNKNOWN_ROLE),
        (row("q", "s", "a", roles=("user", "system", "assistant")), row_checks.SYSTEM_LATER),
        (row("s", "s", "q", "a", roles=("system", "system", "user", "assistant")), row_checks.SYSTEM_LATER),
        (row("q", ""), row_checks.EMPTY),
        (row("q", " \n\t "), row_checks.EMPTY),
        (row("q", "\u00a0\u3000"), row_checks.EMPTY),
        (row("", "a"), row_checks.EMPTY),
        (row("q"), row_checks.NO_ANSWER),
        (row("s", "q", roles=("system", "user")), row_checks.NO_ANSWER),
        (row("s", roles=("system",)), row_checks.NO_ANSWER),
        (row("a", "q", roles=("assistant", "user")), row_checks.NOT_USER_FIRST),
        (row("s", "a", roles=("system", "assistant")), row_checks.NOT_USER_FIRST),
        (row("q", "q", "a", roles=("user", "user", "assistant")), row_checks.NO_ALTERNATION),
        (row("q", "a", "a", roles=("user", "assistant", "assistant")), row_checks.NO_ALTERNATION),
        (row("q", "a", "q"), row_checks.NOT_ANSWERED),
    ],
)
def test_every_fault_has_its_reason_and_its_neighbours_none(wrong, reason) -> None:
    assert reasons(GOOD, wrong, GOOD) == [None, reason, None]
    assert reasons(wrong) == [reason]


@pytest.mark.parametrize(
    "good", [GOOD, row("s", "q", "a", roles=("system", "user", "assistant")), row(*"qaqaqa"), row(" q ", "a")]
)
def test_a_good_row_has_none(good) -> None:
    assert reasons(good) == [None]


def test_a_question_that_is_only_asked_needs_no_answer_but_a_question() -> None:
    asked = row("q"), row("q", "a", "q"), row("s", roles=("system",)), row("a", "q", roles=("assistant", "user"))
    assert reasons(*asked, answered=False) == [None, None, row_checks.NO_QUESTION, row_checks.NOT_USER_FIRST]


def test_a_slice_of_a_batch_is_checked_as_what_it_is() -> None:
    whole = table([row("q", ""), GOOD, row("q"), GOOD])
    assert row_checks.check(whole.slice(1, 2)).reasons == [None, row_checks.NO_ANSWER]
    assert row_checks.check(whole.slice(1, 0)).reasons == []


def slow_reason(found):
    """The same rules, one row at a time."""
    roles = [message["role"] for message in found["messages"]]
    spoken = [role for role in roles if role != "system"]
    checks = {
        row_checks.NO_MESSAGES: not roles,
        row_checks.UNKNOWN_ROLE: not set(roles) <= {"system", "user", "assistant"},
        row_checks.SYSTEM_LATER: "system" in roles[1:],
        row_checks.EMPTY: any(not message["content"].strip() for message in found["messages"]),
        row_checks.NO_ANSWER: "assistant" not in roles,
        row_checks.NOT_USER_FIRST: spoken[:1] == ["assistant"],
        row_checks.NO_ALTERNATION: any(role != ("user", "assistant")[i % 2] for i, role in enumerate(spoken)),
        row_checks.NOT_ANSWERED: roles[-1:] != ["assistant"],
    }
    return next((reason for reason, is_wrong in checks.items() if is_wrong), None)


MESSAGES = some.lists(
    some.fixed_dictionaries(
        {"content": some.sampled_from(["", " ", "x"]), "role": some.sampled_from(["system", "user", "assistant", "?"])}
    ),
    max_size=5,
)


@given(some.lists(MESSAGES, min_size=1, max_size=8))
@settings(max_examples=60)
def test_whole_batches_are_judged_as_single_rows(found) -> None:
    batch = [{"prompt": "", "prompt_id": "", "messages": messages} for messages in found]
    assert reasons(*batch) == [slow_reason(item) for item in batch]


@given(some.lists(some.tuples(some.text(), some.text(), some.text()), min_size=1, max_size=5))
def test_a_line_is_the_row_and_equal_conversations_have_equal_ends(texts) -> None:
    found = [row(question, answer, prompt=prompt) for prompt, question, answer in texts]
    lines = row_lines.of_table(table(found))
    assert [bytes(lines[index]) for index in range(len(lines))] == [orjson.dumps(item) + b"\n" for item in found]
    for index, item in enumerate(found):
        assert json.loads(b"{" + bytes(lines.conversation(index))[1:])["messages"] == item["messages"]


@given(some.lists(some.lists(some.binary(max_size=3).map(lambda text: text.replace(b"\n", b" ") + b"\n"))), some.data())
def test_rows_side_by_side_are_one_view_and_the_bytes_are_those_of_the_rows(pieces, data) -> None:
    lines = row_lines.Lines([b"".join(piece) for piece in pieces])
    every = [line for piece in pieces for line in piece]
    assert len(lines) == len(every)
    chosen = sorted(data.draw(some.sets(some.integers(0, len(every) - 1)))) if every else []
    runs = lines.runs(chosen)
    assert b"".join(runs) == b"".join(every[index] for index in chosen)
    assert len(lines.runs(range(len(every)))) == sum(1 for piece in pieces if piece)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to ann.lee+x@mail.example.org today", leaks.EMAIL),
        ("AKIAABCDEFGHIJKLMNOP", "AWS access key"),
        ("AccountKey=" + "A" * 86 + "==", "Azure storage key"),
        ("ghp_" + "a1" * 18, "GitHub token"),
        ("github_pat_" + "a1" * 11 + "_" + "b2c" * 19 + "de", "GitHub token"),
        ("AIza" + "b" * 35, "Google API key"),
        ("hf_" + "c" * 34, "Hugging Face token"),
        ("eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.SflKxwRJSMeKKF2", "JSON web token"),
        ("sk-" + "d" * 40, "OpenAI key"),
        ("-----BEGIN RSA PRIVATE KEY-----", "private key"),
        ("-----BEGIN PRIVATE KEY-----", "private key"),
        ("xoxb-1234567890-abc", "Slack token"),
    ],
)
def test_a_secret_is_reported_with_its_row_and_its_kind_and_the_row_stays(text, kind) -> None:
    found = row_checks.check(table([GOOD, row("q", f"see: {text}."), row(f"({text})", "a")]))
    assert found.leaks == {1: [kind], 2: [kind]}
    assert not any(found.reasons)


@pytest.mark.parametrize(
    "text", ["5 @ 3 pm", "@mention", "a@b", "sk-short", "AKIA", "eyJ", "user@localhost", "risk-" * 9]
)
def test_what_looks_a_little_like_a_secret_is_none(text) -> None:
    assert row_checks.check(table([row("q", text)])).leaks == {}


def digests(numbers):
    return [hashlib.sha256(str(number).encode()).digest()[:16] for number in numbers]


@given(some.lists(some.lists(some.integers(0, 60), max_size=40), max_size=8))
def test_a_digest_set_says_of_each_whether_it_was_there_before(batches) -> None:
    found, seen = DigestSet(), set()
    for batch in batches:
        expected = []
        for number in batch:
            expected.append(number not in seen)
            seen.add(number)
        assert found.add(digests(batch)) == expected
    assert len(found) == len(seen)
    assert found.contains(digests(range(61))) == [number in seen for number in range(61)]


def test_a_digest_set_of_many_takes_16_bytes_each() -> None:
    found, many = DigestSet(), digests(range(100_000))
    many = [many[0][:8] + digest[8:] for digest in many[:500]] + many[500:]  # some share a half
    for start in range(0, len(many), 2000):
        assert all(found.add(many[start : start + 2000]))
    assert 16 * 50_000 < found.nbytes <= 16 * len(found)  # the rest waits
    assert len(found) == len(many)
    assert all(found.contains(many))
    assert not any(found.contains([digest[:15] + bytes([digest[15] ^ 1]) for digest in many]))
    held = sum(half.nbytes for shelf in found._shelves for half in shelf)
    assert held == found.nbytes


def decided(chosen, role, *found):
    batch = table(found)
    lines = row_lines.of_table(batch)
    conversations = [lines.conversation(index) for index in range(len(lines))]
    made = chosen.decide(role, row_checks.check(batch).questions, conversations)
    kept = [index for index, reason in enumerate(made.reasons) if reason is None]
    chosen.remember(made, [index for index in kept if made.splits[index] == "test"])
    return made.splits, made.reasons


def test_a_row_that_stands_twice_is_left_out_the_second_time() -> None:
    chosen = RowFilter(10)
    again = {**GOOD, "prompt_id": "other"}
    assert decided(chosen, "train", GOOD, row("q", "b"), again)[1] == [None, None, DUPLICATE]
    assert decided(chosen, "train", GOOD)[1] == [DUPLICATE]


def test_a_question_of_the_test_split_is_not_trained_on_however_it_is_written() -> None:
    chosen = RowFilter(10)
    decided(chosen, "test", row("What is AI?", "x"))
    found = row("what  is ai", "y"), row("What was AI?", "y"), row("WHAT IS AI!", "z")
    assert decided(chosen, "train", *found)[1] == [IN_TEST, None, IN_TEST]
    assert decided(chosen, "sample", row("What is AI?"))[1] == [IN_TEST]


def percent(key: str) -> float:
    return int(key[:13], 16) / 16**13 * 100


def test_a_pool_is_cut_by_the_hash_of_the_question() -> None:
    found = [row(f"q{number}", "a") for number in range(300)]
    splits, _ = decided(RowFilter(10), "all", *found)
    for item, split in zip(found, splits, strict=True):
        key = rows.question_digest(item["messages"][0]["content"]).hex()
        pool = "train" if percent(key) < 80 else "test" if percent(key) < 90 else "sample"
        held_out = pool == "train" and percent(key[16:]) < 10
        assert split == ("validation" if held_out else pool)
    assert {"train", "validation", "test", "sample"} == set(splits)


@given(some.text())
def test_the_short_way_to_a_questions_key_is_the_long_one(text) -> None:
    import re
    import unicodedata

    plain = unicodedata.normalize("NFKC", text).casefold()
    expected = hashlib.sha256((" ".join(re.findall(r"\w+", plain)) or plain).encode("utf-8", "surrogatepass"))
    assert rows.question_digest(text) == expected.digest()


def test_reasons_that_differ_behind_their_colon_are_one_and_the_file_has_each(tmp_path) -> None:
    found = Rejects(tmp_path / "rejected.jsonl")
    for number in range(40):
        found.add("train", f"row {number}", f"has 'answer' that is not text: {number}", {"answer": number})
    found.add("test", "row 41", "stands twice", orjson.dumps(GOOD) + b"\n")
    found.close()
    assert found.counts == {"has 'answer' that is not text": 40, "stands twice": 1}
    assert [len(one["examples"]) for one in found.record] == [3, 1]
    assert found.record[1]["examples"][0]["text"] == GOOD["prompt"]
    kept = [orjson.loads(line) for line in (tmp_path / "rejected.jsonl").read_bytes().splitlines()]
    assert kept[39]["reason"] == "has 'answer' that is not text: 39"
    assert kept[40]["row"] == GOOD

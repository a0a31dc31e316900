"""The model card: measured figures with their intervals, the rest said to be unknown, and why a gate was overruled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.scripts.fine_tunes import FILES, TAGS, FineTune
from tests.tunestack.stored import MemoryFolder
from tunestack.jobs.gate import Verdict
from tunestack.models import lineage, weights
from tunestack.models.model_card import Card, licence_name

METRICS = FineTune().metrics
VERDICT = Verdict(True, ("It gained.",), ("demonstration: 3 clusters",), METRICS, "e", "j", MemoryFolder({}))
MANIFEST = weights.hashed(MemoryFolder(FILES), lambda done, total: None)
CARD = Card("m:1", {**TAGS, "job": "j"}, {"rows": {"train": 800, "test": 100}}, VERDICT, MANIFEST, "MIT License\n")


def test_a_card_says_use_data_figures_limits_licence_and_call() -> None:
    text = CARD.text
    parts = ("Intended use", "Data", "Figures", "Limits", "Licence", "How to call it")
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(parts)
    assert "+0.2000 [+0.1000, +0.3000] nats per token, 120 clusters" in text
    assert "a gain above 0.02 and a regression below 0.05 nats per token, on 100 conversations at least" in text
    assert "| base | 2.0000 | 7.389 | 3 |" in text
    assert "rows: train 800, test 100" in text
    assert "licence of the base model: MIT" in text
    assert "demonstration: 3 clusters" in text
    assert TAGS["data_hash"] in text
    assert "scripts/deploy_model.py --model m:1" in text


def test_what_was_forced_says_why_and_what_was_not_measured_says_so() -> None:
    forced = replace(CARD, forced_why="for the board")
    assert "registered against the gate, because: for the board" in forced.text
    bare = replace(CARD, verdict=None, data={}, licence="", forced_why="no GPU")
    assert "None: the model was not evaluated" in bare.text
    assert "there is no data card" in bare.text
    assert "No licence text lies beside the weights" in bare.text


def test_figures_that_are_missing_are_unknown_and_break_nothing() -> None:
    poor = {**METRICS, "models": {"base": {}}, "gain": {}, "regression": {"upper": 0.1}, "gate": {}}
    text = replace(CARD, verdict=replace(VERDICT, metrics=poor)).text
    assert "| base | unknown | unknown |  |" in text
    assert "bounds: unknown" in text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("\n  Apache License\n Version 2.0", "Apache-2.0"),
        ("Permission is hereby granted, free of\ncharge, to any", "MIT"),
        ("All rights reserved", ""),
        ("", ""),
    ],
)
def test_a_well_known_licence_has_its_name(text, name) -> None:
    assert licence_name(text) == name


# -- tags


def test_tags_are_kept_whole_while_they_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert lineage.fit(TAGS, "model 'm:1'") == TAGS
    assert capsys.readouterr().err == ""


def test_what_does_not_fit_is_cut_or_left_out_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    tags = {"long": "x" * 1001, "k" * 101: "x", "empty": "", **{f"t{number}": "x" for number in range(60)}}
    found = lineage.fit(tags, "model 'm:1'")
    assert len(found) == 50
    assert (len(found["long"]), found["long"][-1]) == (1000, "…")
    assert "empty" not in found
    said = capsys.readouterr().err
    assert "tag 'long' of model 'm:1' is cut to 1000 of its 1001 characters" in said
    assert f"left out: {'k' * 101}, t49" in said
    assert "empty" not in said


def test_a_deployments_tags_are_short_enough_for_resource_manager() -> None:
    found = lineage.of_a_model({"job": "j", "forced_why": "y" * 300, "unknown": "x", "recipe": None})
    assert found == {"job": "j", "forced_why": "y" * 254 + " …"}


def test_what_somebody_answered_for_is_answered_for_again() -> None:
    assert lineage.again({"evidence": "m-evidence:1"}) == ""
    assert lineage.again({"evidence": "unsigned", "unsigned_why": "it's theirs"}) == (
        " --unsigned --why 'it'\"'\"'s theirs'"
    )

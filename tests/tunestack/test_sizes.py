"""Machine sizes: the registry's tags before the table, and every reason against a size at once."""

from __future__ import annotations

from datetime import date

import pytest

from tunestack import sizes

TODAY = date(2026, 11, 21)


def test_a_registry_tag_is_asked_before_the_table():
    for text in ("['Standard_A', 'Standard_B']", '["Standard_A", "Standard_B"]', "Standard_A, Standard_B"):
        found = sizes.allow_list("Phi-4", {"finetune_compute_allow_list": text}, "finetune")
        assert found is not None
        assert found.sizes == ("Standard_A", "Standard_B")


def test_without_tags_the_table_answers_and_says_its_date():
    found = sizes.allow_list("Phi-4", {}, "finetune")
    assert found is not None
    assert "standard_nc24ads_a100_v4" in found
    assert "2026-07-31" in found.source


def test_what_nobody_knows_is_none_and_not_everything_allowed():
    assert sizes.allow_list("Unheard-of", {}, "finetune") is None


def test_a_size_can_be_wrong_for_several_reasons_and_all_are_said():
    allowed = sizes.allow_list("Phi-4", {}, "inference")
    found = sizes.objections("Standard_NC6", allowed, "inference", "Phi-4", TODAY)
    assert len(found) == 3
    assert all("'Standard_NC6'" in reason for reason in found)


def test_a_size_retires_on_its_day_and_not_before():
    assert sizes.objections("STANDARD_NC6S_V3", None, "inference", "x", date(2025, 9, 29)) == []
    (reason,) = sizes.objections("STANDARD_NC6S_V3", None, "inference", "x", TODAY)
    assert "retired by Azure on 2025-09-30" in reason


def test_an_allow_list_may_name_a_retired_size_and_it_is_refused_all_the_same():
    allowed = sizes.allow_list("Phi-3-mini-4k-instruct", {}, "inference")
    assert allowed is not None
    assert "Standard_NC6s_v3" in allowed
    assert sizes.objections("Standard_NC6s_v3", allowed, "inference", "Phi-3-mini-4k-instruct", TODAY)


@pytest.mark.parametrize(
    ("model", "gone"), [("Phi-4", False), ("Phi-3-mini-4k-instruct", True), ("Llama-2-7b-chat", True)]
)
def test_an_archived_or_retired_model_is_known(model, gone):
    assert bool(sizes.archived(model, TODAY)) is gone


def test_gpus_are_counted_per_machine():
    assert (sizes.gpus("standard_nc96ads_a100_v4"), sizes.gpus("Standard_DS3_v2")) == (4, None)

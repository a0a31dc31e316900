"""What Azure offers: the registry's tags before the table, all reasons against a size at once, no figure unsourced."""

from __future__ import annotations

from datetime import date
from importlib.resources import files

import yaml

from infra import rules
from tunestack import azure_facts
from tunestack.cost import quota

TODAY = date(2026, 11, 21)


def test_a_registry_tag_is_asked_before_the_table():
    for text in ("['Standard_A', 'Standard_B']", '["Standard_A", "Standard_B"]', "Standard_A, Standard_B"):
        found = azure_facts.allow_list("Phi-4", {"finetune_compute_allow_list": text}, "finetune")
        assert found is not None
        assert found.sizes == ("Standard_A", "Standard_B")


def test_without_tags_the_table_answers_and_says_its_date():
    found = azure_facts.allow_list("Phi-4", {}, "finetune")
    assert found is not None
    assert "standard_nc24ads_a100_v4" in found
    assert "2026-07-31" in found.source


def test_what_nobody_knows_is_none_and_not_everything_allowed():
    assert azure_facts.allow_list("Unheard-of", {}, "finetune") is None


def test_a_size_can_be_wrong_for_several_reasons_and_all_are_said():
    allowed = azure_facts.allow_list("Phi-4", {}, "inference")
    found = azure_facts.objections("Standard_NC6", allowed, "inference", "Phi-4", TODAY)
    assert len(found) == 3
    assert all("'Standard_NC6'" in reason for reason in found)


def test_a_size_retires_on_its_day_and_not_before():
    assert azure_facts.objections("STANDARD_NC6S_V3", None, "inference", "x", date(2025, 9, 29)) == []
    (reason,) = azure_facts.objections("STANDARD_NC6S_V3", None, "inference", "x", TODAY)
    assert "retired by Azure on 2025-09-30" in reason


def test_an_allow_list_may_name_a_retired_size_and_it_is_refused_all_the_same():
    allowed = azure_facts.allow_list("Phi-3-mini-4k-instruct", {}, "inference")
    assert allowed is not None
    assert "Standard_NC6s_v3" in allowed
    assert azure_facts.objections("Standard_NC6s_v3", allowed, "inference", "Phi-3-mini-4k-instruct", TODAY)


def test_gpus_are_counted_per_machine():
    assert (azure_facts.gpus("standard_nc96ads_a100_v4"), azure_facts.gpus("Standard_Unheard_of")) == (4, None)


def test_every_figure_names_a_source_with_the_day_it_was_read():
    table = azure_facts.facts()
    named = [fact["source"] for fact in [*table["sizes"].values(), *table["meters"].values()] if "source" in fact]
    assert named
    assert all(isinstance(table["sources"][name]["read"], date) for name in named)
    for size, fact in table["sizes"].items():
        assert ("hour" in fact) == ("source" in fact), size
        gone = "retired" in fact and fact["retired"] <= TODAY
        assert ("hour" in fact) != gone, size
    for meter in table["meters"]:
        assert azure_facts.price_of_meter(meter).dollars > 0


def test_every_size_that_a_model_may_use_is_in_the_table():
    table = azure_facts.facts()
    listed = {
        size for fact in table["models"].values() for use in ("finetune", "inference") for size in fact.get(use, ())
    }
    assert {size.lower() for size in listed} <= set(table["sizes"])


def test_the_table_the_local_cloud_and_the_stacks_quota_rule_count_alike():
    catalog = yaml.safe_load((files("localcloud") / "catalog" / "sizes.yaml").read_text())["families"]
    there = {size: (family, *figures[:2]) for family, own in catalog.items() for size, figures in own["sizes"].items()}
    for fact in azure_facts.facts()["sizes"].values():
        if "cores" in fact:
            assert there[fact["name"]] == (fact["family"], fact["cores"], fact["gpus"])
        if "cores" in fact and fact["gpus"]:
            assert rules.cores(fact["name"]) == fact["cores"]


def test_the_table_the_local_cloud_and_the_stacks_quota_rule_exempt_the_same_sizes_from_the_reserve():
    catalog = yaml.safe_load((files("localcloud") / "catalog" / "sizes.yaml").read_text())["families"]
    exempt = {size for own in catalog.values() if own.get("skip_reserve") for size in own["sizes"]}
    for fact in azure_facts.facts()["sizes"].values():
        if "cores" in fact:
            known = fact["name"] in exempt
            assert quota.reserves(fact["name"]) is not known, fact["name"]
            assert bool(rules.WITHOUT_RESERVE.fullmatch(fact["name"])) is known, fact["name"]


def test_low_priority_costs_a_part_and_says_that_it_is_rough():
    full = azure_facts.price_of_size("standard_nc24ads_A100_v4")
    cut = azure_facts.price_of_size("Standard_NC24ads_A100_v4", low_priority=True)
    assert full is not None
    assert cut is not None
    assert (full.dollars, full.is_rough, cut.is_rough) == (3.673, False, True)
    assert "2026-11-09" in full.source
    assert 0 < cut.dollars < full.dollars


def test_what_has_no_price_is_none_and_never_nothing():
    assert azure_facts.price_of_size("Standard_NC6s_v3") is None
    assert azure_facts.price_of_size("Standard_Unheard_of") is None


def test_a_size_counts_against_its_family():
    assert azure_facts.cores("standard_nc24ads_a100_v4") == ("StandardNCADSA100v4Family", 24)
    assert azure_facts.cores("Standard_Unheard_of") is None
    assert azure_facts.teraflops("Standard_NC24ads_A100_v4") == 312
    assert azure_facts.teraflops("Standard_D4ds_v5") is None

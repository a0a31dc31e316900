"""Other sizes: cheapest first, only what may be used, can be had and has the memory, shown where it helps."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from tests.tunestack.preflight import preflight_subjects as at
from tests.tunestack.preflight.preflight_subjects import A100, offline, online, serving
from tunestack import azure_facts
from tunestack.preflight import alternatives, preflight
from tunestack.preflight.alternatives import Alternative
from tunestack.preflight.preflight_subject import Subject

PHI_3, SMALL = "phi-3-mini-ultrachat", "smollm2-local"
H100 = "Standard_NC40ads_H100_v5"


def of(subject: Subject, purpose: str) -> list[Alternative]:
    return [one for one in alternatives.of_subject(subject) if one.purpose == purpose]


def names(subject: Subject, purpose: str) -> list[str]:
    return [one.size for one in of(subject, purpose)]


def test_sizes_for_training_come_cheapest_first_by_what_a_run_costs_at_most() -> None:
    found = of(offline(), "training")
    upper = [one.dollars[1] for one in found if one.dollars]
    assert upper == sorted(upper)
    assert len(upper) == len(found) > 3
    assert {one.size for one in found} >= {A100, H100}


def test_sizes_for_serving_come_cheapest_first_by_the_hour() -> None:
    found = of(offline(), "serving")
    assert [one.hourly for one in found] == sorted(one.hourly for one in found)
    assert found[0].size == A100
    assert all(one.hours is None and one.dollars is None for one in found)


def test_what_has_too_little_memory_is_not_offered() -> None:
    assert "Standard_ND96asr_v4" not in names(offline(), "training"), "Phi-4 may need 46 of 36 GiB"
    assert "Standard_ND96asr_v4" in names(offline(PHI_3), "training")
    stage_3 = offline("phi-4-ultrachat", "optimization.deepspeed_stage=3")
    assert "Standard_ND96asr_v4" in names(stage_3, "training")


def test_what_the_models_lists_do_not_name_is_not_offered() -> None:
    for purpose, key in (("training", "finetune"), ("serving", "inference")):
        listed = azure_facts.facts()["models"]["Phi-3-mini-4k-instruct"][key]
        assert set(names(offline(PHI_3), purpose)) <= set(listed)
    assert H100 not in names(offline(PHI_3), "training"), "no H100 on the list of Phi-3-mini"


def test_retired_sizes_are_not_offered_though_the_list_names_them() -> None:
    assert "Standard_NC6s_v3" in azure_facts.facts()["models"]["Phi-3-mini-4k-instruct"]["inference"]
    assert "Standard_NC6s_v3" not in names(offline(PHI_3), "serving")
    before = replace(offline(PHI_3), today=date(2025, 1, 1))
    assert "Standard_NC6s_v3" not in names(before, "serving"), "it has no price, so nothing can be said of it"


def test_a_gpu_without_bfloat16_serves_only_where_the_deployment_says_another_type() -> None:
    small = offline(SMALL)
    assert small.deployment
    assert "Standard_NC4as_T4_v3" not in names(small, "serving")
    for name in ("half", "float32"):
        other = small.deployment.model_copy(update={"environment_variables": {"DTYPE": name}})
        assert "Standard_NC4as_T4_v3" in names(replace(small, deployment=other), "serving")


def test_a_small_model_may_serve_without_a_gpu_and_never_trains_without_one() -> None:
    assert "Standard_D4s_v3" in names(offline(SMALL), "serving")
    assert all(azure_facts.gpus(size) for size in names(offline(SMALL), "training"))


def test_what_the_region_does_not_offer_is_left_out() -> None:
    here, there = offline(), offline(location="northcentralus")
    assert H100 in names(here, "training")
    assert H100 not in names(there, "training")


def test_online_the_regions_own_list_and_quota_decide() -> None:
    (only,) = of(online(), "training")
    assert (only.size, only.free_cores, only.region) == (A100, 48, True)
    used = {at.USAGES: {"value": [at.usage("StandardNCADSA100v4Family", 40, 48)]}}
    (less,) = of(online(used), "training")
    assert less.free_cores == 8
    assert "needs 24 cores of StandardNCADSA100v4Family (8 free)" in less.text
    closed = {at.SKUS: {"value": [{"name": A100, "restrictions": [{"type": "Location", "reasonCode": "NotFor"}]}]}}
    assert of(online(closed), "training") == []


def test_a_deployments_quota_has_azures_reserve_where_the_size_has_one() -> None:
    cores = {one.size: one.cores for one in of(offline(SMALL), "serving")}
    assert cores["Standard_D4s_v3"] == 2 * 8, "blue plus green, each ceil(1.2 x 1) x 4"
    assert cores[A100] == 2 * 24, "exempt from the reserve"
    (own,) = [one for one in of(offline(SMALL), "serving") if one.is_chosen]
    assert own.text.endswith("needs 16 cores of standardDSv3Family for blue plus green")


def test_what_nobody_knows_gives_no_alternatives() -> None:
    unknown = offline("phi-4-ultrachat", "base_model=azureml://registries/azureml/models/Unheard-of/versions/1")
    assert alternatives.of_subject(unknown) == ()


def test_a_hub_model_may_use_every_size_that_fits() -> None:
    found = offline()
    hub = replace(found, recipe=found.recipe.model_copy(update={"base_model": "hub:microsoft/phi-4"}))
    assert A100 in names(hub, "training")
    assert "Standard_NC4as_T4_v3" not in names(hub, "training")


# -- when they are shown


def shown(subject: Subject) -> list[str]:
    return [one.size for one in alternatives.worth_showing(alternatives.of_subject(subject))]


def test_nothing_is_shown_where_the_chosen_sizes_are_the_cheapest_that_fit() -> None:
    assert shown(offline(PHI_3)) == []


def test_cheaper_ones_are_shown_where_the_chosen_one_is_dearer() -> None:
    dear = offline(PHI_3, gpuSize="Standard_NC96ads_A100_v4")
    assert shown(dear) == [A100, "Standard_NC48ads_A100_v4"]
    served = serving(offline(PHI_3), "Standard_NC48ads_A100_v4")
    assert shown(served) == [A100]


def test_all_that_fit_are_shown_where_the_chosen_one_does_not() -> None:
    small = offline(gpuSize="Standard_NV36ads_A10_v5")
    assert shown(small)[:2] == names(small, "training")[:2]
    assert not any(one.is_chosen for one in of(small, "training"))


def some(**cores: int) -> Subject:
    """A region with two sizes of other families that would do, and so many cores of each granted."""
    sizes = [*at.OFFERED, {"name": H100, "family": "standardNCADSH100v5Family", "vCPUs": 40}]
    rows = [at.usage(family, 0, limit) for family, limit in cores.items()]
    usages = [*rows, at.usage("standardDDSv5Family", 0, 100)]
    return online({at.SIZES: {"value": sizes}, at.USAGES: {"value": usages}})


def test_where_quota_stops_the_chosen_size_what_has_quota_is_shown() -> None:
    found = preflight.run(some(StandardNCADSA100v4Family=0, standardNCADSH100v5Family=80))
    assert [text.partition(" ")[0] for text in found.cheaper] == [H100, H100], "to train on, and to serve on"
    assert "(80 free)" in found.cheaper[0]


def test_what_has_no_quota_is_kept_in_the_record_and_not_shown() -> None:
    subject = some(StandardNCADSA100v4Family=48, standardNCADSH100v5Family=0)
    assert H100 in names(subject, "training")
    assert preflight.run(subject).cheaper == (), "it is cheaper for a run, and nobody grants it"
    without = some(StandardNCADSA100v4Family=48)
    assert [one.free_cores for one in of(without, "training") if one.size == H100] == [0], "no row is no quota"


def test_a_quota_that_may_not_be_read_leaves_the_estimate_and_the_alternatives() -> None:
    found = preflight.run(online({at.USAGES: at.refused()}))
    assert "text" in found.estimate["run"]
    assert {one["quota"]["free"] for one in found.alternatives} == {None}


def test_a_line_says_price_hours_dollars_memory_and_quota() -> None:
    (own,) = [one for one in of(offline(PHI_3), "training") if one.is_chosen]
    assert own.text.startswith(f"{A100} fits, 3.67 $/h, ")
    for part in (" h, ", " $, ", "of 71 GiB; needs 24 cores of StandardNCADSA100v4Family"):
        assert part in own.text


def test_the_memory_that_a_deployment_leaves_to_others_is_not_counted_on() -> None:
    found = offline(PHI_3)
    assert found.deployment
    told = found.deployment.model_copy(update={"environment_variables": {"GPU_MEMORY_UTILIZATION": "0.2"}})
    assert "Standard_ND96asr_v4" in names(found, "serving")
    assert "Standard_ND96asr_v4" not in names(replace(found, deployment=told), "serving")


def test_small_sums_have_their_cents() -> None:
    (own,) = [one for one in of(offline(SMALL), "training") if one.size == "Standard_NC4as_T4_v3"]
    assert own.dollars
    assert f"{own.dollars[0]:.2f} to {own.dollars[1]:.2f} $" in own.text


def test_the_report_has_all_of_them_in_json_and_those_worth_it_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    report = preflight.run(offline(PHI_3, gpuSize="Standard_NC96ads_A100_v4"))
    record: dict[str, Any] = json.loads(json.dumps(report.record({})))
    assert next(one["size"] for one in record["alternatives"] if one["purpose"] == "training") == A100
    assert {"purpose", "size", "hours", "dollars", "quota", "gib", "text"} <= set(record["alternatives"][0])
    preflight.show(report)
    assert f"instead: {A100} fits" in capsys.readouterr().err


def test_a_refusing_cloud_gives_no_alternatives_and_no_crash() -> None:
    report = preflight.run(online({at.SIZES: at.refused(), at.USAGES: at.refused(), at.PHI_4: at.refused()}))
    assert report.alternatives == ()
    assert "unknown" in report.estimate


def test_low_priority_counts_against_one_number_for_all_families() -> None:
    found = of(offline(gpuPriority="LowPriority"), "training")
    assert {one.family for one in found} == {"lowPriorityCores"}
    full = {one.size: one.hourly for one in of(offline(), "training")}
    assert all(one.hourly < full[one.size] / 2 for one in found)

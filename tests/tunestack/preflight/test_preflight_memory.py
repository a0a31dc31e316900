"""Memory and money of a planned run: what fits, what may not, what nobody knows, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.tunestack.preflight.preflight_subjects import SIZES as OFFERED
from tests.tunestack.preflight.preflight_subjects import WS, Case, cluster, offline, online, serving
from tunestack.azure_facts import Gpu
from tunestack.cost.gpu_memory import Estimate, Term
from tunestack.preflight import cost_checks, memory_checks, preflight
from tunestack.preflight.preflight_subject import Subject

A10, A100_40, T4, V100 = (
    "Standard_NV36ads_A10_v5",
    "Standard_ND96asr_v4",
    "Standard_NC4as_T4_v3",
    "Standard_ND40rs_v2",
)
PHI_3, SMALL = "phi-3-mini-ultrachat", "smollm2-local"


def tuned(size: str, *settings: str, name: str = "phi-4-ultrachat") -> Subject:
    return offline(name, *settings, gpuSize=size)


def told(subject: Subject, **variables: str) -> Subject:
    """The same with variables of the deployment's environment."""
    assert subject.deployment
    return replace(subject, deployment=subject.deployment.model_copy(update={"environment_variables": {**variables}}))


def unheard_of() -> Subject:
    return offline("phi-4-ultrachat", "base_model=azureml://registries/azureml/models/Unheard-of/versions/1")


def unserved() -> Subject:
    return replace(offline(), deployment=None)


def listed(size: str, **facts: Any) -> Subject:
    """A cluster of a size that only the region's list knows."""
    sizes = {"value": [{"name": size, "family": "newFamily", "vCPUs": 8, **facts}]}
    return online({OFFERED: sizes, f"{WS}/computes/gpu": cluster(size)})


CASES = (
    Case("training-memory", "ok", offline, "fits: 32.4 to 51.2 GiB = weights 27.3"),
    Case("training-memory", "ok", online, "of 71.3 usable GiB of A100 80 GB"),
    Case("training-memory", "ok", lambda: tuned(A100_40, name=PHI_3)),
    Case("training-memory", "warning", lambda: tuned(A100_40, "optimization.deepspeed_stage=2"), "may not fit"),
    Case("training-memory", "warning", lambda: tuned(A10, "training.max_seq_length=4096", name=PHI_3), "may not fit"),
    Case("training-memory", "warning", lambda: offline("phi-4-ultrachat", "training.max_seq_length=4096"), "73.0 GiB"),
    Case("training-memory", "error", lambda: tuned(A10), "does not fit: 32.4"),
    Case("training-memory", "error", lambda: tuned(T4, "optimization.apply_lora=false"), "gradients"),
    Case("training-memory", "error", lambda: tuned("Standard_D4ds_v5"), "has no GPU"),
    Case("training-memory", "error", lambda: listed("Standard_New", gpus=0), "has no GPU"),
    Case("training-memory", "unknown", lambda: listed("Standard_New", gpus=1), "stands not in azure_facts.yml"),
    Case("training-memory", "unknown", unheard_of, "the shape of 'Unheard-of'"),
    Case("training-memory", "unknown", lambda: tuned(""), "which machines train"),
    Case("training-memory", "unknown", lambda: offline("phi-4-ultrachat", "optimization.lora_r=1.5"), "is wrong"),
    Case("host-memory", "ok", offline, "nothing of weight"),
    Case("host-memory", "ok", lambda: offline("phi-4-ultrachat", "optimization.deepspeed_stage=3"), "of 220 GiB"),
    Case("host-memory", "warning", lambda: offline("phi-4-ultrachat", "optimization.apply_lora=false"), "may not fit"),
    Case("host-memory", "error", lambda: tuned(T4, "optimization.deepspeed_stage=3"), "does not fit: 27.4"),
    Case("host-memory", "unknown", unheard_of),
    Case(
        "host-memory",
        "unknown",
        lambda: replace(listed("Standard_New", gpus=1), recipe=stage_3().recipe),
        "how much memory 'Standard_New' has",
    ),
    Case("evaluation-memory", "ok", offline, "fits: 29.8 to 34.4 GiB = weights 27.3"),
    Case("evaluation-memory", "error", lambda: tuned(A10), "does not fit"),
    Case("evaluation-memory", "error", lambda: evaluated_on_cpu("phi-4-ultrachat"), "of 16 GiB of 'Standard_D4ds_v5'"),
    Case("evaluation-memory", "ok", lambda: evaluated_on_cpu(SMALL), "which has no GPU"),
    Case("evaluation-memory", "warning", lambda: evaluated_on_cpu(PHI_3, cpuSize="Standard_D8ds_v5"), "is slow there"),
    Case("evaluation-memory", "unknown", unheard_of),
    Case("evaluation-memory", "unknown", lambda: tuned(""), "which machines evaluate"),
    Case("evaluation-memory", "unknown", lambda: listed("Standard_New", gpus=1)),
    Case("serving-memory", "ok", offline, "31.9 GiB = weights 27.3 + KV cache 3.1 + overhead 1.5"),
    Case("serving-memory", "ok", offline, "13 requests of 16,384 tokens at once"),
    Case("serving-memory", "ok", lambda: offline(SMALL), "which has no GPU"),
    Case("serving-memory", "error", lambda: serving(offline(), A10), "does not fit: 31.9"),
    Case("serving-memory", "error", lambda: serving(offline(), "Standard_DS2_v2"), "has no GPU"),
    Case("serving-memory", "warning", lambda: serving(offline(PHI_3), "Standard_D8s_v3"), "is slow there"),
    Case("serving-memory", "warning", lambda: serving(offline(PHI_3), T4), "has no bfloat16"),
    Case("serving-memory", "ok", lambda: told(serving(offline(PHI_3), T4), DTYPE="half")),
    Case("serving-memory", "ok", lambda: told(serving(offline(SMALL), T4), DTYPE="float32")),
    Case("serving-memory", "warning", lambda: told(serving(offline(PHI_3), V100), DTYPE="half"), "CUDA 13 dropped"),
    Case(
        "serving-memory",
        "warning",
        lambda: told(serving(offline(), "Standard_NC96ads_A100_v4"), TENSOR_PARALLEL="4"),
        "TENSOR_PARALLEL 4 becomes 2, as the model can be cut to 1, 2, 5, 10",
    ),
    Case("serving-memory", "ok", lambda: told(serving(offline(), "Standard_NC48ads_A100_v4"), TENSOR_PARALLEL="2")),
    Case("serving-memory", "error", lambda: told(serving(offline(), A100_40), DTYPE="float32"), "weights 54.6"),
    Case("serving-memory", "error", lambda: told(offline(), GPU_MEMORY_UTILIZATION="0.4"), "of 31.7 usable GiB"),
    Case("serving-memory", "warning", lambda: told(offline(), MAX_MODEL_LEN="32768"), "1 to 16,384 tokens"),
    Case("serving-memory", "warning", lambda: told(offline(), MAX_MODEL_LEN="4k"), "MAX_MODEL_LEN '4k'"),
    Case("serving-memory", "warning", lambda: told(serving(offline(), A10), QUANTIZATION="fp8"), "may not fit"),
    Case("serving-memory", "unknown", unserved, "no deployment settings"),
    Case("serving-memory", "unknown", lambda: serving(offline(), "Standard_Unheard_of"), "stands not in"),
    Case("serving-memory", "unknown", lambda: replace(unheard_of(), deployment=offline().deployment), "the shape of"),
    Case("run-cost", "ok", offline, "9,353 steps over 9,353 rows"),
    Case("run-cost", "ok", offline, "2,000 test rows"),
    Case("run-cost", "unknown", unheard_of, "how large 'Unheard-of' is"),
    Case("run-cost", "unknown", lambda: tuned(""), "which machines train is not known"),
    Case("run-cost", "unknown", lambda: offline("phi-4-ultrachat", "optimization.lora_r=1.5"), "a parameter is wrong"),
    Case("run-cost", "unknown", lambda: tuned("Standard_NC6s_v3"), "the price of its machines"),
    Case("run-cost", "not asked", lambda: offline("blank"), "how many rows 'my-rows.jsonl' has"),
    Case("run-cost", "unknown", lambda: offline("blank", gpuSize="Standard_NC6s_v3"), "the price of its machines"),
    Case("serving-cost", "ok", offline, "3.67 dollars an hour, 88.15 for a lease of 24h"),
    Case("serving-cost", "warning", lambda: offline(leaseCap="30d", budget=200), "budget of a month is 200"),
    Case("serving-cost", "warning", lambda: offline(leaseCap="never"), "nothing ends it"),
    Case("serving-cost", "unknown", unserved),
    Case("serving-cost", "unknown", lambda: serving(offline(), "Standard_NC6s_v3"), "price of 'Standard_NC6s_v3'"),
)


def evaluated_on_cpu(name: str, **dials: Any) -> Subject:
    """The gate on the cheap machine."""
    return offline(name, "compute.evaluate=cpu", "evaluation.samples=0", **dials)


def stage_3() -> Subject:
    return offline("phi-4-ultrachat", "optimization.deepspeed_stage=3")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}-{case.verdict}")
def test_a_check_says(case: Case) -> None:
    found = {one.name: one for one in preflight.checks()}[case.check]
    said = preflight.asked(found, case.subject())
    assert said.verdict == case.verdict, said
    assert case.says in f"{said.reason} {said.fix}", said
    assert said.verdict == "ok" or said.fix, "whoever is stopped must read what to do"


@pytest.mark.parametrize(
    ("least", "most", "verdict", "says"),
    [
        (0.5, 0.949, "ok", "fits: "),
        (0.5, 0.951, "warning", "fits tightly: "),
        (0.5, 1.0, "warning", "fits tightly: "),
        (0.5, 1.001, "warning", "may not fit: "),
        (1.0, 1.2, "warning", "may not fit: "),
        (1.001, 1.2, "error", "does not fit: "),
    ],
)
def test_what_may_not_fit_and_what_fits_with_less_than_5_percent_to_spare_is_a_warning(
    least: float, most: float, verdict: str, says: str
) -> None:
    gpu = Gpu("one", 80, 8.0, 312)
    found = Estimate((Term("weights", least * gpu.usable, most * gpu.usable, "all"),))
    said = memory_checks._against("training-memory", found, gpu, "size", "Take a larger one")
    assert (said.verdict, said.reason.startswith(says)) == (verdict, True), said


def test_the_gate_on_a_machine_without_a_gpu_holds_its_answers_beside_the_model() -> None:
    subject = offline(SMALL, "compute.evaluate=cpu", "evaluation.samples=8", "evaluation.max_new_tokens=100")
    checks = {one.name: one for one in preflight.checks()}
    shape, run = subject.planned.shape, subject.planned.training
    assert shape
    assert run
    cache = shape.kv_bytes(4) * 8 * (run.sequence + 100) / 2**30
    assert f" + KV cache {cache:.1f} + " in preflight.asked(checks["evaluation-memory"], subject).reason


def test_a_shorter_context_makes_room_in_serving() -> None:
    checks = {one.name: one for one in preflight.checks()}
    whole = preflight.asked(checks["serving-memory"], serving(offline(PHI_3), A10))
    short = preflight.asked(checks["serving-memory"], told(serving(offline(PHI_3), A10), MAX_MODEL_LEN="1024"))
    assert "7 requests of 4,096 tokens" in whole.reason
    assert "30 requests of 1,024 tokens" in short.reason


def test_the_record_holds_the_run_part_by_part_and_the_deployment() -> None:
    kept = cost_checks.record(offline())
    assert [part["part"] for part in kept["run"]["parts"]] == ["import and preprocessing", "training", "evaluation"]
    assert kept["deployment"]["dollars_per_lease"] == 88.15
    assert kept["deployment"]["dollars_per_month"] == 2681.29
    assert "azure_facts.yml" in kept["prices"][0]
    without = cost_checks.record(replace(unheard_of(), deployment=None))
    assert set(without["run"]) == set(without["deployment"]) == {"unknown"}


def test_every_term_of_memory_is_shown_with_its_formula(capsys: pytest.CaptureFixture[str]) -> None:
    report = preflight.run(offline())
    kept = report.record({})["estimate"]["memory"]
    assert set(kept) == {"training", "evaluation", "serving"}
    assert {term["name"]: term["formula"] for term in kept["serving"]["terms"]}["KV cache"] == "200 KiB · 16,384 tokens"
    preflight.show(report)
    said = capsys.readouterr().err
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines() if line.startswith("│")]
    assert ["training", "weights", "27.3", "2·P bytes, P = 14,659,507,200"] in lines
    assert ["", "KV cache", "3.1", "200 KiB · 16,384 tokens"] in lines
    without = preflight.run(offline(SMALL)).record({})["estimate"]["memory"]["serving"]
    assert without["terms"] == []
    assert [term["name"] for term in without["host_terms"]] == ["weights", "KV cache", "overhead"]


def test_a_lease_longer_than_a_month_costs_a_month() -> None:
    found = cost_checks.of_deployment(offline(leaseCap="90d"))
    assert not isinstance(found, str)
    assert found["dollars_per_lease"] == found["dollars_per_month"]

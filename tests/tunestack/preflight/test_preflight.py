"""Preflight: every check says yes and no where it should, an unknown never passes, and what is accepted is recorded."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from azure.storage.blob import BlobServiceClient

from tests.tunestack.preflight import preflight_subjects as at
from tests.tunestack.preflight.preflight_subjects import A100, WS, Case, offline, online, refused, serving
from tunestack import azure_facts
from tunestack.deployments.deployment_settings import Autoscale
from tunestack.errors import CloudError, GateSaidNo, UsageError
from tunestack.preflight import preflight
from tunestack.preflight.preflight import Finding, Report
from tunestack.preflight.preflight_subject import Subject
from tunestack.preflight.registry_model import RegistryModel

PHI_3 = "phi-3-mini-ultrachat"


def unheard_of() -> Subject:
    """A model that neither registry nor table knows anything about."""
    return offline("phi-4-ultrachat", "base_model=azureml://registries/azureml/models/Unheard-of/versions/1")


def unprepared() -> Subject:
    """A local file whose rows are counted when it is prepared."""
    return offline("blank", "data.source=my-rows.jsonl")


def of_the_hub() -> Subject:
    found = offline()
    return replace(found, recipe=found.recipe.model_copy(update={"base_model": "hub:OWNER/MODEL"}))


def spending(dollars: float) -> Subject:
    found = offline()
    return replace(found, recipe=found.recipe.model_copy(update={"budget": dollars}))


def labelled(newest: dict[str, Any]) -> Subject:
    """The model by its label, and what the registry lists as the newest that is in use."""
    found = offline("phi-4-ultrachat", "base_model=azureml://registries/azureml/models/Phi-4/labels/latest")
    return online({at.NEWEST: newest}, found)


def later(days: int) -> Subject:
    """So many days after the oldest source of the table was read, whenever the file was last changed."""
    oldest = min(source["read"] for source in azure_facts.facts()["sources"].values())
    return replace(offline(), today=oldest + timedelta(days=days))


def on(day: date, size: str) -> Subject:
    return replace(serving(offline(gpuSize=size), size), today=day)


def granted(used: int, limit: int, now: int = 0) -> Subject:
    """A cloud with so many cores of the GPU family, some of them the cluster's own idle node."""
    return online(
        {
            at.USAGES: {
                "value": [at.usage("StandardNCADSA100v4Family", used, limit), at.usage("standardDDSv5Family", 0, 100)]
            },
            f"{WS}/computes/gpu": at.cluster(A100, now=now),
        }
    )


def in_all(limit: int) -> Subject:
    """Enough of each family, and so many dedicated cores in the region over all of them."""
    rows = [*at.CLOUD[at.USAGES]["value"], at.usage("dedicatedCores", 0, limit)]
    return online({at.USAGES: {"value": rows}})


def lacking(place: str, actions: list[str], data_actions: list[str], created: str = "2026-01-01T00:00:00Z") -> Subject:
    held = {"actions": actions, "notActions": [], "dataActions": data_actions, "notDataActions": []}
    body = {**at.CLOUD[WS], "systemData": {"createdAt": created}}
    return online({at.RIGHTS[place]: {"value": [held]}, WS: body})


def on_cpus(count: int) -> Subject:
    return serving(offline(), "Standard_D4s_v3", count)


def scaled(least: int, most: int) -> Subject:
    """A deployment that autoscale may make larger: the largest counts."""
    found = offline(maxInstances=0)
    assert found.deployment
    rule = Autoscale(min=least, max=most, metric="RequestsPerMinute", out_above=100, in_below=10)
    return replace(found, deployment=found.deployment.model_copy(update={"autoscale": rule}))


def deployed(size: str, count: int) -> Subject:
    """A deployment of the endpoint that is there already and counted as used."""
    body = {"properties": {"instanceType": size, "provisioningState": "Succeeded"}, "sku": {"capacity": count}}
    usages = {"value": [at.usage("StandardNCADSA100v4Family", 24 * count, 48)]}
    return online({at.SERVED: {"value": [body]}, at.USAGES: usages})


def on_nodes(cores: int) -> Subject:
    """Two machines that train together, fed by one, and what the stack says that Azure grants."""
    return offline("phi-4-ultrachat", "training.num_nodes_finetune=2", gpuNodes=2, gpuQuota=cores)


def for_weeks(priority: str) -> Subject:
    """A run of 9 days, or of 13 where parts of it may run again."""
    found = offline("phi-4-ultrachat", "training.num_train_epochs=20")
    return online({f"{WS}/computes/gpu": at.cluster(A100, priority=priority)}, found)


def broken() -> CloudError:
    """What says nothing of quota, and of rights neither."""
    return CloudError("GET failed with 500: out of order", fix="Run it again", status=500)


def newer_than_the_table() -> Subject:
    sizes = {"value": [{"name": "Standard_New", "family": "newFamily", "vCPUs": 8, "gpus": 1}]}
    return online({at.SIZES: sizes, f"{WS}/computes/gpu": at.cluster("Standard_New")})


CLOSED = {"type": "Location", "reasonCode": "NotAvailableForSubscription"}
CASES = (
    Case("table-age", "ok", lambda: later(0)),
    Case("table-age", "ok", lambda: later(90)),
    Case("table-age", "warning", lambda: later(91), "'documents', was read 91 days ago"),
    Case("base-model", "ok", offline, "'Phi-4' is in use"),
    Case("base-model", "ok", online, "'Phi-4' is in use"),
    Case("base-model", "warning", lambda: offline(PHI_3), "archived in its registry and was retired 448 days ago"),
    Case("base-model", "warning", lambda: replace(offline(PHI_3), today=date(2025, 7, 1)), "retired 2025-08-30"),
    Case("base-model", "warning", lambda: online({at.PHI_4: at.model(archived=True)}), "is archived in its registry"),
    Case(
        "base-model",
        "warning",
        lambda: online({at.PHI_4: at.model(FinetuneRetirementDate="2026-12-01")}),
        "is retired in 10 days",
    ),
    Case("base-model", "warning", of_the_hub, "fetched from the hub"),
    Case("base-model", "unknown", unheard_of, "'Unheard-of'"),
    Case("base-model", "error", lambda: online({at.PHI_4: None}), "does not exist"),
    Case("base-model", "ok", lambda: labelled({"value": [at.model()]}), "in use"),
    Case("base-model", "error", lambda: labelled({"value": []}), "labels/latest' does not exist"),
    Case("clusters", "ok", online, "'gpu' for gpu"),
    Case("clusters", "not asked", offline),
    Case("clusters", "error", lambda: online({f"{WS}/computes/cpu": None}), "cluster 'cpu' does not exist"),
    Case("clusters", "error", lambda: online({f"{WS}/computes/gpu": at.cluster(A100, state="Failed")}), "'Failed'"),
    Case("training-size", "ok", offline),
    Case("training-size", "error", lambda: offline(gpuSize="Standard_NC24rs_v3"), "retired by Azure on 2025-09-30"),
    Case("training-size", "error", lambda: on(date(2026, 1, 1), "Standard_NV12s_v3"), "a visualisation GPU"),
    Case("training-size", "warning", newer_than_the_table, "when it retires is not in the table"),
    Case("training-size", "unknown", lambda: offline(gpuSize="Standard_New"), "is not in the table"),
    Case("training-size", "warning", lambda: on(date(2028, 3, 1), "Standard_DS3_v2"), "retires in 61 days"),
    Case("training-size", "warning", lambda: on(date(2028, 2, 1), "Standard_DS3_v2"), "retires in 90 days"),
    Case("training-size", "ok", lambda: on(date(2028, 1, 31), "Standard_DS3_v2"), "it retires on 2028-05-01"),
    Case("training-size", "error", lambda: on(date(2028, 5, 1), "Standard_DS3_v2"), "was retired"),
    Case("training-size", "unknown", lambda: offline(gpuSize="Standard_New_v9"), "'Standard_New_v9' is not in"),
    Case("training-size", "unknown", lambda: replace(offline(), dials={}), "which machines train"),
    Case("training-size", "error", lambda: offline(cpuSize="Standard_NC6"), "'Standard_NC6' was retired"),
    Case("training-size", "warning", lambda: offline(cpuSize="Standard_New_v9"), "'Standard_New_v9' is not in"),
    Case("serving-size", "ok", offline),
    Case("serving-size", "error", lambda: serving(offline(), "Standard_NC6s_v3"), "retired by Azure on 2025-09-30"),
    Case("serving-size", "warning", lambda: on(date(2028, 3, 1), "Standard_DS3_v2"), "retires in 61 days"),
    Case("serving-size", "unknown", lambda: replace(offline(), deployment=None), "no deployment settings"),
    Case("training-allow-list", "ok", offline, "one of 8"),
    Case("training-allow-list", "error", lambda: offline(gpuSize="Standard_NC4as_T4_v3"), A100),
    Case("training-allow-list", "unknown", unheard_of, "which sizes 'Unheard-of' may use"),
    Case("training-allow-list", "warning", of_the_hub, "no registry lists sizes"),
    Case(
        "training-allow-list",
        "error",
        lambda: online({at.PHI_4: at.model(finetune_compute_allow_list="['Standard_NC96ads_A100_v4']")}),
        "not on the finetune list",
    ),
    Case(
        "training-allow-list",
        "error",
        lambda: online({at.PHI_4: at.model(finetune_compute_allow_list="['Standard_NC6s_v3']")}),
        "none of that list can be had",
    ),
    Case("serving-allow-list", "ok", lambda: offline(PHI_3), "one of 9, 6 still to be had"),
    Case("serving-allow-list", "error", lambda: serving(offline(), "Standard_D4s_v3"), "not on the inference list"),
    Case("serving-allow-list", "unknown", unheard_of),
    Case("training-region", "ok", offline, "'eastus' offers"),
    Case("training-region", "ok", online, "'eastus' offers"),
    Case("training-region", "error", lambda: offline(location="westcentralus"), "'westcentralus' does not offer"),
    Case("training-region", "error", lambda: online({at.SIZES: {"value": at.OFFERED[:1]}}), "'Standard_D4ds_v5'"),
    Case("training-region", "error", lambda: online({at.SIZES: {"value": []}}), "'eastus' does not offer"),
    Case("training-region", "not asked", lambda: offline(location="swedencentral"), "not in the table"),
    Case(
        "training-region",
        "error",
        lambda: online({at.SKUS: {"value": [{"name": A100, "restrictions": [CLOSED]}]}}),
        "NotAvailableForSubscription",
    ),
    Case("training-region", "warning", lambda: online({at.SKUS: refused()}), "whether it is closed to you may not be"),
    Case("serving-region", "ok", offline, "'eastus' offers"),
    Case("serving-region", "error", lambda: offline(location="westcentralus"), "eastus2"),
    Case("serving-region", "warning", lambda: online({at.SIZES: refused()}), "may not be read"),
    Case("training-quota", "ok", lambda: granted(0, 24)),
    Case("training-quota", "error", lambda: granted(0, 0), "24 of 'StandardNCADSA100v4Family', where 0 of 0 are used"),
    Case("training-quota", "error", lambda: granted(24, 24), "where 24 of 24 are used"),
    Case("training-quota", "ok", lambda: granted(24, 24, now=1)),
    Case("training-quota", "not asked", offline, "what is granted, no dial says"),
    Case("training-quota", "ok", lambda: offline(gpuQuota=48), "gpuQuota is 48"),
    Case("training-quota", "error", lambda: offline(gpuQuota=20), "gpuQuota is 20"),
    Case("training-quota", "error", lambda: offline("phi-4-ultrachat", "training.num_nodes_finetune=2"), "for ever"),
    Case("training-quota", "ok", lambda: on_nodes(48), "48 cores of 'StandardNCADSA100v4Family' and 4 cores of"),
    Case("training-quota", "error", lambda: on_nodes(47), "gpuQuota is 47"),
    Case(
        "training-quota",
        "error",
        lambda: online({f"{WS}/computes/gpu": at.cluster(A100, priority="LowPriority")}),
        "24 of 'lowPriorityCores', where 0 of 0 are used",
    ),
    Case("training-quota", "error", lambda: in_all(27), "28 of all dedicated cores of the region"),
    Case("training-quota", "ok", lambda: in_all(28)),
    Case("training-quota", "unknown", lambda: online({at.USAGES: refused()}), "may not be read by you"),
    Case("training-quota", "warning", lambda: online({at.USAGES: refused()}, offline(gpuQuota=48)), "may not be read"),
    Case("training-quota", "error", lambda: online({at.USAGES: refused()}, offline(gpuQuota=20)), "gpuQuota is 20"),
    Case("training-quota", "unknown", lambda: online({at.USAGES: broken()}, offline(gpuQuota=48)), "out of order"),
    Case("training-quota", "error", lambda: online({at.USAGES: {"value": []}}), "has no quota of the family"),
    Case("serving-quota", "ok", online, "blue plus green"),
    Case("serving-quota", "error", lambda: granted(0, 24), "it takes 48 of"),
    Case("serving-quota", "error", lambda: online(None, on_cpus(50)), "ceil(1.2 x 50) x 4 = 240"),
    Case("serving-quota", "ok", lambda: deployed(A100, 1), "where 24 of 48 are used"),
    Case("serving-quota", "error", lambda: online(None, serving(offline(), A100, 2)), "each 2 x 24 = 48"),
    Case("serving-quota", "error", lambda: online(None, scaled(1, 3)), "each 3 x 24 = 72"),
    Case("serving-quota", "not asked", offline),
    Case("serving-quota", "ok", lambda: offline(gpuQuota=48)),
    Case("serving-quota", "error", lambda: offline(gpuQuota=24), "gpuQuota is 24"),
    Case("limits", "ok", online, "1 of 100 endpoints"),
    Case("limits", "not asked", offline),
    Case("limits", "error", lambda: online({at.ENDPOINTS: {"value": [{"location": "eastus"}] * 101}}), "101 endpoints"),
    Case("limits", "error", lambda: online({at.DEPLOYMENTS: {"value": [{"location": "East US"}] * 499}}), "501"),
    Case("limits", "error", lambda: online({at.SERVED: {"value": [{"properties": {}}] * 19}}), "21 deployments of the"),
    Case("limits", "error", lambda: serving(offline(maxInstances=1), count=2), "maxInstances is 1"),
    Case("limits", "error", lambda: serving(offline(maxInstances=0), count=51), "Azure gives at most 50"),
    Case("limits", "not asked", lambda: serving(offline(maxInstances=50), count=50)),
    Case("limits", "error", lambda: offline(gpuNodes=101), "gpuNodes is 101"),
    Case("limits", "not asked", lambda: offline(gpuNodes=100)),
    Case("limits", "ok", lambda: online({at.ENDPOINTS: {"value": [{"location": "eastus"}] * 100}}), "100 of 100"),
    Case("limits", "ok", lambda: online({at.DEPLOYMENTS: {"value": [{"location": "East US"}] * 498}}), "498 of 500"),
    Case("limits", "ok", lambda: online({at.SERVED: {"value": [{"properties": {}}] * 18}})),
    Case("limits", "ok", lambda: for_weeks("Dedicated")),
    Case("limits", "error", lambda: for_weeks("LowPriority"), "up to 13 days, and Azure stops a job after 7"),
    Case("limits", "error", lambda: offline("phi-4-ultrachat", "training.num_train_epochs=200"), "days"),
    Case("limits", "warning", lambda: online({at.ENDPOINTS: refused()}), "may not be counted"),
    Case("roles", "ok", online, "submit the job"),
    Case("roles", "not asked", offline),
    Case("roles", "error", lambda: lacking("workspace", ["*/read"], []), "you cannot submit the job without the role"),
    Case("roles", "error", lambda: lacking("storage", ["*"], []), "'Storage Blob Data Contributor' on the storage"),
    Case("roles", "error", lambda: lacking("identity", ["*/read"], []), "'Managed Identity Operator' on the identity"),
    Case("roles", "unknown", lambda: online({at.RIGHTS["workspace"]: refused()}), "not shown to you"),
    Case("roles", "warning", lambda: lacking("storage", ["*"], [], "2999-01-01T00:00:00Z"), "you cannot upload data"),
    Case("names", "ok", offline, "names fit"),
    Case("names", "ok", lambda: replace(offline(), data=at.data())),
    Case("names", "error", lambda: replace(offline(), data=at.data("x" * 250)), "1 to 255 are allowed"),
    Case("names", "error", lambda: replace(offline(), data=at.data("mein datensatz")), "'Phi-4-mein datensatz'"),
    Case("names", "error", lambda: offline(endpoints=["a--b"]), "single dashes"),
    Case("budget", "ok", offline, "dollars"),
    Case("budget", "error", lambda: spending(5), "the recipe's budget is 5"),
    Case("budget", "error", lambda: offline(budget=10), "the stack's budget of a month is 10"),
    Case("budget", "unknown", unheard_of, "what a run costs is not known"),
    Case("budget", "not asked", unprepared, "my-rows.jsonl"),
)  # fmt: skip


def _id(case: Case) -> str:
    return f"{case.check}-{case.verdict}"


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_a_check_says(case: Case) -> None:
    found = {one.name: one for one in preflight.checks()}[case.check]
    said = preflight.asked(found, case.subject())
    assert said.verdict == case.verdict, said
    assert case.says in f"{said.reason} {said.fix}"
    assert said.verdict == "ok" or said.fix, "whoever is stopped must read what to do"


def report(*findings: Finding) -> Report:
    return Report(findings, False, {})


def test_an_unknown_is_never_a_pass() -> None:
    found = report(Finding("a", "ok", ""), Finding("b", "unknown", "who knows"))
    assert [one.check for one in found.blocking()] == ["b"]
    assert found.verdict == "unknown"
    with pytest.raises(GateSaidNo, match="check 'b' says unknown: who knows"):
        preflight.refuse(found, {})


def test_a_warning_and_what_was_not_asked_do_not_block_but_are_said() -> None:
    found = report(Finding("a", "warning", ""), Finding("b", "not asked", ""))
    assert found.blocking() == ()
    assert found.verdict == "warning"
    assert found.summary == "2 checks: 1 warning; not asked: b"


def test_a_submission_shows_what_is_not_ok_what_it_costs_and_where_the_rest_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = preflight.run(offline())
    preflight.show_exceptions(found, "scripts/preflight.py --recipe r.yml")
    said = capsys.readouterr().err
    shown = {line.split("│")[1].strip() for line in said.splitlines() if line.startswith("│")} - {""}
    assert shown == {one.check for one in found.findings if one.verdict != "ok"}
    assert "one run: 9,353 steps" in said
    assert said.splitlines()[-1] == f"preflight: {found.summary}; all: scripts/preflight.py --recipe r.yml"
    preflight.show_exceptions(report(Finding("a", "ok", "")), "x")
    assert capsys.readouterr().err == "preflight: 1 checks: 1 ok; all: x\n"


def test_with_cloud_and_data_at_hand_not_asked_counts_as_unknown() -> None:
    never = preflight.Check("x", "", lambda subject: Finding("x", "not asked", "no idea"))
    assert preflight.asked(never, offline()).verdict == "not asked"
    assert preflight.asked(never, replace(online(), data=at.data())).verdict == "unknown"


def test_a_cloud_that_refuses_makes_a_check_unknown_and_no_crash() -> None:
    subject = online({at.PHI_4: refused()})
    said = preflight.asked(preflight.checks()[1], subject)
    assert (said.check, said.verdict, said.fix) == ("base-model", "unknown", "Get the role")


def test_what_follows_from_another_finding_blocks_only_when_that_one_does_not() -> None:
    found = report(Finding("a", "error", "bad"), Finding("b", "unknown", "no", after="a"), Finding("c", "ok", ""))
    assert [one.check for one in found.blocking()] == ["a"]
    assert [one.check for one in found.blocking({"a": "we know"})] == ["b"]
    assert found.accepted({"a": "we know", "b": "that too"}) == "a: we know; b: that too"


def test_without_clusters_and_dials_the_clusters_are_the_one_thing_to_mend() -> None:
    nothing = {f"{WS}/computes/{name}": None for name in ("cpu", "gpu")}
    found = preflight.run(replace(online(nothing), dials={}))
    blocking = [one.check for one in found.blocking()]
    assert "clusters" in blocking
    assert not {"training-size", "training-memory", "evaluation-memory", "gpus", "training-quota"} & set(blocking)
    assert {one.check for one in found.no()} > {"training-size", "training-memory", "gpus", "training-quota"}


@pytest.mark.parametrize(
    "wrong", ["optimization.lora_r=1.5", "optimization.lora_r=0", "training.warmup_steps=-3", "training.sed=1"]
)
def test_a_wrong_parameter_is_one_error_and_what_needs_it_unknown(wrong: str) -> None:
    found = preflight.run(offline("phi-4-ultrachat", wrong))
    assert [one.check for one in found.blocking()] == ["parameters"]
    assert {one.check for one in found.findings if one.verdict == "unknown"} == {
        "training-memory", "host-memory", "gradient-checkpointing", "run-cost", "budget",
    }  # fmt: skip


def test_a_reason_that_many_checks_give_is_one_line_and_all_of_them_can_be_accepted_at_once() -> None:
    busy = [Finding(name, "unknown", "Azure cannot be reached") for name in ("a", "b")]
    found = report(*busy, Finding("c", "error", "bad"), Finding("d", "unknown", "no", after="c"))
    with pytest.raises(GateSaidNo) as raised:
        preflight.refuse(found, {})
    assert raised.value.problems == (
        "checks 'a', 'b' say unknown: Azure cannot be reached",
        "check 'c' says error: bad",
    )
    assert raised.value.fix.endswith("--accept a --accept b --accept c --accept d --why TEXT")


def test_a_shape_that_nobody_knows_is_one_error() -> None:
    found = of_the_hub()
    told = found.recipe.model_copy(update={"base_model": "hub:someone/model"})
    names = [one.check for one in preflight.run(replace(found, recipe=told)).blocking()]
    assert [name for name in names if "memory" in name or name in ("run-cost", "budget")] == ["training-memory"]


def test_what_says_neither_error_nor_unknown_cannot_be_accepted() -> None:
    found = report(Finding("a", "ok", ""), Finding("b", "error", "bad"), Finding("c", "warning", ""))
    with pytest.raises(UsageError, match=r"--accept a was given, and it says 'ok'.*--accept c .* 'warning'"):
        preflight.refuse(found, {"a": "luck", "b": "we know", "c": "luck"})
    preflight.refuse(found, {"b": "we know"})


def test_every_reason_has_the_number_of_its_source_and_every_source_is_listed_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = preflight.run(offline())
    preflight.show(found)
    said = capsys.readouterr().err.splitlines()
    listed = dict(line[1:].split("] ", 1) for line in said if re.match(r"\[\d+\] ", line))
    assert set(listed.values()) == {one.source for one in found.findings if one.source}
    cells = re.split(r"\n(?=│ [a-z])", "\n".join(line for line in said if line.startswith("│")))
    rows = {cell.split("│")[1].strip(): cell for cell in cells}
    for one in found.findings:
        number = re.search(r"\[(\d+)\]", rows[one.check])
        assert (listed[number[1]] if number else "") == one.source


def test_online_the_dates_that_the_table_gave_are_said_to_be_the_tables() -> None:
    wanted = f"{at.REGISTRY}/models/Phi-3-mini-4k-instruct/versions/15"
    checks = {one.name: one for one in preflight.checks()}
    bare = preflight.asked(checks["base-model"], online({wanted: at.model(archived=True)}, offline(PHI_3)))
    assert bare.source == (
        "the registry, asked now; dates of azure_facts.yml, models, read 2026-07-31 from Azure/azureml-assets"
    )
    dates = {"FinetuneDeprecationDate": "2025-06-30", "FinetuneRetirementDate": "2025-08-30"}
    told = preflight.asked(checks["base-model"], online({wanted: at.model(archived=True, **dates)}, offline(PHI_3)))
    assert told.source == "the registry, asked now"


def test_metadata_of_a_registry_is_read_whether_it_travels_as_objects_or_as_their_text() -> None:
    dates = {"finetune_retirement_date": "2027-01-31", "inference_deprecation": "2026-12-01"}
    sizes = {"finetuneComputes": ["Standard_NC96ads_A100_v4"], "inferenceComputes": [A100]}
    for said in (lambda one: one, json.dumps, str):
        body = {"isArchived": False, "tags": {}}
        found = RegistryModel(
            {**body, "systemMetadata": {"deprecation": said(dates), "supportedComputes": said(sizes)}}
        )
        assert found.lifecycle == {
            "archived": False, "retired": date(2027, 1, 31), "deprecated": date(2026, 12, 1),
        }  # fmt: skip
        assert found.tags["finetune_compute_allow_list"] == sizes["finetuneComputes"]
    assert RegistryModel({"systemMetadata": {"note": "{no object", "labels": "[1"}}).lifecycle == {"archived": False}


def test_every_shipped_recipe_and_the_blank_pass_offline() -> None:
    for file in sorted((at.ROOT / "pipelines" / "finetune").glob("*.yml")):
        found = preflight.run(offline(file.stem))
        assert found.blocking() == (), file


@pytest.mark.parametrize(
    ("raised", "verdict", "says"),
    [
        (None, "warning", "you may read the storage account's blobs"),
        (HttpResponseError(response=Mock(status_code=403, reason="no")), "error", "you cannot upload data"),
        (HttpResponseError(response=Mock(status_code=503, reason="busy")), "unknown", "the cloud refused"),
        (ServiceRequestError("no such host"), "unknown", "Azure cannot be reached"),
    ],
)
def test_a_storage_account_whose_rights_are_not_shown_is_tried(
    monkeypatch: pytest.MonkeyPatch, raised: Exception | None, verdict: str, says: str
) -> None:
    monkeypatch.setattr(BlobServiceClient, "list_containers", Mock(side_effect=raised, return_value=[]))
    checks = {one.name: one for one in preflight.checks()}
    subject = online({at.RIGHTS["storage"]: refused()})
    assert subject.cloud
    subject.cloud.__dict__["credential"] = Mock()
    said = preflight.asked(checks["roles"], subject)
    assert said.verdict == verdict
    assert says in said.reason


def test_an_accepted_finding_no_longer_blocks_and_its_reason_goes_into_the_tag() -> None:
    found = report(Finding("a", "error", "bad"), Finding("b", "ok", ""), Finding("c", "unknown", "who knows"))
    given = {"a": "we know", "b": "for luck"}
    assert [one.check for one in found.blocking(given)] == ["c"]
    assert found.accepted(given) == "a: we know"
    assert found.accepted({}) == ""
    assert len(found.accepted({"a": "x" * 500})) == preflight.LONGEST_TAG


@pytest.mark.parametrize(
    ("accept", "why", "says"),
    [
        (["quota"], "so", "there is no check 'quota'"),
        (["serving-quotas"], "so", "did you mean 'serving-quota'"),
        (["budget"], None, "--accept budget was given without --why"),
        (["budget"], "  ", "--accept budget was given without --why"),
        ([], "so", "--why 'so' was given without --accept"),
    ],
)
def test_accepting_takes_a_check_that_is_there_and_a_reason(accept: list[str], why: str | None, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        preflight.accepted(argparse.Namespace(accept=accept, why=why))


def test_the_record_is_json_and_keeps_its_members() -> None:
    record = json.loads(json.dumps(preflight.run(offline()).record({"budget": "we know"})))
    assert {"schema", "verdict", "offline", "table", "findings", "not_asked", "estimate", "alternatives"} <= set(record)
    assert record["schema"] == 1
    assert record["accepted"] == {"budget": "we know"}
    assert all(set(one) == {"check", "verdict", "reason", "source", "fix"} for one in record["findings"])


def test_each_thing_is_asked_of_the_cloud_once() -> None:
    subject = online()
    preflight.run(subject)
    assert subject.cloud
    asked = subject.cloud.arm.asked  # type: ignore[attr-defined]
    assert len(asked) == len(set(asked))


def test_offline_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*args: object, **kwargs: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", no)
    assert preflight.run(offline()).is_offline

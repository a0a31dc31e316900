"""Every component says what it needs, what it makes and what it leaves alone; and what any legal settings make."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from infra import naming
from infra.access import Role
from infra.settings import Settings, SettingsError
from tests.infra.conftest import ROOT, Program, Run, as_text, project_defaults, stack_file
from tests.infra.test_access import rights
from tests.infra.test_naming import DIGITS
from tests.infra.test_naming import RULES as NAMES

FILES = sorted((ROOT / "infra").glob("*.py"))
CLASSES = [
    (path.name, node) for path in FILES for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)
]
ARGS = [(file, node) for file, node in CLASSES if node.name.endswith("Args")]
COMPONENTS = [
    (file, node) for file, node in CLASSES if any(ast.unparse(one).endswith("ComponentResource") for one in node.bases)
]


@pytest.mark.parametrize(("file", "node"), ARGS, ids=lambda one: getattr(one, "name", one))
def test_every_field_of_an_args_class_says_first_whether_it_is_needed(file: str, node: ast.ClassDef) -> None:
    for at, one in enumerate(node.body):
        if not isinstance(one, ast.AnnAssign):
            continue
        said = node.body[at + 1] if at + 1 < len(node.body) else None
        text = ast.unparse(said.value).strip("'\"") if isinstance(said, ast.Expr) else ""
        assert re.match(r"(Required\. |Optional\. |Conditional: )", text), ast.unparse(one)
        assert text.startswith("Required") == (one.value is None), ast.unparse(one)


@pytest.mark.parametrize(("file", "node"), COMPONENTS, ids=lambda one: getattr(one, "name", one))
def test_every_component_takes_an_args_class_and_says_what_it_does_not_do(file: str, node: ast.ClassDef) -> None:
    said = ast.get_docstring(node) or ""
    assert re.search(r"\b(no|not|nothing|none|without|belong to)\b", said), said
    assert f"{node.name}Args" in {one.name for _, one in ARGS}


LEGAL: Mapping[str, list[Any]] = {
    "location": ["eastus", "westeurope", "swedencentral"],
    "owner": ["", "team"],
    "operators": [[], ["User:aaaaaaaa-0000-0000-0000-00000000000a"]],
    "gpuPriority": ["Dedicated", "LowPriority"],
    "endpointAuthMode": ["AADToken", "AMLToken", "Key"],
    "storageSku": ["Standard_LRS", "Standard_ZRS"],
    "registrySku": ["Basic", "Premium"],
    "vaultDays": [7, 90],
    "endpoints": [["chat"], ["chat", "draft"], ["a-name-of-14-x"]],
    "alertEmails": [[], ["team@example.com"]],
    "leaseCap": ["8h", "never"],
    **{
        key: [False, True]
        for key in (
            "purgeProtection",
            "protect",
            "production",
            "alerts",
            "privateNetwork",
            "sensitiveData",
            "purgeOnTeardown",
        )
    },
}
DRAWN = st.fixed_dictionaries({key: st.sampled_from(values) for key, values in LEGAL.items()})


def legal(drawn: Mapping[str, Any]) -> dict[str, str] | None:
    """The settings, if the rules between dials let them through."""
    values = {**project_defaults(), **{f"tunestack:{key}": as_text(value) for key, value in drawn.items()}}
    try:
        Settings.read(values)
    except SettingsError:
        return None
    return values


def holds(program: Program, values: Mapping[str, str], stack: str) -> None:
    """What is true of every stack, whatever its dials."""
    production = values["tunestack:production"] == "true"
    private = values["tunestack:privateNetwork"] == "true"
    for found in program.resources:
        if "tags" in found.inputs and found.token.startswith("azure-native:"):
            assert {"project": naming.PROJECT, "stack": stack}.items() <= found.inputs["tags"].items()
    if production or private:
        assert publicly_reached(program) == set()
    given_to_identities = {right for right in rights(program) if not right[0].startswith("aaaaaaaa")}
    assert given_to_identities == LEAST | (LEAST_PRIVATE if private else set())
    for token, kind in KINDS.items():
        for found in program.of(token):
            assert re.fullmatch(NAMES[kind], found.name + DIGITS), found.name


def publicly_reached(program: Program) -> set[str]:
    """Resources that answer on a public address."""
    open_ = set()
    for found in program.resources:
        inputs = found.inputs
        inner = inputs.get("properties") if isinstance(inputs.get("properties"), dict) else {}
        if found.token.rpartition(":")[2] in ("Workspace", "StorageAccount", "Registry", "Vault", "OnlineEndpoint"):
            if "operationalinsights" in found.token or not found.token.startswith("azure-native:"):
                continue
            access = inputs.get("publicNetworkAccess") or inner.get("publicNetworkAccess") or "Enabled"
            if access.lower() != "disabled":
                open_.add(found.name)
        if found.token.endswith(":Compute") and inner["properties"]["enableNodePublicIp"]:
            open_.add(found.name)
    return open_


LEAST = {
    ("workspace", Role.AI_ADMINISTRATOR.name, "ResourceGroup"),
    ("workspace", Role.BLOB_CONTRIBUTOR.name, "StorageAccount"),
    ("workspace", Role.FILE_CONTRIBUTOR.name, "StorageAccount"),
    ("workspace", Role.VAULT_ADMINISTRATOR.name, "Vault"),
    ("clusters", Role.BLOB_CONTRIBUTOR.name, "StorageAccount"),
    ("clusters", Role.IMAGE_PULL.name, "Registry"),
    ("endpoint", Role.BLOB_READER.name, "StorageAccount"),
    ("endpoint", Role.IMAGE_PULL.name, "Registry"),
    ("endpoint", Role.METRICS_WRITER.name, "Workspace"),
}
LEAST_PRIVATE = {
    ("builds", Role.BLOB_READER.name, "StorageAccount"),
    ("builds", Role.IMAGE_PUSH.name, "Registry"),
}
KINDS = {
    "machinelearningservices:Workspace": naming.WORKSPACE,
    "machinelearningservices:OnlineEndpoint": naming.ENDPOINT,
    "storage:StorageAccount": naming.STORAGE_ACCOUNT,
    "keyvault:Vault": naming.KEY_VAULT,
    "containerregistry:Registry": naming.CONTAINER_REGISTRY,
    "network:PrivateEndpoint": naming.PRIVATE_ENDPOINT,
    "monitor:MetricAlert": naming.ALERT,
}


# A run of the program takes most of a second, and many of them to make a failing example smaller.
@settings(
    max_examples=5,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(drawn=DRAWN)
def test_any_legal_settings_make_a_tagged_stack_with_legal_names_and_least_rights(
    run: Run, drawn: Mapping[str, Any]
) -> None:
    wanted = {**drawn}
    if wanted["production"]:
        # Each of these is a rule of its own: test_rules shows that production is refused without it.
        wanted |= dict.fromkeys(("alerts", "privateNetwork", "purgeProtection", "protect"), True)
        wanted |= {"endpointAuthMode": "AADToken", "leaseCap": "never", "purgeOnTeardown": False}
    if wanted["privateNetwork"]:
        wanted["registrySku"] = "Premium"
    if wanted["alerts"] or wanted["production"]:
        wanted["alertEmails"] = ["team@example.com"]
    if wanted["purgeProtection"]:
        wanted["purgeOnTeardown"] = False
    values = legal(wanted)
    assert values is not None, json.dumps(wanted)
    holds(run(values), values, "dev")


@settings(max_examples=200)
@given(drawn=DRAWN)
def test_no_settings_that_are_taken_have_a_production_stack_in_public(drawn: Mapping[str, Any]) -> None:
    values = legal({**drawn, "production": True})
    if values is not None:
        found = Settings.read(values)
        assert found.private_network
        assert found.registry_sku == "Premium"
        assert found.protect
        assert found.alert_emails


def test_every_identity_of_the_shared_stack_is_an_operators(run: Run) -> None:
    program = run(stack_file("shared"), stack="shared")
    assert rights(program) == set()
    assert publicly_reached(program) == {"mlr-tunestack-shared"}

"""The pack as a process: what it tells the engine, and how the stack decides its level."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
import yaml
from google.protobuf import empty_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from infra.policy.pack import RULES, plain
from infra.policy.rule import UNKNOWN
from tests.infra.conftest import ROOT

ADVISORY, MANDATORY = analyzer_pb2.ADVISORY, analyzer_pb2.MANDATORY
ACCOUNT = "azure-native:storage:StorageAccount"


FOLDER, ENGINE = str(ROOT / "infra" / "policy"), "127.0.0.1:1"


@contextmanager
def started(*arguments: str) -> Iterator[Any]:
    """The pack as a process, and a stub to call it with."""
    process = subprocess.Popen([sys.executable, "-u", *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        with grpc.insecure_channel(f"127.0.0.1:{process.stdout.readline().strip()}") as channel:
            yield analyzer_pb2_grpc.AnalyzerStub(channel)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@pytest.fixture
def pack() -> Iterator[Any]:
    """The pack, started as our language host starts it: the folder, and the engine's address."""
    with started(FOLDER, ENGINE) as found:
        yield found


def test_the_pack_starts_through_pulumis_own_module_too() -> None:
    with started("-m", "pulumi.policy", ENGINE, FOLDER) as pack:
        assert pack.GetAnalyzerInfo(empty_pb2.Empty()).name == "tunestack"


def _levels(pack: Any) -> set[int]:
    return {found.enforcementLevel for found in pack.GetAnalyzerInfo(empty_pb2.Empty()).policies}


def test_the_stack_decides_the_level_and_silence_is_mandatory(pack: Any) -> None:
    assert _levels(pack) == {MANDATORY}
    for configuration, level in (
        ({"tunestack:production": "false"}, ADVISORY),
        ({}, ADVISORY),
        ({"tunestack:production": "true"}, MANDATORY),
    ):
        pack.ConfigureStack(analyzer_pb2.AnalyzerStackConfigureRequest(stack="dev", config=configuration))
        assert _levels(pack) == {level}, configuration


def test_every_rule_is_told_to_the_engine_with_fix_and_source(pack: Any) -> None:
    told = {found.name: found for found in pack.GetAnalyzerInfo(empty_pb2.Empty()).policies}
    assert set(told) == {rule.name for rule in RULES}
    for rule in RULES:
        assert told[rule.name].description == rule.asks
        assert told[rule.name].remediation_steps == rule.fix
        assert told[rule.name].url == rule.sources[0].url


def test_a_resource_is_judged_by_the_rules_of_its_type_alone(pack: Any) -> None:
    said = pack.Analyze(analyzer_pb2.AnalyzeRequest(type=ACCOUNT, urn="urn", name="st"))
    complaining = {found.policyName for found in said.diagnostics}
    assert "storage-shared-key-disabled" in complaining
    assert not any(name.startswith(("vault-", "workspace-")) for name in complaining)
    assert not pack.Analyze(
        analyzer_pb2.AnalyzeRequest(type="tunestack:infra:Workspace", urn="urn", name="w")
    ).diagnostics


def test_an_empty_stack_is_asked_nothing(pack: Any) -> None:
    assert not pack.AnalyzeStack(analyzer_pb2.AnalyzeStackRequest()).diagnostics


def test_property_bags_become_plain_data_with_unknowns_marked() -> None:
    bag = unknown_checking_proxy({"a": [{"b": UNKNOWN_STRING_VALUE}, 1.0], "c": UNKNOWN_STRING_VALUE, "d": "text"})
    assert plain(bag) == {"a": [{"b": UNKNOWN}, 1.0], "c": UNKNOWN, "d": "text"}


def test_the_pack_runs_in_the_checkouts_virtual_environment() -> None:
    declared = yaml.safe_load((ROOT / "infra" / "policy" / "PulumiPolicy.yaml").read_text())
    folder = (ROOT / "infra" / "policy" / declared["runtime"]["options"]["virtualenv"]).resolve()
    assert folder == (ROOT / ".venv").resolve()


def test_the_pack_starts_without_the_program_and_its_provider() -> None:
    """Its start is part of every `up`: the provider's SDK alone would be a second."""
    heavy = "pulumi_azure_native", "azure.ai.ml", "pydantic", "infra.settings", "tunestack.sizes"
    done = subprocess.run(
        [sys.executable, "-c", "import sys, infra.policy.pack; print('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert not set(heavy) & set(done.stdout.split())

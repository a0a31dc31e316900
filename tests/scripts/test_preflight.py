"""`preflight`: one table before a cent is spent, offline without any connection, online against the services."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from localcloud.principals import ThrowAway
from tests.scripts.conftest import RECIPE, ROOT, Script, Stack
from tunestack import cli, connect
from tunestack.preflight.preflight_live import Live
from tunestack.recipes import component_facts, model_defaults, parameters
from tunestack.registry_id import RegistryId

PHI_3 = ROOT / "pipelines" / "finetune" / "phi-3-mini-ultrachat.yml"
PHI_4 = ROOT / "pipelines" / "finetune" / "phi-4-ultrachat.yml"
PIPELINE = RegistryId("azureml", "components", "chat_completion_pipeline", "0.0.82")
LOCATION = "providers/Microsoft.MachineLearningServices/locations/eastus"
DATA_SCIENTIST = "f6c7c914-8db3-469d-8ca1-694a8f32e121"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def serve(tmp_path: Path):
    """Deployment settings on some machines."""

    def write(size: str, count: int = 1) -> Path:
        file = tmp_path / "serve.yml"
        file.write_text(f"instance_type: {size}\ninstance_count: {count}\n")
        return file

    return write


def findings(out: str) -> dict[str, dict[str, str]]:
    return {one["check"]: one for one in json.loads(out)["findings"]}


def quota(stack: Stack, family: str, limit: int) -> None:
    subscription = stack.workspace.partition("/resourceGroups")[0]
    item = {"id": f"{subscription}/{LOCATION}/vmFamilies/{family}/quotas", "limit": limit, "unit": "Count"}
    stack.cloud.arm("POST", f"{subscription}/{LOCATION}/updateQuotas?api-version=2024-10-01", {"value": [item]})


def test_offline_it_needs_neither_login_nor_engine(script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = script("preflight", "--recipe", PHI_4, "--stack", "dev", "--offline")
    assert ended.handle in ("ok", "warning")
    assert "checks (offline)" in ended.err
    assert "not asked" in ended.err


def test_offline_nothing_heavy_is_imported() -> None:
    """What keeps it under two seconds: neither the SDK nor a training library, and no client of HTTP."""
    asked = "--recipe pipelines/finetune/phi-4-ultrachat.yml --stack dev --offline"
    program = (
        "import sys; sys.path.insert(0, 'scripts'); import preflight; from tunestack import cli; "
        f"assert cli.main(preflight.parser(), preflight.run, {asked.split()!r}) == 0; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    assert loaded & {"azure", "datasets", "pyarrow", "torch", "transformers", "mlflow", "requests", "pulumi"} == set()


def test_the_stack_of_a_file_of_outputs_is_taken_offline(script: Script, tmp_path: Path) -> None:
    (tmp_path / "outputs.json").write_text(json.dumps({"stack": "dev"}))
    arguments = ("--recipe", PHI_4, "--offline", "--json", "--outputs", tmp_path / "outputs.json")
    assert json.loads(script("preflight", *arguments).handle)["offline"] is True


def test_the_shipped_local_recipe_passes_online(stack: Stack, script: Script) -> None:
    ended = script("preflight", "--recipe", RECIPE, "--json")
    assert ended.code == 0, ended.err
    record = json.loads(ended.out)
    assert record["offline"] is False
    said = findings(ended.out)
    asked = ("base-model", "clusters", "training-region", "training-quota", "serving-quota", "limits", "roles")
    assert {said[check]["verdict"] for check in asked} == {"ok"}, said
    assert "asked now" in said["training-quota"]["source"]


def test_a_quota_that_is_too_small_for_blue_plus_green_is_an_error(stack: Stack, script: Script) -> None:
    family = "standardDSv3Family"
    quota(stack, family, 12)
    try:
        ended = script("preflight", "--recipe", RECIPE, "--json")
    finally:
        quota(stack, family, 100)
    assert ended.code == 5
    assert findings(ended.out)["serving-quota"]["verdict"] == "error"
    assert "each ceil(1.2 x 1) x 4 = 8: it takes 16 of 'standardDSv3Family', where 0 of 12 are used" in ended.err


def test_the_archived_model_is_a_warning_with_its_dates(stack: Stack, script: Script) -> None:
    said = findings(script("preflight", "--recipe", PHI_3, "--json").out)["base-model"]
    assert said["verdict"] == "warning"
    assert "is archived in its registry and was retired" in said["reason"]
    assert "deprecated 2025-06-30, retired 2025-08-30" in said["reason"]
    assert said["source"].startswith("the registry, asked now; dates of azure_facts.yml")


def test_a_retired_size_to_serve_on_is_an_error(stack: Stack, script: Script, serve) -> None:
    ended = script("preflight", "--recipe", PHI_3, "--deployment", serve("Standard_NC6s_v3"), "--json")
    assert ended.code == 5
    said = findings(ended.out)
    assert "retired by Azure on 2025-09-30" in said["serving-size"]["reason"]
    assert said["serving-allow-list"]["verdict"] == "ok"
    assert said["serving-region"]["verdict"] == "error"


def test_who_lacks_a_role_reads_which_and_for_which_step(
    stack: Stack, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, bob = stack.cloud.running, ThrowAway("bob")
    running.call("PUT", "127.0.0.1", "/localcloud/principals/bob", {}, running.secret)
    for name, value in bob.variables(running).items():
        monkeypatch.setenv(name, value)
    group = stack.workspace.partition("/providers")[0]
    stack.cloud.grant(READER, group.partition("/resourceGroups")[0], bob.object_id)
    said = findings(script("preflight", "--recipe", RECIPE, "--json").out)["roles"]
    assert said["verdict"] == "warning", "the workspace is minutes old, so a role may still be spreading"
    assert "you cannot submit the job without the role 'AzureML Data Scientist' on the workspace" in said["reason"]
    assert "you cannot upload data without the role 'Storage Blob Data Contributor' on the storage" in said["reason"]
    stack.cloud.grant(DATA_SCIENTIST, group, bob.object_id)
    said = findings(script("preflight", "--recipe", RECIPE, "--json").out)["roles"]
    assert "submit the job" not in said["reason"]
    assert "upload data" in said["reason"]


def test_what_is_accepted_no_longer_blocks_and_is_recorded(script: Script, serve) -> None:
    arguments = ("--recipe", PHI_4, "--stack", "dev", "--offline", "--deployment", serve("Standard_NC6s_v3"), "--json")
    blocked = script("preflight", *arguments)
    assert blocked.code == 5
    wrong = [one["check"] for one in json.loads(blocked.out)["findings"] if one["verdict"] in ("error", "unknown")]
    accept = [text for check in wrong for text in ("--accept", check)]
    passed = script("preflight", *arguments, *accept, "--why", "a rehearsal")
    assert passed.code == 0, passed.err
    assert json.loads(passed.out)["accepted"] == dict.fromkeys(wrong, "a rehearsal")
    idle = script("preflight", *arguments, *accept, "--accept", "names", "--why", "a rehearsal").failed(2)
    assert "--accept names was given, and it says 'ok': nothing is to be accepted. Leave it out" in idle


def test_every_problem_is_an_error_line_and_stdout_stays_empty(script: Script, serve) -> None:
    said = script(
        "preflight", "--recipe", PHI_4, "--stack", "dev", "--offline", "--deployment", serve("Standard_NC6s_v3")
    ).failed(5)
    assert "check 'serving-size' says error: 'Standard_NC6s_v3' was retired by Azure on 2025-09-30" in said
    assert "--accept serving-size" in said
    assert said.endswith("--why TEXT")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--recipe"),
        (("--recipe", PHI_4, "--offline"), "--offline was given without --stack"),
        (("--recipe", PHI_4, "--offline", "--stack", "prd"), "did you mean 'prod'"),
        (("--recipe", PHI_4, "--offline", "--stack", "shared"), "stack 'shared' is a registry for models"),
        (("--recipe", "gone.yml", "--offline", "--stack", "dev"), "recipe 'gone.yml' does not exist"),
        (("--recipe", PHI_4, "--offline", "--stack", "dev", "--data", "gone"), "data folder 'gone' does not exist"),
        (("--recipe", PHI_4, "--offline", "--stack", "dev", "--deployment", "gone.yml"), "'gone.yml' does not exist"),
        (("--recipe", PHI_4, "--offline", "--stack", "dev", "--set", "budgt=1"), "did you mean 'budget'"),
        (
            ("--recipe", PHI_4, "--offline", "--stack", "dev", "--accept", "rols", "--why", "x"),
            "there is no check 'rols'; did you mean 'roles'",
        ),
        (("--recipe", PHI_4, "--offline", "--stack", "dev", "--accept", "roles"), "without --why"),
    ],
)
def test_bad_input_is_one_clear_error(script: Script, arguments, said) -> None:
    assert said in script("preflight", *arguments).failed(2)


def test_a_file_of_outputs_that_names_no_stack_is_no_stack(script: Script, tmp_path: Path) -> None:
    (tmp_path / "outputs.json").write_text("[1]")
    said = script("preflight", "--recipe", PHI_4, "--offline", "--outputs", tmp_path / "outputs.json").failed(3)
    assert "outputs.json' names no stack. Name it with --stack" in said


def test_away_from_the_project_it_asks_the_cloud_and_reads_no_dials(
    stack: Stack, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = findings(script("preflight", "--recipe", RECIPE, "--json").handle)
    assert "the stack's budget of a month is 200" in said["budget"]["reason"], "as its outputs have it"
    assert "for a lease of 24h" in said["serving-cost"]["reason"]
    (tmp_path / "Pulumi.yaml").write_text("name: x\n")
    (tmp_path / "Pulumi.test.yaml").write_text("config: [")
    assert "stack file" in script("preflight", "--recipe", RECIPE).failed(2)


def test_another_stack_than_the_connected_one_is_refused(stack: Stack, script: Script) -> None:
    said = script("preflight", "--recipe", RECIPE, "--stack", "prod").failed(2)
    assert "--stack is 'prod', and the stack that is connected to is 'test'" in said


# -- the dated tables beside what a registry answers over HTTP


@pytest.fixture
def live(stack: Stack) -> Live:
    """What preflight asks of the registry, over HTTP."""
    flags = cli.Parser("asks")
    flags.workspace_flags()
    return Live(connect.connect(flags.parse_args([])))


def test_the_components_inputs_are_those_of_the_table(live: Live) -> None:
    table = component_facts.schema(PIPELINE)
    assert table
    specification = live.component(PIPELINE)
    assert specification
    found = component_facts.of_specification(specification, PIPELINE, "registry")
    assert len(found.inputs) == 69
    assert found.inputs == table.inputs
    assert {name: _number(value) for name, value in found.defaults.items()} == {
        name: _number(value) for name, value in table.defaults.items()
    }


@pytest.mark.parametrize(
    ("model", "version"), [("Phi-4", "8"), ("Phi-3-mini-4k-instruct", "15"), ("SmolLM2-135M-Instruct", "1")]
)
def test_the_models_defaults_are_those_of_the_table(live: Live, model: str, version: str) -> None:
    found, table = live.model(RegistryId("azureml", "models", model, version)), model_defaults.of_model(model)
    assert found
    assert table
    told = parameters.model_defaults(found.tags)
    assert {name: _number(value) for name, value in told.items()} == {
        name: _number(value) for name, value in table.items()
    }


def _number(value: object) -> object:
    try:
        return float(str(value))
    except ValueError:
        return str(value)


def test_offline_and_online_say_the_same_of_parameters_memory_and_cost(stack: Stack, script: Script) -> None:
    ours = {"parameters", "dropped-parameters", "overridden-parameters", "training-memory", "serving-memory", "lora"}
    online = json.loads(script("preflight", "--recipe", PHI_4, "--json").out)
    offline = json.loads(script("preflight", "--recipe", PHI_4, "--stack", "dev", "--offline", "--json").out)
    said = [
        {one["check"]: (one["verdict"], one["reason"]) for one in record["findings"] if one["check"] in ours}
        for record in (online, offline)
    ]
    assert said[0] == said[1]
    assert online["estimate"]["run"]["steps"] == offline["estimate"]["run"]["steps"]
    assert online["alternatives"], "the region's own list decides which"

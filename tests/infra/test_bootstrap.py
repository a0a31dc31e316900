"""The bootstrap under mocks, and the page that sets it up: its lines, run as they stand on the real engine."""

from __future__ import annotations

import asyncio
import contextvars
import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pytest
import requests
import yaml
from pulumi.runtime.settings import SETTINGS
from pulumi.runtime.stack import run_pulumi_func

from infra.access import Role as StackRole
from infra.bootstrap import variables
from infra.bootstrap.identities import Role, only_roles
from infra.bootstrap.settings import BootstrapError, Settings
from localcloud import environment
from localcloud.client import CallFailed
from localcloud.cloud import PRINCIPAL_ID
from localcloud.server import Options
from localcloud.services.entra import issue_token
from tests.conftest import CACHE, HANG_SECONDS, RunningCloud, serve
from tests.infra.conftest import ROOT, SUBSCRIPTION, Monitor, Program, as_text

PROJECT = ROOT / "infra" / "bootstrap"
ME = "aaaaaaaa-0000-0000-0000-00000000000a"
MANAGEMENT = "management.azure.com"
OTHER = "bbbbbbbb-2222-3333-4444-555555555555"
HANDS_OUT_ROLES = {
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": "Owner",
    "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9": "User Access Administrator",
    "f58310d9-a9f6-439a-9e8d-f62e7b41a168": "Role Based Access Control Administrator",
}


def settings(**changes: Any) -> dict[str, str]:
    declared = yaml.safe_load((PROJECT / "Pulumi.yaml").read_text())["config"]
    given = {key: dial["default"] for key, dial in declared.items()}
    given |= {"repository": "acme/tunestack", "administrators": [f"User:{ME}"]} | changes
    return {f"tunestack-bootstrap:{key}": as_text(value) for key, value in given.items()}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Program]:
    def run_program(**changes: Any) -> Program:
        program = Program()
        monkeypatch.setenv("PULUMI_CONFIG", json.dumps(settings(**changes)))
        monkeypatch.setattr(pulumi, "export", program.outputs.__setitem__)
        contextvars.Context().run(asyncio.run, _execute(program))
        return program

    return run_program


async def _execute(program: Program) -> None:
    SETTINGS.rpc_manager.clear()
    SETTINGS.outputs.clear()
    pulumi.runtime.set_mocks(
        program, project="tunestack-bootstrap", stack="bootstrap", preview=False, monitor=Monitor(program)
    )
    await run_pulumi_func(lambda: runpy.run_path(str(PROJECT), run_name="__main__") and None)


def rights(program: Program) -> dict[str, set[tuple[str, str]]]:
    """Per identity (or object id): its roles, and the last two segments of where it has them."""
    found: dict[str, set[tuple[str, str]]] = {}
    for one in program.of("authorization:RoleAssignment"):
        who = re.sub(r"principal of id-tunestack-github-(.*)", r"\1", one.inputs["principalId"])
        named = one.inputs["roleDefinitionId"].rpartition("/")[2]
        role = Role(named).name if named in list(Role) else named
        found.setdefault(who, set()).add((role, one.inputs["scope"].rpartition("/")[2]))
    return found


def test_a_pull_request_can_read_and_change_nothing(run: Callable[..., Program]) -> None:
    reading = {
        ("READER", SUBSCRIPTION),
        *(("BLOB_READER", f"state-{name}") for name in ("dev", "prod")),
        *(("decrypt", f"key-{name}") for name in ("dev", "prod")),
    }
    program = run()
    assert rights(program)["preview"] == rights(program)["ml"] == reading
    (permission,) = program.one("authorization:RoleDefinition").inputs["permissions"]
    assert permission == {"dataActions": ["Microsoft.KeyVault/vaults/keys/decrypt/action"]}


def test_a_deploy_identity_reaches_its_own_environment_and_no_other(run: Callable[..., Program]) -> None:
    found = rights(run(environments=["dev", f"prod={OTHER}"]))
    for name, subscription in (("dev", SUBSCRIPTION), ("prod", OTHER)):
        assert found[f"deploy-{name}"] == {
            ("CONTRIBUTOR", subscription),
            ("ROLE_ADMINISTRATOR", subscription),
            ("BLOB_CONTRIBUTOR", f"state-{name}"),
            ("CRYPTO_USER", f"key-{name}"),
        }


def test_roles_are_handed_out_only_under_a_condition_that_names_each_and_none_that_hands_out_more(
    run: Callable[..., Program],
) -> None:
    handing = [
        one
        for one in run().of("authorization:RoleAssignment")
        if one.inputs["roleDefinitionId"].endswith(Role.ROLE_ADMINISTRATOR)
    ]
    assert len(handing) == 2
    for one in handing:
        assert (one.inputs["condition"], one.inputs["conditionVersion"]) == (only_roles(StackRole), "2.0")
        assert not [name for guid, name in HANDS_OUT_ROLES.items() if guid in one.inputs["condition"]]
        assert all(role in one.inputs["condition"] for role in StackRole)


def test_each_identity_is_trusted_for_one_subject_of_one_repository(run: Callable[..., Program]) -> None:
    found = run().of("managedidentity:FederatedIdentityCredential")
    assert {one.inputs["subject"] for one in found} == {
        "repo:acme/tunestack:pull_request",
        "repo:acme/tunestack:environment:ml",
        "repo:acme/tunestack:environment:dev",
        "repo:acme/tunestack:environment:prod",
    }
    for one in found:
        assert one.inputs["issuer"] == "https://token.actions.githubusercontent.com"
        assert one.inputs["audiences"] == ["api://AzureADTokenExchange"]


def test_the_state_has_no_keys_keeps_every_version_and_is_protected(run: Callable[..., Program]) -> None:
    program = run()
    account = program.one("storage:StorageAccount")
    assert account.inputs["allowSharedKeyAccess"] is False
    assert account.inputs["allowBlobPublicAccess"] is False
    versions = program.one("storage:BlobServiceProperties").inputs
    assert versions["isVersioningEnabled"] is True
    assert versions["deleteRetentionPolicy"] == {"enabled": True, "days": 90}
    vault = program.one("keyvault:Vault").inputs["properties"]
    assert (vault["enableRbacAuthorization"], vault["enablePurgeProtection"]) == (True, True)
    kept = {one.token.rpartition(":")[2] for one in program.resources if one.request.protect}
    assert kept == {"StorageAccount", "BlobContainer", "Vault", "Key"}
    assert not any(one.request.protect for one in run(protect=False).resources)


def test_nothing_of_it_carries_the_tags_by_which_a_sweep_finds_what_stacks_left(run: Callable[..., Program]) -> None:
    tags = [one.inputs["tags"] for one in run().resources if "tags" in one.inputs]
    assert {tag["project"] for tag in tags} == {"tunestack-bootstrap"}


def test_every_problem_of_the_settings_is_told_at_once_with_the_line_that_mends_it() -> None:
    wrong = settings(
        location="East US",
        repository="",
        environments=["dev", "dev", "ml", "Prod"],
        administrators=[],
        stateDays=0,
        protect="yes",
    )
    with pytest.raises(BootstrapError) as raised:
        Settings.read(wrong)
    said = str(raised.value)
    for part in (
        "'location' is 'East US'",
        "pulumi config set repository your-organisation/tunestack",
        "'environments' has 'Prod'",
        "'environments' names 'dev' twice",
        "'environments' has 'ml', which is taken",
        "'administrators' is empty",
        "'stateDays' is '0'",
        "'protect' is 'yes'",
    ):
        assert part in said, said


def test_outputs_that_are_not_the_bootstraps_give_one_error(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("", "{}", "[]", "{"):
        assert variables.main(io.StringIO(text)) == 3
    assert capsys.readouterr().err.count("error: standard input has no outputs of the bootstrap") == 4


@dataclass
class Bootstrapped:
    """What the page's block left: the project's copy, its cloud, and what it printed."""

    folder: Path
    cloud: RunningCloud
    variables: Mapping[str, str]
    said: str = field(default="", repr=False)

    def bash(self, script: str) -> str:
        done = subprocess.run(
            ["bash", "-c", f"set -euo pipefail\n{script}"],
            cwd=self.folder,
            env=dict(self.variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def bootstrapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bootstrapped]:
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "infra", folder / "infra", ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.glob("Pulumi*.yaml"):
        shutil.copy(path, folder)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    page = (ROOT / "docs" / "gitops.md").read_text()
    (block,) = re.findall(r"<!-- bootstrap -->\n```sh\n(.*?)```", page, re.DOTALL)
    with serve(Options(tmp_path_factory.mktemp("cloud") / "state", tracking=False)) as cloud:
        inherited = {**os.environ, "HOME": str(tmp_path_factory.mktemp("home")), "TUNESTACK_CACHE": str(CACHE)}
        given = environment.for_command(cloud.running, inherited)
        given |= {"STACK": "local", "REPOSITORY": "acme/tunestack", "ME": f"ServicePrincipal:{PRINCIPAL_ID}"}
        given |= {"PULUMI_SKIP_CONFIRMATIONS": "true", "PULUMI_OPTION_SKIP_PREVIEW": "true"}
        given["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{given['PATH']}"
        made = Bootstrapped(folder, cloud, given)
        made.said = made.bash(block)
        yield made


def test_the_page_moves_the_state_into_what_it_made_and_up_again_changes_nothing(bootstrapped: Bootstrapped) -> None:
    assert re.search(r"\d+ unchanged", bootstrapped.said)
    own = yaml.safe_load((bootstrapped.folder / "infra/bootstrap/Pulumi.local.yaml").read_text())
    assert own["secretsprovider"].startswith("azurekeyvault://kv-tunestack-key")
    assert "encryptionsalt" not in own
    (account,) = (bootstrapped.cloud.cloud.blobs).iterdir()
    assert (account / "bootstrap/.pulumi/stacks/tunestack-bootstrap/local.json").exists()
    assert sorted(path.name for path in account.iterdir()) == ["bootstrap", "dev", "prod"]


def test_the_printed_lines_make_the_stacks_in_their_own_state_under_their_own_key(bootstrapped: Bootstrapped) -> None:
    lines = (bootstrapped.folder / "infra/bootstrap/lines.sh").read_text().splitlines()
    assert [line for line in lines if line.startswith("gh variable set CLIENT_PREVIEW --repo acme/tunestack --body ")]
    assert [line for line in lines if line.startswith("gh api --method PUT repos/acme/tunestack/environments/prod")]
    (line,) = [line for line in lines if "pulumi stack init dev " in line]
    # Stack `dev` itself does not run here; `local-dev` in its place does.
    bootstrapped.bash(line.replace("stack init dev", "stack init local-dev"))
    made = yaml.safe_load((bootstrapped.folder / "Pulumi.local-dev.yaml").read_text())
    assert made["secretsprovider"].endswith(".vault.azure.net/keys/dev")
    (account,) = (bootstrapped.cloud.cloud.blobs).iterdir()
    assert (account / "dev/.pulumi/stacks/tunestack/local-dev.json").exists()


class Acts:
    """What the identities of the workflows do with their roles; each returns how it was refused, or nothing."""

    def __init__(self, cloud: RunningCloud, assignment: Mapping[str, Any]) -> None:
        self._cloud, self._who = cloud, assignment["properties"]["principalId"]
        self._scope = str(assignment["properties"]["scope"])

    def _call(self, method: str, host: str, path: str, body: Any, audience: str) -> str:
        token = issue_token(self._cloud.cloud, audience, oid=self._who, appid=self._who)
        try:
            self._cloud.running.call(method, host, path, body, token)
        except ValueError:
            return ""  # the blob service answers in XML, or with what the blob holds
        except CallFailed as error:
            return str(error)
        return ""

    def _arm(self, method: str, path: str, body: Any = None) -> str:
        return self._call(method, MANAGEMENT, f"{path}?api-version=2024-03-01", body, f"https://{MANAGEMENT}")

    def reads(self) -> str:
        return self._arm("GET", self._scope)

    def makes(self) -> str:
        return self._arm("PUT", f"{self._scope}/resourceGroups/made-by-{self._who}", {"location": "eastus"})

    def assigns(self) -> str:
        """A role of the stacks may be handed out; no other may, with or without the right."""
        path = f"{self._scope}/providers/Microsoft.Authorization/roleAssignments"
        for role, allowed in ((StackRole.IMAGE_PULL, True), (Role.CONTRIBUTOR, False)):
            properties = {"roleDefinitionId": f"/x/{role}", "principalId": OTHER, "principalType": "ServicePrincipal"}
            name = uuid.uuid5(uuid.NAMESPACE_URL, f"{self._who}|{role}")
            said = self._arm("PUT", f"{path}/{name}", {"properties": properties})
            if allowed and said:
                return said
            assert allowed or "roleAssignments/write" in said
            if allowed:
                assert self._arm("DELETE", f"{path}/{name}") == ""
        return ""

    def _state(self, method: str, query: str = "") -> str:
        account, _, container = self._scope.rpartition("/storageAccounts/")[2].partition("/")
        url = f"https://{account}.blob.core.windows.net/{container.rpartition('/')[2]}{query}"
        token = issue_token(self._cloud.cloud, "https://storage.azure.com", oid=self._who, appid=self._who)
        headers = {"Authorization": f"Bearer {token}", "x-ms-blob-type": "BlockBlob"}
        found = self._cloud.environment
        with requests.Session() as session:
            session.trust_env = False
            session.proxies, session.verify = {"https": found["HTTPS_PROXY"]}, found["REQUESTS_CA_BUNDLE"]
            answer = session.request(method, url, headers=headers, data=b"{}", timeout=HANG_SECONDS)
        return "" if answer.ok else answer.text

    def reads_state(self) -> str:
        return self._state("GET", "?restype=container&comp=list")

    def writes_state(self) -> str:
        return self._state("PUT", "/mine.json")

    def _key(self, operation: str) -> str:
        vault, _, key = self._scope.rpartition("/vaults/")[2].partition("/keys/")
        host, body = f"{vault}.vault.azure.net", {"alg": "RSA-OAEP-256", "value": "eA"}
        said = self._call("POST", host, f"/keys/{key}/{operation}?api-version=7.4", body, "https://vault.azure.net")
        return "" if "cannot be decrypted" in said else said

    def decrypts(self) -> str:
        return self._key("decrypt")

    def encrypts(self) -> str:
        return self._key("encrypt")


ACTS = {
    Role.READER: (Acts.reads, "subscriptions/read"),
    Role.CONTRIBUTOR: (Acts.makes, "resourceGroups/write"),
    Role.ROLE_ADMINISTRATOR: (Acts.assigns, "roleAssignments/write"),
    Role.BLOB_READER: (Acts.reads_state, "AuthorizationPermissionMismatch"),
    Role.BLOB_CONTRIBUTOR: (Acts.writes_state, "AuthorizationPermissionMismatch"),
    Role.CRYPTO_USER: (Acts.encrypts, "keys/encrypt/action"),
}
DECRYPTER = (Acts.decrypts, "keys/decrypt/action")


def test_without_any_of_its_roles_an_identity_of_the_workflows_cannot_do_its_part(bootstrapped: Bootstrapped) -> None:
    """Every assignment that the bootstrap has made is taken away once, its step refused, and put back."""
    cloud, seen = bootstrapped.cloud, set()
    for found in cloud.cloud.store.beneath("/subscriptions", "microsoft.authorization/roleassignments"):
        properties = found["properties"]
        if properties["principalId"] == PRINCIPAL_ID:
            continue  # it owns the subscription beside
        role = properties["roleDefinitionId"].rpartition("/")[2]
        act, words = ACTS[Role(role)] if role in list(Role) else DECRYPTER
        acts = Acts(cloud, found)
        assert act(acts) == "", found
        cloud.arm("DELETE", f"{found['id']}?api-version=2022-04-01")
        assert words in act(acts), found
        kept = ("roleDefinitionId", "principalId", "principalType", "condition", "conditionVersion")
        body = {name: properties[name] for name in kept if properties.get(name)}
        cloud.arm("PUT", f"{found['id']}?api-version=2022-04-01", {"properties": body})
        seen.add(act)
    assert seen == {act for act, _ in [*ACTS.values(), DECRYPTER]}

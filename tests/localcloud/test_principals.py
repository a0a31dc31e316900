"""Who a command runs as: principals by name and secret, identities by federation, and what a node's jobs run as."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

from localcloud import environment
from localcloud.assertions import GITHUB, assertion
from localcloud.cloud import SUBSCRIPTION, TENANT
from localcloud.engine.arm_client import Principal
from localcloud.engine.caller import principal_of
from localcloud.principals import Federated, ThrowAway
from localcloud.server import Options
from localcloud.services import acting
from tests.conftest import HANG_SECONDS, RunningCloud, serve

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/ci-dev"
VERSION = "?api-version=2023-01-31"
SUBJECT = "repo:org/repo:environment:dev"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
SCOPE = "https://management.azure.com/.default"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    """An identity that trusts one subject of GitHub's."""
    with serve(Options(tmp_path_factory.mktemp("cloud") / "state", engine=False, tracking=False)) as found:
        found.arm("PUT", GROUP + VERSION, {"location": "eastus"})
        found.arm("PUT", IDENTITY + VERSION, {"location": "eastus"})
        trusted = {"issuer": GITHUB, "subject": SUBJECT, "audiences": ["api://AzureADTokenExchange"]}
        found.arm("PUT", f"{IDENTITY}/federatedIdentityCredentials/github{VERSION}", {"properties": trusted})
        yield found


def identity(cloud: RunningCloud) -> dict[str, str]:
    found: dict[str, str] = cloud.arm("GET", IDENTITY + VERSION)["properties"]
    return found


def become(principal: Any, cloud: RunningCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point this process at the cloud as `localcloud run --as` points a command."""
    for name in [name for name in os.environ if name.startswith(("AZURE_", "ARM_"))]:
        monkeypatch.delenv(name)
    for name, value in environment.variables(cloud.running, {}, principal).items():
        monkeypatch.setenv(name, value)


def group(token: str) -> requests.Response:
    url = f"https://management.azure.com{GROUP}{VERSION}"
    return requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=HANG_SECONDS)


def test_a_federated_identity_logs_in_without_a_secret_and_has_its_roles(
    cloud: RunningCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = identity(cloud)
    become(Federated(found["clientId"], SUBJECT), cloud, monkeypatch)
    assert not [name for name in os.environ if name.endswith("CLIENT_SECRET")]
    assert os.environ["ARM_USE_OIDC"] == "true"
    assert os.environ["ARM_OIDC_TOKEN_FILE_PATH"] == os.environ["AZURE_FEDERATED_TOKEN_FILE"]
    token = DefaultAzureCredential().get_token(SCOPE).token
    assert found["principalId"] in group(token).json()["error"]["message"]
    made = cloud.grant(READER, GROUP, found["principalId"])
    assert group(token).status_code == 200
    cloud.revoke(made)


@pytest.mark.parametrize(
    ("subject", "issuer", "code"),
    [
        ("repo:org/repo:environment:prod", GITHUB, "AADSTS700213"),
        ("repo:org/repo:environment:Dev", GITHUB, "AADSTS700213"),
        (SUBJECT, "https://elsewhere.example", "AADSTS700211"),
    ],
)
def test_an_assertion_of_somebody_else_gets_no_token(
    cloud: RunningCloud, monkeypatch: pytest.MonkeyPatch, subject: str, issuer: str, code: str
) -> None:
    become(Federated(identity(cloud)["clientId"], subject, issuer), cloud, monkeypatch)
    with pytest.raises(ClientAuthenticationError, match=code):
        DefaultAzureCredential().get_token(SCOPE)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"audience": "api://other"}, "AADSTS700212"),
        ({"now": time.time() - 3600}, "AADSTS700024"),
        ({"secret": "another"}, "AADSTS50013"),
    ],
)
def test_an_assertion_must_be_for_entra_and_fresh_and_signed(
    cloud: RunningCloud, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], code: str
) -> None:
    client = identity(cloud)["clientId"]
    become(Federated(client, SUBJECT), cloud, monkeypatch)
    given = {"secret": cloud.running.secret, "subject": SUBJECT, "now": time.time(), **change}
    form = {
        "grant_type": "client_credentials",
        "client_id": client,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion(**given),
        "scope": SCOPE,
    }
    answer = requests.post(
        f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token", data=form, timeout=HANG_SECONDS
    )
    assert code in answer.json()["error_description"]


def test_a_principal_by_name_has_no_role_until_it_is_given_one(
    cloud: RunningCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = ThrowAway("bob")
    cloud.running.call("PUT", "127.0.0.1", "/localcloud/principals/bob", {}, cloud.running.secret)
    become(bob, cloud, monkeypatch)
    token = DefaultAzureCredential().get_token(SCOPE).token
    assert group(token).status_code == 403
    made = cloud.grant(READER, GROUP, bob.object_id)
    assert group(token).status_code == 200
    cloud.revoke(made)
    become(ThrowAway("unknown"), cloud, monkeypatch)
    with pytest.raises(ClientAuthenticationError, match="AADSTS700016"):
        DefaultAzureCredential().get_token(SCOPE)


def test_a_command_is_run_as_whom_the_flags_name(cloud: RunningCloud) -> None:
    show = "import os; print(os.environ['AZURE_CLIENT_ID'], os.environ.get('AZURE_CLIENT_SECRET', 'none'))"

    def run(*flags: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "localcloud", "run", *flags, "--", sys.executable, "-c", show]
        inherited = {**os.environ, "LOCALCLOUD_STATE": str(cloud.running.state)}
        return subprocess.run(command, env=inherited, capture_output=True, text=True, check=False, timeout=HANG_SECONDS)

    assert run("--as", "ci-dev", "--subject", SUBJECT).stdout.split() == [identity(cloud)["clientId"], "none"]
    assert run("--as", "alice").stdout.split()[1] != cloud.running.secret
    for flags, said in (
        (["--as", "nobody", "--subject", SUBJECT], "0 user-assigned identities are called 'nobody'"),
        (["--subject", SUBJECT], "--subject needs --as"),
        (["--as", "not a name"], "'not a name' is no name of a principal"),
    ):
        failed = run(*flags)
        assert failed.returncode == 1
        assert said in failed.stderr
        assert "Traceback" not in failed.stderr


def test_what_runs_as_an_identity_gets_tokens_from_the_identity_endpoint(
    cloud: RunningCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = acting.acting_as(cloud.cloud, {"id": "/x", "identity": {"userAssignedIdentities": {IDENTITY: {}}}})
    assert found
    become(None, cloud, monkeypatch)
    for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(name)
    for name, value in found.environment().items():
        monkeypatch.setenv(name, value)
    token = ManagedIdentityCredential(client_id=found.client).get_token(SCOPE).token
    assert found.principal in group(token).json()["error"]["message"]
    monkeypatch.setenv("MSI_SECRET", "wrong")
    with pytest.raises(ClientAuthenticationError):
        ManagedIdentityCredential(client_id=found.client).get_token(SCOPE)


def test_the_provider_acts_as_the_principal_in_the_engines_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = Principal("owner", "secret", "tenant", "subscription")
    variables: dict[str, str] = {}
    monkeypatch.setattr("localcloud.engine.caller.environment_of", lambda peer: variables)
    assert principal_of("ipv4:127.0.0.1:1", owner) is owner
    variables |= {"ARM_CLIENT_ID": "bob", "ARM_CLIENT_SECRET": "his"}
    assert principal_of("", owner) == Principal("bob", "his", "tenant", "subscription")
    variables |= {"ARM_USE_OIDC": "true", "ARM_OIDC_TOKEN": "a.b.c"}
    found = principal_of("", owner)
    assert found.proof()["client_assertion"] == "a.b.c"
    assert "client_secret" not in found.proof()

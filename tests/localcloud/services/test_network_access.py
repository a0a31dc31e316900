"""Callers that say where they stand: what is private refuses them from outside, in each service's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from azure.identity import DefaultAzureCredential

from localcloud.server import Options
from tests.conftest import HANG_SECONDS, RunningCloud, serve
from tests.localcloud.services.conftest import STORAGE, VAULT, WORKSPACE, Account, make_workspace, place
from tests.localcloud.services.test_networks import PE, SUBNET, VNET, endpoint, network, put, subnet

BLOBS = "https://acct.blob.core.windows.net/cont?restype=container&comp=list"
KEYS = "https://kv.vault.azure.net/keys/state/encrypt?api-version=7.4"
RUNS = f"https://eastus.api.azureml.ms/history/v1.0{WORKSPACE}/runs/none/details"
Ask = Callable[[str | None, str], requests.Response]


@pytest.fixture
def ask(account: Account, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """A request from a network: a virtual network's name, `internet`, or None for a caller that says nothing."""
    account.blobs.make_container("acct", "cont")
    place(account.cloud, VAULT, {"softDeleteRetentionInDays": 7})
    make_workspace(account.cloud)
    put(account.cloud, VNET, network())
    put(account.cloud, SUBNET, subnet("10.0.1.0/24"))
    scopes = {"blob": "https://storage.azure.com", "vault": "https://vault.azure.net", "api": "https://ml.azure.com"}

    def send(stand: str | None, url: str) -> requests.Response:
        monkeypatch.setenv("HTTPS_PROXY", account.cloud.environment["HTTPS_PROXY"])
        kind = next(word for word in ("blob", "vault", "api") if f".{word}." in url)
        token = DefaultAzureCredential().get_token(f"{scopes[kind]}/.default").token
        proxy = account.cloud.environment["HTTPS_PROXY"]
        if stand:
            monkeypatch.setenv("HTTPS_PROXY", proxy.replace("http://", f"http://{stand}:-@"))
        headers = {"Authorization": f"Bearer {token}", "x-ms-version": "2024-08-04"}
        return requests.request("POST" if kind == "vault" else "GET", url, headers=headers, timeout=HANG_SECONDS)

    return send


def close(cloud: RunningCloud, resource: str) -> None:
    found = cloud.cloud.store.get(resource)
    assert found
    found["properties"]["publicNetworkAccess"] = "Disabled"
    cloud.cloud.store.put(resource, found)


@pytest.mark.parametrize(
    ("resource", "group", "url", "words"),
    [
        (STORAGE, "blob", BLOBS, "<Code>AuthorizationFailure</Code>"),
        (VAULT, "vault", KEYS, '"code":"ForbiddenByConnection"'),
        (WORKSPACE, "amlworkspace", RUNS, "Public network access is disabled"),
    ],
)
def test_what_is_private_is_reached_from_inside_only(
    resource: str, group: str, url: str, words: str, account: Account, ask: Ask
) -> None:
    assert words not in ask("internet", url).text
    close(account.cloud, resource)
    for outside in ("internet", "vnet", "vnet2"):
        refused = ask(outside, url)
        assert (refused.status_code, words in refused.text) == (403, True), refused.text
    put(account.cloud, PE, endpoint(resource, group))
    assert words not in ask("vnet", url).text
    assert words in ask("vnet2", url).text
    assert words in ask("internet", url).text
    # Who says nothing is not asked.
    assert words not in ask(None, url).text


def test_the_command_line_says_where_a_command_stands(tmp_path: Any) -> None:
    from localcloud import environment

    with serve(Options(tmp_path / "state", engine=False, tracking=False)) as cloud:
        found = environment.variables(cloud.running, {}, None, "vnet one")
        assert found["HTTPS_PROXY"].startswith("http://vnet%20one:-@127.0.0.1:")
        assert environment.variables(cloud.running, {})["HTTPS_PROXY"].startswith("http://127.0.0.1:")

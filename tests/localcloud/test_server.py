"""The front door: only Azure's names pass the proxy, only our tokens are taken, what is missing is a 501."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import requests

from localcloud import app, client
from localcloud.cloud import Cloud
from localcloud.server import CannotStart, Options, Server, refuse_azure_name
from tests.conftest import HANG_SECONDS, RunningCloud, serve

GROUP = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg"


def _token(scope: str = "https://management.azure.com/.default", secret: str | None = None) -> requests.Response:
    return requests.post(
        f"https://login.microsoftonline.com/{os.environ['AZURE_TENANT_ID']}/oauth2/v2.0/token",
        data={
            "grant_type": "client_credentials",
            "client_id": os.environ["AZURE_CLIENT_ID"],
            "client_secret": secret or os.environ["AZURE_CLIENT_SECRET"],
            "scope": scope,
        },
        timeout=HANG_SECONDS,
    )


def test_every_other_name_is_refused_by_the_proxy(local_cloud: RunningCloud) -> None:
    with pytest.raises(requests.exceptions.ProxyError, match="403"):
        requests.get("https://example.com/", timeout=HANG_SECONDS)
    with pytest.raises(requests.exceptions.ProxyError, match="403"):
        requests.get("https://management.azure.com.example.com/", timeout=HANG_SECONDS)


@pytest.mark.parametrize(
    "name", ["management.azure.com", "x.blob.core.windows.net", "AZURE.COM", "graph.microsoft.com."]
)
def test_a_name_of_azures_is_never_let_out(name: str, local_cloud: RunningCloud) -> None:
    with pytest.raises(CannotStart, match="never lets a call to Azure out"):
        refuse_azure_name(name)
    with pytest.raises(client.CallFailed, match="never lets a call to Azure out"):
        local_cloud.running.call("PUT", "127.0.0.1", f"/localcloud/allowed/{name}", {}, local_cloud.running.secret)


def test_an_allowed_name_is_tunnelled_and_only_with_the_secret(local_cloud: RunningCloud) -> None:
    with pytest.raises(client.CallFailed, match="client secret"):
        local_cloud.running.call("PUT", "127.0.0.1", "/localcloud/allowed/localhost", {}, "wrong")
    local_cloud.running.call("PUT", "127.0.0.1", "/localcloud/allowed/localhost", {}, local_cloud.running.secret)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as tunnel:
        tunnel.connect(("127.0.0.1", local_cloud.cloud.addresses.proxy))
        tunnel.sendall(f"CONNECT localhost:{server.getsockname()[1]} HTTP/1.1\r\n\r\nhello".encode())
        far, _ = server.accept()
        assert far.recv(5) == b"hello"
        far.sendall(b"back")
        far.close()
        received = b"".join(iter(lambda: tunnel.recv(100), b""))
    assert received == b"HTTP/1.1 200 Connection established\r\n\r\nback"


def test_a_wrong_secret_gets_entras_words(local_cloud: RunningCloud) -> None:
    answer = _token(secret="wrong")
    assert answer.status_code == 401
    assert answer.json()["error_description"].startswith("AADSTS7000215: Invalid client secret")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({}, "AuthenticationFailed"),
        ({"Authorization": "Bearer a.b.c"}, "InvalidAuthenticationToken"),
        ({"Authorization": "Basic abc"}, "InvalidAuthenticationToken"),
    ],
)
def test_arm_refuses_a_call_without_our_token(header: dict[str, str], code: str, local_cloud: RunningCloud) -> None:
    url = "https://management.azure.com/subscriptions/s/providers/Microsoft.X/locations/l/operationsStatus/1"
    answer = requests.get(url, headers=header, timeout=HANG_SECONDS)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)


def test_a_token_for_storage_is_no_token_for_arm(local_cloud: RunningCloud) -> None:
    token = _token("https://storage.azure.com/.default").json()["access_token"]
    url = "https://management.azure.com/subscriptions/s/providers/Microsoft.X/locations/l/operationsStatus/1"
    answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=HANG_SECONDS)
    assert answer.json()["error"]["code"] == "InvalidAuthenticationTokenAudience"


def test_what_no_route_answers_is_a_501_that_names_it(local_cloud: RunningCloud) -> None:
    with pytest.raises(client.CallFailed, match=r"NotImplemented.*POST https://management.azure.com/nothing"):
        local_cloud.arm("POST", "/nothing")


def test_an_armed_fault_fails_as_often_as_asked(local_cloud: RunningCloud) -> None:
    fault = {"status": 429, "code": "TooManyRequests", "message": "slow down", "times": 2}
    local_cloud.running.call("PUT", "127.0.0.1", "/localcloud/faults/x.read", fault, local_cloud.running.secret)
    errors = [local_cloud.cloud.faults.take("x.read") for _ in range(3)]
    assert [error.code if error else None for error in errors] == ["TooManyRequests", "TooManyRequests", None]


def test_a_state_folder_serves_one_server_only(local_cloud: RunningCloud) -> None:
    with pytest.raises(CannotStart, match="in use by another server"), serve(local_cloud.server.options):
        pass
    assert client.find(local_cloud.cloud.state) == local_cloud.running


def test_a_taken_port_is_named(local_cloud: RunningCloud, tmp_path: Path) -> None:
    options = Options(tmp_path / "other", port=local_cloud.cloud.addresses.tls, engine=False, tracking=False)
    with pytest.raises(CannotStart, match=rf"Port {local_cloud.cloud.addresses.tls} .* cannot be used"), serve(options):
        pass


def test_mlflows_port_is_its_own_from_when_it_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def before_anything_listens(cloud: Cloud) -> None:
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", cloud.addresses.mlflow))
        raise CannotStart("seen")

    monkeypatch.setattr(app, "create_app", before_anything_listens)
    with pytest.raises(CannotStart, match="seen"), serve(Options(tmp_path / "state", engine=False)):
        pass


def test_only_loopback_is_listened_on(local_cloud: RunningCloud) -> None:
    sockets = local_cloud.server._uvicorn.servers[0].sockets
    assert {s.getsockname()[0] for s in sockets} == {"127.0.0.1"}
    assert local_cloud.server._proxy._server is not None
    assert {s.getsockname()[0] for s in local_cloud.server._proxy._server.sockets} == {"127.0.0.1"}


def test_an_idle_connection_is_closed_by_the_client_and_never_under_its_request(local_cloud: RunningCloud) -> None:
    kept_by_clients = httpx.Limits().keepalive_expiry
    assert kept_by_clients is not None
    assert local_cloud.server._uvicorn.config.timeout_keep_alive > 2 * kept_by_clients


def test_secret_and_key_are_readable_by_their_owner_only(local_cloud: RunningCloud) -> None:
    for name in ("client-secret", "certificates/ca.key", "certificates/leaf.pem"):
        assert (local_cloud.cloud.state / name).stat().st_mode & 0o077 == 0


def test_the_state_is_there_again_after_kill_9(tmp_path: Path) -> None:
    env = {**os.environ, "LOCALCLOUD_STATE": str(tmp_path / "state"), "PYTHONPATH": os.pathsep.join(sys.path)}
    program = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom localcloud.server import Options, Server\n"
        "async def main():\n"
        "    cloud = await Server(Options(Path(sys.argv[1]), engine=False, tracking=False)).start()\n"
        "    cloud.store.put('/subscriptions/s/resourceGroups/rg', {'kept': True})\n"
        "    print('ready', flush=True)\n    await asyncio.Event().wait()\nasyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "state")], env=env, stdout=subprocess.PIPE
    ) as killed:
        assert killed.stdout
        assert killed.stdout.readline() == b"ready\n"
        killed.send_signal(signal.SIGKILL)
    with pytest.raises(client.NotRunning, match="localcloud up"):
        client.find(tmp_path / "state")
    with serve(Options(tmp_path / "state", engine=False, tracking=False)) as again:
        assert again.cloud.store.get("/subscriptions/s/resourceGroups/rg") == {"kept": True}


def test_server_json_is_gone_when_the_server_is(tmp_path: Path) -> None:
    with serve(Options(tmp_path / "state", engine=False, tracking=False)):
        assert json.loads((tmp_path / "state" / "server.json").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "state" / "server.json").exists()


def test_an_azure_name_in_allow_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="never lets"):
        Server(Options(tmp_path, allow=("management.azure.com",)))


def test_the_metadata_document_is_a_list_for_the_sdk_and_an_object_for_the_provider(
    local_cloud: RunningCloud,
) -> None:
    url = "https://management.azure.com/metadata/endpoints?api-version="
    as_list, as_object = (
        requests.get(url + version, timeout=HANG_SECONDS).json() for version in ("2019-05-01", "2022-09-01")
    )
    assert as_list == [as_object]
    assert as_object["authentication"]["loginEndpoint"] == "https://login.microsoftonline.com"

"""The inference host: who may score, who answers, and Azure's status codes for all that goes wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from localcloud.serving.router import LARGEST_PAYLOAD
from tests.conftest import HANG_SECONDS
from tests.localcloud.serving.playground import Playground, behind, in_flight, until


@pytest.fixture
def url(playground: Playground) -> str:
    return playground.endpoint()


def _send_traffic(playground: Playground, **rules: Any) -> None:
    playground.endpoint(**rules)


def test_both_keys_open_and_anything_else_is_401(playground: Playground, url: str) -> None:
    playground.fake("blue")
    _send_traffic(playground, traffic={"blue": 100})
    keys = playground.arm("POST", "onlineEndpoints/chat/listKeys")
    for key in keys.values():
        assert (
            requests.post(url, json={}, headers={"Authorization": f"Bearer {key}"}, timeout=HANG_SECONDS).status_code
            == 200
        )
    for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {keys['primaryKey']}"}):
        answer = requests.post(url, json={}, headers=wrong, timeout=HANG_SECONDS)
        assert (answer.status_code, answer.json()["message"]) == (401, "key_auth_access_denied")


def test_a_regenerated_key_replaces_the_old_one_at_once(playground: Playground, url: str) -> None:
    playground.fake("blue")
    _send_traffic(playground, traffic={"blue": 100})
    old = playground.arm("POST", "onlineEndpoints/chat/listKeys")
    playground.arm("POST", "onlineEndpoints/chat/regenerateKeys", {"keyType": "Primary", "keyValue": old["primaryKey"]})
    new = playground.arm("POST", "onlineEndpoints/chat/listKeys")
    assert new["primaryKey"] != old["primaryKey"]
    assert new["secondaryKey"] == old["secondaryKey"]
    assert playground.score(url, headers={"Authorization": f"Bearer {old['primaryKey']}"}).status_code == 401
    assert playground.score(url).status_code == 200


def test_entra_tokens_score_where_the_mode_says_so(playground: Playground) -> None:
    url = playground.endpoint("entra", auth="AADToken")
    playground.fake("blue", "entra")
    playground.endpoint("entra", auth="AADToken", traffic={"blue": 100})
    token = playground.local.running.token()
    assert (
        requests.post(url, json={}, headers={"Authorization": f"Bearer {token}"}, timeout=HANG_SECONDS).status_code
        == 200
    )
    assert (
        requests.post(url, json={}, headers={"Authorization": f"Bearer {token}x"}, timeout=HANG_SECONDS).status_code
        == 401
    )


def test_an_aml_token_opens_its_own_endpoint_only(playground: Playground) -> None:
    urls = {name: playground.endpoint(name, auth="AMLToken") for name in ("first", "second")}
    for name in urls:
        playground.fake("blue", name)
        playground.endpoint(name, auth="AMLToken", traffic={"blue": 100})
    token = playground.arm("POST", "onlineEndpoints/first/token")["accessToken"]
    header = {"Authorization": f"Bearer {token}"}
    assert requests.post(urls["first"], json={}, headers=header, timeout=HANG_SECONDS).status_code == 200
    assert requests.post(urls["second"], json={}, headers=header, timeout=HANG_SECONDS).status_code == 401


def test_weights_split_requests_exactly_and_the_answer_says_who(playground: Playground, url: str) -> None:
    playground.fake("blue")
    playground.fake("green")
    _send_traffic(playground, traffic={"blue": 90, "green": 10})
    answers = [playground.score(url) for _ in range(20)]
    assert [answer.json()["by"] for answer in answers].count("green") == 2
    assert all(answer.headers["azureml-model-deployment"] == answer.json()["by"] for answer in answers)


def test_the_header_chooses_a_deployment_without_traffic(playground: Playground, url: str) -> None:
    playground.fake("blue")
    answer = playground.score(url, deployment="blue")
    assert answer.json()["by"] == "blue"
    assert "," not in answer.headers["date"].partition(", ")[2]
    answer = playground.score(url, deployment="red")
    assert answer.status_code == 404
    assert "'red'" in answer.json()["message"]


def test_no_traffic_is_404(playground: Playground, url: str) -> None:
    playground.fake("blue")
    answer = playground.score(url)
    assert answer.status_code == 404
    assert "no deployment with traffic above zero" in answer.json()["message"]


def test_an_unknown_endpoint_is_404(playground: Playground) -> None:
    answer = requests.post("https://nobody.eastus.inference.ml.azure.com/score", json={}, timeout=HANG_SECONDS)
    assert (answer.status_code, "nobody.eastus" in answer.json()["message"]) == (404, True)


def test_a_tenth_is_mirrored_and_its_answers_are_dropped(playground: Playground, url: str) -> None:
    playground.fake("blue")
    green = playground.fake("green")
    _send_traffic(playground, traffic={"blue": 100}, mirrorTraffic={"green": 10})
    answers = [playground.score(url).json()["by"] for _ in range(20)]
    assert answers == ["blue"] * 20
    assert len(behind(green, "/wait?n=2")) == 2


def test_a_failing_mirror_changes_no_answer(playground: Playground, url: str) -> None:
    playground.fake("blue")
    green = playground.fake("green")
    _send_traffic(playground, traffic={"blue": 100}, mirrorTraffic={"green": 50})
    assert [playground.score(url, {"deployment": "green"}).status_code for _ in range(4)] == [200] * 4
    playground.local.call(playground.fleet.stop(green.order.key))
    assert [playground.score(url).status_code for _ in range(4)] == [200] * 4


def test_a_container_that_fails_is_424_with_its_own_code(playground: Playground, url: str) -> None:
    playground.fake("blue")
    answer = playground.score(url, {"status": 503}, deployment="blue")
    assert answer.status_code == 424
    assert answer.headers["ms-azureml-model-error-statuscode"] == "503"
    assert answer.headers["ms-azureml-model-error-reason"]
    assert answer.json()["by"] == "blue"


def test_a_container_that_dies_is_424_and_is_started_again(playground: Playground, url: str) -> None:
    worker = playground.fake("blue")
    answer = playground.score(url, {"die": True}, deployment="blue")
    assert (answer.status_code, answer.headers["ms-azureml-model-error-statuscode"]) == (424, "502")
    until(lambda: playground.score(url, deployment="blue").status_code == 200)
    assert worker.restarts == 1


def test_slower_than_the_request_timeout_is_408(playground: Playground, url: str) -> None:
    playground.fake("blue", requestTimeout="PT0.3S")
    answer = playground.score(url, {"hold": True}, deployment="blue")
    assert (answer.status_code, "0.3 s" in answer.json()["message"]) == (408, True)


def test_more_in_flight_than_twice_the_concurrency_is_429(playground: Playground, url: str) -> None:
    worker = playground.fake("blue", capacity=2, maxConcurrentRequestsPerInstance=1, requestTimeout="PT180S")
    with ThreadPoolExecutor(4) as pool:
        held = [pool.submit(playground.score, url, {"hold": True}, deployment="blue") for _ in range(4)]
        behind(worker, "/wait?n=4")
        answer = playground.score(url, deployment="blue")
        assert (answer.status_code, "4 requests in flight" in answer.json()["message"]) == (429, True)
        behind(worker, "/release")
        assert [request.result().status_code for request in held] == [200] * 4
    assert playground.score(url, deployment="blue").status_code == 200


def test_a_payload_over_the_limit_is_413(playground: Playground, url: str) -> None:
    playground.fake("blue")
    answer = playground.score(url, {"x": "y" * LARGEST_PAYLOAD}, deployment="blue")
    assert (answer.status_code, "larger than" in answer.json()["message"]) == (413, True)


def test_a_stream_is_passed_on_while_it_runs(playground: Playground, url: str) -> None:
    worker = playground.fake("blue")
    answer = playground.score(url, {"stream": True}, deployment="blue", stream=True)
    chunks = answer.iter_content(None)
    assert next(chunks) == b"data: one\n\n"
    behind(worker, "/release")
    assert b"".join(chunks) == b"data: two\n\n"
    assert answer.headers["content-type"] == "text/event-stream"


def test_other_paths_and_the_query_go_on_but_the_key_does_not(playground: Playground, url: str) -> None:
    worker = playground.fake("blue")
    there = url.replace("/score", "/v1/chat/completions?a=1")
    answer = playground.score(there, deployment="blue", headers={"x-request-id": "mine", "x-own": "kept"})
    assert answer.headers["x-request-id"] == "mine"
    (seen,) = behind(worker, "/wait?n=1")
    headers = {name.lower(): value for name, value in seen["headers"].items()}
    assert seen["path"] == "/v1/chat/completions?a=1"
    assert headers["x-request-id"] == "mine"
    assert headers["x-own"] == "kept"
    assert "authorization" not in headers


def test_a_client_that_goes_away_gives_its_place_back(playground: Playground, url: str) -> None:
    playground.fake("blue")
    answer = playground.score(url, {"stream": True}, deployment="blue", stream=True)
    assert next(answer.iter_content(None)) == b"data: one\n\n"
    assert in_flight(playground, "blue") == 1
    answer.close()
    until(lambda: in_flight(playground, "blue") == 0)

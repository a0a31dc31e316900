"""Asking an endpoint: requests in Azure ML's form, answers in every shape its two servers give."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from azure.core import PipelineClient
from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.core.pipeline.policies import RetryPolicy, UserAgentPolicy
from azure.core.rest import HttpRequest, HttpResponse

from tunestack.connect import Connection
from tunestack.data.rows import Row
from tunestack.deployments.endpoint import ENDPOINT_VERSION, Endpoint
from tunestack.errors import CloudError, NotConfigured, TunestackError, UsageError
from tunestack.refusals import unreachable

Json = dict[str, Any]
SAMPLE_PARAMETERS: Mapping[str, Any] = {"temperature": 0.6, "top_p": 0.9, "do_sample": True, "max_new_tokens": 200}
# Longer than the longest request_timeout_ms that Azure takes (180 s), so that the gateway speaks first.
_TIMEOUT_SECONDS = 200
_TOKEN_SCOPE = "https://ml.azure.com/.default"


@dataclass(frozen=True)
class Answer:
    """What the model said, which deployment said it, and how long it took in seconds."""

    text: str
    slot: str
    seconds: float
    body: Any


def request(messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any]) -> Json:
    """The body of `/score`; one conversation, which must end with the user."""
    return {"input_data": {"input_string": [dict(message) for message in messages], "parameters": dict(parameters)}}


def question(row: Row) -> list[dict[str, str]]:
    """A row's conversation up to its last user turn: what the model is to answer."""
    messages = list(row["messages"])
    while messages and messages[-1]["role"] != "user":
        messages.pop()
    if not messages:
        raise UsageError(f"row '{row['prompt_id'][:12]}' has no user turn to answer")
    return messages


def read_request(file: Path) -> Json:
    """A request body from a file, checked to be a JSON object."""
    try:
        body = orjson.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(f"request file '{file}' does not exist") from error
    except orjson.JSONDecodeError as error:
        raise UsageError(f"request file '{file}' is not JSON: {error}") from error
    if not isinstance(body, dict) or not ({"input_data", "messages"} & body.keys()):
        raise UsageError(f"request file '{file}' has neither 'input_data' nor 'messages'")
    return body


def answer_text(body: Any) -> str:
    """The text in an answer: `{"output": …}`, `[{"0": …}]`, `[…]`, a bare string, or OpenAI's `choices`."""
    if isinstance(body, str):
        return body.strip()
    if isinstance(body, list) and body:
        return answer_text(body[0])
    if isinstance(body, dict):
        for key in ("output", "0"):
            if isinstance(body.get(key), str | list):
                return answer_text(body[key])
        if body.get("choices"):
            return answer_text(body["choices"][0]["message"]["content"])
    if body == {}:
        raise CloudError("the model answered '{}', which means that it could not make sense of the request")
    raise CloudError(f"the answer has no known shape: {orjson.dumps(body)[:200].decode()}")


class Scorer:
    """Asks one endpoint. The key or token is fetched when first used and kept nowhere else."""

    def __init__(self, connection: Connection, *, key: str = "") -> None:
        self._connection, self._endpoint = connection, Endpoint(connection)
        body = self._endpoint.body()["properties"]
        self._url = body.get("scoringUri") or ""
        if not self._url:
            raise CloudError(f"endpoint '{self._endpoint.name}' has no scoring address yet", fix="Run it again later")
        self._mode = body["authMode"]
        self._secret = key
        self._client: PipelineClient[HttpRequest, HttpResponse] = PipelineClient(
            self._url, policies=[UserAgentPolicy("tunestack"), RetryPolicy(retry_total=0)]
        )

    def ask(self, body: Json, slot: str = "") -> Answer:
        """Send one request; to one deployment when a slot is named, else by traffic."""
        headers = {"Authorization": f"Bearer {self._bearer()}"}
        if slot:
            headers["azureml-model-deployment"] = slot
        began = time.monotonic()
        try:
            response = self._client.send_request(
                HttpRequest("POST", self._url, headers=headers, json=body), read_timeout=_TIMEOUT_SECONDS
            )
        except (ServiceRequestError, ServiceResponseError) as error:
            raise unreachable(str(error)) from error
        seconds = time.monotonic() - began
        if response.status_code >= 400:
            raise self._refusal(response, slot)
        try:
            found = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            found = response.text()
        answered = response.headers.get("azureml-model-deployment", "")
        if slot and answered and answered != slot:
            raise self._absent(slot, f"; '{answered}' answered instead")
        return Answer(answer_text(found), answered, seconds, found)

    def _bearer(self) -> str:
        if not self._secret:
            if self._mode == "AADToken":
                return self._connection.credential.get_token(_TOKEN_SCOPE).token
            operation, member = ("token", "accessToken") if self._mode == "AMLToken" else ("listKeys", "primaryKey")
            found = self._connection.arm.post(f"{self._endpoint.path}/{operation}", ENDPOINT_VERSION)
            self._secret = found[member]
        return self._secret

    def _refusal(self, response: HttpResponse, slot: str) -> TunestackError:
        name, status = self._endpoint.name, response.status_code
        said = " ".join(response.text().split())[:300]
        if status == 401:
            return NotConfigured(
                f"endpoint '{name}' did not accept the {'token' if 'Token' in self._mode else 'key'}",
                fix="Leave --key-file out to fetch the right one; a token needs the role 'AzureML Data Scientist'",
            )
        if status == 404:
            return self._absent(slot)
        if status == 408:
            fix = "Ask for fewer max_new_tokens, or raise request_timeout_ms in pipelines/serve"
            return CloudError(f"endpoint '{name}' gave no answer within its request timeout", fix=fix, status=status)
        if status == 424:
            code = response.headers.get("ms-azureml-model-error-statuscode", "unknown")
            reason = response.headers.get("ms-azureml-model-error-reason", "") or said
            fix = "Look at the deployment's log: az ml online-deployment get-logs"
            return CloudError(f"the model answered with status {code}: {reason}", fix=fix, status=status)
        if status == 429:
            fix = "Send fewer requests at once, or raise instance_count in pipelines/serve"
            return CloudError(f"endpoint '{name}' has more requests than it takes at once", fix=fix, status=status)
        return CloudError(f"endpoint '{name}' answered with {status}: {said}", status=status)

    def _absent(self, slot: str, instead: str = "") -> UsageError:
        there = ", ".join(sorted(self._endpoint.deployments())) or "none"
        what = f"no deployment '{slot}'" if slot else "no deployment with traffic"
        fix = "Deploy it with scripts/deploy_model.py" if slot else "Give one with scripts/shift_traffic.py --to SLOT"
        return UsageError(f"endpoint '{self._endpoint.name}' has {what}{instead}; deployments are: {there}", fix=fix)

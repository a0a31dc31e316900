"""Plain authenticated calls to Azure Resource Manager, run history and MLflow, for what needs no 5 s of SDK import.

Retries, tokens and long-running operations are azure-core's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any
from urllib.parse import quote

from azure.core import PipelineClient
from azure.core.credentials import TokenCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline import PipelineResponse
from azure.core.pipeline.policies import (
    BearerTokenCredentialPolicy,
    HeadersPolicy,
    RequestIdPolicy,
    RetryPolicy,
    UserAgentPolicy,
)
from azure.core.polling import LROPoller
from azure.core.rest import HttpRequest, HttpResponse
from azure.mgmt.core import ARMPipelineClient
from azure.mgmt.core.polling.arm_polling import ARMPolling

from tunestack.errors import CloudError, EndedBadly, TunestackError
from tunestack.refusals import explain, refused, unreachable

MANAGEMENT = "https://management.azure.com"
Json = dict[str, Any]
_LOST = (ServiceRequestError, ServiceResponseError, IncompleteReadError)  # no answer, or one cut off in the middle
_PATIENCE = {"connection_timeout": 20, "read_timeout": 60}  # seconds


class Arm:
    """One authenticated client; paths start with `/subscriptions`, or are whole URLs of Azure ML's data plane."""

    def __init__(self, credential: TokenCredential, scope: str = f"{MANAGEMENT}/.default") -> None:
        policies = [
            RequestIdPolicy(),  # a poller sends the id of its first request again
            HeadersPolicy(),
            UserAgentPolicy("tunestack"),
            RetryPolicy(retry_backoff_max=30),
            BearerTokenCredentialPolicy(credential, scope),
        ]
        self._client: ARMPipelineClient[HttpRequest, HttpResponse] = ARMPipelineClient(MANAGEMENT, policies=policies)
        self._options: Json = {}

    def asking_once(self) -> Arm:
        """The same client without retries, for whoever asks again by itself: an error comes within 80 seconds."""
        found = copy(self)
        found._options = {**_PATIENCE, "retry_total": 0}
        return found

    def get(self, path: str, version: str = "", **query: Any) -> Json:
        return self._json(self._send("GET", path, version, query=query))

    def find(self, path: str, version: str = "") -> Json | None:
        """The resource, or None where there is none."""
        response = self._send("GET", path, version, allowed=(404,))
        return None if response.status_code == 404 else self._json(response)

    def pages(self, path: str, version: str, **query: Any) -> Iterator[Json]:
        """Every item of a list, over all its pages."""
        page = self.get(path, version, **query)
        while True:
            yield from page.get("value", [])
            following = page.get("nextLink")
            if not following:
                return
            page = self.get(following)

    def post(self, path: str, version: str = "", body: Any = None) -> Json:
        return self._json(self._send("POST", path, version, body=body))

    def put(self, path: str, version: str, body: Json) -> Json:
        """Write a whole resource and wait for the operation behind it."""
        return self._finished(self._run("PUT", path, version, body=body))

    def begin_put(self, path: str, version: str, body: Json) -> LROPoller[Json]:
        """As `put`, for whoever waits in its own way."""
        return self._poller(self._run("PUT", path, version, body=body))

    def patch(self, path: str, version: str, body: Json) -> Json:
        return self._finished(self._run("PATCH", path, version, body=body))

    def delete(self, path: str, version: str, *, timeout: float | None = None, **query: Any) -> None:
        """Delete and wait; what is not there is deleted already. After `timeout` seconds it raises EndedBadly."""
        done = self._run("DELETE", path, version, query=query, allowed=(404,))
        if done.http_response.status_code == 404:
            return
        poller = self._poller(done)
        poller.wait(timeout)
        if not poller.done():
            raise EndedBadly(f"'{path.rsplit('/providers/', 1)[-1]}' is not deleted after {timeout:.0f} s; it goes on")
        poller.result()

    def text(self, url: str) -> str:
        """A text file at a signed URL, e.g. a log; without the token, which a signed URL must not meet."""
        plain: PipelineClient[HttpRequest, HttpResponse] = PipelineClient(MANAGEMENT, policies=[RetryPolicy()])
        # A store behind a private network swallows what is sent to it: three minutes of that say enough.
        options = {**_PATIENCE, "retry_total": 2, **self._options}
        try:
            response: HttpResponse = plain.send_request(HttpRequest("GET", url), **options)
        except _LOST as error:
            raise unreachable(str(error)) from error
        if response.status_code >= 400:
            raise _refusal(response, "GET", url)
        return response.text()

    def _send(self, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = self._run(*args, **kwargs).http_response
        return response

    def _run(
        self,
        method: str,
        path: str,
        version: str,
        *,
        query: Json | None = None,
        body: Any = None,
        allowed: tuple[int, ...] = (),
    ) -> PipelineResponse[Any, Any]:
        url = path if path.startswith("https://") else MANAGEMENT + path
        parameters = {**({"api-version": version} if version else {}), **(query or {})}
        request = HttpRequest(method, url, params=parameters, json=body)
        try:
            done: Any = self._client.send_request(request, _return_pipeline_response=True, **self._options)
        except _LOST as error:
            raise unreachable(str(error)) from error
        except ClientAuthenticationError as error:  # of the credential: an answer of 401 is none
            raise explain(error) from error
        status = done.http_response.status_code
        if status >= 400 and status not in allowed:
            done.http_response.read()
            raise _refusal(done.http_response, method, url)
        answered: PipelineResponse[Any, Any] = done
        return answered

    def _finished(self, first: PipelineResponse[Any, Any]) -> Json:
        result: Json = self._poller(first).result()
        return result

    def _poller(self, first: PipelineResponse[Any, Any]) -> LROPoller[Json]:
        return LROPoller(self._client, first, lambda last: self._json(last.http_response), ARMPolling(timeout=2.0))

    @staticmethod
    def _json(response: HttpResponse) -> Json:
        if not response.content:
            return {}
        try:
            found: Json = response.json()
        except ValueError as error:
            raise CloudError(f"the answer of '{response.request.url}' is not JSON") from error
        return found


def workspace_path(subscription: str, group: str, workspace: str) -> str:
    return (
        f"/subscriptions/{subscription}/resourceGroups/{quote(group)}"
        f"/providers/Microsoft.MachineLearningServices/workspaces/{quote(workspace)}"
    )


def _refusal(response: HttpResponse, method: str, url: str) -> TunestackError:
    try:
        body = response.json()
    except ValueError:
        body = {}
    error = body.get("error", body) if isinstance(body, dict) else {}
    said = (error.get("message") if isinstance(error, dict) else "") or response.text() or response.reason
    name = url.split("?")[0].removeprefix(MANAGEMENT).rsplit("/providers/", 1)[-1]
    found = refused(response.status_code, str(said), f"{method} '{name}'")
    if isinstance(found, CloudError):
        found.retry_after = _seconds(response.headers.get("Retry-After", ""))
    return found


def _seconds(text: str) -> float:
    """The header Retry-After in its form of whole seconds; the other one, a date, counts as none."""
    return float(text) if text.isdecimal() else 0.0

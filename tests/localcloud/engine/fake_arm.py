"""A small ARM for the provider's tests: keeps resources, takes long, fails and forgets as a test tells it to."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

OBJECT_ID = "00000000-0000-0000-0000-00000000000a"


@dataclass
class FakeArm:
    """`resources` by id in lower case; `calls` as `METHOD path`; `style` of long operations and `polls` until they end.

    `refuse`: status and error body for a method and an id's last segment. `fails`: names whose operation ends badly.
    """

    url: str = ""
    style: str = "sync"  # sync | operation | location | body
    polls: int = 1
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    refuse: dict[tuple[str, str], list[tuple[int, dict[str, Any]]]] = field(default_factory=dict)
    fails: dict[str, dict[str, str]] = field(default_factory=dict)
    hosts: set[str] = field(default_factory=set)
    waiting: dict[str, int] = field(default_factory=dict)

    def named(self, name: str) -> dict[str, Any]:
        """The one resource with this name."""
        (found,) = [body for key, body in self.resources.items() if key.endswith("/" + name.lower())]
        return found

    def names(self) -> set[str]:
        return {key.rpartition("/")[2] for key in self.resources}

    def answer(self, method: str, target: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        path = urlsplit(target).path
        name = path.rpartition("/")[2]
        if path.endswith("/oauth2/v2.0/token"):
            claims = base64.urlsafe_b64encode(json.dumps({"oid": OBJECT_ID}).encode()).rstrip(b"=").decode()
            return 200, {}, {"access_token": f"e30.{claims}.x", "expires_in": 3600}
        if path.startswith("/operations/"):
            return self._operation(name)
        self.calls.append(f"{method} {path}")
        assert "api-version" in parse_qs(urlsplit(target).query), target
        refused = self.refuse.get((method, name))
        if refused:
            status, error = refused.pop(0)
            return status, {"Retry-After": "0"}, error
        key = path.lower()
        if method == "GET":
            found = self.resources.get(key)
            if found is None:
                return 404, {}, {"error": {"code": "ResourceNotFound", "message": f"'{name}' was not found."}}
            if self.waiting.get(name, 0) > 0:
                self.waiting[name] -= 1
                if not self.waiting[name]:
                    self._end(name, found)
            return 200, {}, found
        if method == "PUT":
            self.bodies.append(body)
            return self._put(path, name, body)
        if self.resources.pop(key, None) is None:
            return 404, {}, {"error": {"code": "ResourceNotFound", "message": f"'{name}' was not found."}}
        for child in [one for one in self.resources if one.startswith(key + "/")]:
            del self.resources[child]
        if self.style in ("operation", "location"):
            self.waiting[name] = self.polls
            return 202, self._links(name), None
        return 200, {}, None

    def _put(self, path: str, name: str, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        made = {"id": path, "name": name, "type": "Fake/things", **body}
        made["properties"] = {**body.get("properties", {}), "provisioningState": "Succeeded"}
        if "identity" in body:
            made["identity"] = {**body["identity"], "principalId": f"principal-of-{name}"}
        if "ConnectionString" not in made["properties"] and "/components/" in path:
            made["properties"]["ConnectionString"] = f"InstrumentationKey=key-of-{name}"
        self.resources[path.lower()] = made
        if self.style == "sync":
            return 201, {}, made
        made["properties"]["provisioningState"] = "Creating"
        self.waiting[name] = self.polls
        return 201 if self.style == "body" else 202, self._links(name), made

    def _links(self, name: str) -> dict[str, str]:
        link = f"https://management.azure.com/operations/{name}?api-version=1"
        links = {"operation": {"Azure-AsyncOperation": link}, "location": {"Location": link}, "body": {}}
        return {**links[self.style], "Retry-After": "0"}

    def _operation(self, name: str) -> tuple[int, dict[str, str], Any]:
        self.waiting[name] -= 1
        if self.waiting[name] > 0:
            body = {"status": "InProgress"} if self.style == "operation" else None
            return (200 if body else 202), {"Retry-After": "0"}, body
        found = [body for key, body in self.resources.items() if key.endswith("/" + name.lower())]
        if found:
            self._end(name, found[0])
        if self.style == "location":
            return (200, {}, found[0]) if found else (204, {}, None)
        if name in self.fails:
            return 200, {}, {"status": "Failed", "error": self.fails[name]}
        return 200, {}, {"status": "Succeeded"}

    def _end(self, name: str, resource: dict[str, Any]) -> None:
        resource["properties"]["provisioningState"] = "Failed" if name in self.fails else "Succeeded"


@contextmanager
def serving(**settings: Any) -> Iterator[FakeArm]:
    """A fake ARM on a free loopback port."""
    arm = FakeArm(**settings)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            sent = json.loads(raw) if raw.startswith(b"{") else {}
            with lock:
                arm.hosts.add(self.headers["Host"])
                status, headers, body = arm.answer(self.command, self.path, sent)
            text = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_PUT = do_POST = do_DELETE = do_GET

        def log_message(self, format: str, *arguments: Any) -> None:
            """Requests are kept in `calls`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    arm.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield arm
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

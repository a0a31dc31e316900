"""The inference server of a deployment with own code: calls `init()` once, then `run(data)` per request.

Speaks the contract of Azure's `azureml-inference-server-http` with one worker: `GET /` says that it is healthy,
`POST /score` hands the body to `run` as text and answers its result as JSON. Run as a process of its own:
`python -P -m localcloud.serving.script_host --script FILE --descriptor N`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import socket
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

log = logging.getLogger("script_host")


class ScriptError(Exception):
    """The script cannot be used; the text says why."""


def load_script(path: Path) -> tuple[Callable[[], Any], Callable[[str], Any]]:
    """The functions `init` and `run` of a scoring script, whose folder is put on the import path."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location("entry_script", path)
    if spec is None or spec.loader is None:
        raise ScriptError(f"The scoring script '{path.name}' is no Python file.")
    module = importlib.util.module_from_spec(spec)
    # Classes that the script defines are pickled and found again by this name.
    sys.modules["entry_script"] = module
    spec.loader.exec_module(module)
    for name in ("init", "run"):
        if not callable(getattr(module, name, None)):
            raise ScriptError(f"The scoring script '{path.name}' has no function '{name}()'.")
    return module.init, module.run


def as_answer(result: Any) -> bytes:
    """A result of `run` as JSON: dicts, lists, texts, numbers, None, and what has `tolist` (numpy)."""
    return json.dumps(result, default=lambda value: value.tolist()).encode()


class Scorer(ThreadingHTTPServer):
    """One worker: connections are many, but `run` is called by one request at a time."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, bound: socket.socket, run: Callable[[str], Any]) -> None:
        super().__init__(bound.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = bound
        self.server_activate()
        self.run = run
        self.turn = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with kept connections; headers and body leave in one write."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Scorer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/":
            self._answer(200, b'"Healthy"')
        elif path == "/swagger.json":
            self._answer(200, json.dumps(SWAGGER).encode())
        else:
            self._answer(404, json.dumps({"message": f"There is no '{path}' here."}).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.partition("?")[0] != "/score":
            self._answer(404, json.dumps({"message": f"There is no '{self.path}' here."}).encode())
            return
        started = time.perf_counter()
        try:
            with self.server.turn:
                answer, status = as_answer(self.server.run(body.decode())), 200
        except Exception:
            traceback.print_exc()
            answer, status = b"An unexpected error occurred in scoring script. Check the logs for more info.", 500
        elapsed = (time.perf_counter() - started) * 1000
        headers = {"x-ms-run-function-failed": str(status != 200), "x-ms-run-fn-exec-ms": f"{elapsed:.3f}"}
        self._answer(status, answer, headers)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status == 200 or body[:1] == b"{" else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-ms-request-id", self.headers.get("x-ms-request-id") or str(uuid.uuid4()))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *arguments: Any) -> None:
        if self.path != "/":
            log.info(format, *arguments)


SWAGGER = {
    "swagger": "2.0",
    "info": {"title": "ML service", "description": "A scoring script's service.", "version": "1.0"},
    "consumes": ["application/json"],
    "produces": ["application/json"],
    "paths": {
        "/": {"get": {"operationId": "ServiceHealthCheck", "responses": {"200": {"description": "Healthy"}}}},
        "/score": {
            "post": {
                "operationId": "RunMLService",
                "parameters": [{"name": "serviceInputPayload", "in": "body", "schema": {"type": "object"}}],
                "responses": {"200": {"description": "The result of run()"}},
            }
        },
    },
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script_host", description="Serve a scoring script.")
    parser.add_argument("--script", type=Path, required=True, help="the file with init() and run()")
    parser.add_argument("--descriptor", type=int, required=True, help="inherited socket, bound to a loopback port")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        init, run = load_script(arguments.script)
        log.info("Calling init() of '%s'.", arguments.script.name)
        init()
    except ScriptError as error:
        log.error("%s", error)
        return 1
    except Exception:
        traceback.print_exc()
        log.error("The scoring script '%s' failed before it could serve.", arguments.script.name)
        return 1
    with Scorer(socket.socket(fileno=arguments.descriptor), run) as server:
        log.info("The script's run() is served at POST /score.")
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A scoring program that does what the request's body tells it; tests also speak to it behind the router's back.

`{"hold": true}` waits for POST /release, `{"status": n}` answers so, `{"stream": true}` sends one chunk, waits for the
release, and sends another. GET /wait?n=3 answers when three requests have come, with all that have.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SEEN: list[dict[str, object]] = []
CAME = threading.Condition()
RELEASED = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        if self.path.startswith("/wait?n="):
            with CAME:
                CAME.wait_for(lambda: len(SEEN) >= int(self.path.rpartition("=")[2]))
            self.answer(200, SEEN)
        else:
            self.answer(200, "healthy")

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/release":
            RELEASED.set()
            self.answer(200, "released")
            return
        body = json.loads(raw) if raw[:1] == b"{" else {}
        with CAME:
            SEEN.append({"path": self.path, "headers": dict(self.headers.items()), "size": len(raw)})
            CAME.notify_all()
        if body.get("die"):
            os._exit(3)
        if body.get("hold"):
            RELEASED.wait()
        if body.get("stream"):
            self.stream()
        else:
            self.answer(int(body.get("status", 200)), {"by": os.environ["BY"], "path": self.path})

    def stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for text in (b"data: one\n\n", b"data: two\n\n"):
            self.wfile.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")
            self.wfile.flush()
            RELEASED.wait()
        self.wfile.write(b"0\r\n\r\n")

    def answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--descriptor", type=int, required=True)
    bound = socket.socket(fileno=parser.parse_args().descriptor)
    server = ThreadingHTTPServer(bound.getsockname(), Handler, bind_and_activate=False)
    server.socket = bound
    server.server_activate()
    server.serve_forever()

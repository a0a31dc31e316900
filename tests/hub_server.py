"""A small hub on loopback: what `huggingface_hub` asks of a data set, its headers and errors; bytes are counted."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "a" * 40


@dataclass
class Repo:
    """Files by commit; `refs` names commits. `is_gated` and `is_private` let in only who has the token."""

    commits: dict[str, dict[str, bytes]]
    refs: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    card: dict = field(default_factory=dict)
    is_gated: bool = False
    is_private: bool = False


@dataclass
class Hub:
    repos: dict[str, Repo] = field(default_factory=dict)
    token: str = "hf_secret"
    sent: int = 0  # bytes of bodies
    ranges: list[tuple[str, int, int]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    break_after: int | None = None  # ranges answered before connections break
    breaks: int = 0  # so many ranges break, and the ones after them do not
    status: int = 0  # answered to everything, where set
    redirects: bool = True  # files come from elsewhere, as on the real hub
    url: str = ""

    def add(self, name: str, files: dict[str, bytes], **more) -> Repo:
        self.repos[name] = Repo({COMMIT: files}, **more)
        return self.repos[name]


@contextmanager
def serve():
    hub = Hub()
    lock = threading.Lock()
    connections: list[socket.socket] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            connections.append(self.connection)

        def log_message(self, *_):
            pass

        def do_GET(self):
            self.answer(*self.found())

        def do_HEAD(self):
            status, headers, body = self.found()
            self.answer(status, {**headers, "Content-Length": str(len(body))}, b"")

        def answer(self, status, headers, body):
            if status == 206 and self.breaks():
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
                return
            with lock:  # before it is sent: who has read it all may look at once
                hub.sent += len(body)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def breaks(self) -> bool:
            with lock:
                if hub.breaks:
                    hub.breaks -= 1
                    return True
                if hub.break_after is not None:
                    hub.break_after -= 1
                    return hub.break_after < 0
                return False

        def found(self):
            path = urlsplit(self.path).path
            hub.requests.append(path)
            if hub.status:
                return hub.status, {}, b"{}"
            is_api = path.startswith("/api/datasets/")
            if path.startswith("/datasets/") and hub.redirects:
                return 302, {"Location": f"{hub.url}/cdn{path}"}, b""
            path = path.removeprefix("/cdn")
            parts = path.removeprefix("/api").removeprefix("/datasets/").split("/")
            repo = hub.repos.get("/".join(parts[:2]))
            has_token = self.headers.get("Authorization") == f"Bearer {hub.token}"
            if repo is None or (repo.is_private and not has_token):
                return 401, {"X-Error-Code": "RepoNotFound"}, b"{}"
            if is_api:
                revision = unquote(parts[3]) if len(parts) > 3 else "main"
                commit = repo.refs.get(revision, revision)
                if commit not in repo.commits:
                    return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
                files = [{"rfilename": name, "size": len(body)} for name, body in repo.commits[commit].items()]
                body = {
                    "id": "/".join(parts[:2]),
                    "sha": commit,
                    "siblings": files,
                    "cardData": repo.card,
                    "private": repo.is_private,
                    "gated": "manual" if repo.is_gated else False,
                    "disabled": False,
                    "downloads": 0,
                    "likes": 0,
                    "tags": [],
                }
                return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()
            if repo.is_gated and not has_token:
                return 401, {"X-Error-Code": "GatedRepo"}, b"{}"
            commit, name = unquote(parts[3]), unquote("/".join(parts[4:]))
            content = repo.commits.get(repo.refs.get(commit, commit), {}).get(name)
            if content is None:
                return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
            wanted = self.headers.get("Range")
            if not wanted:
                return 200, {}, content
            start, end = (int(number) for number in wanted.removeprefix("bytes=").split("-"))
            hub.ranges.append((name, start, end + 1))
            return 206, {"Content-Range": f"bytes {start}-{end}/{len(content)}"}, content[start : end + 1]

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        # Clients keep theirs, and a later hub may get this one's port: it must not be answered for by this one.
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        thread.join()

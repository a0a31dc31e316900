"""The CONNECT proxy on loopback: Azure's host names go to the local server, every other name is refused.

So nothing can leave the machine by mistake, and no credential is ever sent anywhere. A name that the user
allows by name is tunnelled to where it says; Azure's names never are.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import socket
from collections.abc import Callable, Collection

log = logging.getLogger("localcloud.proxy")

_HEAD_LIMIT = 16 * 1024


class _Pipe(asyncio.Protocol):
    """Carries bytes from its own connection to another's transport, with the other's back pressure."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Pipe | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.other and self.other.transport:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        if self.other and self.other.transport and self.other.transport.can_write_eof():
            self.other.transport.write_eof()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        if self.other and self.other.transport:
            self.other.transport.close()

    def pause_writing(self) -> None:
        if self.other and self.other.transport:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other and self.other.transport:
            self.other.transport.resume_reading()


class _Client(_Pipe):
    """A client's connection: reads the CONNECT line, then becomes a pipe."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__()
        self._proxy, self._head, self._port = proxy, b"", 0
        self._dialling: asyncio.Task[None] | None = None
        proxy.clients.add(self)

    def data_received(self, data: bytes) -> None:
        self._acknowledge()
        if self.other:
            super().data_received(data)
            return
        self._head += data
        if b"\r\n\r\n" in self._head and self._dialling is None:
            self._dialling = asyncio.get_running_loop().create_task(self._connect())
        elif len(self._head) > _HEAD_LIMIT:
            self._refuse(431, "Request Header Fields Too Large", "The CONNECT request is too large.")

    def connection_lost(self, error: Exception | None) -> None:
        self._proxy.clients.discard(self)
        self._proxy.stands.pop(self._port, None)
        super().connection_lost(error)

    def _acknowledge(self) -> None:
        """Acknowledge at once: urllib3 leaves Nagle on for proxies, so a request's body waits for that of its head.

        Without this every call with a body takes 40 ms more. The option lasts until the kernel resets it.
        """
        if self.transport and hasattr(socket, "TCP_QUICKACK"):
            self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    async def _connect(self) -> None:
        head, _, rest = self._head.partition(b"\r\n\r\n")
        words = head.split(b"\r\n")[0].decode("latin-1").split()
        if len(words) != 3 or words[0] != "CONNECT" or ":" not in words[1]:
            self._refuse(405, "Method Not Allowed", "This proxy carries https only (CONNECT host:port).")
            return
        host, _, port = words[1].rpartition(":")
        target = self._proxy.target(host.lower(), port)
        if target is None:
            log.warning("refused %s", words[1])
            self._refuse(
                403,
                "Forbidden",
                f"'{host}' is not a name of the local cloud, so it is not reached from here. "
                f"To open it: localcloud run --allow {host} -- COMMAND",
            )
            return
        try:
            _, server = await asyncio.get_running_loop().create_connection(_Pipe, *target)
        except OSError as error:
            self._refuse(502, "Bad Gateway", f"'{words[1]}' cannot be reached: {error}")
            return
        if self.transport is None or self.transport.is_closing():
            assert server.transport
            server.transport.close()
            return
        self._note_stand(head, server.transport)
        self.other, server.other = server, self
        self.transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        if rest:
            super().data_received(rest)

    def _note_stand(self, head: bytes, server: asyncio.Transport | None) -> None:
        """Remember where the caller says that it stands, the user's name of its proxy address, for the connection."""
        said = re.search(rb"\r\nproxy-authorization: *basic +([a-z0-9+/=]+)", head, re.IGNORECASE)
        if said and server:
            self._port = int(server.get_extra_info("sockname")[1])
            self._proxy.stands[self._port] = base64.b64decode(said[1]).partition(b":")[0].decode("latin-1")

    def _refuse(self, status: int, reason: str, text: str) -> None:
        if self.transport:
            body = (text + "\n").encode()
            self.transport.write(
                f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
                + body
            )
            self.transport.close()


class Proxy:
    """Listens on loopback. `is_ours` tells Azure's names, which go to `tls_port`; `allowed` names go out.

    `stands` is told from which network the caller of a connection is, by the connection's port on the server's side.
    """

    def __init__(
        self,
        is_ours: Callable[[str], bool],
        tls_port: int,
        allowed: Collection[str] = (),
        stands: dict[int, str] | None = None,
    ) -> None:
        self.stands = {} if stands is None else stands
        self._is_ours, self._tls_port = is_ours, tls_port
        self._allowed = {name.lower() for name in allowed}
        self._server: asyncio.Server | None = None
        self.clients: set[_Client] = set()

    def target(self, host: str, port: str) -> tuple[str, int] | None:
        """Where a CONNECT goes, or None when it is refused."""
        if self._is_ours(host):
            return "127.0.0.1", self._tls_port
        if host in self._allowed and port.isdigit():
            return host, int(port)
        return None

    def allow(self, host: str) -> None:
        self._allowed.add(host.lower())

    async def start(self, port: int = 0) -> int:
        self._server = await asyncio.get_running_loop().create_server(lambda: _Client(self), "127.0.0.1", port)
        return int(self._server.sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Take no new connections; those that stand go on until `drop`."""
        if self._server:
            self._server.close()

    def drop(self) -> None:
        """End what still stands: idle clients keep their connections open, and the server would wait for them."""
        for client in list(self.clients):
            if client.transport:
                client.transport.abort()

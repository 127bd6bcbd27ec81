"""HTTP/1.1 as raw bytes: clients with any spelling, and servers that record their requests."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPResponse
from typing import Any

from tests.support.server_process import HOST

Field = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    """A response."""

    status: int
    headers: list[Field]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Return every value of a field."""
        return [value for key, value in self.headers if key.lower() == name]

    def problem(self) -> tuple[int, str]:
        """Return status and code of a refusal, and check its form."""
        assert self.values("content-type") == ["application/problem+json"], self
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        assert problem["type"].endswith(f"/problems/{problem['code']}")
        return self.status, str(problem["code"])


class Connection:
    """A persistent connection of a client at `source`, an address of this machine; over TLS with a context."""

    def __init__(
        self, port: int, source: str = HOST, context: ssl.SSLContext | None = None
    ) -> None:
        self._socket = socket.create_connection(
            (HOST, port), timeout=20, source_address=(source, 0)
        )
        if context is not None:
            self._socket = context.wrap_socket(self._socket, server_hostname=HOST)

    def ask(
        self, path: str, fields: Sequence[Field] = (), method: str = "GET", body: bytes = b""
    ) -> Response:
        """Send a request with the fields as they are spelled, in their order."""
        length = [("Content-Length", str(len(body)))] if body else []
        all_fields = [("Host", "app.example.com:8443"), *fields, *length]
        head = "".join(f"{name}: {value}\r\n" for name, value in all_fields)
        self._socket.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        response = HTTPResponse(self._socket, method=method)
        response.begin()
        return Response(response.status, response.getheaders(), response.read())

    def raw(self) -> socket.socket:
        """Return the socket, after an upgrade."""
        return self._socket

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


@contextmanager
def open_connection(
    port: int, source: str = HOST, context: ssl.SSLContext | None = None
) -> Iterator[Connection]:
    """Open a connection for the block."""
    connection = Connection(port, source, context)
    try:
        yield connection
    finally:
        connection.close()


def ask(
    port: int,
    path: str,
    fields: Sequence[Field] = (),
    *,
    source: str = HOST,
    context: ssl.SSLContext | None = None,
    **more: Any,
) -> Response:
    """Send a request on a connection of its own."""
    with open_connection(port, source, context) as connection:
        return connection.ask(path, fields, **more)


def bearer(token: str) -> Field:
    """Return the field with a token."""
    return ("Authorization", f"Bearer {token}")


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it reached a server: names as they were spelled."""

    method: str
    path: str
    headers: list[Field]
    body: bytes

    def like(self, name: str) -> list[Field]:
        """Return the fields that an application could take for `name`: `_` and `.` read as `-`, in any case."""
        return [f for f in self.headers if re.sub("[_.]", "-", f[0]).lower() == name]


@dataclass
class Recorder:
    """A server that records every request, and sends the response that `answer` returns for it."""

    answer: Callable[[Request], bytes]
    port: int = 0
    requests: list[Request] = field(default_factory=list)

    def serve(self, connection: socket.socket) -> None:
        """Serve all requests of one connection."""
        with connection, suppress(OSError), connection.makefile("rb") as sent:
            while (request := _read(sent)) is not None:
                self.requests.append(request)
                connection.sendall(self.answer(request))
                if request.like("upgrade"):
                    connection.sendall(sent.read(4))
                    return


@contextmanager
def recorder(answer: Callable[[Request], bytes]) -> Iterator[Recorder]:
    """Run a recorder on a free port for the block."""
    listening = socket.create_server((HOST, 0), backlog=64)
    server = Recorder(answer, listening.getsockname()[1])

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                connection.settimeout(60)
                threading.Thread(target=server.serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)


def application(request: Request) -> bytes:
    """Return the response of the application behind the gateways: a text, or the switch of protocols for an upgrade."""
    if request.like("upgrade"):
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        )
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nAccess-Control-Allow-Origin: *\r\n"
        b"Content-Length: 11\r\n\r\napplication"
    )


def _read(sent: Any) -> Request | None:
    first = sent.readline().decode("latin-1").split()
    if len(first) != 3:
        return None
    headers = []
    while (row := sent.readline().decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = row.partition(":")
        headers.append((name, value.strip()))
    all_fields = {name.lower(): value for name, value in headers}
    if all_fields.get("transfer-encoding") == "chunked":
        body = b"".join(iter(lambda: _chunk(sent), b""))
    else:
        body = sent.read(int(all_fields.get("content-length", "0")))
    return Request(first[0], first[1], headers, body)


def _chunk(sent: Any) -> bytes:
    size = int(sent.readline().split(b";")[0], 16)
    chunk: bytes = sent.read(size)
    sent.readline()
    return chunk

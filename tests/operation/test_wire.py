"""Bytes that are not HTTP/1.1, or two requests in one: refused by the server, or by the proxy of the guide."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from typing import Final

import pytest

from tests.support.gateways import deployed
from tests.support.server_checks import is_served, memory_of
from tests.support.server_process import HOST, ServerProcess, serving

GET: Final = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"
POST: Final = b"POST /healthz HTTP/1.1\r\nHost: a\r\n"
CHUNK: Final = b"\r\n7\r\ntoken=x\r\n0\r\n\r\n"
SMUGGLED: Final = b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"
REFUSED: Final = {
    "two hosts": GET + b"Host: b\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "a host that is none": b"GET /healthz HTTP/1.1\r\nHost: a@b/c\r\n\r\n",
    "two lengths": POST + b"Content-Length: 7\r\nContent-Length: 3\r\n\r\ntoken=x",
    "a list of lengths": POST + b"Content-Length: 7, 7\r\n\r\ntoken=x",
    "a length with a sign": POST + b"Content-Length: +7\r\n\r\ntoken=x",
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n" + CHUNK,
    "another coding before chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n" + CHUNK,
    "an unknown coding before chunked": POST + b"Transfer-Encoding: xchunked, chunked\r\n" + CHUNK,
    "identity before chunked": POST + b"Transfer-Encoding: identity, chunked\r\n" + CHUNK,
    "chunked in one field twice": POST + b"Transfer-Encoding: chunked, chunked\r\n" + CHUNK,
    "chunked in two fields": POST + b"Transfer-Encoding: chunked\r\n" * 2 + CHUNK,
    "chunked, and not last": POST + b"Transfer-Encoding: chunked, identity\r\n" + CHUNK,
    "chunked in HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n" + CHUNK,
    "a folded field": GET + b"X: a\r\n b\r\n\r\n",
    "CR in a value": GET + b"X: a\rb\r\n\r\n",
    "NUL in a value": GET + b"X: a\0b\r\n\r\n",
    "a control in a value": GET + b"X: a\x01b\r\n\r\n",
    "NUL in a name": GET + b"X\0: a\r\n\r\n",
    "space before the colon": GET + b"X : a\r\n\r\n",
    "HTTP/0.9": b"GET /healthz\r\n",
    "HTTP/1.2": b"GET /healthz HTTP/1.2\r\nHost: a\r\n\r\n",
}
HIDDEN: Final = {
    "a length and chunks": POST + b"Content-Length: 7\r\nTransfer-Encoding: chunked\r\n" + CHUNK,
    "chunks and a length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 7\r\n" + CHUNK,
    "one length twice": POST + b"Content-Length: 7\r\nContent-Length: 7\r\n\r\ntoken=x",
}
"""The requests that the server reads as one, without informing the application: the proxy must refuse them."""
CONTROL: Final = "a control in a value"
OTHER_VERSIONS: Final = {"HTTP/0.9", "HTTP/1.2"}
BARE: Final = {
    "LF for CRLF": b"GET /healthz HTTP/1.1\nHost: a\n\n",
    "LF once": b"GET /healthz HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
}
"""The line end that server and proxy both take for CRLF; the proxy forwards it as CRLF."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that survives all these requests."""
    with serving(f"sqlite:///{tmp_path_factory.mktemp('wire') / 'keystead.db'}") as started:
        yield started


@pytest.fixture(scope="module")
def proxy(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Start nginx before it, with the guide's configuration except for its certificate. Returns the port."""
    with deployed(tmp_path_factory.mktemp("proxy"), server.port) as port:
        yield port


def answers(port: int, sent: bytes) -> list[int]:
    """Return the statuses that arrive until the connection closes or nothing more comes."""
    received = b""
    with suppress(OSError), socket.create_connection((HOST, port), timeout=5) as connection:
        connection.sendall(sent)
        connection.settimeout(0.5)
        while part := connection.recv(65_536):
            received += part
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", received)]


@pytest.mark.parametrize("name", REFUSED)
def test_malformed_requests(server: ServerProcess, name: str) -> None:
    """One 400 (505 for a version), and what follows on the connection is not read as another client's request."""
    assert answers(server.port, REFUSED[name]) in ([400], [505])
    after = answers(server.port, REFUSED[name] + SMUGGLED)
    assert after[:1] in ([400], [505])
    assert (
        after[1:] in ([], [200])
        if name in {"two hosts", "no host", "a host that is none"}
        else not after[1:]
    )
    assert is_served(server.port)


@pytest.mark.parametrize(
    "path", ["/healthz", "/openapi.json", "/docs", "/problems/invalid", "/sign-in", "/v1/whoami"]
)
def test_head_has_no_body(server: ServerProcess, path: str) -> None:
    """HEAD is answered with the fields of GET, its length included, and the next answer begins directly after them."""
    headers = {"Authorization": f"Bearer {server.token()}"} if path == "/v1/whoami" else {}
    connection = HTTPConnection(HOST, server.port, timeout=20)
    shown = []
    for method in ("GET", "HEAD", "GET"):
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        assert (answer.status, bool(body)) == (200, method == "GET")
        ignored = {"x-request-id", "date", "set-cookie"}
        shown.append({n.lower(): v for n, v in answer.getheaders() if n.lower() not in ignored})
    connection.close()
    assert shown[0] == shown[1] == shown[2]
    assert int(shown[1]["content-length"]) > 0


@pytest.mark.parametrize("name", HIDDEN)
def test_what_the_server_settles_itself(server: ServerProcess, name: str) -> None:
    """Two lengths of one body are always read the same way; if they could differ, the connection closes."""
    after = answers(server.port, HIDDEN[name] + SMUGGLED)
    assert after in ([405], [405, 200])
    assert (after == [405]) == ("chunks" in name)


@pytest.mark.parametrize("name", sorted({*REFUSED, *HIDDEN} - OTHER_VERSIONS - {CONTROL}))
def test_the_proxy_refuses_it_all(server: ServerProcess, proxy: int, name: str) -> None:
    """Behind the proxy of the guide each is refused, also those that the server would resolve itself."""
    assert answers(proxy, (REFUSED | HIDDEN)[name] + SMUGGLED) in ([400], [501], [505])
    assert is_served(proxy)


def test_what_the_proxy_leaves_to_the_server(proxy: int) -> None:
    """It forwards control characters, which the server refuses, and makes HTTP/1.1 of the other versions it knows."""
    assert answers(proxy, REFUSED[CONTROL] + SMUGGLED) == [400, 200]
    assert answers(proxy, REFUSED["HTTP/1.2"]) == [200]
    assert answers(proxy, REFUSED["HTTP/0.9"]) == []


@pytest.mark.parametrize("name", BARE)
def test_a_bare_line_feed_is_one_line_end_to_all(
    server: ServerProcess, proxy: int, name: str
) -> None:
    """Neither server nor proxy reads two requests if the other reads one."""
    for port in (server.port, proxy):
        assert answers(port, BARE[name]) in ([200], [400])


def test_sixteen_megabytes_of_head(server: ServerProcess) -> None:
    """It is refused while it arrives, without being stored."""
    before = memory_of(server)
    for _ in range(4):
        with socket.create_connection((HOST, server.port), timeout=20) as connection:
            connection.sendall(GET)
            with suppress(OSError):
                for number in range(1024):
                    connection.sendall(b"X-%d: %s\r\n" % (number, b"a" * 16_384))
            with suppress(OSError):
                assert connection.recv(4096).startswith(b"HTTP/1.1 431")
    assert memory_of(server) - before < 64 * 1024 * 1024
    assert is_served(server.port)


@contextmanager
def slow(server: ServerProcess, number: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """Open that many connections on which a request was begun, and continues for as long as it is read."""
    with ExitStack() as stack:
        yield [stack.enter_context(held(server.port, sent)) for _ in range(number)]


@contextmanager
def held(port: int, sent: bytes) -> Iterator[socket.socket]:
    """Open one of them."""
    with socket.create_connection((HOST, port), timeout=60) as connection:
        connection.sendall(sent)
        yield connection


def ended(connections: list[socket.socket]) -> int:
    """Return how many the server has closed, once all are. Raises OSError if it waits for one of them."""
    count = 0
    for connection in connections:
        with suppress(ConnectionError):
            while connection.recv(65_536):
                pass
        count += 1
    return count


def test_slow_heads_delay_no_other_client(server: ServerProcess) -> None:
    """Two hundred half heads: other clients are served meanwhile, each is closed, and no memory leaks."""
    before = memory_of(server)
    with slow(server, 200, b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: ") as connections:
        assert all(is_served(server.port) for _ in range(20))
        assert ended(connections) == 200
    assert memory_of(server) - before < 128 * 1024 * 1024


@pytest.mark.prove
def test_two_thousand_slow_connections(server: ServerProcess) -> None:
    """A thousand half heads and a thousand half bodies: the same, and the bodies end by their own deadline."""
    before = memory_of(server)
    body = POST.replace(b"/healthz", b"/revoke") + (
        b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ntok"
    )
    with (
        slow(server, 1000, b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: ") as heads,
        slow(server, 1000, body) as bodies,
    ):
        assert all(is_served(server.port) for _ in range(200))
        assert ended(heads) == 1000
        assert all(is_served(server.port) for _ in range(200))
        assert ended(bodies) == 1000
    assert memory_of(server) - before < 128 * 1024 * 1024
    assert is_served(server.port)

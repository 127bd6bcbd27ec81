"""A refusal arrives complete, and its connection stays open, whatever the size of the unread body after it."""

from __future__ import annotations

import re
import select
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import pytest

from tests.support.server_process import HOST, ServerProcess, serving

KIB: Final = 1024
SIZES: Final = (1, 16 * KIB, 1024 * KIB)
EXPECT: Final = ("", "Expect: 100-continue\r\n")
REFUSALS: Final = {
    "unauthenticated": ("POST /v1/keys", "", 401),
    "dead": ("PUT /v1/collections/a/documents/b", "Authorization: Bearer x\r\n", 401),
    "method": ("POST /healthz", "", 405),
    "no such page": ("PUT /v1/nothing", "", 404),
    "long": (f"POST /v1/keys?query={'a' * 9000}", "", 431),
    "malformed": ("POST /v1/keys?a=%00", "", 400),
    "gateway": ("POST /forward-auth/any", "", 401),
    "too large": ("POST /revoke", "", 413),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that survives all these requests."""
    with serving(f"sqlite:///{tmp_path_factory.mktemp('refused') / 'keystead.db'}") as started:
        yield started


def connect(server: ServerProcess) -> socket.socket:
    """Open a connection that times out after a while."""
    return socket.create_connection((HOST, server.port), timeout=30)


def head(line: str, fields: str, length: int) -> bytes:
    """Return the head of a request with a body of that length."""
    return f"{line} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{fields}\r\n".encode()


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Read the status and body of the next response. Raises EOFError if the connection closes within it."""
    head = b""
    while (end := head.find(b"\r\n\r\n")) < 0 or len(head) < end + 4 + length_in(head):
        part = connection.recv(65_536)
        if not part:
            raise EOFError(head)
        head += part
    return int(head[9:12]), head[end + 4 :]


def length_in(head: bytes) -> int:
    """Return the body length that a response declares."""
    (length,) = re.findall(rb"(?i)\r\ncontent-length: (\d+)", head)
    return int(length)


def refuse_on_and_on(server: ServerProcess, name: str, rounds: int) -> None:
    """Send that request repeatedly over one connection: its body with the head, or only after the response."""
    line, fields, status = REFUSALS[name]
    with connect(server) as connection:
        for size in SIZES if status != 413 else SIZES[-1:]:
            for expect in EXPECT * rounds:
                sent, body = head(line, fields + expect, size), b"a" * size
                connection.sendall(sent + body)
                assert read_answer(connection)[0] == status
                connection.sendall(sent)
                assert select.select([connection], [], [], 30)[0], "it is not answered"
                connection.sendall(body)
                code, answer = read_answer(connection)
                assert code == status
                assert b'"code"' in answer
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_answer(connection)[0] == 200


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_arrives_whole(server: ServerProcess, name: str) -> None:
    """Bodies of 1 B, 16 KiB and 1 MiB, sent before or after the answer: it is read whole, and so is the next one."""
    refuse_on_and_on(server, name, 1)


@pytest.mark.parametrize("line", ["GET /v1/whoami", "POST /forward-auth/any"])
def test_a_good_answer_that_asks_for_no_body(server: ServerProcess, line: str) -> None:
    """A body that the call ignores does not harm the connection, on the fast path or off it."""
    fields = f"Authorization: Bearer {server.token()}\r\n"
    with connect(server) as connection:
        for size in SIZES:
            connection.sendall(head(line, fields, size))
            assert read_answer(connection)[0] == 200
            connection.sendall(b"a" * size)


@pytest.mark.prove
@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_arrive_a_hundred_times(server: ServerProcess, name: str) -> None:
    """The guarantee holds a hundred times each."""
    refuse_on_and_on(server, name, 100)


def test_a_body_without_a_length_is_taken_in_too(server: ServerProcess) -> None:
    """In chunks, as clients stream: the refusal comes immediately, and the connection stays usable afterwards."""
    with connect(server) as connection:
        for _ in range(3):
            connection.sendall(
                b"POST /v1/keys HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            assert read_answer(connection)[0] == 401
            connection.sendall(b"4000\r\n" + b"a" * 0x4000 + b"\r\n")
            connection.sendall(b"0\r\n\r\n")


@pytest.mark.slow
def test_no_body_is_read_forever(server: ServerProcess) -> None:
    """A body of a gigabyte, one that trickles and one that is malformed are answered, then cut off."""
    with connect(server) as huge, connect(server) as slow, connect(server) as broken:
        slow.sendall(head("POST /v1/keys", "", 100_000) + b"a")
        assert read_answer(slow)[0] == 401
        broken.sendall(b"POST /v1/keys HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert read_answer(broken)[0] == 401
        broken.sendall(b"no chunk\r\n")
        huge.sendall(head("POST /v1/keys", "", 1024 * KIB * KIB))
        assert read_answer(huge)[0] == 413
        assert pushed(huge) < 64 * KIB * KIB
        assert ended(slow)
        assert ended(broken)
    assert '"event": "failure"' not in server.log()


def pushed(connection: socket.socket) -> int:
    """Return how many bytes the other side takes before it closes the connection."""
    count = 0
    with suppress(ConnectionError):
        while True:
            count += connection.send(b"a" * 65_536)
    return count


def ended(connection: socket.socket) -> bool:
    """Return whether the other side closes it. Raises TimeoutError if it does not."""
    with suppress(ConnectionError):
        return connection.recv(1) == b""
    return True

"""Responses that are never read: the connection is closed after half a minute without progress."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from keystead.operation.server import serving as server_module
from tests.support.postgres import wait_until
from tests.support.server_checks import is_served, memory_of
from tests.support.server_process import HOST, ServerProcess, serving

PAGE: Final = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
PAGES: Final = 60
"""The requests on one connection: their responses exceed what the kernel buffers for a client that reads nothing."""
SMALL: Final = 4096
TIME_WAIT: Final = "06"
CLOSED: Final = "07"
ENDED: Final = {TIME_WAIT, CLOSED}


@contextmanager
def unread(port: int, number: int) -> Iterator[list[socket.socket]]:
    """Open that many connections that send requests and read nothing."""
    with ExitStack() as stack:
        yield [stack.enter_context(_mute(port)) for _ in range(number)]


@contextmanager
def _mute(port: int) -> Iterator[socket.socket]:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        connection.connect((HOST, port))
        connection.setblocking(False)
        with suppress(BlockingIOError):
            connection.send(PAGE * PAGES)
        yield connection


def held(port: int, connections: list[socket.socket]) -> int:
    """Return how many of these connections the server's end still has; a client can't see that one has ended.

    Only their own are counted: the connection that asked whether the server is ready may still be closing next to them.
    """
    theirs = {f"{connection.getsockname()[1]:04X}" for connection in connections}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = [row for row in rows if row[1].endswith(f":{port:04X}") and row[2][-4:] in theirs]
    return sum(1 for row in ours if row[3] not in ENDED)


def write_for_ever(connection: socket.socket) -> None:
    """Write until the connection fails."""
    while True:
        connection.sendall(b"x" * 65_536)


def test_a_write_without_progress_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection from such a bounded socket fails if its other end reads nothing, and not before."""
    monkeypatch.setattr(server_module, "UNREAD_SECONDS", 1)
    with socket.create_server((HOST, 0)) as listening, ExitStack() as stack:
        server_module._limit_unread(listening)
        port = listening.getsockname()[1]
        connection = stack.enter_context(_mute(port))
        accepted = stack.enter_context(listening.accept()[0])
        accepted.settimeout(None)
        start = time.monotonic()
        with pytest.raises(TimeoutError) as raised:
            write_for_ever(accepted)
        assert raised.value.errno is not None, "the kernel ended it, and no time-out of Python's"
        assert time.monotonic() - start >= 1
        assert connection.fileno() > 0


def unread_are_given_up(server: ServerProcess, number: int) -> None:
    """Open that many, and check that they are closed while an honest client is served."""
    memory_before = memory_of(server)
    with unread(server.port, number) as connections:
        wait_until(lambda: held(server.port, connections) == number, "all are connected")
        assert all(is_served(server.port) for _ in range(20))
        assert memory_of(server) - memory_before < 128 * 1024 * 1024
        while held(server.port, connections):
            time.sleep(1)
    assert is_served(server.port)


@pytest.mark.slow
def test_unread_answers_are_given_up(tmp_path: Path) -> None:
    """Twenty connections that are never read are closed after half a minute, though their clients keep them open."""
    with serving(f"sqlite:///{tmp_path / 'keystead.db'}") as server:
        unread_are_given_up(server, 20)


@pytest.mark.prove
def test_three_hundred_unread(tmp_path: Path) -> None:
    """The guarantee holds for three hundred."""
    with serving(f"sqlite:///{tmp_path / 'keystead.db'}") as server:
        unread_are_given_up(server, 300)

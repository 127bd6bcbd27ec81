"""Hostile receivers next to honest ones: each spoils its own deliveries, and no others."""

from __future__ import annotations

import gzip
import resource
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import quantiles

import pytest

from keystead.bootstrap import Installation
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal
from keystead.domain.webhooks import AttemptError, DeliveryStatus, WebhookStatus
from tests.support.certificates import self_signed
from tests.support.receivers import HOST, Receiver, create_webhook, delivering

Script = Callable[[socket.socket], None]
MEGABYTE = 1 << 20
OK = b"HTTP/1.1 200 OK\r\n"


def _read_request(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)


def _never_answers(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def _one_byte_a_second(connection: socket.socket) -> None:
    _read_request(connection)
    for byte in OK + b"X-Slow: " + b"x" * 100:
        connection.sendall(bytes([byte]))
        time.sleep(1)


def _endless_headers(connection: socket.socket) -> None:
    _read_request(connection)
    connection.sendall(OK)
    while True:
        connection.sendall(b"X-More: " + b"x" * 60_000 + b"\r\n")


def _a_gigabyte(connection: socket.socket) -> None:
    _read_request(connection)
    connection.sendall(b"HTTP/1.1 500 Oh\r\nContent-Length: 1073741824\r\n\r\n")
    for _ in range(1024):
        connection.sendall(bytes(MEGABYTE))


def _a_gzip_bomb(connection: socket.socket) -> None:
    _read_request(connection)
    bomb = gzip.compress(bytes(64 * MEGABYTE))
    head = f"HTTP/1.1 500 Oh\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
    connection.sendall(head.encode() + bomb)


def _moved(connection: socket.socket) -> None:
    _read_request(connection)
    place = f"http://{HOST}:{connection.getsockname()[1]}/elsewhere"
    connection.sendall(
        f"HTTP/1.1 301 Moved\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()
    )


def _gone(connection: socket.socket) -> None:
    _read_request(connection)
    connection.sendall(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")


def _later(connection: socket.socket) -> None:
    _read_request(connection)
    connection.sendall(
        b"HTTP/1.1 503 Later\r\nRetry-After: 1000000000\r\nContent-Length: 0\r\n\r\n"
    )


def _never(connection: socket.socket) -> None:
    _read_request(connection)
    connection.sendall(
        b"HTTP/1.1 503 Never\r\nRetry-After: Mon, 01 Jan 99999999999999999999 00:00:00 GMT\r\n"
        b"Content-Length: 0\r\n\r\n"
    )


def _reset(connection: socket.socket) -> None:
    _read_request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _nonsense(connection: socket.socket) -> None:
    _read_request(connection)
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 100)


def _endless_continue(connection: socket.socket) -> None:
    _read_request(connection)
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        time.sleep(0.01)


HOSTILE: dict[str, tuple[Script, AttemptError]] = {
    "never answers": (_never_answers, AttemptError.TIMEOUT),
    "one byte a second": (_one_byte_a_second, AttemptError.TIMEOUT),
    "endless headers": (_endless_headers, AttemptError.BAD_ANSWER),
    "a gigabyte": (_a_gigabyte, AttemptError.STATUS),
    "a gzip bomb": (_a_gzip_bomb, AttemptError.STATUS),
    "moved": (_moved, AttemptError.REDIRECT),
    "gone": (_gone, AttemptError.STATUS),
    "later": (_later, AttemptError.STATUS),
    "never again": (_never, AttemptError.STATUS),
    "reset": (_reset, AttemptError.BAD_ANSWER),
    "nonsense": (_nonsense, AttemptError.BAD_ANSWER),
    "endless 100s": (_endless_continue, AttemptError.TIMEOUT),
    "slow TLS": (_never_answers, AttemptError.TIMEOUT),
    "bad certificate": (_never_answers, AttemptError.TLS),
}
ENCRYPTED = {"slow TLS", "bad certificate"}
FLOODS = {"endless headers", "a gigabyte", "a gzip bomb"}
"""The scripts that send so much that a busy machine may meet the time-out of the attempt first."""


@contextmanager
def hostile(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Start a listener that plays a script on each connection. Returns its port."""
    with socket.create_server((HOST, 0), backlog=256) as listener:
        listener.settimeout(0.1)
        stopping, open_ones = threading.Event(), list[socket.socket]()

        def play(connection: socket.socket) -> None:
            with suppress(OSError, ssl.SSLError), connection:
                if tls is not None:
                    connection = tls.wrap_socket(connection, server_side=True)
                script(connection)

        def accept() -> None:
            while not stopping.is_set():
                with suppress(TimeoutError):
                    connection, _ = listener.accept()
                    connection.settimeout(30)
                    open_ones.append(connection)
                    threading.Thread(target=play, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            stopping.set()
            thread.join()
            for connection in open_ones:
                with suppress(OSError):
                    connection.close()


def among(
    installation: Installation, tenant: Principal, folder: Path, events: int, seconds: float
) -> dict[str, list[float]]:
    """Send that many events next to all hostile receivers. Returns the honest delays (seconds) and the outcomes."""
    certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.load_cert_chain(*self_signed(folder))
    delays: dict[str, list[float]] = {"honest": []}
    with ExitStack() as stack:
        endpoints = {}
        for name, (script, _) in HOSTILE.items():
            port = stack.enter_context(
                hostile(script, certificate if name == "bad certificate" else None)
            )
            scheme = "https" if name in ENCRYPTED else "http"
            endpoints[name] = create_webhook(
                installation, tenant, f"{scheme}://{HOST}:{port}/", "key.created"
            )
        honest = [stack.enter_context(Receiver()) for _ in range(10)]
        for receiver in honest:
            create_webhook(installation, tenant, receiver.url, "key.created")
        stack.enter_context(delivering(installation, seconds=seconds))
        for number in range(events):
            start = time.monotonic()
            installation.services.keys.create(tenant, KeyDraft(f"sync {number}"))
            for receiver in honest:
                receiver.wait_for(number + 1)
                delays["honest"].append(time.monotonic() - start)
        _wait_for_attempts(installation, tenant, [each.endpoint.id for each in endpoints.values()])
        for name, (_, expected) in HOSTILE.items():
            page = installation.services.webhooks.deliveries(
                tenant, endpoints[name].endpoint.id, limit=200
            )
            tried = [attempt for each in page.items for attempt in each.attempts]
            errors = {attempt.error for attempt in tried}
            assert errors, name
            assert errors <= {expected, *([AttemptError.TIMEOUT] if name in FLOODS else [])}, name
            assert {each.status for each in page.items} <= {
                DeliveryStatus.PENDING,
                DeliveryStatus.FAILED,
            }
        gone = installation.services.webhooks.get(tenant, endpoints["gone"].endpoint.id)
        assert gone.status is WebhookStatus.DISABLED
        for receiver in honest:
            assert set(receiver.counts().values()) == {1}
    return delays


def _wait_for_attempts(installation: Installation, tenant: Principal, ids: list[object]) -> None:
    """Wait until each hostile receiver had its first attempt settled."""
    deadline = time.monotonic() + 60
    waiting = set(ids)
    while waiting and time.monotonic() < deadline:
        for id in list(waiting):
            page = installation.services.webhooks.deliveries(tenant, id, limit=200)  # type: ignore[arg-type]
            if any(each.attempts for each in page.items):
                waiting.discard(id)
        time.sleep(0.05)
    assert not waiting


@pytest.mark.slow
def test_hostile_receivers_spoil_nothing_of_the_honest(
    installation: Installation, tenant: Principal, tmp_path: Path
) -> None:
    """Ten honest receivers get each event once, without waiting for fourteen others that hold their connections.

    The honest ones have all their events before the hostile ones' attempts can have ended; and this
    process's memory does not grow with what they send.
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    among(installation, tenant, tmp_path, events=3, seconds=6)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 256, f"{grown} MiB"


@pytest.mark.prove
def test_the_honest_ones_delay(
    installation: Installation, tenant: Principal, tmp_path: Path
) -> None:
    """100 events, attempts of the usual length: the honest ones' 95th percentile is below two seconds."""
    delays = among(installation, tenant, tmp_path, events=100, seconds=20)["honest"]
    p95 = quantiles(delays, n=100)[94]
    print(f"honest: p50 {sorted(delays)[len(delays) // 2]:.3f} s, p95 {p95:.3f} s")  # noqa: T201
    assert p95 < 2

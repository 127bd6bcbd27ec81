"""The connection of a job is cut at every place of a renewal. Its access is never lost, and two keys live at most."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from keystead.client import ClientError, InvalidToken, Patience, renew_token_file
from tests.support.jobs import Job, job_of
from tests.support.product import Customer
from tests.support.server_process import HOST

ONCE: Final = Patience(attempts=1)
CHUNK: Final = 4096
LONGEST: Final = 9_000
"""More bytes than a whole run exchanges: whoami, the renewal, and the verification of the new token."""


class Scissors:
    """Carries a job's connections to the server, and cuts them all after so many bytes of both directions."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._left: int | None = None
        self._guard = threading.Lock()
        self._listener = socket.create_server((HOST, 0), backlog=16)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, bytes_: int | None) -> None:
        """Cut after so many bytes from now on; None: never."""
        with self._guard:
            self._left = bytes_

    def close(self) -> None:
        """Stop listening."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection((HOST, self._target), 5)
                server.settimeout(None)
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                passed = self._share_of(len(data))
                sink.sendall(data[:passed])
                if passed < len(data):
                    break
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _share_of(self, size: int) -> int:
        """Return how many of these bytes still pass."""
        with self._guard:
            if self._left is None:
                return size
            passed = min(size, self._left)
            self._left -= passed
            return passed


@contextmanager
def scissors_to(port: int) -> Iterator[Scissors]:
    """Carry connections to that port for the block."""
    scissors = Scissors(port)
    try:
        yield scissors
    finally:
        scissors.close()


def _cut(customer: Customer, folder: Path, cuts: list[int]) -> list[str]:
    """Cut a renewal after each of these numbers of bytes. Returns what went wrong, and checks that it did both ways."""
    wrong, done, failed = [], 0, 0
    jobs = [_job(customer, folder / str(number)) for number in range(len(cuts))]
    with scissors_to(customer.product.server.port) as scissors:
        url = f"http://{HOST}:{scissors.port}"
        for cut, job in zip(cuts, jobs, strict=True):
            scissors.cut_after(cut)
            try:
                renew_token_file(job.file, url, patience=ONCE, timeout=20)
                done += 1
            except ClientError as error:
                failed += 1
                if isinstance(error, InvalidToken):
                    wrong.append(f"cut after {cut}: {error!r}")
            scissors.cut_after(None)
            wrong += [f"cut after {cut}: {problem}" for problem in _problems(job, url)]
    assert done > 0, "no renewal ever came through"
    assert failed > 0, "no cut ever hit"
    return wrong


def _job(customer: Customer, folder: Path) -> Job:
    folder.mkdir()
    return job_of(customer, folder, f"job {folder.name} of many")


def _problems(job: Job, url: str) -> Iterator[str]:
    """Yield what is wrong after a cut: the file's token, the number of live keys, and the next run."""
    if not job.customer.works(job.key_of_file):
        yield "the token in the file doesn't work"
    if len(job.family()) > 2:
        yield "more than two keys are live"
    try:
        renew_token_file(job.file, url)
    except ClientError as error:
        # A run that came through has left a key that waits for the end of the one before it.
        if job.is_first:
            yield f"the next run fails: {error!r}"
    if job.is_first or not job.customer.works(job.key_of_file):
        yield "the job is still without a new token that works"
    if len(job.family()) > 2:
        yield "more than two keys are live at last"


@pytest.mark.slow
def test_thirty_cuts(customer: Customer, tmp_path: Path) -> None:
    """Cut after thirty different numbers of bytes, from none to more than a whole run has."""
    step = LONGEST // 30
    assert _cut(customer, tmp_path, [step * n for n in range(30)]) == []


@pytest.mark.prove
def test_a_thousand_cuts(customer: Customer, tmp_path: Path) -> None:
    """Cut a thousand times, anywhere."""
    cuts = [random.randrange(LONGEST) for _ in range(1_000)]
    assert _cut(customer, tmp_path, cuts) == []

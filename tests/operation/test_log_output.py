"""Lines of the log arrive once and whole, and a standard error that takes nothing stops nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, Final

import httpx2
import pytest

from keystead.operation.log_output import MOST_WAITING
from tests.support.postgres import wait_until
from tests.support.server_process import ServerProcess, serving

PROGRAM: Final = """
import os, sys, time
from keystead.logger import Logger
from keystead.operation import log_output, logs
logs.configure("info")
log = Logger("keystead.test")
def say(lines, length=1):
    for number in range(lines):
        log.info("said", number=number, filling="x " * length)
"""
CALLS: Final = 60


@contextmanager
def program(source: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that logs; its standard error is a pipe, which is read by the test alone."""
    command = [sys.executable, "-c", f"{PROGRAM}\n{source}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def lines_from(pipe: IO[bytes] | None) -> list[dict[str, Any]]:
    """Return the lines until the end; each must be whole."""
    assert pipe is not None
    return [json.loads(line) for line in pipe]


def next_line(pipe: IO[bytes] | None) -> bytes:
    """Return one line, as soon as it arrives."""
    assert pipe is not None
    return pipe.readline()


def test_a_warning_is_written_immediately_and_in_its_place() -> None:
    """Other lines wait for the next time; a warning waits for nothing, and what was logged before it precedes it."""
    with program(
        "log_output.FLUSH_SECONDS = 3600; logs.begin_buffering()\n"
        "say(3); time.sleep(0.3); log.warning('careful'); sys.stdin.read()"
    ) as process:
        events = [json.loads(next_line(process.stderr))["event"] for _ in range(4)]
    assert events == ["said", "said", "said", "careful"]


def test_lines_do_not_wait_for_others() -> None:
    """A single line is written although nothing follows."""
    with program("logs.begin_buffering(); say(1); sys.stdin.read()") as process:
        assert json.loads(next_line(process.stderr))["event"] == "said"


@pytest.mark.parametrize("flush", [0.01, 3600])
def test_nothing_is_lost_at_the_end(flush: float) -> None:
    """Whatever was logged before the end, by any thread, and after it, is written in order and once."""
    with program(
        f"log_output.FLUSH_SECONDS = {flush}; logs.begin_buffering()\n"
        "say(2000); logs.end_buffering(); log.info('after'); os._exit(0)"
    ) as process:
        *lines, last = lines_from(process.stderr)
    assert [line["number"] for line in lines] == list(range(2000))
    assert last["event"] == "after"


def test_lines_of_several_processes_do_not_mix() -> None:
    """Four forks share a pipe that is read slowly: each line is whole and arrives once."""
    with program(
        """
for fork in range(4):
    if os.fork() == 0:
        logs.begin_buffering()
        for number in range(1000):
            log.info("said", place=[fork, number], filling="x " * (number % 300))
        logs.end_buffering()
        os._exit(0)
for fork in range(4):
    os.wait()
"""
    ) as process:
        lines = lines_from(process.stderr)
    places = Counter(tuple(line["place"]) for line in lines)
    assert places == Counter({(fork, number): 1 for fork in range(4) for number in range(1000)})


def test_what_is_not_taken_is_bounded_and_counted() -> None:
    """While there is no reader, the program goes on; later come the lines that waited, and how many are missing."""
    written = 3 * MOST_WAITING // 2000
    with program(
        f"logs.begin_buffering(); say({written}, 1000)\n"
        "print('went on', flush=True); sys.stdin.read(1)\n"
        "logs.end_buffering()"
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"went on\n"
        reader = _Reader(process.stderr)
        wait_until(lambda: reader.has("log lines lost"), "the loss is logged")
        process.stdin.write(b"x")
        process.stdin.flush()
        lines = reader.end()
    lost = sum(line["lines"] for line in lines if line["event"] == "log lines lost")
    said = sum(line["event"] == "said" for line in lines)
    assert said + lost == written
    assert said * 2000 < 2 * MOST_WAITING


class _Reader:
    """Reads lines on a thread."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        self.lines: list[dict[str, Any]] = []
        self._pipe = pipe
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def has(self, event: str) -> bool:
        """Return whether such a line was read."""
        return any(line["event"] == event for line in self.lines)

    def end(self) -> Sequence[dict[str, Any]]:
        """Return all lines."""
        self._thread.join()
        return self.lines

    def _read(self) -> None:
        assert self._pipe is not None
        for line in self._pipe:
            self.lines.append(json.loads(line))


@pytest.mark.parametrize(
    "close",
    ["os.close(2)", "sys.stderr = None", "os.set_blocking(2, False)"],
    ids=["closed", "absent", "not blocking"],
)
@pytest.mark.parametrize("begin", ["", "logs.begin_buffering()"], ids=["direct", "buffered"])
def test_a_strange_standard_error_stops_nothing(close: str, begin: str) -> None:
    """Closed, absent or in non-blocking mode: the program ends well, whether it buffers or not."""
    with program(f"{close}; {begin}\nsay(5000); log.error('x'); logs.end_buffering()") as process:
        _Reader(process.stderr).end()
        assert process.wait(30) == 0


def test_an_end_does_not_wait_for_a_reader_forever() -> None:
    """A process whose standard error is never read ends all the same."""
    with program("logs.begin_buffering(); say(5000); logs.end_buffering(); say(1)") as process:
        assert process.wait(30) == 0


@pytest.mark.slow
def test_each_request_has_one_line_after_reloads_and_the_stop(database_url: str) -> None:
    """Two processes, replaced by SIGHUP under load and stopped: each answered request is in the log, once."""
    with serving(database_url, workers=2) as server:
        token, ids, over = server.token(), list[str](), threading.Event()
        callers = [
            threading.Thread(target=_call, args=(server, token, ids, over)) for _ in range(2)
        ]
        for caller in callers:
            caller.start()
        for _ in range(2):
            before = set(server.processes())
            server.signal(signal.SIGHUP)
            wait_until(lambda before=before: not before & set(server.processes()), "all are new")  # type: ignore[misc]
        wait_until(lambda: len(ids) > CALLS, "there were calls")
        over.set()
        for caller in callers:
            caller.join()
        assert server.stop() == 0
        # What is not JSON was printed by granian's own runtime, which does that when it panics.
        lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    logged = Counter(line["request_id"] for line in lines if line["event"] == "request")
    assert {id: logged[id] for id in ids} == dict.fromkeys(ids, 1)


def _call(server: ServerProcess, token: str, ids: list[str], over: threading.Event) -> None:
    while not over.is_set():
        with suppress(httpx2.HTTPError):  # a busy machine may time out
            ids.append(server.call("GET", "/v1/whoami", token=token).headers["x-request-id"])


def test_a_line_longer_than_one_write_is_whole() -> None:
    """A line of several times the size that is written together stays one line."""
    with program("logs.begin_buffering(); say(3, 20_000); logs.end_buffering()") as process:
        assert [len(line["filling"]) for line in lines_from(process.stderr)] == [40_000] * 3

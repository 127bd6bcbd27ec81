"""On the embedded database a change is on disk before it is acknowledged, as the kernel saw it."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx2
import pytest

from tests.support.postgres import wait_until
from tests.support.processes import KEYSTEAD
from tests.support.server_process import ServerProcess, free_port, serving
from tests.support.strace import UNSYNCED, end_trace

CHANGES: Final = 20
CALLS: Final = "trace=fsync,fdatasync,recvfrom,read,readv,write,writev,sendto,sendmsg"

REQUEST = re.compile(r'"(?:POST /v1/keys |DELETE /v1/keys/)')
ANSWER = re.compile(r'"HTTP/1\.1 20[14] ')
SYNC = re.compile(r"f(?:data)?sync\(\d+<[^>]*\.db-wal>")
RESUMED = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)")
UNFINISHED = "<unfinished ...>"


def events_of(trace: str) -> Iterator[str]:
    """Yield the events in order: a `request` arrived, the journal was `synced`, an `answer` is about to leave."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        if ANSWER.search(line):
            yield "answer"
        resumed = RESUMED.match(line)
        call = begun.pop(resumed[1], "") + resumed[2] if resumed else line
        if call.endswith(UNFINISHED):
            begun[call.split()[0]] = call
        elif REQUEST.search(call):
            yield "request"
        elif SYNC.search(call) and call.endswith("= 0"):
            yield "synced"


def answers_without_a_sync(trace: str) -> tuple[int, int]:
    """Return how many changes were acknowledged, and how many of them without a sync since their request arrived."""
    answers, unsynced, synced = 0, 0, False
    for event in events_of(trace):
        match event:
            case "request":
                synced = False
            case "synced":
                synced = True
            case _:
                answers += 1
                unsynced += not synced
    return answers, unsynced


def traced(tmp_path: Path, *program: str | Path) -> tuple[int, int]:
    """Run the server under strace while one client creates and revokes keys. Returns the trace."""
    if shutil.which("strace") is None:
        pytest.skip(
            "no strace: whether changes are synced before they are acknowledged is not seen"
        )
    with serving(f"sqlite:///{tmp_path / 'keystead.db'}", start=False) as server:
        server.port = free_port()
        server.put_on("scale")
        strace = ("strace", "-f", "--seccomp-bpf", "-y", "-s", "64", "-e", CALLS, "-o", "trace")
        process = server.popen(*strace, *program, "serve", "--port", str(server.port))
        try:
            wait_until(server.is_ready, "the traced server is ready")
            _change(server)
        finally:
            end_trace(process)
    return answers_without_a_sync((tmp_path / "trace").read_text(errors="replace"))


def _change(server: ServerProcess) -> None:
    bearer = {"authorization": f"Bearer {server.token()}"}
    with httpx2.Client(base_url=server.base_url, headers=bearer, trust_env=False) as http:
        for number in range(CHANGES):
            response = http.post("/v1/keys", json={"description": f"key {number}"})
            assert response.status_code == 201
            assert http.delete(f"/v1/keys/{response.json()['id']}").status_code == 204


def test_every_change_is_synced_before_it_is_acknowledged(tmp_path: Path) -> None:
    """Between the arrival of each create or revoke and the first byte of its 2xx, the journal was synced."""
    assert traced(tmp_path, KEYSTEAD) == (2 * CHANGES, 0)


@pytest.mark.slow
def test_a_change_that_is_not_synced_is_seen(tmp_path: Path) -> None:
    """The same experiment on a server that does not sync each commit finds every acknowledgement unsynced."""
    answers, unsynced = traced(tmp_path, sys.executable, "-c", UNSYNCED)
    assert answers == 2 * CHANGES
    assert unsynced == answers

"""Last use under load: shown within seconds, forward only, exactly counted; a kill loses little."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx2
import pytest
from sqlalchemy import event

from keystead.bootstrap.background import FLUSH_SECONDS
from tests.support.installations import SandboxInstallation, own_sandbox
from tests.support.postgres import wait_until
from tests.support.server_checks import ids_of, recorded_uses
from tests.support.server_process import ServerProcess

__all__ = ["own_sandbox"]

CLIENTS = 8
SLACK = 10.0
"""The extra seconds for a machine that is busy with other work."""


@dataclass
class Callers:
    """Eight clients that use keys repeatedly. `answered`: for each key, the times at which a request got 200."""

    server: ServerProcess
    tokens: list[str] = field(repr=False)
    stopping: threading.Event = field(default_factory=threading.Event)
    answered: list[list[float]] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self, each: int) -> None:
        """Start them, with that many requests each."""
        self.answered = [[] for _ in self.tokens]
        self.threads = [
            threading.Thread(target=self._call, args=(number, each)) for number in range(CLIENTS)
        ]
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        """Wait until all have ended."""
        for thread in self.threads:
            thread.join()

    def _call(self, number: int, each: int) -> None:
        picked = random.Random(number)
        with httpx2.Client(base_url=self.server.base_url, trust_env=False, timeout=30) as http:
            for _ in range(each):
                key = picked.randrange(len(self.tokens))
                bearer = {"authorization": f"Bearer {self.tokens[key]}"}
                try:
                    answer = http.get("/v1/whoami", headers=bearer)
                except httpx2.TransportError:
                    return
                assert answer.status_code == 200
                self.answered[key].append(time.time())


def last_used(server: ServerProcess, watcher: str, id: str) -> datetime | None:
    """Return when the key was last used, as the API shows it."""
    shown = server.call("GET", f"/v1/keys/{id}", token=watcher).json()["last_used_at"]
    return None if shown is None else datetime.fromisoformat(shown)


def use_under_load(server: ServerProcess, each: int) -> int:
    """Verify that many times with each of eight clients; check that all are counted and no last use moves back."""
    server.put_on("scale")
    watcher, *tokens = (server.token() for _ in range(5))
    ids = ids_of(server, tokens)
    callers = Callers(server, tokens)
    callers.start(each)
    shown: list[datetime] = []
    while any(thread.is_alive() for thread in callers.threads):
        if (at := last_used(server, watcher, ids[0])) is not None:
            shown.append(at)
    callers.join()
    assert shown == sorted(shown)
    sent = [len(times) + 1 for times in callers.answered]
    wait_until(lambda: recorded_uses(server, ids) == sent, "every use is counted")
    newest = max(callers.answered[0])
    last = last_used(server, watcher, ids[0])
    assert last is not None
    assert abs(last.timestamp() - newest) < SLACK
    return sum(sent)


@pytest.mark.slow_on("postgresql")
def test_every_use_is_counted_and_shown(server: ServerProcess) -> None:
    """400 verifications by eight clients on either engine: each is counted, and no last use moves back (R43)."""
    assert use_under_load(server, 50) == 404


@pytest.mark.prove
@pytest.mark.timeout(600)
def test_ten_thousand_uses_are_counted_and_shown(server: ServerProcess) -> None:
    """10,000."""
    assert use_under_load(server, 1250) == 10_004


@pytest.mark.prove
def test_a_kill_loses_no_more_than_one_interval(server: ServerProcess) -> None:
    """SIGKILL under load: what was used an interval before is recorded; no shown time is in the future."""
    server.put_on("scale")
    watcher, *tokens = (server.token() for _ in range(3))
    ids = ids_of(server, tokens)
    callers = Callers(server, tokens)
    callers.start(1_000_000)
    wait_until(lambda: last_used(server, watcher, ids[0]) is not None, "the use shows")
    time.sleep(FLUSH_SECONDS)
    server.kill()
    killed = time.time()
    callers.join()
    server.start()
    for uses, times in zip(recorded_uses(server, ids), callers.answered, strict=True):
        before = sum(at < killed - FLUSH_SECONDS - SLACK / 2 for at in times)
        assert before <= uses <= len(times) + CLIENTS + 1
    last = last_used(server, watcher, ids[0])
    assert last is not None
    assert killed - FLUSH_SECONDS - SLACK < last.timestamp() <= killed


@pytest.mark.prove
def test_a_refused_attempt_moves_nothing(server: ServerProcess) -> None:
    """A request beyond the key's scopes does not change the last use."""
    watcher, narrow = server.token(), server.token("documents:read")
    (id,) = ids_of(server, [narrow])
    wait_until(lambda: last_used(server, watcher, id) is not None, "the use shows")
    before = last_used(server, watcher, id)
    refused = server.call("POST", "/v1/keys", token=narrow, json={"description": "x"})
    assert refused.status_code == 403
    server.stop()
    server.start()
    assert last_used(server, watcher, id) == before


def test_a_flush_writes_each_key_once(own_sandbox: SandboxInstallation) -> None:
    """A flush writes a key's last use as one row, with any number of uses since the last flush."""
    tenant = own_sandbox.tenant()
    keys = [own_sandbox.key(tenant) for _ in range(3)]
    written: list[Any] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, many: bool) -> None:
        if "INTO key_use " in statement:
            written.extend(parameters if many else [parameters])

    for _ in range(200):
        for key in keys:
            own_sandbox.verify(key)
    engine = own_sandbox.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        own_sandbox.flush()
        own_sandbox.flush()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert len(written) == len(keys)

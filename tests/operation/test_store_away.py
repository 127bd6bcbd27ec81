"""The database is away, silent, read-only, locked or moved under requests: 503 in time, and no wrong verdict."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from keystead.storage.engine.connections import sqlite_driver
from tests.support.acknowledged_changes import DEAD, LIVE, verify
from tests.support.outages import (
    RECOVERY_SECONDS,
    Taking,
    bound,
    cut,
    files_of,
    keys_of,
    silent,
    stopped,
    threads_of,
)
from tests.support.postgres import PrivatePostgres, wait_until
from tests.support.relay import relay_to
from tests.support.server_checks import can_create
from tests.support.server_process import ServerProcess, serving

SHORT, LONG = 1.5, 30.0


@dataclass
class Watch:
    """Clients that send requests without a pause, and the statuses they got by kind of key."""

    server: ServerProcess
    tokens: dict[str, str] = field(repr=False)
    told: dict[str, Counter[int]] = field(default_factory=dict)
    slowest: float = 0.0
    lag: float = 0.0
    without_retry: int = 0
    stopping: threading.Event = field(default_factory=threading.Event, repr=False)

    def ask(self, kind: str) -> None:
        """Send requests with the key of that kind, at least one, until stopped."""
        statuses = self.told.setdefault(kind, Counter())
        bearer = {"authorization": f"Bearer {self.tokens[kind]}"}
        with httpx2.Client(base_url=self.server.base_url, headers=bearer, trust_env=False) as http:
            while True:
                start = time.monotonic()
                if kind == "create":
                    answer = http.post("/v1/keys", json={"description": "away"}, timeout=40)
                else:
                    answer = http.get("/v1/whoami", timeout=40)
                    self.slowest = max(self.slowest, time.monotonic() - start)
                statuses[answer.status_code] += 1
                start = time.monotonic()
                http.get("/healthz", timeout=40)
                self.lag = max(self.lag, time.monotonic() - start)
                if answer.status_code == 503 and "retry-after" not in answer.headers:
                    self.without_retry += 1
                if self.stopping.wait(0.005):
                    break


@contextmanager
def watched(server: ServerProcess, tokens: dict[str, str], clients: int) -> Iterator[Watch]:
    """Run that many clients for each kind of key while the block runs."""
    watch = Watch(server, tokens)
    threads = [
        threading.Thread(target=watch.ask, args=(kind,)) for kind in tokens for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        watch.stopping.set()
        for thread in threads:
            thread.join()


def endure(
    server: ServerProcess,
    begin: Callable[[], None],
    end: Callable[[], None],
    seconds: float,
    clients: int,
) -> Watch:
    """Run an outage of that length under requests; everything recovers within five seconds. Returns the answers."""
    tokens = keys_of(server)
    server.put_on("scale")
    with watched(server, tokens, clients) as before:
        time.sleep(0.5)
    assert set(before.told["live"]) == {LIVE}
    threads, files = threads_of(server), files_of(server)
    begin()
    with watched(server, tokens, clients) as watch:
        time.sleep(seconds)
    end()
    mended = time.monotonic()
    wait_until(lambda: verify(server, tokens["live"]) == LIVE, "the live key is good again")
    wait_until(lambda: can_create(server, tokens["create"]), "keys are made again")
    assert time.monotonic() - mended < RECOVERY_SECONDS
    assert [verify(server, tokens[kind]) for kind in ("dead", "unknown")] == [DEAD, DEAD]
    assert threads_of(server) <= threads + 40, "threads have grown"
    assert files_of(server) <= files + 40, "connections have grown"
    return watch


def require_refusals(watch: Watch, *, exactly: bool) -> None:
    """Check that each answer was 503 with Retry-After, in time, for dead and unknown keys too."""
    assert watch.without_retry == 0
    for kind, statuses in watch.told.items():
        assert set(statuses) == {503}, f"{kind}: {statuses}"
    assert watch.slowest < bound(watch.lag, exactly=exactly)


def require_verdicts(watch: Watch) -> None:
    """Check that verdicts were as before, and that no key was created."""
    assert watch.without_retry == 0
    assert set(watch.told["live"]) == {LIVE}
    assert set(watch.told["dead"]) == set(watch.told["unknown"]) == {DEAD}
    assert set(watch.told["create"]) <= {503}


# --- PostgreSQL ---


OUTAGES = pytest.mark.parametrize("outage", [stopped, silent, cut])
WORST = pytest.mark.parametrize("outage", [silent])


def endure_without_postgresql(
    postgres: PrivatePostgres,
    outage: Taking,
    seconds: float,
    clients: int,
) -> None:
    """Run one outage of PostgreSQL."""
    with relay_to(postgres.port) as relay:
        url = postgres.dsn().replace(str(postgres.port), str(relay.port))
        with serving(url) as server:
            watch = endure(server, *outage(postgres, relay), seconds, clients)
            require_refusals(watch, exactly=seconds == LONG)


@pytest.mark.slow
@WORST
def test_without_postgresql_everything_is_503(
    private_postgres: PrivatePostgres,
    outage: Taking,
) -> None:
    """A silent one for a while: 503 with Retry-After in time; no 401, and no key is accepted (R36)."""
    endure_without_postgresql(private_postgres, outage, SHORT, 2)


@pytest.mark.prove
@OUTAGES
def test_without_postgresql_for_half_a_minute(
    private_postgres: PrivatePostgres,
    outage: Taking,
) -> None:
    """The guarantee holds for thirty seconds."""
    endure_without_postgresql(private_postgres, outage, LONG, 4)


# --- SQLite ---


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server over SQLite in a folder of its own."""
    with serving(f"sqlite:///{tmp_path / 'data' / 'keystead.db'}") as server:
        yield server


@pytest.mark.prove
def test_a_sqlite_that_is_locked_goes_on_verifying(embedded: ServerProcess) -> None:
    """Another process holds the lock for longer than a change waits: 503 for changes, verdicts as before."""
    other = sqlite_driver.connect(embedded.data / "keystead.db", isolation_level=None)

    def lock() -> None:
        other.execute("PRAGMA busy_timeout = 10000")
        other.execute("BEGIN IMMEDIATE")

    def unlock() -> None:
        other.execute("ROLLBACK")

    try:
        require_verdicts(endure(embedded, lock, unlock, 1.0, 1))
    finally:
        other.close()


@pytest.mark.slow
def test_a_sqlite_that_was_moved_away_is_no_database(embedded: ServerProcess) -> None:
    """The file under another name: each answer is true, and no empty file takes its place."""
    file = embedded.data / "keystead.db"
    away = embedded.data / "moved"

    def move() -> None:
        for end in ("", "-wal", "-shm"):
            Path(f"{file}{end}").rename(f"{away}{end}")

    def back() -> None:
        assert not list(file.parent.glob("keystead.db"))
        for end in ("-shm", "-wal", ""):
            Path(f"{away}{end}").rename(f"{file}{end}")

    watch = endure(embedded, move, back, 1.0, 1)
    assert set(watch.told["live"]) <= {LIVE, 503}
    assert set(watch.told["dead"]) <= {DEAD, 503}
    assert set(watch.told["unknown"]) <= {DEAD, 503}


# --- one server of several is paused, cut off or killed while another revokes ---


def revoke(server: ServerProcess, token: str, key: str) -> None:
    """Revoke a key, acknowledged."""
    assert server.call("DELETE", f"/v1/keys/{key}", token=token).status_code == 204


def pausing(seconds: float, database_url: str) -> None:
    """Pause a server while a key is revoked through another; query it before, meanwhile and after."""
    with (
        serving(database_url, workers=2) as paused,
        serving(database_url, data=paused.data) as other,
        ThreadPoolExecutor(8) as pool,
    ):
        creator, victim = paused.token(), paused.token()
        own = paused.call("GET", "/v1/whoami", token=victim).json()["key"]["id"]
        assert {verify(paused, victim) for _ in range(8)} == {LIVE}
        paused.signal(signal.SIGSTOP, group=True)
        try:
            revoke(other, creator, own)
            pending = [pool.submit(verify, paused, victim) for _ in range(8)]
            time.sleep(seconds)
        finally:
            paused.signal(signal.SIGCONT, group=True)
        assert {future.result() for future in pending} == {DEAD}
        assert {verify(server, victim) for server in (paused, other) for _ in range(4)} == {DEAD}


@pytest.mark.slow
def test_a_server_that_was_paused_refuses_when_it_wakes(database_url: str) -> None:
    """SIGSTOP to all of a server; a request that begins after a revocation elsewhere is refused (R29)."""
    pausing(0.3, database_url)


@pytest.mark.prove
def test_a_server_that_was_paused_for_five_seconds_refuses(database_url: str) -> None:
    """The guarantee holds for five seconds."""
    pausing(5.0, database_url)


@pytest.mark.slow
def test_a_server_that_was_cut_off_accepts_no_key(private_postgres: PrivatePostgres) -> None:
    """A key is revoked while one server has lost the database: that one answers 503, then 401, and never 200."""
    with relay_to(private_postgres.port) as relay:
        url = private_postgres.dsn().replace(str(private_postgres.port), str(relay.port))
        with serving(url) as cut_off, serving(private_postgres.dsn(), data=cut_off.data) as other:
            creator, victim = other.token(), other.token()
            own = other.call("GET", "/v1/whoami", token=victim).json()["key"]["id"]
            assert verify(cut_off, victim) == LIVE
            relay.cut()
            revoke(other, creator, own)
            assert {verify(cut_off, victim) for _ in range(5)} == {503}
            relay.restore()
            wait_until(lambda: verify(cut_off, victim) != 503, "the database is back")
            assert verify(cut_off, victim) == DEAD


@pytest.mark.prove
def test_a_server_that_is_killed_while_another_revokes(database_url: str) -> None:
    """It restarts with an empty cache: the key is refused."""
    with (
        serving(database_url) as killed,
        serving(database_url, data=killed.data) as other,
    ):
        creator, victim = killed.token(), killed.token()
        own = killed.call("GET", "/v1/whoami", token=victim).json()["key"]["id"]
        assert verify(killed, victim) == LIVE
        killed.kill()
        revoke(other, creator, own)
        killed.start()
        assert verify(killed, victim) == DEAD

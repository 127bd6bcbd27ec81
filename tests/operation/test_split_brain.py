"""An old primary that goes on beside its promoted standby: nobody is let in by it who has ended at the new one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psycopg
import pytest
from pydantic import ValidationError

from keystead.settings import Settings
from tests.ledger import DEAD, LIVE, verify
from tests.postgres import OwnPostgres, wait_until
from tests.relay import Relay, relay_to
from tests.serving import HOST, Serving, serving
from tests.standby import Pair, standby_of

LEASE = 2
LEASED = {"KEYSTEAD_FAILOVER_LEASE_SECONDS": str(LEASE)}
AWAY = 503


@dataclass
class Watch:
    """What one server said of one token, again and again: when it was asked, and the status."""

    said: list[tuple[float, int]] = field(default_factory=list)

    def last_accepted(self) -> float:
        """When the last request began that was let in."""
        return max(began for began, status in self.said if status == LIVE)

    def after(self, instant: float) -> list[int]:
        """What was said to those who asked later, one after the other."""
        return [status for began, status in self.said if began > instant]

    def since(self, instant: float) -> set[int]:
        """The same, each once."""
        return set(self.after(instant))


@dataclass(frozen=True)
class Divided:
    """Two servers that reach the old primary alone, one without a lease, and one that goes where its relay leads."""

    pair: Pair
    old: Serving
    careless: Serving
    new: Serving
    ways: tuple[Relay, Relay]

    def part(self) -> float:
        """Promote the standby behind the back of the old primary, lead the new server there; when they were parted."""
        self.pair.stream.cut()
        parted = time.monotonic()
        self.pair.promote()
        self.ways[1].point_to(self.pair.standby.port)
        return parted


@contextmanager
def divided(primary: OwnPostgres) -> Iterator[Divided]:
    """All servers on the primary, whose standby is synchronous."""
    with (
        standby_of(primary) as pair,
        relay_to(primary.port) as one,
        relay_to(primary.port) as other,
        serving(primary.dsn()) as careless,
    ):
        careless.put_on("scale")
        pair.make_synchronous()
        with (
            serving(through(primary, one), data=careless.data, environment=LEASED) as old,
            serving(through(primary, other), data=careless.data, environment=LEASED) as new,
        ):
            yield Divided(pair, old, careless, new, (one, other))


def through(primary: OwnPostgres, relay: Relay) -> str:
    """The primary's URL by way of a relay."""
    return primary.dsn().replace(str(primary.port), str(relay.port))


@contextmanager
def watching(server: Serving, token: str) -> Iterator[Watch]:
    """Asks that server about that token, on connections of its own, until the block ends."""
    watch, stopping = Watch(), threading.Event()

    def ask() -> None:
        while not stopping.is_set():
            began = time.monotonic()
            watch.said.append((began, verify(server, token)))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        wait_until(lambda: bool(watch.said), "the server was asked")
        yield watch
    finally:
        stopping.set()
        thread.join()


def new_key(server: Serving, token: str) -> tuple[str, str]:
    """Where a new key is, and its token."""
    made = server.call("POST", "/v1/keys", token=token, json={"description": "divided"}).json()
    return f"/v1/keys/{made['id']}", made["token"]


def is_revoked(server: Serving, path: str, token: str) -> bool:
    """Ask for the end of the key; whether that was acknowledged."""
    with suppress(httpx2.TransportError):
        return server.call("DELETE", path, token=token).status_code == 204
    return False


def revoke_at_the_new_one(primary: OwnPostgres) -> None:
    """One round: a key ends at the new primary while servers that reach the old one are asked about it all the time."""
    with divided(primary) as servers:
        token = servers.careless.token()
        path, key = new_key(servers.careless, token)
        with watching(servers.old, key) as watch, watching(servers.careless, key) as careless:
            wait_until(lambda: LIVE in watch.since(0), "it is let in")
            parted = servers.part()
            wait_until(servers.new.is_ready, "the new one answers")
            wait_until(lambda: is_revoked(servers.new, path, token), "the key ends there")
            ended = time.monotonic()
            wait_until(lambda: verify(servers.new, key) == DEAD, "the new one refuses it")
            for one in (watch, careless):
                wait_until(lambda one=one: len(one.after(ended)) > 5, "it is asked again")  # type: ignore[misc]
        assert ended - parted > LEASE
        assert watch.last_accepted() < parted + LEASE
        assert watch.since(ended) == {AWAY}
        assert watch.since(0) == {LIVE, AWAY}
        assert LIVE in careless.since(ended)
        servers.ways[0].point_to(servers.pair.standby.port)
        wait_until(lambda: verify(servers.old, key) == DEAD, "the old server follows")


@pytest.mark.timeout(300)
def test_an_old_primary_lets_nobody_in(private_postgres: OwnPostgres) -> None:
    """Nobody is accepted by it who asks after the end was answered at the new one, but told 503 (R37).

    Beside it a server without a lease accepts the key for as long as it is asked: so it would be seen.
    """
    revoke_at_the_new_one(private_postgres)


@pytest.mark.prove
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(20))
def test_twenty_old_primaries(private_postgres: OwnPostgres, number: int) -> None:
    """Each of twenty."""
    assert number < 20
    revoke_at_the_new_one(private_postgres)


@pytest.mark.prove
@pytest.mark.timeout(300)
def test_a_server_that_knows_both_moves(private_postgres: OwnPostgres) -> None:
    """Where its URL names both, a server leaves the old primary by itself, though that one still answers.

    Each of its connections is told 503 once or twice before it leads to the new one.
    """
    primary = private_postgres
    with standby_of(primary) as pair:
        url = f"postgresql://postgres@{HOST}:{primary.port},{HOST}:{pair.standby.port}/postgres"
        with serving(url, environment=LEASED) as server:
            server.put_on("scale")
            pair.make_synchronous()
            token = server.token()
            path, key = new_key(server, token)
            pair.promote()
            wait_until(lambda: verify(server, key) == AWAY, "the lease is lost")
            wait_until(lambda: {verify(server, key) for _ in range(20)} == {LIVE}, "it has moved")
            wait_until(lambda: is_revoked(server, path, token), "so have its transactions")
            assert _ends(pair.standby, path)
            assert not _ends(primary, path)


def test_a_lease_needs_a_standby(tmp_path: Path) -> None:
    """SQLite has none: the setting is refused."""
    with pytest.raises(ValidationError, match="SQLite has no standby"):
        Settings(data=tmp_path, failover_lease_seconds=5)


def _ends(postgres: OwnPostgres, path: str) -> bool:
    """Whether the key has ended on that server."""
    ended = "SELECT 1 FROM api_keys WHERE id = %s AND revoked_at IS NOT NULL"
    with psycopg.connect(postgres.dsn()) as connection:
        return connection.execute(ended, [path.rpartition("/")[2]]).fetchone() is not None

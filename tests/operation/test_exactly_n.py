"""A limit holds over two servers on one database, with any number of concurrent requests."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx2
import pytest
from sqlalchemy import text

from keystead import bootstrap
from keystead.storage.database import Database
from tests.support.administrator import read_behind
from tests.support.server_process import ServerProcess, serving

LIMIT: Final = 10
CLIENTS: Final = 8
SAMPLES: Final = 20
CREATING: Final = {201: "created", 409: "full", 422: "late", 503: "late"}
REVOKING: Final = {204: "revoked", 503: "late"}
"""How statuses are counted. On a busy machine an expiry passes before its request is read, or a lock times out."""
EXACT_SECONDS: Final = 0.25
"""The tolerance of natural expiry on every server."""
COUNT: Final = (
    "SELECT count(*) FROM api_keys WHERE revoked_at IS NULL AND rotated_to IS NULL"
    f" AND (expires_at IS NULL OR expires_at > {int(EXACT_SECONDS * 1_000_000)} + {{now}})"
)
NOW: Final = {
    "sqlite": "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
    "postgresql": "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
}


@dataclass
class Pair:
    """Two servers over one database, and the token of a key that creates keys in a workspace with room for ten."""

    servers: tuple[ServerProcess, ServerProcess]
    token: str = field(repr=False)

    def clients(self, count: int) -> list[httpx2.Client]:
        """Return connections to the two servers alternately."""
        bearer = {"authorization": f"Bearer {self.token}"}
        urls = [self.servers[n % 2].base_url for n in range(count)]
        return [
            httpx2.Client(base_url=u, headers=bearer, trust_env=False, timeout=30) for u in urls
        ]

    def active(self) -> int:
        """Return how many keys count towards the limit, by the database's own time."""
        with closing(Database(self.servers[0].database_url)) as database:
            return counted(database)


def counted(database: Database) -> int:
    """Return the keys that count, as one statement sees them."""
    with read_behind(database) as tx:
        statement = text(COUNT.format(now=NOW[tx.dialect.name]))
        return int(tx.execute(statement).scalar_one())


@contextmanager
def pair_on(database_url: str) -> Iterator[Pair]:
    """Start two servers with one pepper over one database."""
    with serving(database_url) as first, serving(database_url, data=first.data) as second:
        token = first.token()
        installation = bootstrap.open_safely(first.settings)
        workspaces = installation.services.workspaces
        workspaces.set_plan(workspaces.first().workspace_id, "scale", {"api_keys": LIMIT})
        installation.close()
        yield Pair((first, second), token)


@pytest.mark.slow_on("postgresql")
def test_a_hundred_concurrent_creations_leave_exactly_ten(database_url: str) -> None:
    """Of 100 concurrent creations through two servers, as many succeed as there was room for."""
    with pair_on(database_url) as pair, ThreadPoolExecutor(50) as pool:
        clients = pair.clients(50)
        answers = pool.map(
            lambda n: (
                clients[n % 50].post("/v1/keys", json={"description": f"key {n}"}).status_code
            ),
            range(100),
        )
        assert Counter(answers) == {201: LIMIT - 1, 409: 100 - LIMIT + 1}
        assert pair.active() == LIMIT
        for client in clients:
            client.close()


@pytest.mark.slow_on("postgresql")
def test_there_are_never_more_than_ten(database_url: str) -> None:
    """With creations, revocations and expiries on two servers, no sample of the database shows more than ten."""
    with pair_on(database_url) as pair:
        stop = threading.Event()
        tallies: list[Counter[str]] = [Counter() for _ in range(CLIENTS)]
        workers = [
            threading.Thread(target=_churn, args=(client, tally, stop.is_set))
            for client, tally in zip(pair.clients(CLIENTS), tallies, strict=True)
        ]
        for worker in workers:
            worker.start()
        try:
            samples = _samples(pair, lambda: _has_seen_all(sum(tallies, Counter())))
        finally:
            stop.set()
            for worker in workers:
                worker.join()
    assert max(samples) == LIMIT
    assert sum(tallies, Counter())["other"] == 0


def _has_seen_all(done: Counter[str]) -> bool:
    """Return whether keys were created beyond the limit, revoked, and refused because of the limit."""
    return done["created"] > LIMIT and done["revoked"] > 0 and done["full"] > 0


def _samples(pair: Pair, is_enough: Callable[[], bool]) -> list[int]:
    """Count until there are enough samples, one at the limit, and the churn was seen; the test's time-out bounds it."""
    samples: list[int] = []
    with closing(Database(pair.servers[0].database_url)) as database:
        while len(samples) < SAMPLES or max(samples) < LIMIT or not is_enough():
            samples.append(counted(database))
    return samples


def _churn(client: httpx2.Client, tally: Counter[str], stopped: Callable[[], bool]) -> None:
    """Create keys, every second of which expires within two seconds; revoke some of the others."""
    mine: list[str] = []
    with client:
        while not stopped():
            expires_at = None
            if random.random() < 0.5:
                end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
                expires_at = end.isoformat()
            response = client.post(
                "/v1/keys", json={"description": "churn", "expires_at": expires_at}
            )
            tally[CREATING.get(response.status_code, "other")] += 1
            if response.status_code == 201 and expires_at is None:
                mine.append(response.json()["id"])
            if mine and random.random() < 0.3:
                gone = client.delete(f"/v1/keys/{mine.pop()}").status_code
                tally[REVOKING.get(gone, "other")] += 1

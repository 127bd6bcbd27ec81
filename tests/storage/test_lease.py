"""The lease on PostgreSQL's primary: what counts under it, what does not, and what waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import delete, select, update

from keystead.bootstrap import examine_database, open_installation
from keystead.domain.errors import InvalidToken, NotFound, OutcomeUnknown, Unavailable
from keystead.domain.ids import KeyId
from keystead.domain.principals import Actor, PrincipalKind
from keystead.domain.token import mint
from keystead.operation.examination import Verdict, check_lease
from keystead.operation.metrics import Metrics
from keystead.services.keys import CreatedKey
from keystead.settings import Settings
from keystead.storage import schema
from keystead.storage.database import Database, StatementFault
from keystead.storage.issues import Issue, IssueLookup
from keystead.storage.lease import Held, Lease, elapsed
from keystead.storage.purposes import Purpose
from tests.installations import PEPPERS, Ground, calling, ground_on
from tests.postgres import Postgres, own_postgres, wait_until
from tests.standby import Pair, standby_of
from tests.walls import installed, installed_database

SECONDS = 15
BY = Actor(PrincipalKind.OPERATOR, "cli", "root")
ABSENT = KeyId("key_0000000000000000000000")
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@pytest.fixture(scope="module")
def plain(postgres: Postgres) -> Iterator[Ground]:
    """An installation without a lease, on a PostgreSQL without a standby, which confirms itself."""
    name = installed_database(postgres)
    with ground_on(postgres.dsn(name)) as ground:
        yield ground
    postgres.drop_database(name)


@contextmanager
def leased(
    ground: Ground, seconds: int = SECONDS, metrics: Metrics | None = None
) -> Iterator[Ground]:
    """The same ground with a server that holds a lease."""
    settings = Settings(database=ground.url, failover_lease_seconds=seconds)
    with closing(open_installation(settings, PEPPERS, ground.clock, metrics)) as installation:
        yield Ground(ground.url, installation, ground.clock)


@pytest.fixture(scope="module")
def ground(plain: Ground) -> Iterator[Ground]:
    """A server with a lease of seconds, which somebody always confirms."""
    with leased(plain) as ground:
        yield ground


def lease_of(ground: Ground) -> Lease:
    """The lease of its server."""
    lease = ground.database.lease
    assert lease is not None
    return lease


@contextmanager
def frozen(lease: Lease, **changed: Any) -> Iterator[Held]:
    """The lease as it is, with these changes, and not renewed meanwhile: it does not run out, unless they say so."""
    wait_until(lambda: lease.server is not None, "the lease runs")
    take, held = lease._take, lease.running()
    lease._take = lambda *_: None  # type: ignore[method-assign]
    endless = {"until": elapsed() + 10**12, "told": held.told + 10**9}
    lease._held = held._replace(**{**endless, **changed})
    try:
        yield lease.running() if lease.server else held
    finally:
        lease._held, lease._take = held, take  # type: ignore[method-assign]


def on_loop(ground: Ground, key_id: KeyId) -> Any:
    """The record, as a task of an event loop reads it."""

    async def ask() -> Any:
        return await ground.installation.lookup.find_on_loop(key_id)

    return asyncio.run(ask())


def issue_of(ground: Ground, key_id: KeyId) -> Issue | None:
    """What introspection tells of a key besides, as a task of an event loop reads it."""
    return asyncio.run(IssueLookup(ground.installation.readings).find_on_loop(key_id))


# --- the same answers ---


def test_records_are_those_without_a_lease(plain: Ground, ground: Ground) -> None:
    """Known keys and unknown ones are read as ever, alone and shared."""
    key = plain.key(plain.tenant()).key.id
    record = plain.installation.lookup.find(key)
    assert record is not None
    assert ground.installation.lookup.find(key) == on_loop(ground, key) == record
    assert ground.installation.lookup.find(ABSENT) is None
    assert on_loop(ground, ABSENT) is None
    assert issue_of(ground, key) == issue_of(plain, key) is not None
    token = plain.services.credentials.create("billing", BY)[1].reveal()
    assert calling(ground.installation, token) == calling(plain.installation, token)


# --- what does not count ---


def spoilt(held: Held) -> list[dict[str, Any]]:
    """Leases that do not count: of another server, run out, or run out by the server's own clock."""
    return [
        {"server": held.server - 1},
        {"until": elapsed()},
        {"told": held.told - SECONDS * 1_000_000},
    ]


@pytest.mark.parametrize("case", range(3), ids=["another server", "run out", "of long ago"])
def test_nothing_is_told_without_the_lease(ground: Ground, case: int) -> None:
    """Neither a live key nor an unknown one nor a list nor a refusal is answered: 503, and no other word."""
    tenant = ground.tenant()
    created = ground.key(tenant)
    lease = lease_of(ground)
    operator = ground.services.credentials.create("billing", BY)[1].reveal()
    unknown = mint("ks_op", ground.clock.now()).reveal()
    asked: list[Callable[[], object]] = [
        lambda: ground.verify(created),
        lambda: ground.installation.lookup.find(ABSENT),
        lambda: on_loop(ground, ABSENT),
        *(partial(calling, ground.installation, token) for token in (operator, unknown)),
        partial(issue_of, ground, created.key.id),
        lambda: ground.ids(tenant),
        lambda: ground.services.workspaces.create("W"),
        lambda: ground.services.keys.get(tenant, ABSENT),
        ground.database.ping,
    ]
    with frozen(lease, **spoilt(lease.running())[case]):
        for ask in asked:
            with pytest.raises(Unavailable):
                ask()
    wait_until(lambda: lease.server is not None, "it is renewed")
    assert ground.verdict(created) == "verified"
    assert calling(ground.installation, operator).name == "billing"
    assert issue_of(ground, created.key.id) is not None
    with pytest.raises(NotFound):
        ground.services.keys.get(tenant, ABSENT)
    with pytest.raises(InvalidToken):
        calling(ground.installation, unknown)


def test_a_line_to_another_server_is_left(ground: Ground) -> None:
    """A line that leads to another server than the lease's is hung up, so that the next one may lead there."""
    key = ground.key(ground.tenant()).key.id
    ground.installation.lookup.find(key)
    lookup: Any = ground.installation.lookup
    with frozen(lease_of(ground), server=1):
        with pytest.raises(Unavailable):
            lookup.find(key)
        assert any(line._connection is None for line in lookup._idle.queue)


def test_refusals_and_renewals_are_counted(plain: Ground) -> None:
    """A metric tells what was refused for want of the lease, another for how long it runs on."""
    told: list[float] = []
    refused: list[int] = []
    database = Database(plain.url)
    lease = Lease(database.url, 4)
    lease.on_renewal, lease.on_refusal = told.append, lambda: refused.append(1)
    with closing(database):
        database.hold(lease)
        wait_until(lambda: len(told) > 1, "it is renewed")
    assert 0 < max(told) <= 4
    with pytest.raises(Unavailable):
        lease.running()
    assert refused == [1]


# --- what waits ---


def test_the_first_end_waits(plain: Ground) -> None:
    """It is done when the lease has been held for its whole length, and not before, nor is anybody refused before."""
    tenant = plain.tenant()
    created = plain.key(tenant)
    with (
        leased(plain, 1) as ground,
        ThreadPoolExecutor(1) as pool,
        frozen(lease_of(ground), since=elapsed()) as held,
    ):
        ending = pool.submit(ground.services.keys.revoke, tenant, created.key.id)
        wait_until(lambda: plain.verdict(created) == "revoked", "the key ends")
        assert elapsed() > held.since + 10**9
        ending.result()


ENDINGS = {
    "a narrowed key": update(schema.api_keys).values(scopes=[]),
    "a deleted key": delete(schema.api_keys),
    "a suspended workspace": update(schema.workspaces).values(suspended_at=None),
    "a session that ends": update(schema.sessions).values(ended_at=None),
    "a deleted session": delete(schema.sessions),
    "another role": update(schema.members).values(role="viewer"),
    "a member who leaves": delete(schema.members),
    "a revoked credential": update(schema.credentials).values(revoked_at=None),
}
OTHERS = {
    "a session that is used": update(schema.sessions).values(seen_at=None),
    "the next event's number": update(schema.workspaces).values(last_event=1),
    "a workspace's name": update(schema.workspaces).values(name="W"),
    "a read": select(schema.api_keys.c.id),
    "a use": delete(schema.key_use),
}


class _Undone(Exception):
    """Nothing of it stays."""


@pytest.mark.parametrize("what", [*ENDINGS, *OTHERS])
def test_whatever_takes_authority_away_waits(ground: Ground, what: str) -> None:
    """Each statement that may, whoever wrote it and whatever they said of it; no other."""
    statement = {**ENDINGS, **OTHERS}[what]
    lease = lease_of(ground)
    waited: list[object] = []
    settle, lease.settle = lease.settle, waited.append  # type: ignore[method-assign,assignment]
    try:
        with suppress(StatementFault, _Undone), ground.database.write_across(Purpose.SERVER) as tx:
            tx.execute(statement)
            raise _Undone
    finally:
        lease.settle = settle  # type: ignore[method-assign]
    assert bool(waited) == (what in ENDINGS)


# --- a standby that does not confirm ---


@pytest.fixture(scope="module")
def pair(postgres: Postgres) -> Iterator[Pair]:
    """A primary with a synchronous standby, of the file's own."""
    assert postgres.port  # skips where there are no binaries
    with own_postgres() as primary, standby_of(primary) as pair:
        pair.make_synchronous()
        installed(primary.dsn())
        yield pair


def waiting(pair: Pair) -> int:
    """How many of the primary's processes wait for the standby."""
    with psycopg.connect(pair.primary.dsn()) as connection:
        (number,) = connection.execute(WAITS).fetchone() or (0,)
    return int(number)


def is_verified(ground: Ground, created: CreatedKey) -> bool:
    """Whether the key is accepted; not, where the server may not say."""
    with suppress(Unavailable):
        return ground.verdict(created) == "verified"
    return False


def test_a_standby_that_falls_silent(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """Without its confirmation nothing is answered, a commit given up on is none, and no process is left waiting.

    With the standby everything comes back by itself.
    """
    with ground_on(pair.primary.dsn()) as plain, leased(plain, 2) as ground:
        lease = lease_of(ground)
        created = plain.key(plain.tenant())
        wait_until(lambda: lease.server is not None, "it is confirmed")
        pair.pause()
        wait_until(lambda: lease.server is None, "the lease is lost")
        with pytest.raises(Unavailable):
            ground.verify(created)
        assert plain.verdict(created) == "verified"
        for _ in range(3):
            wait_until(lambda: waiting(pair) > 0, "it asks for another")
            pair.cancel()
            wait_until(lambda: waiting(pair) == 0, "PostgreSQL has given up")
            assert lease.server is None
        wait_until(lambda: waiting(pair) > 0, "it asks again")
        wait_until(lambda: waiting(pair) == 0, "it has given up by itself")
        pair.stream.mend()
        wait_until(lambda: is_verified(ground, created), "it is confirmed again")
    said = [record.message for record in caplog.records if record.name.endswith(".lease")]
    assert said[:2] == ["lease not confirmed", "lease confirmed again"]


def change_nothing(ground: Ground) -> None:
    """A transaction that might have changed something."""
    with ground.database.write_across(Purpose.OPERATOR):
        pass


def test_what_changes_nothing_is_confirmed_too(pair: Pair) -> None:
    """A change that finds nothing to do is answered by a primary that is confirmed, and else told as unknown."""
    with (
        ground_on(pair.primary.dsn()) as plain,
        leased(plain, 1) as ground,
        frozen(lease_of(ground)),
        ThreadPoolExecutor(1) as pool,
    ):
        pair.pause()
        waits = pool.submit(change_nothing, ground)

        def answered() -> bool:
            pair.cancel()
            return waits.done()

        wait_until(answered, "PostgreSQL gives up waiting")
        with pytest.raises(OutcomeUnknown):
            waits.result()
    pair.stream.mend()


def test_a_lease_that_nobody_confirms_is_warned_of(plain: Ground) -> None:
    """Where no standby is synchronous the primary confirms itself: `serve` and `doctor` say so."""
    for seconds, expected in ((5, [Verdict.WARNING]), (0, [])):
        settings = Settings(database=plain.url, failover_lease_seconds=seconds)
        found = [one for one in examine_database(settings) if one.check == "lease"]
        assert [one.verdict for one in found] == expected
    assert check_lease(5, {"synchronous_standby_names": "a"}).verdict is Verdict.OK

"""Reads that the tasks of an event loop share: each as fresh as a separate one, and no wait is endless."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import event

from keystead.domain.errors import Unavailable
from keystead.domain.ids import KeyId
from keystead.domain.verification import KeyRecord, Verified
from keystead.services.key_issuer import CreatedKey
from keystead.storage.clock import DatabaseClock
from keystead.storage.point_reads import batched, connections
from keystead.storage.point_reads.batched import CONNECTIONS
from keystead.storage.point_reads.by_id import Lookup, point_reads_of
from keystead.storage.point_reads.connections import AsyncReadConnection, Row
from keystead.storage.point_reads.postgresql import PostgresqlPointReads
from keystead.storage.schema.verification_reads import KEY
from tests.support.installations import SandboxInstallation, fresh_sandbox, plan_of, text_of
from tests.support.relay import Relay, relay_to

ABSENT = KeyId("key_0000000000000000000000")


@pytest.fixture(scope="module")
def sandbox(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SandboxInstallation]:
    """An installation on PostgreSQL."""
    with fresh_sandbox(request, tmp_path_factory, "postgresql") as sandbox:
        yield sandbox


@pytest.fixture
def reads(sandbox: SandboxInstallation) -> Iterator[PostgresqlPointReads]:
    """Point reads of the test's own."""
    reads = PostgresqlPointReads(sandbox.database.url)
    yield reads
    reads.close()


@pytest.fixture
def lookup(reads: PostgresqlPointReads) -> Lookup[KeyRecord]:
    """The lookup of keys with these reads."""
    return reads.lookup(KEY)


@pytest.fixture
def relay(sandbox: SandboxInstallation) -> Iterator[Relay]:
    """A relay to the server."""
    port = sandbox.database.url.port
    assert port is not None
    with relay_to(port) as started:
        yield started


@pytest.fixture
def far_reads(sandbox: SandboxInstallation, relay: Relay) -> Iterator[PostgresqlPointReads]:
    """Point reads through the relay."""
    reads = PostgresqlPointReads(sandbox.database.url.set(port=relay.port))
    yield reads
    reads.close()


@pytest.fixture
def far(far_reads: PostgresqlPointReads) -> Lookup[KeyRecord]:
    """The lookup of keys with these reads."""
    return far_reads.lookup(KEY)


@dataclass
class Held:
    """The real reads, with delayed answers; `sent`: the ids of each, in order."""

    sent: list[list[str]] = field(default_factory=list)
    answers: deque[asyncio.Event] = field(default_factory=deque)

    async def reads(self, count: int) -> None:
        """Wait until that many reads have had their answer."""
        async with asyncio.timeout(20):
            while len(self.sent) < count:  # noqa: ASYNC110 - one turn of the loop at a time
                await asyncio.sleep(0)

    def let_go(self) -> None:
        """Release the delayed answers."""
        while self.answers:
            self.answers.popleft().set()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    """Delay what connections have read."""
    delayed = Held()
    read = AsyncReadConnection.read

    async def reading(
        connection: AsyncReadConnection, sql: str, parameters: dict[str, list[str]]
    ) -> list[Row]:
        rows = await read(connection, sql, parameters)
        answer = asyncio.Event()
        delayed.answers.append(answer)
        delayed.sent.append(parameters["ids"])
        await answer.wait()
        return rows

    monkeypatch.setattr(AsyncReadConnection, "read", reading)
    for module in (batched, connections):
        monkeypatch.setattr(module, "ANSWER_SECONDS", 30.0)
    return delayed


def _run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), 60))


def _ids(sandbox: SandboxInstallation, count: int) -> list[KeyId]:
    tenant = sandbox.tenant()
    return [sandbox.key(tenant, str(number)).key.id for number in range(count)]


def _found(records: list[KeyRecord | None]) -> list[int]:
    """Return the places in `_ids` of these records."""
    return [int(record.description) for record in records if record is not None]


# --- fresh ---


def test_only_a_read_that_is_not_sent_is_joined(
    sandbox: SandboxInstallation, lookup: Lookup[KeyRecord], held: Held
) -> None:
    """A read that begins after a revocation is not answered by one that was sent before it."""
    tenant = sandbox.tenant()
    key_id = sandbox.key(tenant).key.id

    async def main() -> None:
        before = asyncio.create_task(lookup.find_on_loop(key_id))
        await held.reads(1)
        await asyncio.to_thread(sandbox.services.keys.revoke, tenant, key_id)
        after = asyncio.create_task(lookup.find_on_loop(key_id))
        await held.reads(2)
        held.let_go()
        first, second = await before, await after
        assert first is not None
        assert second is not None
        assert (first.revoked_at is None, second.revoked_at is None) == (True, False)

    _run(main)


def test_those_who_wait_share_one_read(
    sandbox: SandboxInstallation, lookup: Lookup[KeyRecord], held: Held
) -> None:
    """While every connection is busy the other tasks gather, each id once, and share a read; an absent key is None."""
    ids = _ids(sandbox, 20)

    async def main() -> None:
        busy = []
        for number in range(CONNECTIONS):
            busy.append(asyncio.create_task(lookup.find_on_loop(ids[0])))
            await held.reads(number + 1)
        rest = [asyncio.create_task(lookup.find_on_loop(key_id)) for key_id in (*ids, ABSENT) * 3]
        await asyncio.sleep(0.1)
        assert len(held.sent) == CONNECTIONS
        held.let_go()
        await held.reads(CONNECTIONS + 1)
        held.let_go()
        assert _found(await asyncio.gather(*busy)) == [0] * CONNECTIONS
        assert _found(await asyncio.gather(*rest)) == [*range(20)] * 3
        assert held.sent[CONNECTIONS:] == [[*ids, ABSENT]]

    _run(main)


def test_no_read_is_for_too_many(
    sandbox: SandboxInstallation,
    lookup: Lookup[KeyRecord],
    held: Held,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows beyond the size of a batch go into the next reads, first come, first served."""
    monkeypatch.setattr(batched, "BATCH_ROWS", 8)
    ids = _ids(sandbox, 20)

    async def main() -> None:
        tasks = [asyncio.create_task(lookup.find_on_loop(key_id)) for key_id in ids]
        for count in (2, 3):
            await held.reads(count)
            held.let_go()
        assert _found(await asyncio.gather(*tasks)) == [*range(20)]
        assert sorted(held.sent) == [ids[:8], ids[8:16], ids[16:]]
        assert held.sent[2] == ids[16:]

    _run(main)


def test_two_hundred_in_flight(sandbox: SandboxInstallation) -> None:
    """Among two hundred verifications in flight, those that begin after the revocation's answer are refused (R32)."""
    tenant = sandbox.tenant()
    verify = sandbox.services.verifier.verify_on_loop

    async def hammer(text: str, ended: asyncio.Event) -> tuple[int, int]:
        wrong, late = 0, 0
        while late < 2:
            was_ended = ended.is_set()
            accepted = isinstance(await verify(text), Verified)
            late += was_ended
            wrong += was_ended and accepted
        return wrong, late

    async def main() -> None:
        for _ in range(3):
            created, ended = sandbox.key(tenant), asyncio.Event()
            hammering = [asyncio.create_task(hammer(text_of(created), ended)) for _ in range(200)]
            await asyncio.sleep(0.05)
            await asyncio.to_thread(sandbox.services.keys.revoke, tenant, created.key.id)
            ended.set()
            assert [wrong for wrong, _ in await asyncio.gather(*hammering)] == [0] * 200

    _run(main)


def test_the_batched_statement_searches_by_primary_key(sandbox: SandboxInstallation) -> None:
    """With any number of ids, each key is found by the index, and so is its workspace."""
    statement = KEY.many.params(ids=[ABSENT, ABSENT])
    plan = plan_of(sandbox.database, statement)
    assert "api_keys_pk" in plan
    assert "Seq Scan on api_keys" not in plan


# --- given up ---


def test_a_cancelled_task_harms_no_other(
    sandbox: SandboxInstallation, lookup: Lookup[KeyRecord], held: Held
) -> None:
    """A cancelled task leaves the others of its batch their answer; an id without a waiting task is not sent."""
    ids = _ids(sandbox, 2)

    async def main() -> None:
        gone, stays = (asyncio.create_task(lookup.find_on_loop(ids[0])) for _ in range(2))
        other = asyncio.create_task(lookup.find_on_loop(ids[1]))
        await asyncio.sleep(0)
        gone.cancel()
        other.cancel()
        await held.reads(1)
        late = asyncio.create_task(lookup.find_on_loop(ids[1]))
        await held.reads(2)
        late.cancel()
        held.let_go()
        assert _found([await stays]) == [0]
        assert held.sent[0] == [ids[0]]
        assert (gone.cancelled(), other.cancelled()) == (True, True)

    _run(main)


async def _all_unavailable(lookup: Lookup[KeyRecord], ids: list[KeyId]) -> None:
    outcomes = await asyncio.gather(
        *(lookup.find_on_loop(key_id) for key_id in ids * 5), return_exceptions=True
    )
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    assert len({id(outcome) for outcome in outcomes}) == len(outcomes)


async def _all_hung_up(reads: PostgresqlPointReads) -> None:
    (own,) = reads._batched.values()
    async with asyncio.timeout(20):
        while len(own._idle) < CONNECTIONS or any(each._connection for each in own._idle):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("trouble", ["cut", "silence"])
def test_away_and_back(
    sandbox: SandboxInstallation,
    relay: Relay,
    far_reads: PostgresqlPointReads,
    far: Lookup[KeyRecord],
    trouble: str,
) -> None:
    """Cut off from the server, or if it is silent, every task fails; from its return on all are answered (R36)."""
    ids = _ids(sandbox, 10)

    async def main() -> None:
        assert _found(await asyncio.gather(*map(far.find_on_loop, ids))) == [*range(10)]
        getattr(relay, trouble)()
        for _ in range(2):
            await _all_unavailable(far, ids)
        await _all_hung_up(far_reads)
        relay.restore()
        async with asyncio.timeout(20):
            while True:
                try:
                    assert _found(await asyncio.gather(*map(far.find_on_loop, ids))) == [*range(10)]
                    return
                except Unavailable:
                    await asyncio.sleep(0.05)

    _run(main)


def test_from_the_beginning_silent(
    sandbox: SandboxInstallation, relay: Relay, far: Lookup[KeyRecord]
) -> None:
    """A server that accepts a connection and is silent keeps no task waiting."""
    ids = _ids(sandbox, 2)
    relay.silence()
    _run(lambda: _all_unavailable(far, ids))


def test_ended_connections_are_not_noticed(
    sandbox: SandboxInstallation, relay: Relay, far: Lookup[KeyRecord]
) -> None:
    """After the server has ended its connections, as at a restart, the next reads succeed."""
    ids = _ids(sandbox, 5)

    async def main() -> None:
        for _ in range(3):
            assert _found(await asyncio.gather(*map(far.find_on_loop, ids))) == [*range(5)]
            relay.point_to(relay.target)

    _run(main)


def test_a_fault_of_the_statement_is_no_denial(reads: PostgresqlPointReads) -> None:
    """If the tables are gone, every task gets the error, and no key is called unknown."""

    async def main() -> None:
        absent = (reads.batched().find("SELECT nothing FROM nowhere", ABSENT) for _ in range(3))
        outcomes = await asyncio.gather(*absent, return_exceptions=True)
        assert all(re.search("nowhere", str(outcome)) for outcome in outcomes)

    _run(main)


# --- loops ---


def _connections(sandbox: SandboxInstallation, name: str) -> int:
    with sandbox.database.engine.connect() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %(name)s"
        return int(connection.exec_driver_sql(query, {"name": name}).scalar_one())


def test_each_loop_has_its_own_and_leaves_nothing(sandbox: SandboxInstallation) -> None:
    """Point reads serve one loop after another, with the connections of one loop, and without any once closed."""
    url = sandbox.database.url.update_query_dict({"application_name": "loops"})
    reads = PostgresqlPointReads(url)
    lookup = reads.lookup(KEY)
    (key_id,) = _ids(sandbox, 1)

    async def main() -> None:
        assert _found(await asyncio.gather(*[lookup.find_on_loop(key_id)] * 1)) == [0]

    for _ in range(4):
        _run(main)
        assert _connections(sandbox, "loops") <= CONNECTIONS
    reads.close()
    deadline = 100
    while _connections(sandbox, "loops") and deadline:
        deadline -= 1
    assert _connections(sandbox, "loops") == 0
    with pytest.raises(Unavailable):
        _run(main)


def test_closing_answers_those_who_wait(
    sandbox: SandboxInstallation, reads: PostgresqlPointReads, lookup: Lookup[KeyRecord], held: Held
) -> None:
    """Closing the point reads on a running loop fails every task that waits."""
    (key_id,) = _ids(sandbox, 1)

    async def main() -> None:
        waiting = []
        for number in range(CONNECTIONS):
            waiting.append(asyncio.create_task(lookup.find_on_loop(key_id)))
            await held.reads(number + 1)
        waiting.append(asyncio.create_task(lookup.find_on_loop(key_id)))
        await asyncio.sleep(0)
        reads.close()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {Unavailable}

    _run(main)


# --- the clock ---


def test_the_row_has_the_time(sandbox: SandboxInstallation) -> None:
    """A verification takes the server's time from its row only, and never waits for it."""
    clock = DatabaseClock(sandbox.database)
    reads = point_reads_of(sandbox.database, clock)
    lookup = reads.lookup(KEY)
    created: CreatedKey = sandbox.key(sandbox.tenant())
    queries: list[str] = []
    event.listen(
        sandbox.database._reserved_pool.engine,
        "before_cursor_execute",
        lambda _, __, statement, *___: queries.append(statement),
    )

    async def main() -> None:
        right = clock._offset
        clock._offset += 3_600_000_000
        clock._sampled -= 10
        assert await lookup.find_on_loop(created.key.id) is not None
        assert abs(clock._offset - right) < 5_000_000
        clock._sampled -= 10
        clock._offset += 3_600_000_000
        assert lookup.find(created.key.id) is not None
        assert abs(clock._offset - right) < 5_000_000

    _run(main)
    reads.close()
    assert queries == []

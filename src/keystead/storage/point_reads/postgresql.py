"""Point reads on PostgreSQL, over connections of their own: a busy writer never holds up a read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from queue import Empty, LifoQueue
from typing import Any, Final, Generic

import psycopg
from sqlalchemy import Select, literal_column
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL

from keystead.domain.errors import Unavailable
from keystead.storage.clock import DATABASE_TIME
from keystead.storage.engine.liveness import LivenessProbe, liveness_probe_of
from keystead.storage.point_reads.batched import BatchedReads, OnTime
from keystead.storage.point_reads.connections import ReadConnection, Row, server_of
from keystead.storage.schema.verification_reads import ById, Record

CONNECTIONS: Final = 8
"""For all threads; the tasks of event loops have those of `batched`."""
WAIT_SECONDS: Final = 1.0


class PostgresqlPointReads:
    """Point reads of one server. Every row carries the server's time, so the clock need not ask for it."""

    def __init__(
        self, url: URL, on_time: OnTime = lambda *_: None, liveness: LivenessProbe | None = None
    ) -> None:
        """Open no connection yet.

        Args:
            url: The database.
            on_time: Receives the server's time with every row: see `DatabaseClock.observe`.
            liveness: The server's probe, if there is one already.
        """
        self._liveness = liveness or liveness_probe_of(url)
        self._server = server_of(url, self._liveness)
        self._on_time = on_time
        self._batched: dict[asyncio.AbstractEventLoop, BatchedReads] = {}
        self._is_closed = False
        self._idle: LifoQueue[ReadConnection] = LifoQueue()
        for _ in range(CONNECTIONS):
            self._idle.put(ReadConnection(self._server))

    def lookup(self, query: ById[Record]) -> PostgresqlLookup[Record]:
        """Return the read that this query describes."""
        return PostgresqlLookup(self, query)

    def close(self) -> None:
        """Close every connection that is not in use; afterwards none is opened."""
        self._is_closed = True
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()
        self._liveness.close()
        for loop in list(self._batched):
            self._drop(loop)

    def read(self, sql: str, id: str) -> Row | None:
        """Return the row of that id, on the calling thread. Unavailable if the server does not answer in time."""
        with self._connection() as connection:
            before = time.monotonic_ns() // 1000
            rows = connection.read(sql, {"id": id})
        if not rows:
            return None
        self._on_time(before, rows[0][-1], time.monotonic_ns() // 1000 + 1)
        return rows[0]

    def batched(self) -> BatchedReads:
        """Return those of the running event loop. Each loop has its own, which end with it."""
        if self._is_closed:
            raise Unavailable("The database's connections are closed.")
        loop = asyncio.get_running_loop()
        batched = self._batched.get(loop)
        if batched is None:
            for ended in [other for other in self._batched if other.is_closed()]:
                self._drop(ended)
            batched = self._batched[loop] = BatchedReads(self._server, self._on_time)
        return batched

    @contextmanager
    def _connection(self) -> Iterator[ReadConnection]:
        try:
            connection = self._idle.get(timeout=WAIT_SECONDS)
        except Empty:
            raise Unavailable("The database is busy.") from None
        try:
            if self._is_closed:
                raise Unavailable("The database's connections are closed.")
            self._liveness.require_answers()
            yield connection
        except psycopg.OperationalError:
            raise Unavailable("The database does not answer.") from None
        finally:
            if self._is_closed:
                connection.close()
            self._idle.put(connection)

    def _drop(self, loop: asyncio.AbstractEventLoop) -> None:
        batched = self._batched.pop(loop)
        if loop.is_running():
            loop.call_soon_threadsafe(batched.close)
        else:
            batched.close()


class PostgresqlLookup(Generic[Record]):
    """One point read on PostgreSQL."""

    def __init__(self, reads: PostgresqlPointReads, query: ById[Record]) -> None:
        self._reads = reads
        self._sql = _compiled(query.one)
        self._batch_sql = _compiled(query.many)
        self._record = partial(tuple.__new__, query.record)

    def find(self, id: str, /) -> Record | None:
        """Return the record with that id. Unavailable if the server does not answer in time."""
        row = self._reads.read(self._sql, id)
        return None if row is None else self._record(row[:-1])

    async def find_on_loop(self, id: str, /) -> Record | None:
        """Find it by a read that is shared with the other tasks of this event loop."""
        row = await self._reads.batched().find(self._batch_sql, id)
        return None if row is None else self._record(row[:-2])


def _compiled(statement: Select[Any]) -> str:
    """Return the statement for psycopg, with the server's time as its last column."""
    dialect: Any = postgresql.psycopg.dialect
    return str(statement.add_columns(literal_column(DATABASE_TIME)).compile(dialect=dialect()))

"""Point reads of the tasks of one event loop: those that wait at the same time share one statement.

A task joins only a read that has not been sent. Were it to join one that is on its way, its row could be older than
its question: a key revoked in between would be accepted.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import psycopg

from keystead.domain.errors import Unavailable
from keystead.storage.engine.liveness import SUSPECT_SECONDS
from keystead.storage.point_reads.connections import (
    ANSWER_SECONDS,
    AsyncReadConnection,
    Row,
    Server,
)

CONNECTIONS: Final = 2
"""For each event loop. More would only make smaller batches of the same rows."""

BATCH_ROWS: Final = 200
"""The most rows that one read is for; later ones go with the next, first come, first served."""

OnTime = Callable[[int, int, int], None]
"""Receives the monotonic clock before a read, the server's time in it, and the clock after it, in microseconds."""


class BatchedReads:
    """The connections of one event loop, and the reads that wait for them. Only its tasks use it."""

    def __init__(self, server: Server, on_time: OnTime) -> None:
        self._liveness = server.liveness
        self._on_time = on_time
        self._idle = [AsyncReadConnection(server) for _ in range(CONNECTIONS)]
        self._working: dict[asyncio.Task[None], AsyncReadConnection] = {}
        self._unsent: deque[_Batch] = deque()

    async def find(self, sql: str, id: str) -> Row | None:
        """Return the row with that id. Unavailable if the server does not answer in time.

        `sql` has the parameter `ids`; its rows end with their id and the time of the server.
        """
        self._liveness.require_answers()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Row | None] = loop.create_future()
        self._unsent_batch(sql, loop).join(id, answer)
        if self._idle:
            connection = self._idle.pop()
            task = loop.create_task(self._work(connection))
            self._working[task] = connection
        return await answer

    def close(self) -> None:
        """Close the connections, and fail every read that waits."""
        for batch in self._unsent:
            batch.fail()
        self._unsent.clear()
        for task in list(self._working):
            task.cancel()
        for connection in (*self._idle, *self._working.values()):
            connection.close()

    def _unsent_batch(self, sql: str, loop: asyncio.AbstractEventLoop) -> _Batch:
        for batch in self._unsent:
            if batch.sql == sql and batch.has_room:
                return batch
        batch = _Batch(sql)
        batch.timer = loop.call_later(SUSPECT_SECONDS, self._suspect, batch, loop)
        self._unsent.append(batch)
        return batch

    def _suspect(self, batch: _Batch, loop: asyncio.AbstractEventLoop) -> None:
        self._liveness.suspect()
        batch.timer = loop.call_later(ANSWER_SECONDS - SUSPECT_SECONDS, batch.fail)

    async def _work(self, connection: AsyncReadConnection) -> None:
        """Send batches while any is unsent."""
        task = asyncio.current_task()
        try:
            while self._unsent:
                await self._send(self._unsent.popleft(), connection)
        finally:
            self._idle.append(connection)
            if task is not None:
                del self._working[task]

    async def _send(self, batch: _Batch, connection: AsyncReadConnection) -> None:
        """Read the rows of a batch, and leave no task of it waiting, whatever happens."""
        ids = batch.ids()
        before = time.monotonic_ns() // 1000
        try:
            rows = await connection.read(batch.sql, {"ids": ids}) if ids else []
            if rows:
                self._on_time(before, rows[0][-1], time.monotonic_ns() // 1000 + 1)
            batch.answer(rows)
        except psycopg.OperationalError:
            batch.fail()
        except BaseException as error:
            batch.fail(error if isinstance(error, Exception) else None)
            if not isinstance(error, Exception):
                raise


class _Batch:
    """The tasks that wait for one read, by the id of their row."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.timer: asyncio.TimerHandle | None = None
        self._waiting: dict[str, list[asyncio.Future[Row | None]]] = {}
        self._is_over = False

    @property
    def has_room(self) -> bool:
        """Whether one more task may join while the batch is unsent."""
        return not self._is_over and len(self._waiting) < BATCH_ROWS

    def join(self, id: str, answer: asyncio.Future[Row | None]) -> None:
        """Add a task to a batch that is unsent."""
        self._waiting.setdefault(id, []).append(answer)

    def ids(self) -> list[str]:
        """Return the ids whose row a task still waits for."""
        return [id for id, answers in self._waiting.items() if not all(a.done() for a in answers)]

    def answer(self, rows: list[Row]) -> None:
        """Give each task its row, or None if there is no such row."""
        by_id = {row[-2]: row for row in rows}
        for id, answers in self._waiting.items():
            for answer in answers:
                if not answer.done():
                    answer.set_result(by_id.get(id))
        self._end()

    def fail(self, error: Exception | None = None) -> None:
        """Raise the error, or Unavailable, in each task that still waits."""
        for answer in self._end():
            answer.set_exception(error or Unavailable("The database does not answer."))

    def _end(self) -> list[asyncio.Future[Row | None]]:
        """Stop the timer. Returns the answers that are still missing."""
        self._is_over = True
        if self.timer is not None:
            self.timer.cancel()
        return [a for answers in self._waiting.values() for a in answers if not a.done()]

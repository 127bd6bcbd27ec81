"""Rows that tasks of one event loop ask PostgreSQL for at the same time, read by one statement for all of them.

A task joins only a read that has not been sent: so each row is read after it was asked for. Lines are as those of
`lookup`: whoever finds one dead connects it anew, and silence costs no more than a second.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus
from psycopg.waiting import wait_async

from keystead.domain.errors import Unavailable
from keystead.storage.engine.liveness import DOUBT_SECONDS, Pulse

LINES: Final = 2
"""More lines would make smaller reads of the same rows."""

TOGETHER: Final = 200
"""How many rows one read is for at most: the later ones go with the next, first come, first served."""

ANSWER_SECONDS: Final = 1.0
"""After so long nobody waits any more."""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A statement that takes `keys`, a list, and gives a row for each that is there, the key in front.

    `heard` is told the rows of an answer with the instants (microseconds of the monotonic clock) around it.
    """

    sql: str
    heard: Callable[[Sequence[Row], int, int], None]


class SharedReads:
    """The lines of one event loop; all but `close` is called by its tasks."""

    def __init__(self, dsn: str, session: dict[str, Any], pulse: Pulse) -> None:
        self._pulse = pulse
        self._idle = [_Line(dsn, session, pulse) for _ in range(LINES)]
        self._working: dict[asyncio.Task[None], _Line] = {}
        self._unsent: deque[_Batch] = deque()

    async def find(self, question: Question, key: str) -> Row | None:
        """The row of that key, or None. Unavailable where the server does not answer in time."""
        self._pulse.require()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Row | None] = loop.create_future()
        self._unsent_for(question, loop).join(key, answer)
        if self._idle:
            line = self._idle.pop()
            task = loop.create_task(self._work(line))
            self._working[task] = line
        return await answer

    def close(self) -> None:
        """Hangs up, whatever is asked."""
        for batch in self._unsent:
            batch.fail()
        self._unsent.clear()
        for task in list(self._working):
            task.cancel()
        for line in (*self._idle, *self._working.values()):
            line.close()

    def _unsent_for(self, question: Question, loop: asyncio.AbstractEventLoop) -> _Batch:
        """The last read of this question that has not been sent, with room; else a new one."""
        for batch in self._unsent:
            if batch.question is question and batch.has_room:
                return batch
        batch = _Batch(question)
        batch.timer = loop.call_later(DOUBT_SECONDS, self._doubt, batch, loop)
        self._unsent.append(batch)
        return batch

    def _doubt(self, batch: _Batch, loop: asyncio.AbstractEventLoop) -> None:
        self._pulse.doubt()
        batch.timer = loop.call_later(ANSWER_SECONDS - DOUBT_SECONDS, batch.fail)

    async def _work(self, line: _Line) -> None:
        """Sends what is unsent, until nothing is."""
        task = asyncio.current_task()
        try:
            while self._unsent:
                await self._unsent.popleft().send(line)
        finally:
            self._idle.append(line)
            if task is not None:
                del self._working[task]


class _Batch:
    """Those who wait for one read."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.waiting: dict[str, list[asyncio.Future[Row | None]]] = {}
        self.timer: asyncio.TimerHandle | None = None
        self._over = False

    @property
    def has_room(self) -> bool:
        """Whether one more may join, if it has not been sent."""
        return not self._over and len(self.waiting) < TOGETHER

    def join(self, key: str, answer: asyncio.Future[Row | None]) -> None:
        """One more; it must not have been sent."""
        self.waiting.setdefault(key, []).append(answer)

    async def send(self, line: _Line) -> None:
        """Reads, and gives everybody their row; nobody is left waiting."""
        keys = [key for key, answers in self.waiting.items() if not all(a.done() for a in answers)]
        try:
            rows = await line.read(self.question, keys) if keys else []
        except psycopg.OperationalError:
            self.fail()
        except BaseException as error:
            self.fail(error if isinstance(error, Exception) else None)
            if not isinstance(error, Exception):
                raise
        else:
            self._tell({row[0]: row for row in rows})

    def fail(self, error: Exception | None = None) -> None:
        """Everybody who still waits learns that there is no answer."""
        for answer in self._end():
            answer.set_exception(error or Unavailable("The database does not answer."))

    def _tell(self, rows: dict[str, Row]) -> None:
        for key, answers in self.waiting.items():
            for answer in answers:
                if not answer.done():
                    answer.set_result(rows.get(key))
        self._end()

    def _end(self) -> list[asyncio.Future[Row | None]]:
        """Those who still wait; no timer runs any more."""
        self._over = True
        if self.timer is not None:
            self.timer.cancel()
        return [a for answers in self.waiting.values() for a in answers if not a.done()]


class _ImpatientConnection(psycopg.AsyncConnection[Row]):
    """Hangs up on a server that is silent, and when its task is cancelled, without asking the server to stop."""

    async def wait(
        self,
        gen: PQGen[RV],
        interval: float = 0.1,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own signature
    ) -> RV:
        """As psycopg's; OperationalError where the answer does not come in time."""
        limit = ANSWER_SECONDS if timeout is None else timeout
        try:
            return await wait_async(gen, self.pgconn.socket, interval=interval, timeout=limit)
        except BaseException:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                await self.close()
            raise


class _Line:
    """One connection: made when it is first needed, and again when it has died."""

    def __init__(self, dsn: str, session: dict[str, Any], pulse: Pulse) -> None:
        self._dsn = dsn
        self._session = session
        self._pulse = pulse
        self._connection: _ImpatientConnection | None = None

    async def read(self, question: Question, keys: list[str]) -> list[Row]:
        """The rows. OperationalError where the server is away or slow; only a quick failure is tried again."""
        began = time.monotonic()
        try:
            return await self._ask(question, keys)
        except psycopg.OperationalError:
            if time.monotonic() - began > ANSWER_SECONDS / 2:
                raise
            return await self._ask(question, keys)

    def close(self) -> None:
        """Hangs up."""
        if self._connection is not None:
            self._connection.pgconn.finish()
            self._connection = None

    async def _ask(self, question: Question, keys: list[str]) -> list[Row]:
        connection = self._connection or await self._connect()
        asked = time.monotonic_ns() // 1000
        try:
            cursor = await connection.execute(question.sql, {"keys": keys})
            rows = await cursor.fetchall()
            question.heard(rows, asked, time.monotonic_ns() // 1000 + 1)
        except BaseException:
            self.close()
            raise
        self._pulse.hear()
        return rows

    async def _connect(self) -> _ImpatientConnection:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                connection = await _ImpatientConnection.connect(self._dsn, **self._session)
        except TimeoutError:
            raise psycopg.OperationalError("no connection in time") from None
        self._connection = connection
        return connection

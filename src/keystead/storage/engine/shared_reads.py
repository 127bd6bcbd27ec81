"""Reads of one statement that share a message: those of an event loop's tasks that wait at the same time.

To send a message and to wait for its answer takes this process and PostgreSQL more than the statement itself. Each
statement is still a transaction of its own, with its role and workspace, and none joins a message that has been sent:
so each sees what was committed before it was asked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, MutableMapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine
from sqlalchemy.util import await_only

from keystead.storage.engine.roles import Opening
from keystead.storage.engine.waits import run_on_loop

CONNECTIONS: Final = 2
"""The most messages that are on their way at a time. More would carry fewer statements each."""
MOST: Final = 64
"""The most statements of one message; later ones go with the next, first come, first served."""

Rows = list[tuple[Any, ...]]
Take = Callable[[], AbstractContextManager[Connection]]
"""Takes a connection that answers."""


class SharedStatement:
    """One statement of a message, and the task that waits for its rows."""

    def __init__(self, opening: Opening, text: str, parameters: Any) -> None:
        self.opening, self.text, self.parameters = opening, text, parameters
        self.has_failed = False
        self._rows: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()

    def wait(self) -> Rows:
        """Return the rows, without holding the loop meanwhile. Raises what the driver raised."""
        return await_only(self._rows)

    def answer(self, rows: Rows) -> None:
        """Give the task its rows."""
        if not self._rows.done():
            self._rows.set_result(rows)

    def fail(self, error: BaseException) -> None:
        """Raise the error in the task, unless it has its rows or an earlier error."""
        self.has_failed = True
        if not self._rows.done():
            self._rows.set_exception(error)


class SharedReads:
    """The statements that wait, for each event loop. Only calls of `run_on_loop` use it."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._queues: MutableMapping[asyncio.AbstractEventLoop, _Queue] = WeakKeyDictionary()

    def ask(self, statement: SharedStatement) -> Rows:
        """Return the rows of a statement, sent with all others that wait then."""
        loop = asyncio.get_running_loop()
        queue = self._queues.get(loop)
        if queue is None:
            queue = self._queues[loop] = _Queue()
        queue.unsent.append(statement)
        if queue.sending < CONNECTIONS:
            queue.sending += 1
            # Tasks of their own: a caller that is cancelled costs the others nothing.
            sender = loop.create_task(run_on_loop(partial(self._send_all, queue)))
            queue.senders.add(sender)
            sender.add_done_callback(queue.senders.discard)
        return statement.wait()

    def _send_all(self, queue: _Queue) -> None:
        try:
            while unsent := queue.unsent:
                self._send([unsent.popleft() for _ in range(min(len(unsent), MOST))])
        finally:
            # Now, not when the task is done: a read that is asked in between must find that it has to start one.
            queue.sending -= 1

    def _send(self, statements: list[SharedStatement]) -> None:
        failure: BaseException = asyncio.CancelledError()
        try:
            with self._take() as tx:
                driver: Any = tx.connection.driver_connection
                driver.share(statements)
        except Exception as error:  # noqa: BLE001 - the tasks get it
            failure = error
        finally:
            for statement in statements:
                statement.fail(failure)


class _Queue:
    """The unsent statements of one event loop, and the tasks that send them."""

    def __init__(self) -> None:
        self.unsent: deque[SharedStatement] = deque()
        self.sending = 0
        self.senders: set[asyncio.Task[None]] = set()


class SharedRead(Connection):
    """A transaction of one statement, for a `Query` alone: nothing of SQLAlchemy's own execution works on it."""

    def __init__(
        self, engine: Engine, reads: SharedReads, opening: Opening, info: dict[Any, Any]
    ) -> None:
        self.engine, self.dialect, self.dispatch = engine, engine.dialect, engine.dispatch
        self._reads, self._opening, self._info = reads, opening, info

    @property
    def info(self) -> dict[Any, Any]:
        """What is known of the transaction."""
        return self._info

    def cursor(self) -> _SharedCursor:
        """Return a cursor for the statement."""
        return _SharedCursor(self._reads, self._opening)


class _SharedCursor:
    """What a `Query` uses of a driver's cursor."""

    def __init__(self, reads: SharedReads, opening: Opening) -> None:
        self._reads, self._opening = reads, opening
        self._rows: Rows = []

    def execute(self, text: str, parameters: Any) -> None:
        """Read the rows."""
        self._rows = self._reads.ask(SharedStatement(self._opening, text, parameters))

    def fetchall(self) -> Rows:
        """Return the rows."""
        return self._rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the first row, or None."""
        return self._rows[0] if self._rows else None

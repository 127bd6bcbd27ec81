"""Waiting for PostgreSQL: never without end, and on an event loop without its thread.

Services are synchronous. On an event loop `run_on_loop` gives each of their calls a greenlet: at every wait for an
answer it goes on with the loop's other tasks. Anything else that blocks must not run there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final, Self, TypeVar

import psycopg
from psycopg.abc import RV, PQGen, PQGenConn
from psycopg.pq import TransactionStatus
from psycopg.waiting import wait_async
from sqlalchemy import Connection
from sqlalchemy.util import await_only, greenlet_spawn
from sqlalchemy.util.concurrency import in_greenlet
from typing_extensions import override

from keystead.storage.engine.liveness import POLL_SECONDS, LivenessProbe, watched

LOCK_SECONDS: Final = 5
STATEMENT_SECONDS: Final = 4 * LOCK_SECONDS
CONNECT_SECONDS: Final = 1.5
"""For each address; libpq's own limit is at least two seconds."""
FIRST_SECONDS: Final = 1.5
"""For the first statement of a transaction, which takes a server no time."""

R = TypeVar("R")


async def run_on_loop(call: Callable[[], R]) -> R:
    """Return the result of a synchronous call whose waits for PostgreSQL suspend this task, not its thread."""
    return await greenlet_spawn(call)


def off_loop(call: Callable[[], R]) -> R:
    """Run a call that blocks: on a thread if this is a call of `run_on_loop`, else here."""
    return await_only(asyncio.to_thread(call)) if in_greenlet() else call()


def pause(seconds: float) -> None:
    """Sleep, or suspend the task of `run_on_loop`."""
    if in_greenlet():
        await_only(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)


class ImpatientConnection(psycopg.Connection[Any]):
    """A connection that closes itself when the server is silent: the server's own time-outs need a running server.

    Psycopg drives each wait as a generator. `watched` wraps it, and so notices a silent server in the middle of a wait
    that the operating system would let last for minutes.
    """

    liveness: ClassVar[LivenessProbe | None] = None
    """Whether the server answers; without a probe a wait ends only when patience does."""
    connect_liveness: ClassVar[LivenessProbe | None] = None
    """Whether the server accepts connections, which may hang alone."""
    patience: float | None = STATEMENT_SECONDS + 2.0
    """How many seconds an answer may take; None for any time."""

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Self]:
        """Connect as psycopg does, within `CONNECT_SECONDS`."""
        return watched(super()._connect_gen(conninfo), cls.connect_liveness, CONNECT_SECONDS)

    @override
    def wait(
        self, gen: PQGen[RV], interval: float = POLL_SECONDS, timeout: float | None = None
    ) -> RV:
        # If the answer does not come in time, the connection is closed: OperationalError.
        limit = self.patience if timeout is None else timeout
        if limit is not None:
            gen = watched(gen, self.liveness)
        try:
            if in_greenlet():
                return await_only(wait_async(gen, self.pgconn.socket, interval, limit))
            return super().wait(gen, interval, limit)
        except BaseException:
            # An answer that is still due would be read as the next statement's. On a loop the task may be cancelled.
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise


def be_patient(connection: Connection) -> None:
    """Let this connection wait any time for each answer, as a migration must."""
    connection.connection.driver_connection.patience = None  # type: ignore[union-attr]


@contextmanager
def soon_answered(driver: ImpatientConnection) -> Iterator[None]:
    """Expect answers within FIRST_SECONDS: before the first statement of a transaction nothing can be lost."""
    patience = driver.patience
    driver.patience = None if patience is None else FIRST_SECONDS
    try:
        yield
    finally:
        driver.patience = patience

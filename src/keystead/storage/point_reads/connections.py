"""Connections for point reads on PostgreSQL: in autocommit, made when first needed and again after they have died.

A read is refused immediately while the server is away, and answered from the moment it is back. A silent server costs
no more than ANSWER_SECONDS, and that only until the liveness probe knows.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus
from psycopg.waiting import wait_async
from sqlalchemy.engine import URL

from keystead.storage.engine.liveness import ImpatientConnection, LivenessProbe, impatient
from keystead.storage.engine.urls import conninfo_of, session_of

ANSWER_SECONDS: Final = 1.0
"""No point read waits longer."""
_SETTINGS: Final = {"statement_timeout": f"{ANSWER_SECONDS:.0f}s", "TimeZone": "UTC"}

Row = tuple[Any, ...]
Parameters = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Server:
    """The server of point reads: its address, the session to begin there, and its liveness probe."""

    dsn: str = field(repr=False)
    session: dict[str, Any]
    liveness: LivenessProbe


def server_of(url: URL, liveness: LivenessProbe) -> Server:
    """Return the server with this URL. Statements are prepared when they are first executed."""
    session = {"autocommit": True, "connect_timeout": 2, **session_of(url, _SETTINGS, 1)}
    return Server(conninfo_of(url), session, liveness)


class ReadConnection:
    """A connection for one thread at a time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._kind = impatient(server.liveness)
        self._connection: ImpatientConnection | None = None

    def read(self, sql: str, parameters: Parameters) -> list[Row]:
        """Return the rows. OperationalError if the server is away or slow."""
        began = time.monotonic()
        try:
            return self._execute(sql, parameters)
        except psycopg.OperationalError:
            if not _may_retry(began):
                raise
            return self._execute(sql, parameters)

    def close(self) -> None:
        """Close the connection; the next read makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _execute(self, sql: str, parameters: Parameters) -> list[Row]:
        if self._connection is None:
            self._connection = self._kind.connect(self._server.dsn, **self._server.session)
            self._connection.patience = ANSWER_SECONDS
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except BaseException:
            self.close()
            raise


class AsyncReadConnection:
    """A connection for one task at a time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection: _ImpatientConnection | None = None

    async def read(self, sql: str, parameters: Parameters) -> list[Row]:
        """Return the rows. OperationalError if the server is away or slow."""
        began = time.monotonic()
        try:
            return await self._execute(sql, parameters)
        except psycopg.OperationalError:
            if not _may_retry(began):
                raise
            return await self._execute(sql, parameters)

    def close(self) -> None:
        """Close the connection; the next read makes another."""
        if self._connection is not None:
            self._connection.pgconn.finish()
            self._connection = None

    async def _execute(self, sql: str, parameters: Parameters) -> list[Row]:
        connection = self._connection or await self._connect()
        try:
            cursor = await connection.execute(sql, parameters)
            rows = await cursor.fetchall()
        except BaseException:
            self.close()
            raise
        self._server.liveness.record_answer()
        return rows

    async def _connect(self) -> _ImpatientConnection:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                connection = await _ImpatientConnection.connect(
                    self._server.dsn, **self._server.session
                )
        except TimeoutError:
            raise psycopg.OperationalError("no connection in time") from None
        self._connection = connection
        return connection


class _ImpatientConnection(psycopg.AsyncConnection[Row]):
    """The asynchronous ImpatientConnection; a batch's timer asks the liveness probe in its place."""

    async def wait(
        self,
        gen: PQGen[RV],
        interval: float = 0.1,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own signature
    ) -> RV:
        """Wait as psycopg does. OperationalError if the answer does not come in time."""
        limit = ANSWER_SECONDS if timeout is None else timeout
        try:
            return await wait_async(gen, self.pgconn.socket, interval=interval, timeout=limit)
        except BaseException:
            # Also if the task is cancelled: psycopg would ask the server to cancel, and wait for a silent one.
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                await self.close()
            raise


def _may_retry(began: float) -> bool:
    """Return whether a read that failed may be sent again.

    A quick failure is mostly an idle connection that the server has closed, as at a restart; after a slow one, a
    second attempt would make the caller wait for twice the limit.
    """
    return time.monotonic() - began <= ANSWER_SECONDS / 2

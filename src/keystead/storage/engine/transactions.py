"""PostgreSQL transactions in few round trips: one for a read of one statement.

BEGIN, the role and the first statement are one message (libpq's pipeline mode). A read's COMMIT is sent, and its answer
is read when the connection is used next. A connection that has not answered lately is asked alone first, so a dead one
is replaced before anything depends on it.

Of psycopg this uses names that are not public, in this file only; tests/storage/engine/test_transactions.py has them.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Self

import psycopg
from psycopg.abc import RV, Params, PQGen
from psycopg.errors import Diagnostic
from psycopg.generators import fetch_many, send
from psycopg.pq import ExecStatus, TransactionStatus
from sqlalchemy import Engine, NullPool, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import ConnectionPoolEntry
from typing_extensions import override

from keystead.storage.engine.connections import TIMEOUTS, WARNINGS
from keystead.storage.engine.errors import NeverBegan, NoRoles
from keystead.storage.engine.liveness import (
    POLL_SECONDS,
    ImpatientConnection,
    LivenessProbe,
    Silent,
    impatient,
)
from keystead.storage.engine.roles import Opening
from keystead.storage.engine.shared_reads import SharedStatement
from keystead.storage.engine.urls import PRIMARY, for_libpq, session_of
from keystead.storage.engine.waits import FIRST_SECONDS, LOCK_SECONDS

PREPARED_AFTER: Final = 5
SHARED_SECONDS: Final = LOCK_SECONDS + 1.0
"""For a message of shared reads: those behind one that waits for a lock wait no longer than it."""
FRESH_SECONDS: Final = 1.0
"""A connection that answered this recently is used without asking it first."""
_NO_ROLE: Final = ("22023", "42501")
_NOT_PREPARED: Final = ("26000", "0A000")
"""After DISCARD or DEALLOCATE, and after a table's columns have changed."""


class RolesMissing(NoRoles, psycopg.OperationalError):
    """The login may not take the role of the transaction, or there is none."""


class ConnectionLost(NeverBegan, psycopg.OperationalError):
    """The connection was found dead at the first statement of a transaction, which had no effect."""


def postgresql_engine(url: URL, liveness: LivenessProbe) -> Engine:
    """Return an engine for PostgreSQL on which no wait is endless: lock, statement, idle transaction, silent server."""
    kind = impatient(liveness, TransactionConnection)
    engine = create_engine(
        for_libpq(url),
        hide_parameters=True,
        poolclass=NullPool,
        skip_autocommit_rollback=True,
        connect_args={
            "autocommit": True,
            "connect_timeout": 2,
            **session_of(url, TIMEOUTS, PREPARED_AFTER),
            **PRIMARY,
        },
    )
    event.listen(engine, "do_connect", lambda _, __, place, named: kind.connect(*place, **named))
    event.listen(engine, "connect", _gather_warnings)
    return engine


def _gather_warnings(connection: Any, entry: ConnectionPoolEntry) -> None:
    """Keep the server's warnings, for the commit."""
    warnings: list[str | None] = []
    entry.info[WARNINGS] = warnings

    def gather(notice: Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            warnings.append(notice.sqlstate)

    connection.add_notice_handler(gather)


class TransactionConnection(ImpatientConnection):
    """A connection in autocommit, whose transactions begin with their first statement."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.cursor_factory = _Cursor
        self._opening: Opening | None = None
        self._is_ending = self._is_outdated = False
        self._setter = _Cursor(self)
        self._answered_at = time.monotonic()
        self._poller = select.poll()
        self._poller.register(self.pgconn.socket, select.POLLIN)

    @property
    def is_opening(self) -> bool:
        """Whether the next statement begins a transaction."""
        return self._opening is not None

    def open(self, opening: Opening) -> None:
        """Begin a transaction with the next statement."""
        self._opening = opening

    def is_fresh(self) -> bool:
        """Return whether the connection has answered lately, and nothing unexpected has arrived since."""
        if time.monotonic() - self._answered_at > FRESH_SECONDS or self.closed:
            return False
        with suppress(psycopg.Error):
            return not self._has_read_end() or not self._poller.poll(0)
        return False

    def end_read(self) -> None:
        """Commit a transaction that has only read, without waiting for the answer."""
        opening, self._opening = self._opening, None
        if opening is not None or self.pgconn.transaction_status == TransactionStatus.IDLE:
            return
        try:
            self.pgconn.send_query(b"COMMIT")
            self.pgconn.flush()
        except psycopg.Error:
            self.close()  # what was read is good all the same
        else:
            self._is_ending = True

    @override
    def commit(self) -> None:
        if self._opening is None:
            super().commit()
        self._opening = None

    @override
    def rollback(self) -> None:
        # Psycopg's own also drops every prepared statement, for the sake of tables that were created and rolled back.
        if self._opening is None and self.pgconn.transaction_status != TransactionStatus.IDLE:
            self.wait(self._exec_command(b"ROLLBACK"))
        self._opening = None

    @override
    def wait(
        self, gen: PQGen[RV], interval: float = POLL_SECONDS, timeout: float | None = None
    ) -> RV:
        return super().wait(self._after_end_gen(gen) if self._is_ending else gen, interval, timeout)

    def exchange(self, statement: PQGen[None] | None = None) -> None:
        """Send the opening, with a statement, and wait for the answers."""
        with self._answering():
            self.wait(self._exchange_gen(statement))

    def share(self, statements: Sequence[SharedStatement]) -> None:
        """Send statements that are a transaction each, in one message, and give each its rows or its error."""
        self._opening = None
        with self._answering():
            self.wait(self._share_gen(statements), timeout=SHARED_SECONDS)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Distinguish a connection that was dead already. Close one whose prepared statements are gone."""
        began = time.monotonic()
        try:
            yield
        except Silent:
            raise
        except psycopg.OperationalError:
            if self.closed and time.monotonic() - began < FIRST_SECONDS:
                raise ConnectionLost("the connection was dead") from None
            raise
        finally:
            if self._is_outdated:
                self.close()
        self._answered_at = time.monotonic()

    def _has_read_end(self) -> bool:
        """Read the answer to the last COMMIT if it has come. Returns False if more must be read with a wait."""
        if self._is_ending:
            self.pgconn.consume_input()
            if self.pgconn.is_busy():
                return False
            while self.pgconn.get_result() is not None:
                pass
            self._is_ending = False
        return True

    def _after_end_gen(self, gen: PQGen[RV]) -> PQGen[RV]:
        if not self._has_read_end():
            yield from fetch_many(self.pgconn)
            self._is_ending = False
        return (yield from gen)

    def _exchange_gen(self, statement: PQGen[None] | None) -> PQGen[None]:
        opening, prepared = self._opening, self._prepared._prepared_idx
        self.pgconn.enter_pipeline_mode()
        pipeline = self._pipeline = psycopg.Pipeline(self)
        try:
            # In pipeline mode these add their commands to a queue. Psycopg would send each in a packet of its own.
            if opening is not None:
                yield from self._open_gen(opening)
            if statement is not None:
                yield from statement
            pipeline._enqueue_sync()
            # Only now: after a value that psycopg cannot send, the next statement still begins the transaction.
            self._opening = None
            while pipeline.command_queue:
                pipeline.command_queue.popleft()()
            yield from send(self.pgconn)
            yield from pipeline._fetch_gen(flush=False)
        except BaseException as error:
            self._forget_prepared(prepared)
            if opening is not None and isinstance(error, psycopg.Error):
                raise self._named(error, opening) from None
            raise
        finally:
            self._pipeline = None
            with suppress(
                psycopg.Error
            ):  # not if answers are missing: then `wait` closes the connection
                self.pgconn.exit_pipeline_mode()
        yield from self._prepared.maintain_gen(self)

    def _share_gen(self, statements: Sequence[SharedStatement]) -> PQGen[None]:
        prepared = self._prepared._prepared_idx
        self.pgconn.enter_pipeline_mode()
        pipeline = self._pipeline = psycopg.Pipeline(self)
        try:
            reads = [self._queue_read(pipeline, statement) for statement in statements]
            while pipeline.command_queue:
                pipeline.command_queue.popleft()()
            yield from send(self.pgconn)
            for read in reads:
                yield from self._answer_gen(pipeline, *read)
            if any(read[0].has_failed for read in reads):
                self._forget_prepared(prepared)
        finally:
            self._pipeline = None
            with suppress(psycopg.Error):  # as in `_exchange_gen`
                self.pgconn.exit_pipeline_mode()
        yield from self._prepared.maintain_gen(self)

    def _queue_read(
        self, pipeline: psycopg.Pipeline, statement: SharedStatement
    ) -> tuple[SharedStatement, _Cursor, int]:
        """Queue a statement with its opening. Returns it with its cursor and the number of its answers."""
        before, cursor = len(pipeline.result_queue), _Cursor(self)
        # Neither waits for anything: in pipeline mode they only add to the queue.
        deque(self._open_gen(statement.opening), 0)
        try:
            deque(cursor.queue_gen(statement.text, statement.parameters), 0)
        except Exception as error:  # noqa: BLE001 - a value that psycopg cannot send: its task gets it
            statement.fail(error)
        pipeline._enqueue_sync()
        return statement, cursor, len(pipeline.result_queue) - before

    def _answer_gen(
        self, pipeline: psycopg.Pipeline, statement: SharedStatement, cursor: _Cursor, answers: int
    ) -> PQGen[None]:
        for _ in range(answers):
            results = yield from fetch_many(self.pgconn)
            try:
                pipeline._process_results(pipeline.result_queue.popleft(), results)
            except psycopg.Error as error:
                # The first counts: the others were skipped because of it.
                statement.fail(self._named(error, statement.opening))
        if not statement.has_failed:
            statement.answer(cursor.fetchall())

    def _forget_prepared(self, since: int) -> None:
        """Forget the statements that were to be prepared from that number on.

        Psycopg has noted them when it queued them, but the server never got them, or refused or skipped them.
        """
        names = self._prepared._names
        new = {b"_pg3_%d" % number for number in range(since, self._prepared._prepared_idx)}
        for key in [key for key, name in names.items() if name in new]:
            del names[key]

    def _named(self, error: psycopg.Error, opening: Opening) -> psycopg.Error:
        """Return the error of an opening or the statement after it, with a class of its own if it has one."""
        is_set = opening.setting is None or self._setter.pgresult is not None
        if error.sqlstate in _NO_ROLE and not is_set:
            return RolesMissing("the login has no roles of Keystead")
        if error.sqlstate in _NOT_PREPARED:
            self._is_outdated = True
            return ConnectionLost("a prepared statement is gone or outdated")
        return error

    def _open_gen(self, opening: Opening) -> PQGen[None]:
        if opening.begin is not None:
            yield from self._exec_command(opening.begin)
        if opening.setting is not None:
            yield from self._setter.queue_gen(opening.setting, opening.values, prepare=True)


class _Cursor(psycopg.Cursor[Any]):
    """A cursor whose statement may begin a transaction."""

    _conn: TransactionConnection

    @property
    @override
    def description(self) -> Any:
        # Psycopg makes an object of each column, which takes longer than most statements; SQLAlchemy reads these two.
        result = self.pgresult
        if result is None or result.status != ExecStatus.TUPLES_OK:
            return None
        encoding = self._encoding
        return [
            (name.decode(encoding), result.ftype(number), None, None, None, None, None)
            for number in range(result.nfields)
            if (name := result.fname(number)) is not None
        ]

    def execute(
        self,
        query: Any,
        params: Params | None = None,
        *,
        prepare: bool | None = None,
        binary: bool | None = None,
    ) -> Self:
        """Execute a statement, in one message with the opening if there is one."""
        if not self._conn.is_opening:
            return super().execute(query, params, prepare=prepare, binary=binary)
        self._conn.exchange(self.queue_gen(query, params, prepare, binary))
        return self

    def executemany(
        self, query: Any, params_seq: Iterable[Params], *, returning: bool = False
    ) -> None:
        """Execute a statement for many rows, after the opening."""
        if self._conn.is_opening:
            self._conn.exchange()
        super().executemany(query, params_seq, returning=returning)

    def queue_gen(
        self,
        query: Any,
        params: Params | None,
        prepare: bool | None = None,
        binary: bool | None = None,
    ) -> PQGen[None]:
        """Add the statement to the queue of the connection's pipeline."""
        yield from self._start_query(query)
        converted = self._convert_query(query, params)
        yield from self._maybe_prepare_gen(converted, prepare=prepare, binary=binary)
        self._last_query = query

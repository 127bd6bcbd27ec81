"""The lease by which a process may speak for a primary of PostgreSQL: nobody goes on with one that has a successor.

A small transaction that the synchronous standby confirms proves that the standby had not been promoted when the
transaction was begun. What is read counts for so many seconds from then; what takes authority away waits until the
leases of whoever may still hold one of an earlier primary are over. The argument is in
docs/decisions/0023-a-lease-on-the-primary.md, the model in tests/properties/test_lease_model.py.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple, NoReturn

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.errors import Diagnostic
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Delete, Engine, Update, event
from sqlalchemy.engine import URL

from keystead.domain.errors import Unavailable
from keystead.storage.addresses import conninfo_of, session_of
from keystead.storage.authority import columns_set_by, may_change_authority
from keystead.storage.engines import ImpatientConnection

SERVER: Final = (
    "(CASE WHEN pg_is_in_recovery() THEN 0"
    " ELSE extract(epoch FROM pg_postmaster_start_time()) * 1000000 END)::bigint"
)
"""Which server answers: the instant of its start, in microseconds. Two primaries differ in it; a standby has none."""
TOLD: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
"""The server's own time, in microseconds."""
_MESSAGE: Final = "pg_logical_emit_message(true, 'keystead', '')::text"
"""Makes a transaction one that must be confirmed, and leaves nothing behind but a line of the log."""
_CONFIRM: Final = (
    f"SELECT {SERVER}, {TOLD}, {_MESSAGE}, set_config('synchronous_commit', 'on', true)"
)
_ENTER: Final = {False: f"SELECT {SERVER}, {TOLD}", True: f"SELECT {SERVER}, {TOLD}, {_MESSAGE}"}
_SECOND: Final = 1_000_000_000
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_CONNECT: Final[dict[str, Any]] = {"autocommit": True, "connect_timeout": 2}
_ENTERED: Final = "keystead_lease"
_NEVER_BY_A_READ: Final = frozenset({"sessions", "credentials", "members"})
"""Tables by which people and services are let in, beside those that a verification reads."""
_PASSING: Final = frozenset({"seen_at"})

_log = logging.getLogger(__name__)


def elapsed() -> int:
    """Nanoseconds that have passed; those for which the machine slept among them, where the system counts them."""
    return time.clock_gettime_ns(_CLOCK)


class Held(NamedTuple):
    """What was confirmed last. `since` and `until` by `elapsed`, `told` by the server's own clock in microseconds.

    `since`: from when on it was confirmed without a gap.
    """

    server: int
    since: int
    until: int
    told: int


class Lease:
    """One process's lease, renewed by a thread of its own four times in its length."""

    def __init__(self, url: URL, seconds: float) -> None:
        """`on_renewal` is told after each attempt for how many seconds the lease runs on; 0: it does not."""
        self.on_renewal: Callable[[float], None] = lambda _: None
        self.on_refusal: Callable[[], None] = lambda: None
        self._seconds = seconds
        self._length = round(seconds * _SECOND)
        self._wait = self._length + self._length // 50
        self._line = _Line(url, seconds)
        self._held: Held | None = None
        self._was_running = True
        self._tried = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def start(self) -> None:
        """Begins to renew it; waits for the first attempt, whatever comes of it."""
        self._thread.start()
        self._tried.wait(self._seconds)

    def close(self) -> None:
        """Ends it. Nothing counts any more."""
        self._stopped.set()
        self._held = None
        self._line.give_up()
        self._thread.join(2)

    @property
    def server(self) -> int | None:
        """Whose lease runs; None where none does."""
        held = self._held
        return None if held is None or elapsed() >= held.until else held.server

    def running(self) -> Held:
        """The lease. Unavailable where none runs."""
        held = self._held
        if held is None or elapsed() >= held.until:
            self.refuse()
        return held

    def require(self, server: int, told: int) -> None:
        """Unavailable unless the lease runs on that server, by this machine's clock and by the server's own (`told`).

        The second is for a machine whose own clock stood still along with it.
        """
        held = self.running()
        if server != held.server or (told - held.told) * 1000 >= self._length:
            self.refuse()

    def settle(self, server: int | None = None) -> None:
        """Waits until nobody holds a lease of an earlier primary any more; `server`: and this one is still the same.

        Unavailable where the lease is lost meanwhile.
        """
        give_up = elapsed() + 2 * self._wait
        while (left := (held := self.running()).since + self._wait - elapsed()) > 0:
            if elapsed() > give_up or self._stopped.wait(left / _SECOND):
                self.refuse()
        if server not in {None, held.server}:
            self.refuse()

    def enter(self, tx: Connection, *, writes: bool) -> None:
        """At the beginning of a transaction. Unavailable unless the lease runs on its server.

        A transaction that `writes` has to be confirmed, even where it finds nothing to change.
        """
        held = self.running()
        server, told = tx.exec_driver_sql(_ENTER[writes]).one()[:2]
        if server != held.server:
            tx.invalidate()
        self.require(server, told)
        tx.info[_ENTERED] = server

    def watch(self, engine: Engine) -> None:
        """Has every statement of this engine wait that may take authority away, until that may be done.

        Nobody who writes such a statement has to think of it.
        """

        def before(tx: Any, _: Any, statement: str, __: Any, context: Any, ___: bool) -> None:
            if takes_away(context, statement) and _ENTERED in tx.info:
                self.settle(tx.info[_ENTERED])

        event.listen(engine, "before_cursor_execute", before)

    def refuse(self) -> NoReturn:
        """Unavailable, counted."""
        self.on_refusal()
        raise Unavailable("The database's standby does not confirm that it is the primary.")

    def _renew(self) -> None:
        while not self._stopped.is_set():
            with suppress(psycopg.Error, OSError):
                self._take(*self._line.confirm())
            self._tell()
            self._tried.set()
            self._stopped.wait(self._seconds / 4)
        self._line.close()

    def _take(self, begun: int, server: int, told: int) -> None:
        """It was confirmed. One that goes on where the last has not ended is the same lease."""
        held = self._held
        goes_on = held is not None and held.server == server and begun < held.until
        since = held.since if held is not None and goes_on else elapsed()
        if not self._stopped.is_set():
            self._held = Held(server, since, begun + self._length, told)

    def _tell(self) -> None:
        held = self._held
        left = 0 if held is None else max(held.until - elapsed(), 0)
        self.on_renewal(left / _SECOND)
        if self._stopped.is_set() or self._was_running == bool(left):
            return
        self._was_running = bool(left)
        if left:
            _log.warning("lease confirmed again")
        else:
            _log.warning("lease not confirmed")


def takes_away(context: Any, text: str) -> bool:
    """Whether a statement may take authority away, by SQLAlchemy's context of its execution."""
    if may_change_authority(context, text):
        return True
    match context.compiled and context.compiled.statement:
        case Delete() as statement:
            return str(statement.table) in _NEVER_BY_A_READ
        case Update() as statement:
            changed = columns_set_by(context.compiled) - _PASSING
            return str(statement.table) in _NEVER_BY_A_READ and bool(changed)
        case _:
            return False


class _Line:
    """The connection of the lease: made when it is needed, given up on when it is silent."""

    def __init__(self, url: URL, seconds: float) -> None:
        self._dsn = conninfo_of(url)
        self._session = {**_CONNECT, **session_of(url, {}, 1)}
        self._seconds = seconds
        self._warnings: list[str | None] = []
        self._connection: _Connection | None = None

    def confirm(self) -> tuple[int, int, int]:
        """When it was begun, which server confirmed it, and that one's time. psycopg.Error where it was not confirmed.

        A commit that the server gave up waiting for is a success with a warning: it proves nothing.
        """
        connection = self._connection or self._connect()
        begun = elapsed()
        try:
            server, told = self._ask(connection)
        except BaseException:
            self.close()
            raise
        return begun, server, told

    def give_up(self) -> None:
        """Ends a wait of another thread."""
        connection = self._connection
        if connection is not None:
            connection.end_wait()

    def close(self) -> None:
        """Hangs up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, connection: _Connection) -> tuple[int, int]:
        self._warnings.clear()
        row: Any = connection.execute(_CONFIRM).fetchone()
        if self._warnings:
            raise psycopg.OperationalError("not confirmed")
        return row[0], row[1]

    def _connect(self) -> _Connection:
        connection = _Connection.connect(self._dsn, **self._session)
        connection.patience = self._seconds
        connection.add_notice_handler(self._gather)
        self._connection = connection
        return connection

    def _gather(self, notice: Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warnings.append(notice.sqlstate)


class _Connection(ImpatientConnection):
    """Has the server end its wait before it hangs up: who waits for a standby does not notice that we are gone."""

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """As psycopg's; OperationalError, and the connection closed, where the answer does not come in time."""
        try:
            return psycopg.Connection.wait(self, gen, interval, timeout or self.patience)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.end_wait()
                self.close()
            raise

    def end_wait(self) -> None:
        """Asks the server to end what it does for this connection."""
        with suppress(psycopg.Error):
            self.cancel_safe(timeout=1)

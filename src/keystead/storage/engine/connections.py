"""How connections to either engine are opened: drivers, pragmas, pools, time-outs; not what is done on them."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import psycopg
from psycopg.abc import RV, PQGen, PQGenConn
from psycopg.errors import Diagnostic
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import ConnectionPoolEntry

from keystead.storage.engine.liveness import LOOK_SECONDS, SILENT_SECONDS, Pulse, watched
from keystead.storage.engine.urls import PRIMARY, conninfo_of, for_libpq, session_of


def _sqlite_driver() -> Any:
    bundled = importlib.util.find_spec("pysqlite3") is not None
    return importlib.import_module("pysqlite3.dbapi2" if bundled else "sqlite3")


sqlite_driver: Final = _sqlite_driver()
"""The one copy of SQLite in this process: two copies on one file lose each other's locks."""

LOCK_SECONDS: Final = 5
STATEMENT_SECONDS: Final = 4 * LOCK_SECONDS
TIMEOUTS: Final = {
    "lock_timeout": f"{LOCK_SECONDS}s",
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{STATEMENT_SECONDS}s",
    "TimeZone": "UTC",
}
"""What PostgreSQL is told for each connection; `keystead migrate` gives it to the server's role as well."""
PREPARED_AFTER: Final = 5
CONNECT_SECONDS: Final = 1.5
"""For each address; libpq's own limit has a least of two."""
FIRST_SECONDS: Final = 1.5
POOL_SECONDS: Final = 0.2
"""After so long a wait for a connection of the pool one looks whether it is in vain."""
POOL_SIZE: Final = 16
MMAP_BYTES: Final = 64 * 1024**3
SQLITE_PRAGMAS: Final = (
    f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    f"PRAGMA mmap_size = {MMAP_BYTES}",
)
_TURN_SECONDS: Final = 0.002
WARNINGS: Final = "keystead_warnings"
"""Where a PostgreSQL connection's `info` keeps what the server warned of."""


class ImpatientConnection(psycopg.Connection[Any]):
    """Hangs up on a server that is silent: the server's own time-outs need a server that runs."""

    pulse: ClassVar[Pulse | None] = None
    """Knows whether the server answers; waits without one end only when patience does."""
    door: ClassVar[Pulse | None] = None
    """Knows whether it takes new connections: it may hang there alone."""
    patience: float | None = STATEMENT_SECONDS + 2.0
    """How many seconds an answer may take; None: as long as it takes."""

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Self]:
        """As psycopg's, within `CONNECT_SECONDS`."""
        return watched(super()._connect_gen(conninfo), cls.door, CONNECT_SECONDS)

    def wait(
        self, gen: PQGen[RV], interval: float = LOOK_SECONDS, timeout: float | None = None
    ) -> RV:
        """As psycopg's; OperationalError, and the connection closed, where the answer does not come in time."""
        limit = self.patience if timeout is None else timeout
        if limit is not None:
            gen = watched(gen, self.pulse)
        try:
            return super().wait(gen, interval, limit)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise


def impatient(pulse: Pulse) -> type[ImpatientConnection]:
    """Connections to the server of that pulse."""

    class Impatient(ImpatientConnection):
        pass

    Impatient.pulse, Impatient.door = pulse, pulse.door
    return Impatient


def pulse_of(url: URL) -> Pulse:
    """That of the server with this URL."""

    def connect() -> ImpatientConnection:
        session = session_of(url, {}, 1)
        connection = ImpatientConnection.connect(conninfo_of(url), autocommit=True, **session)
        connection.patience = SILENT_SECONDS + LOOK_SECONDS
        return connection

    return Pulse(connect, Pulse(connect))


def be_patient(connection: Connection) -> None:
    """Lets this connection wait for each answer as long as it takes, as a migration must."""
    connection.connection.driver_connection.patience = None  # type: ignore[union-attr]


@contextmanager
def soon_answered(connection: Connection) -> Iterator[None]:
    """What takes a server no time: whoever is silent now is away, and nothing was done on this connection yet."""
    driver: Any = connection.connection.driver_connection
    patience = driver.patience
    driver.patience = None if patience is None else FIRST_SECONDS
    try:
        yield
    finally:
        driver.patience = patience


def sqlite_engine(url: URL, connections: int) -> Engine:
    """SQLite, so set up that a commit is on disk before it is reported."""
    engine = create_engine(
        url,
        module=sqlite_driver,
        hide_parameters=True,
        pool_size=connections,
        max_overflow=connections,
        pool_timeout=LOCK_SECONDS,
        connect_args={"check_same_thread": False, "isolation_level": None},
    )
    event.listen(engine, "do_connect", _opener())
    event.listen(engine, "connect", lambda connection, _: set_up(connection))
    return engine


def _opener() -> Callable[..., Any]:
    """Opens connections. Only the first may make the file: where it was moved away, no empty one takes its place."""
    opened = False

    def open_file(_: Any, __: Any, arguments: Any, parameters: Any) -> Any:
        nonlocal opened
        connection = (
            open_existing(arguments[0], **parameters)
            if opened
            else sqlite_driver.connect(*arguments, **parameters)
        )
        opened = True
        return connection

    return open_file


def open_existing(path: str | Path, **parameters: Any) -> Any:
    """A connection to a file that is there. sqlite_driver.OperationalError where it is not."""
    return sqlite_driver.connect(
        f"{Path(path).absolute().as_uri()}?mode=rw", uri=True, **parameters
    )


def set_up(connection: Any) -> None:
    """Gives a new connection to SQLite its settings. sqlite_driver.OperationalError where the file is not to be had.

    SQLite asks nobody to wait who finds others at the same new file while it turns to its journal: that waits here.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    for pragma in SQLITE_PRAGMAS:
        while not _is_set(connection, pragma, deadline):
            time.sleep(_TURN_SECONDS)


def _is_set(connection: Any, pragma: str, deadline: float) -> bool:
    try:
        connection.execute(pragma).fetchall()
    except sqlite_driver.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code != sqlite_driver.SQLITE_BUSY or time.monotonic() > deadline:
            raise
        return False
    return True


def postgresql_engine(url: URL, connections: int, pulse: Pulse) -> Engine:
    """PostgreSQL, where nothing waits for ever: not for a lock, a statement, an idle transaction or a silent server."""
    kind = impatient(pulse)
    engine = create_engine(
        for_libpq(url),
        hide_parameters=True,
        pool_size=connections,
        max_overflow=connections,
        pool_timeout=POOL_SECONDS,
        connect_args={
            "connect_timeout": 2,
            **session_of(url, TIMEOUTS, PREPARED_AFTER),
            **PRIMARY,
        },
    )
    event.listen(engine, "do_connect", lambda _, __, place, named: kind.connect(*place, **named))
    event.listen(engine, "connect", _gather_warnings)
    return engine


def _gather_warnings(connection: Any, entry: ConnectionPoolEntry) -> None:
    """Keeps what the server warns of, for `_commit`."""
    warnings: list[str | None] = []
    entry.info[WARNINGS] = warnings

    def gather(notice: Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            warnings.append(notice.sqlstate)

    connection.add_notice_handler(gather)

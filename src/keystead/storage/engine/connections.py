"""Opening connections to either engine: drivers, pragmas, pools, time-outs."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from psycopg.errors import Diagnostic
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import ConnectionPoolEntry

from keystead.storage.engine.liveness import POLL_SECONDS, SILENT_SECONDS, LivenessProbe
from keystead.storage.engine.transactions import TransactionConnection
from keystead.storage.engine.urls import PRIMARY, conninfo_of, for_libpq, session_of
from keystead.storage.engine.waits import LOCK_SECONDS, STATEMENT_SECONDS, ImpatientConnection


def _sqlite_driver() -> Any:
    bundled = importlib.util.find_spec("pysqlite3") is not None
    return importlib.import_module("pysqlite3.dbapi2" if bundled else "sqlite3")


sqlite_driver: Final = _sqlite_driver()
"""The one copy of SQLite in this process: two copies on one file lose each other's locks."""

TIMEOUTS: Final = {
    "lock_timeout": f"{LOCK_SECONDS}s",
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{STATEMENT_SECONDS}s",
    "TimeZone": "UTC",
}
"""PostgreSQL's settings for each session; `keystead migrate` sets them for the server's role as well."""
PREPARED_AFTER: Final = 5
POOL_SECONDS: Final = 0.2
"""How often a thread that waits for a pooled connection checks whether the server is silent."""
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
_BUSY_SECONDS: Final = 0.002
WARNINGS: Final = "keystead_warnings"
"""The key of a PostgreSQL connection's `info` under which the server's warnings are."""


def impatient(
    liveness: LivenessProbe, kind: type[ImpatientConnection] = ImpatientConnection
) -> type[ImpatientConnection]:
    """Return the class of this kind of connections to the server of that probe."""
    probes = {"liveness": liveness, "connect_liveness": liveness.connect_probe}
    return type("Impatient", (kind,), probes)


def liveness_probe_of(url: URL) -> LivenessProbe:
    """Return a probe of the server with this URL."""

    def connect() -> ImpatientConnection:
        session = session_of(url, {}, 1)
        connection = ImpatientConnection.connect(conninfo_of(url), autocommit=True, **session)
        connection.patience = SILENT_SECONDS + POLL_SECONDS
        return connection

    return LivenessProbe(connect, LivenessProbe(connect))


def sqlite_engine(url: URL, connections: int) -> Engine:
    """Return an engine for SQLite whose commits are on disk before they are reported."""
    engine = create_engine(
        url,
        module=sqlite_driver,
        hide_parameters=True,
        pool_size=connections,
        max_overflow=connections,
        pool_timeout=LOCK_SECONDS,
        pool_use_lifo=True,
        skip_autocommit_rollback=True,
        connect_args={"check_same_thread": False, "isolation_level": None},
    )
    event.listen(engine, "do_connect", _opener())
    event.listen(engine, "connect", lambda connection, _: set_up(connection))
    return engine


def _opener() -> Callable[..., Any]:
    """Return a function that opens connections.

    Only the first may create the file: if the database is moved away later, an empty one must not take its place.
    """
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
    """Open a connection to an existing file. sqlite_driver.OperationalError if it does not exist."""
    return sqlite_driver.connect(
        f"{Path(path).absolute().as_uri()}?mode=rw", uri=True, **parameters
    )


def set_up(connection: Any) -> None:
    """Apply the pragmas to a new SQLite connection. sqlite_driver.OperationalError if the file is not accessible."""
    # SQLite's busy handler does not wait when two processes switch the same new file to WAL: wait here.
    deadline = time.monotonic() + LOCK_SECONDS
    for pragma in SQLITE_PRAGMAS:
        while not _is_set(connection, pragma, deadline):
            time.sleep(_BUSY_SECONDS)


def _is_set(connection: Any, pragma: str, deadline: float) -> bool:
    try:
        connection.execute(pragma).fetchall()
    except sqlite_driver.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code != sqlite_driver.SQLITE_BUSY or time.monotonic() > deadline:
            raise
        return False
    return True


def postgresql_engine(url: URL, connections: int, liveness: LivenessProbe) -> Engine:
    """Return an engine for PostgreSQL on which no wait is endless: lock, statement, idle transaction, silent server."""
    kind = impatient(liveness, TransactionConnection)
    engine = create_engine(
        for_libpq(url),
        hide_parameters=True,
        pool_size=connections,
        max_overflow=connections,
        pool_timeout=POOL_SECONDS,
        pool_use_lifo=True,
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

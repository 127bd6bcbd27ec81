"""Opening connections: SQLite's driver and pragmas, the pool and the time-outs of both engines."""

from __future__ import annotations

import importlib
import importlib.util
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine, NullPool, create_engine, event
from sqlalchemy.engine import URL

from keystead.domain.errors import Unavailable
from keystead.storage.engine.waits import LOCK_SECONDS, STATEMENT_SECONDS, acquire, off_loop

if TYPE_CHECKING:
    from keystead.storage.engine.liveness import LivenessProbe


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
POOL_SECONDS: Final = 0.2
"""How often a thread that waits for a pooled connection checks whether the server is silent."""
POOL_SIZE: Final = 16
"""Connections that stay open while idle; twice as many may be in use."""
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


class ConnectionPool:
    """The open connections of one database, those used last first.

    With SQLAlchemy's pool each transaction makes another `Connection`, which costs more than most statements here.
    """

    def __init__(self, engine: Engine, size: int, liveness: LivenessProbe | None = None) -> None:
        """Connect to nothing yet. `size`: how many connections stay open; twice as many may be in use."""
        self.engine = engine
        self._size = size
        self._liveness = liveness
        self._free = threading.Semaphore(2 * size)
        self._idle: list[Connection] = []
        self._used: set[Connection] = set()

    @property
    def in_use(self) -> int:
        """How many connections are in use."""
        return len(self._used)

    def take(self) -> Connection:
        """Return a connection as soon as one may be used. Unavailable if that takes long, or the server is silent."""
        if self._liveness is not None:
            self._liveness.require_answers()
        if not self._free.acquire(blocking=False):
            self._wait()
        try:
            connection = self._take_idle() or self._open()
        except BaseException:
            self._free.release()
            raise
        self._used.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Take back a connection outside a transaction."""
        self._used.discard(connection)
        if connection.invalidated or len(self._idle) >= self._size:
            connection.close()
        else:
            self._idle.append(connection)
            if not self._size:  # `close` was called meanwhile
                self.close_idle()
        self._free.release()

    def close_idle(self) -> None:
        """Close the connections that are not in use."""
        while connection := self._take_idle():
            connection.close()

    def close(self) -> None:
        """Close the connections; those in use, when they come back."""
        self._size = 0
        self.close_idle()

    def _take_idle(self) -> Connection | None:
        # On PostgreSQL the last but one: the answer to the last one's COMMIT is mostly still on its way.
        with suppress(IndexError):
            return self._idle.pop(-2 if self._liveness and len(self._idle) > 1 else -1)
        return None

    def _open(self) -> Connection:
        return off_loop(self.engine.connect)  # it takes PostgreSQL a few milliseconds

    def _wait(self) -> None:
        deadline = time.monotonic() + LOCK_SECONDS
        while not acquire(self._free, POOL_SECONDS):
            if self._liveness is not None:
                self._liveness.require_answers()
            if time.monotonic() > deadline:
                raise Unavailable("The database is busy.")


def sqlite_engine(url: URL) -> Engine:
    """Return an engine for SQLite whose commits are on disk before they are reported."""
    engine = create_engine(
        url,
        module=sqlite_driver,
        hide_parameters=True,
        poolclass=NullPool,
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

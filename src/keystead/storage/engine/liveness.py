"""The liveness probe: whether PostgreSQL answers, asked by one thread as soon as any caller waits long.

A caller that has waited for half a second suspects the server. Then a connection of the probe's own executes a
statement that takes no time. If no connection of this process gets an answer for `SILENT_SECONDS` meanwhile, the
server is silent: all who wait give up, and later callers are refused immediately, until it answers. So a statement may
take its time while others are answered, and no wait for a silent server is longer than a second and a half.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Final, Self, TypeVar

import psycopg
from psycopg.abc import RV, PQGen, PQGenConn
from psycopg.pq import TransactionStatus
from psycopg.waiting import wait_async
from sqlalchemy.engine import URL
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet
from typing_extensions import override

from keystead.domain.errors import Unavailable
from keystead.storage.engine.urls import conninfo_of, session_of
from keystead.storage.engine.waits import FIRST_SECONDS, STATEMENT_SECONDS

SUSPECT_SECONDS: Final = 0.5
"""After waiting this long a caller suspects the server."""
SILENT_SECONDS: Final = 1.0
"""A suspected server that answers no connection for this long is silent."""
POLL_SECONDS: Final = 0.1
"""How often a waiting caller checks, and at most how often the server is asked."""
LINGER_SECONDS: Final = 5.0
"""How long the probe's connection stays open after the last suspicion."""
CONNECT_SECONDS: Final = 1.5
"""For each address; libpq's own limit is at least two seconds."""

_Wanted = TypeVar("_Wanted")
_Ready = TypeVar("_Ready")
_Result = TypeVar("_Result")


class Silent(psycopg.OperationalError):
    """A wait that was given up."""


class LivenessProbe:
    """What this process knows of one server. Any thread and any task may use it."""

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection[Any]],
        connect_probe: LivenessProbe | None = None,
    ) -> None:
        """Start no thread yet.

        Args:
            connect: Makes the probe's connection, whose waits end shortly after `SILENT_SECONDS`.
            connect_probe: The probe of whether the server accepts connections: it may answer on those that it has
                and accept no more. Without one, this probe is such a probe itself and connects each time.
        """
        self._connect = connect
        self.connect_probe = connect_probe
        self._asked_at: float | None = None
        self._answered_at = 0.0
        self._suspected = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @property
    def is_silent(self) -> bool:
        """Whether the server was asked, and has answered no connection for too long."""
        asked_at = self._asked_at
        if asked_at is None:
            return False
        return time.monotonic() - max(asked_at, self._answered_at) > SILENT_SECONDS

    def require_answers(self) -> None:
        """Raise Unavailable while the server is silent."""
        if self.is_silent:
            raise Unavailable("The database does not answer.")

    def record_answer(self) -> None:
        """Record that an answer has come, on whichever connection."""
        self._answered_at = time.monotonic()

    def suspect(self) -> None:
        """Have the server asked, because a caller waits long. Never waits itself."""
        self._suspected.set()
        with self._starting:
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._run, name="liveness", daemon=True)
                self._thread.start()

    def check_wait(self, began: float) -> None:
        """Suspect the server if a wait that began then is long. Silent if it is without prospect."""
        if time.monotonic() - began > SUSPECT_SECONDS:
            self.suspect()
        if self.is_silent:
            raise Silent("the server is silent")

    def close(self) -> None:
        """Ask no more."""
        with self._starting:
            self._is_closed = True
        self._suspected.set()
        if self.connect_probe is not None:
            self.connect_probe.close()

    def _run(self) -> None:
        """Ask while the server is suspected; end the thread when it has not been for a while."""
        connection: psycopg.Connection[Any] | None = None
        while self._is_wanted():
            connection = self._ask(connection)
            time.sleep(POLL_SECONDS)
        if connection is not None:
            connection.close()

    def _is_wanted(self) -> bool:
        self._suspected.wait(LINGER_SECONDS)
        # Under the lock of `suspect`: a suspicion is either seen here, or finds no thread and starts one.
        with self._starting:
            if self._suspected.is_set() and not self._is_closed:
                self._suspected.clear()
                return True
            self._thread = None
            return False

    def _ask(self, connection: psycopg.Connection[Any] | None) -> psycopg.Connection[Any] | None:
        """Ask until there is an answer; a quick error is one too. Returns the connection if it is still good."""
        self._asked_at = time.monotonic()
        try:
            while not self._is_closed:
                began = time.monotonic()
                with suppress(psycopg.Error):
                    connection = connection or self._connect()
                    connection.execute("SELECT 1")
                    self.record_answer()
                    return self._reusable(connection)
                connection = None
                if time.monotonic() - began < SILENT_SECONDS:
                    break
        finally:
            self._asked_at = None
        return connection

    def _reusable(self, connection: psycopg.Connection[Any]) -> psycopg.Connection[Any] | None:
        if self.connect_probe is not None:
            return connection
        connection.close()
        return None


def watched(
    steps: Generator[_Wanted, _Ready, _Result],
    probe: LivenessProbe | None,
    seconds: float | None = None,
) -> Generator[_Wanted, _Ready, _Result]:
    """Run the steps of one of psycopg's waits. Raises Silent if the server is silent, or after `seconds`.

    Psycopg resumes the steps with a false value every `POLL_SECONDS` in which nothing has arrived.
    """
    began = time.monotonic()
    if probe is not None:
        probe.check_wait(began)
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if not ready:
                if probe is not None:
                    probe.check_wait(began)
                if seconds is not None and time.monotonic() - began > seconds:
                    raise Silent("no answer in time")
            wanted = steps.send(ready)
    except StopIteration as ended:
        if probe is not None:
            probe.record_answer()
        result: _Result = ended.value
        return result


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

    @contextmanager
    def soon_answered(self) -> Iterator[None]:
        """Expect answers within FIRST_SECONDS: before the first statement of a transaction nothing can be lost."""
        patience = self.patience
        self.patience = None if patience is None else FIRST_SECONDS
        try:
            yield
        finally:
            self.patience = patience

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

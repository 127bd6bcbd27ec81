"""Whether PostgreSQL is there: asked by one thread as soon as anybody waits long, so that nobody waits in vain.

Whoever waits for an answer says so after half a second. Then a connection of its own asks what takes no time. While
that is out and nobody has heard anything on any connection for `SILENT_SECONDS`, the server is silent: all who wait
give up, and who comes is refused at once. It is asked on and on, and all is well from the moment it answers. So a
statement may take its time as long as others are answered, and no wait for a silent server is longer than a
second and a half.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, Final, TypeVar

import psycopg

from keystead.domain.errors import Unavailable

DOUBT_SECONDS: Final = 0.5
"""After so long a wait the server is asked whether it is there."""
SILENT_SECONDS: Final = 1.0
"""So long it may say nothing then, to anybody."""
LOOK_SECONDS: Final = 0.1
"""How often those who wait look up, and at most how often the server is asked."""
LINGER_SECONDS: Final = 5.0
"""How long the connection that asks is kept when nobody waits long any more."""

_Wanted = TypeVar("_Wanted")
_Ready = TypeVar("_Ready")
_Result = TypeVar("_Result")


class Silent(psycopg.OperationalError):
    """There is nothing to wait for."""


class Pulse:
    """What this process knows of the server. Any thread and any task may use it."""

    def __init__(
        self, connect: Callable[[], psycopg.Connection[Any]], door: Pulse | None = None
    ) -> None:
        """`connect` makes the connection that asks, whose waits end a while after `SILENT_SECONDS`.

        `door` knows whether the server takes new connections, which may hang alone; without one this is such itself.
        """
        self._connect = connect
        self.door = door
        self._asked: float | None = None
        self._heard = 0.0
        self._doubted = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def is_silent(self) -> bool:
        """Whether the server was asked, and has said nothing to anybody for too long."""
        asked = self._asked
        return asked is not None and time.monotonic() - max(asked, self._heard) > SILENT_SECONDS

    def require(self) -> None:
        """Unavailable while the server is silent."""
        if self.is_silent:
            raise Unavailable("The database does not answer.")

    def hear(self) -> None:
        """An answer has come, on whatever connection."""
        self._heard = time.monotonic()

    def doubt(self) -> None:
        """Somebody waits long: has the server asked. Never waits itself."""
        self._doubted.set()
        with self._starting:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._watch, name="pulse", daemon=True)
                self._thread.start()

    def wait_since(self, began: float) -> None:
        """For who has waited since `began` and looks up: Silent where that is in vain."""
        if time.monotonic() - began > DOUBT_SECONDS:
            self.doubt()
        if self.is_silent:
            raise Silent("the server is silent")

    def close(self) -> None:
        """Nobody is asked any more."""
        with self._starting:
            self._closed = True
        self._doubted.set()
        if self.door is not None:
            self.door.close()

    def _watch(self) -> None:
        """The thread: asks whenever somebody doubts, and ends when nobody has for a while."""
        connection: psycopg.Connection[Any] | None = None
        while self._is_wanted():
            connection = self._listen(connection)
            time.sleep(LOOK_SECONDS)
        if connection is not None:
            connection.close()

    def _is_wanted(self) -> bool:
        self._doubted.wait(LINGER_SECONDS)
        with self._starting:
            if self._doubted.is_set() and not self._closed:
                self._doubted.clear()
                return True
            self._thread = None
            return False

    def _listen(self, connection: psycopg.Connection[Any] | None) -> psycopg.Connection[Any] | None:
        """Asks until there is an answer, of which an error at once is one; the connection, where it is good."""
        self._asked = time.monotonic()
        try:
            while not self._closed:
                began = time.monotonic()
                with suppress(psycopg.Error):
                    connection = connection or self._connect()
                    connection.execute("SELECT 1")
                    self.hear()
                    return self._kept(connection)
                connection = None
                if time.monotonic() - began < SILENT_SECONDS:
                    break
        finally:
            self._asked = None
        return connection

    def _kept(self, connection: psycopg.Connection[Any]) -> psycopg.Connection[Any] | None:
        if self.door is not None:
            return connection
        connection.close()
        return None


def watched(
    steps: Generator[_Wanted, _Ready, _Result], pulse: Pulse | None, seconds: float | None = None
) -> Generator[_Wanted, _Ready, _Result]:
    """The steps of one wait of psycopg's; Silent out of them where it is in vain, or has taken so many `seconds`.

    Psycopg sends nothing into them every `LOOK_SECONDS` in which nothing has come.
    """
    began = time.monotonic()
    if pulse is not None:
        pulse.wait_since(began)
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if not ready:
                if pulse is not None:
                    pulse.wait_since(began)
                if seconds is not None and time.monotonic() - began > seconds:
                    raise Silent("no answer in time")
            wanted = steps.send(ready)
    except StopIteration as ended:
        if pulse is not None:
            pulse.hear()
        result: _Result = ended.value
        return result

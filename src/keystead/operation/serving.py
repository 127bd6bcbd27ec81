"""The server: granian, with the bounds that hold here, its processes, and how they start, stop and are renewed."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from granian.constants import HTTPModes, Interfaces, Loops, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.net import SocketSpec  # type: ignore[attr-defined]
from granian.server.mp import MPServer, WorkerProcess

from keystead.domain.errors import KeysteadError
from keystead.http.asgi import App, Receive, Scope, Send
from keystead.operation import leaving
from keystead.operation.faults import ConfigurationError
from keystead.operation.logs import library_logging

HEADER_MILLISECONDS: Final = 5_000
HEADER_BYTES: Final = 32 * 1024
BACKLOG: Final = 1024
UNREAD_SECONDS: Final = 30
"""How long a client may leave an answer unread before its connection is reset."""
STOP_SECONDS: Final = 9
"""What a process that is told to stop gets for its running requests, before it is killed."""
RENEWAL_SECONDS: Final = 1.5
"""How long a new process runs beside the one that it follows."""
PARENT_SECONDS: Final = 0.25

_log: structlog.stdlib.BoundLogger = structlog.get_logger("keystead.serving")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen, with how many processes, and with which certificate and key."""

    host: str
    port: int
    workers: int = 1
    certificate: Path | None = None
    key: Path | None = None


class Bell:
    """What signals and threads ring, and the parent waits for: a pipe.

    It stands in for granian's threading.Event, which can hang for ever: a second signal while the first one's handler
    sets it waits for a lock of its own thread, and a signal that the kernel gives to another thread wakes nobody.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def set(self) -> None:
        """Rings. A pipe that is full has been rung often enough."""
        with suppress(BlockingIOError):
            os.write(self._write, b"!")

    def wait(self) -> None:
        """Returns when it was rung since the last time."""
        os.read(self._read, 65_536)

    def clear(self) -> None:
        """Nothing: what has rung is to be answered."""


class Server(MPServer):
    """One parent and its processes. SIGTERM and SIGINT end it, SIGHUP renews the processes one after the other.

    Where it was started at a terminal, SIGHUP says that the terminal is gone, and ends it too. `begun` runs once the
    processes are begun; `check` says whether a renewal may begin.
    """

    def __init__(
        self, address: Address, begun: Callable[[], None], check: Callable[[], bool]
    ) -> None:
        self._begun, self._check = begun, check
        self._leaving = False
        super().__init__(
            "keystead",
            address=address.host,
            port=address.port,
            workers=address.workers,
            interface=Interfaces.ASGI,
            loop=Loops.asyncio,
            http=HTTPModes.http1,  # while it waits to tell HTTP/2 from 1, a silent client is never cut off
            websockets=False,
            backlog=BACKLOG,
            http1_settings=HTTP1Settings(
                header_read_timeout=HEADER_MILLISECONDS, max_buffer_size=HEADER_BYTES
            ),
            log_level=LogLevels.warning,
            log_dictconfig=library_logging(),
            ssl_cert=address.certificate,
            ssl_key=address.key,
            ssl_protocol_min=SSLProtocols.tls12,
            respawn_failed_workers=True,
            respawn_interval=RENEWAL_SECONDS,
            workers_kill_timeout=STOP_SECONDS,
        )
        self.main_loop_interrupt = Bell()  # type: ignore[assignment]

    def signal_handler_reload(self, *_: Any) -> None:
        """SIGHUP."""
        heard = (
            super().signal_handler_interrupt if _at_terminal() else super().signal_handler_reload
        )
        heard()  # type: ignore[no-untyped-call]

    def _reload(self, spawn_target: Any, target_loader: Any) -> None:
        """After SIGHUP: only a configuration that could start is taken over; the old processes go on else."""
        self.reload_signal = False
        if self._check():
            super()._reload(spawn_target, target_loader)  # type: ignore[no-untyped-call]

    def _init_shared_socket(self) -> None:
        """One listening socket for all processes, which each inherits.

        granian gives each process its own on Linux: what waits at a process that ends is lost, and nobody listens
        until its successor does.
        """
        holder: Any = SocketSpec(self.bind_addr, self.bind_port, self.backlog).build()
        self._shd, self._sfd, self._ssp = holder, holder.get_fd(), None
        self._sso = socket.socket(fileno=self._sfd)
        self._sso.set_inheritable(True)
        _bound_writes(self._sso)

    def _spawn_worker(self, *arguments: Any, **named: Any) -> WorkerProcess:
        worker = super()._spawn_worker(*arguments, **named)
        worker.terminate = partial(self._end, worker)  # type: ignore[method-assign]
        return worker

    def _end(self, worker: WorkerProcess) -> None:
        """SIGTERM, and the time to leave before it, which all have together where all end."""
        if not self._leaving:
            _let_leave([worker], leaving.SECONDS)
        worker.interrupt_by_parent = True
        worker.inner.terminate()

    def _stop_workers(self) -> None:
        self._leaving = True
        _let_leave(self.wrks, leaving.LAST_SECONDS)
        super()._stop_workers()  # type: ignore[no-untyped-call]

    def _spawn_workers(self, spawn_target: Any, target_loader: Any) -> None:
        super()._spawn_workers(spawn_target, target_loader)  # type: ignore[no-untyped-call]
        self._begun()


def _bound_writes(listening: socket.socket) -> None:
    """Have the kernel reset a connection when nothing that was written to it gets on for `UNREAD_SECONDS`.

    tcp(7), RFC 5482: a window that stays closed counts too, though its probes are acknowledged. Accepted connections
    inherit the option. Only Linux has it; elsewhere an unread answer is held for as long as its client likes.
    """
    if sys.platform == "linux":
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)


def _let_leave(workers: Sequence[WorkerProcess], seconds: float) -> None:
    alive = [worker for worker in workers if worker.inner.is_alive()]
    for worker in alive:
        with suppress(ProcessLookupError):
            os.kill(worker.inner.pid, leaving.SIGNAL)
    if alive:
        time.sleep(seconds)


def serve(
    address: Address,
    app: Callable[[], App],
    *,
    begun: Callable[[], None],
    check: Callable[[], bool],
) -> None:
    """Serves until it is told to stop. SystemExit with a code where its processes do not stay up.

    `app` makes the application, in each process. On Linux the processes are forks, which start at once and share the
    memory of what the parent has imported; so the parent has no connection open, and no thread until `begun`.
    """
    method = "fork" if sys.platform == "linux" else "spawn"
    multiprocessing.set_start_method(method, force=True)
    signal.signal(leaving.SIGNAL, signal.SIG_IGN)  # until it serves there is nothing to leave
    Server(address, begun, check).serve(target_loader=partial(_begin, app), wrap_loader=False)


def _begin(app: Callable[[], App]) -> App:
    """The application of one process, which ends when its parent does, and leaves Ctrl+C and SIGHUP to it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # until it serves there is nothing to end well
    leave = leaving.Leave()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _end_with(os.getppid())
    try:
        made = app()
    except Exception as error:  # noqa: BLE001 - a process that cannot start says so in one line, and ends
        _log.critical("start failed", detail=_told(error), exc_info=error)
        raise SystemExit(1) from None
    _settle_memory()

    def served(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        return made(scope, receive, leave.telling(send) if leave.is_begun else send)

    return served


def _settle_memory() -> None:
    """What a process has made by now it keeps: the collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


def _at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, ConfigurationError | KeysteadError) else ""


def _end_with(parent: int) -> None:
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="watch parent", daemon=True).start()

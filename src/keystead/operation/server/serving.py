"""The server: granian with our limits, its processes, and how they start, stop and reload.

This is the only file that touches granian's private names; `tests/operation/test_granian.py` pins their
signatures, so that an upgrade that changes them fails there.
"""

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
from typing_extensions import override

from keystead.domain.errors import KeysteadError
from keystead.http.asgi import App, Receive, Scope, Send
from keystead.operation.files import ConfigurationError
from keystead.operation.logs import library_logging
from keystead.operation.server import draining

HEADER_MILLISECONDS: Final = 5_000
HEADER_BYTES: Final = 32 * 1024
BACKLOG: Final = 1024
UNREAD_SECONDS: Final = 30
"""How long a client may leave a response unread before its connection is reset."""
STOP_SECONDS: Final = 9
"""How long a stopping process may finish running requests before it is killed."""
RELOAD_SECONDS: Final = 1.5
"""How long a new process runs together with the one that it replaces."""
SWITCH_SECONDS: Final = 0.0005
"""How long the event loop keeps the interpreter while a thread waits for it, as SQLite's writer does at each step."""
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


class WakeupPipe:
    """A pipe on which signals and threads wake the parent: a stand-in for granian's threading.Event.

    The Event can hang forever: a second signal during the first one's handler waits for a lock that
    its own thread holds, and a signal that the kernel delivers to another thread wakes no waiter.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def set(self) -> None:
        """Wake the waiter. A full pipe already holds enough wake-ups."""
        with suppress(BlockingIOError):
            os.write(self._write, b"!")

    def wait(self) -> None:
        """Block until a wake-up since the last call."""
        os.read(self._read, 65_536)

    def clear(self) -> None:
        """Do nothing: clearing would lose a signal that arrived since `wait`."""


class Server(MPServer):
    """The parent and its processes. SIGTERM and SIGINT stop them; SIGHUP replaces them one by one.

    At a terminal, SIGHUP means that the terminal is gone and stops the server too. `on_started` runs
    once the processes exist; `may_reload` decides whether a reload goes ahead.
    """

    def __init__(
        self, address: Address, on_started: Callable[[], None], may_reload: Callable[[], bool]
    ) -> None:
        self._on_started, self._may_reload = on_started, may_reload
        self._is_stopping = False
        super().__init__(
            "keystead",
            address=address.host,
            port=address.port,
            workers=address.workers,
            interface=Interfaces.ASGI,
            loop=Loops.asyncio,
            http=HTTPModes.http1,  # with HTTP/2 detection, a silent client is never timed out
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
            respawn_interval=RELOAD_SECONDS,
            workers_kill_timeout=STOP_SECONDS,
        )
        self.main_loop_interrupt = WakeupPipe()  # type: ignore[assignment]

    @override
    def signal_handler_reload(self, *_: Any) -> None:
        handler = (
            super().signal_handler_interrupt if _at_terminal() else super().signal_handler_reload
        )
        handler()  # type: ignore[no-untyped-call]

    @override
    def _reload(self, spawn_target: Any, target_loader: Any) -> None:
        # Check before the first process is replaced: a configuration that cannot start would
        # otherwise take down all processes, one after the other.
        self.reload_signal = False
        if self._may_reload():
            super()._reload(spawn_target, target_loader)  # type: ignore[no-untyped-call]

    @override
    def _init_shared_socket(self) -> None:
        # One listening socket, which all processes inherit. On Linux granian gives each process its
        # own (SO_REUSEPORT): connections in the backlog of a process that exits are lost, and the
        # port is closed until its successor listens.
        holder: Any = SocketSpec(self.bind_addr, self.bind_port, self.backlog).build()
        self._shd, self._sfd, self._ssp = holder, holder.get_fd(), None
        self._sso = socket.socket(fileno=self._sfd)
        self._sso.set_inheritable(True)
        _limit_unread(self._sso)

    @override
    def _spawn_worker(self, *arguments: Any, **keywords: Any) -> WorkerProcess:
        worker = super()._spawn_worker(*arguments, **keywords)
        worker.terminate = partial(self._terminate, worker)  # type: ignore[method-assign]
        return worker

    def _terminate(self, worker: WorkerProcess) -> None:
        # Drain first, then SIGTERM. When all processes stop, `_stop_workers` drains them together.
        if not self._is_stopping:
            _drain([worker], draining.SECONDS)
        worker.interrupt_by_parent = True
        worker.inner.terminate()

    @override
    def _stop_workers(self) -> None:
        self._is_stopping = True
        _drain(self.wrks, draining.SHUTDOWN_SECONDS)
        super()._stop_workers()  # type: ignore[no-untyped-call]

    @override
    def _spawn_workers(self, spawn_target: Any, target_loader: Any) -> None:
        super()._spawn_workers(spawn_target, target_loader)  # type: ignore[no-untyped-call]
        self._on_started()


def _limit_unread(listening: socket.socket) -> None:
    """Have the kernel reset connections whose outgoing data makes no progress for `UNREAD_SECONDS`.

    tcp(7), RFC 5482: a zero window counts too, even if its probes are acknowledged. Accepted
    connections inherit the option. Only Linux has it; elsewhere a response may stay unread forever.
    """
    if sys.platform == "linux":
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)


def _drain(workers: Sequence[WorkerProcess], seconds: float) -> None:
    alive = [worker for worker in workers if worker.inner.is_alive()]
    for worker in alive:
        with suppress(ProcessLookupError):
            os.kill(worker.inner.pid, draining.SIGNAL)
    if alive:
        time.sleep(seconds)


def serve(
    address: Address,
    app: Callable[[], App],
    *,
    on_started: Callable[[], None],
    may_reload: Callable[[], bool],
) -> None:
    """Serve until stopped. Raises SystemExit with a code if the processes do not stay up.

    `app` creates the application in each process. On Linux the processes are forks, which start fast
    and share the memory of imported modules; so until `on_started` the parent must have no open
    connection and no thread.
    """
    method = "fork" if sys.platform == "linux" else "spawn"
    multiprocessing.set_start_method(method, force=True)
    # Forks inherit this: the default action of the signal would kill one that doesn't serve yet.
    signal.signal(draining.SIGNAL, signal.SIG_IGN)
    Server(address, on_started, may_reload).serve(
        target_loader=partial(_start, app), wrap_loader=False
    )


def _start(app: Callable[[], App]) -> App:
    """Return the application of one process, which exits with its parent and leaves Ctrl+C and SIGHUP to it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing to finish before it serves
    drain = draining.Draining()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _exit_with(os.getppid())
    try:
        application = app()
    except Exception as error:  # noqa: BLE001 - a process that cannot start logs one line and exits
        _log.critical("start failed", detail=_detail(error), exc_info=error)
        raise SystemExit(1) from None
    _freeze_memory()
    sys.setswitchinterval(SWITCH_SECONDS)

    def serve_one(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # granian has set its own handler
        return application(scope, receive, drain.close_after(send) if drain.is_begun else send)

    return serve_one


def _freeze_memory() -> None:
    # What exists by now lives as long as the process: exempt it from garbage collection.
    gc.collect()
    gc.freeze()


def _at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _detail(error: Exception) -> str:
    return str(error) if isinstance(error, ConfigurationError | KeysteadError) else ""


def _exit_with(parent: int) -> None:
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="watch parent", daemon=True).start()

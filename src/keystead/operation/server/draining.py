"""Draining: before a serving process exits, it stops accepting connections and answers those it has.

When granian stops, it closes connections whose request has not arrived yet, and it accepts until that
very moment. So the parent sends a process `SIGNAL` some time before SIGTERM. Requests on accepted
connections are then still answered, and later connections wait for the next process in the backlog of
the listening socket that all processes share.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from keystead.http.asgi import Message, Send

SIGNAL: Final = signal.SIGUSR1
SECONDS: Final = 0.5
"""How long an accepted connection has to send its request."""
SHUTDOWN_SECONDS: Final = 0.2
"""The same when the whole server stops and no successor accepts what comes later."""
_DESCRIPTORS: Final = Path("/proc/self/fd")
_CLOSE: Final = (b"connection", b"close")


class Draining:
    """The draining state of one process, which begins with the signal."""

    def __init__(self) -> None:
        self.is_begun = False
        signal.signal(SIGNAL, self._begin)

    def close_after(self, send: Send) -> Send:
        """Wrap `send` so that the response carries `Connection: close`."""

        async def send_closing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), _CLOSE]
            await send(message)

        return send_closing

    def _begin(self, *_: Any) -> None:
        if not self.is_begun:
            self.is_begun = True
            _stop_listening()


def _stop_listening() -> None:
    """Replace each listening socket of this process alone by one that nothing connects to."""
    descriptors = list(_listening_descriptors())
    if not descriptors:
        return
    # shutdown() would act on the socket itself, which the other processes share; dup2 replaces only
    # this process's descriptor. granian keeps polling it, so a socket must take its place.
    with socket.socket(socket.AF_UNIX) as placeholder:
        placeholder.bind("")
        placeholder.listen(1)
        placeholder.setblocking(False)
        for descriptor in descriptors:
            os.dup2(placeholder.fileno(), descriptor, inheritable=False)


def _listening_descriptors() -> Iterator[int]:
    for entry in _DESCRIPTORS.iterdir() if _DESCRIPTORS.is_dir() else ():
        with suppress(OSError), socket.socket(fileno=os.dup(int(entry.name))) as candidate:
            is_listening = candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if is_listening and candidate.family in {socket.AF_INET, socket.AF_INET6}:
                yield int(entry.name)

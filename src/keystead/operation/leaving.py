"""How a serving process takes its leave: it takes no more connections, and serves out those that it has.

granian closes a connection whose request has not arrived yet when it is told to stop, and goes on accepting until that
moment. So a process is told some time before: what has been accepted by then has its request answered, and what comes
later waits for the next process at the listening socket that they share.
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
"""How long a connection that was accepted has to send its request."""
LAST_SECONDS: Final = 0.2
"""The same where the whole server ends, and nobody takes what comes later."""
_DESCRIPTORS: Final = Path("/proc/self/fd")
_LAST: Final = (b"connection", b"close")


class Leave:
    """That of one process. It begins with the signal."""

    def __init__(self) -> None:
        self.is_begun = False
        signal.signal(SIGNAL, self._begin)

    def telling(self, send: Send) -> Send:
        """Sends an answer that says that its connection is closed behind it."""

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), _LAST]
            await send(message)

        return tell

    def _begin(self, *_: Any) -> None:
        if not self.is_begun:
            self.is_begun = True
            _stop_listening()


def _stop_listening() -> None:
    """Puts a socket to which nobody connects in the place of each that listens, in this process alone.

    To shut the shared one down would take it from the other processes as well.
    """
    listening = list(_listening())
    if not listening:
        return
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind("")
        silent.listen(1)
        silent.setblocking(False)
        for descriptor in listening:
            os.dup2(silent.fileno(), descriptor, inheritable=False)


def _listening() -> Iterator[int]:
    """The descriptors of this process that listen to the network."""
    for entry in _DESCRIPTORS.iterdir() if _DESCRIPTORS.is_dir() else ():
        with suppress(OSError), socket.socket(fileno=os.dup(int(entry.name))) as held:
            listens = held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if listens and held.family in {socket.AF_INET, socket.AF_INET6}:
                yield int(entry.name)

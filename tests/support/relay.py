"""A TCP relay on this machine between a client and a server: it can be cut, fall silent, or point elsewhere."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from tests.support.server_process import HOST, free_port

CHUNK: Final = 65_536
_RESET: Final = struct.pack("ii", 1, 0)
"""A reset instead of an orderly end: as from a machine that has lost its connections."""


class Relay:
    """One address that stands for another. Each connection through it is carried by two threads."""

    def __init__(self, target: int) -> None:
        """`target`: the port on this machine that connections are carried to."""
        self.target = target
        self.port = free_port()
        self._open = threading.Event()
        self._open.set()
        self._refuses = False
        self._carries_requests = False
        self._trap = b""
        self._after = b""
        self._swallow = False
        self.sprung = threading.Event()
        self._ends: set[socket.socket] = set()
        self._listener = socket.create_server((HOST, self.port), backlog=128)
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self) -> None:
        """Carry nothing, and close nothing: as a network that drops all packets."""
        self._carries_requests = False
        self._open.clear()

    def withhold(self) -> None:
        """Carry what clients send on existing connections, and no responses."""
        self._carries_requests = True
        self._open.clear()

    def forget(self) -> None:
        """Reset the silent connections without ever carrying their data, and carry again on new ones."""
        self._hang_up()
        self.restore()

    def cut(self) -> None:
        """End all connections by a reset, and each new one immediately."""
        self._refuses = True
        self._hang_up()

    def restore(self) -> None:
        """Carry new data again, and the data that has waited."""
        self._refuses = False
        self._open.set()

    def point_to(self, target: int) -> None:
        """End all connections; new ones lead to another port."""
        self.target = target
        self._hang_up()

    def cut_at(self, sent: bytes, *, after: bytes, swallow: bool) -> None:
        """Cut as soon as a client sends `sent` on a connection on which it has sent `after` since this call.

        `swallow` the bytes, or pass them and lose the response.
        """
        self.sprung.clear()
        self._after = after
        self._swallow = swallow
        self._trap = sent

    def close(self) -> None:
        """End everything."""
        self.cut()
        self._open.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._begin, args=(client,), daemon=True).start()

    def _begin(self, client: socket.socket) -> None:
        self._open.wait()
        if self._refuses:
            _reset(client)
            return
        try:
            server = socket.create_connection((HOST, self.target), 5)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        self._ends |= {client, server}
        threading.Thread(target=self._carry, args=(server, client, False), daemon=True).start()
        self._carry(client, server, True)

    def _carry(self, source: socket.socket, sink: socket.socket, watched: bool) -> None:
        armed = False
        with suppress(OSError):
            while data := source.recv(CHUNK):
                if not (watched and self._carries_requests):
                    self._open.wait()
                armed = watched and bool(self._trap) and (armed or self._after in data)
                if armed and self._trap in data:
                    self._spring(source, sink, data)
                    break
                sink.sendall(data)
        for end in (source, sink):
            if end in self._ends:
                _reset(end)
                self._ends.discard(end)
        source.close()

    def _spring(self, source: socket.socket, sink: socket.socket, data: bytes) -> None:
        """Cut all connections; bytes to pass still reach the server, on a connection that no client reads."""
        self._trap = b""
        self._refuses = True
        if not self._swallow:
            _reset(source)
            self._ends -= {source, sink}
            sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        self._hang_up()
        self.sprung.set()

    def _hang_up(self) -> None:
        for end in list(self._ends):
            _reset(end)
            self._ends.discard(end)


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.shutdown(socket.SHUT_RD)
    end.close()


@contextmanager
def relay_to(target: int) -> Iterator[Relay]:
    """Run a relay to that port of this machine for the block."""
    relay = Relay(target)
    try:
        yield relay
    finally:
        relay.close()

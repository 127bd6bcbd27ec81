"""A TCP proxy in front of the database that can cut the connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

HOST: Final = "127.0.0.1"
CHUNK: Final = 64 * 1024


class FaultProxy:
    """Forwards TCP connections to one address; while cut, closes them and refuses new ones."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._listener = socket.create_server((HOST, 0), backlog=256)
        self._guard = threading.Lock()
        self._open = False
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self.port: int = self._listener.getsockname()[1]

    def cut(self) -> None:
        """Disconnect the database."""
        with self._guard:
            self._open = True
            pairs = list(self._pairs)
        for pair in pairs:
            self._end(pair)

    def restore(self) -> None:
        """Connect the database again."""
        with self._guard:
            self._open = False

    def close(self) -> None:
        """Close all connections and the listener."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def accept(self) -> None:
        """Accept connections until closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._pass_on(client)

    def _pass_on(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._to, 5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        pair = (client, server)
        for side in pair:
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._guard:
            self._pairs.add(pair)
            is_open = self._open
        if is_open:
            self._end(pair)
            return
        for source, target in (pair, pair[::-1]):
            threading.Thread(target=self._pump, args=(pair, source, target), daemon=True).start()

    def _pump(
        self,
        pair: tuple[socket.socket, socket.socket],
        source: socket.socket,
        target: socket.socket,
    ) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                target.sendall(data)
        self._end(pair)

    def _end(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._guard:
            self._pairs.discard(pair)
        for side in pair:
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()


@contextmanager
def fault_proxy(host: str, port: int) -> Iterator[FaultProxy]:
    """Run a fault proxy in front of that address."""
    proxy = FaultProxy(host, port)
    thread = threading.Thread(target=proxy.accept, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()

"""The server's address: its reserved socket, and the file in the data folder that has its URL.

Processes share the socket (SO_REUSEPORT), and no second server can join. The file is for other commands on this
machine: a server may get its port and public URL from options, which they can't see.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from keystead.operation.files import ConfigurationError, overwrite

FILE_NAME: Final = "address"
_MAX_BYTES: Final = 2_048


@contextmanager
def published(folder: Path, url: str) -> Iterator[None]:
    """Keep `url` in the folder's file while the server runs, if it can be written.

    On PostgreSQL there may be no folder, and a full disk must not stop the server.
    """
    file = folder / FILE_NAME
    with suppress(OSError):
        overwrite(file, f"{url}\n".encode())
    try:
        yield
    finally:
        # Another server over the same folder may have written its own URL since.
        if published_url(folder) == url:
            with suppress(OSError):
                file.unlink()


def published_url(folder: Path) -> str | None:
    """Return the URL of the server that runs over this folder, or of one that was killed; None without a file."""
    try:
        with (folder / FILE_NAME).open("rb") as file:
            url = file.read(_MAX_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return url if url.startswith(("http://", "https://")) and url.isprintable() else None


def reserve(host: str, port: int) -> socket.socket:
    """Bind the address until the socket is closed; `port` 0 takes any free one. The socket does not listen.

    Raises:
        ConfigurationError: the address is taken or does not exist.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror:
        raise ConfigurationError(f"The host {host} has no address on this machine.") from None
    reservation = socket.socket(family, kind, protocol)
    try:
        _bind(reservation, address)
    except OSError as error:
        reservation.close()
        raise ConfigurationError(_message(host, port, error)) from None
    # Bind first, allow sharing after: only sockets of the same user that set SO_REUSEPORT before they
    # bind can join now. Another server's reservation binds without it, as this one did, and fails.
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return reservation


def _bind(reservation: socket.socket, address: Any) -> None:
    try:
        reservation.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        # Connections of a server that has just ended may linger in TIME_WAIT. SO_REUSEADDR gets past
        # those, but never past a socket that listens.
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind(address)


def _message(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use: another server runs there; choose another --port."
    return f"Port {port} on {host} cannot be used: {error.strerror}."

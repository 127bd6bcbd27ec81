"""Taking an address for a server whose processes share it (SO_REUSEPORT), so that no second server can slip in."""

from __future__ import annotations

import errno
import socket
from typing import Any

from keystead.operation.faults import ConfigurationError


def reserve(host: str, port: int) -> socket.socket:
    """Holds the address until the socket is closed; `port` 0 takes any free one. ConfigurationError where it is taken.

    The socket does not listen. It is bound alone and opened to sharing afterwards: from then on only sockets of the
    same user that ask for sharing may join, which another server's own reservation does not.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror:
        raise ConfigurationError(f"The host {host} has no address on this machine.") from None
    held = socket.socket(family, kind, protocol)
    try:
        _bind(held, address)
    except OSError as error:
        held.close()
        raise ConfigurationError(_told(host, port, error)) from None
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return held


def _bind(held: socket.socket, address: Any) -> None:
    """Alone, or beside what lingers of the connections of a server that has just ended; never beside a server."""
    try:
        held.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(address)


def _told(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use: another server runs there; choose another --port."
    return f"Port {port} on {host} cannot be taken: {error.strerror}."

"""Reserving an address for processes that share it (SO_REUSEPORT), so that no second server can join."""

from __future__ import annotations

import errno
import socket
from typing import Any

from keystead.operation.files import ConfigurationError


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

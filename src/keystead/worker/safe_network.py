"""Protection against SSRF: a webhook's host is resolved once, and every address must be permitted.

We connect to an address that was checked, never to the name, so a DNS answer that changes in between
(DNS rebinding) has no effect. One forbidden address refuses the whole name: no honest name mixes
public and internal addresses.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final

from httpcore2 import (
    SOCKET_OPTION,
    AnyIOBackend,
    AsyncNetworkBackend,
    AsyncNetworkStream,
    ConnectError,
    ConnectTimeout,
)
from typing_extensions import override

from keystead.domain.destinations import Address, Destinations
from keystead.domain.ids import WorkspaceId
from keystead.services.concurrency import FairThreadPool

RESOLVERS: Final = 64
"""Concurrent lookups: a name server that never answers occupies a thread for a long time."""
ADDRESSES_TRIED: Final = 4
CONNECT_SECONDS: Final = 5.0
"""For each address."""

Resolve = Callable[[WorkspaceId, str, int], Awaitable[Sequence[Address]]]
"""(workspace, host, port) -> the addresses of the host. Raises OSError if there are no addresses."""


class ForbiddenAddress(Exception):
    """The host is, or resolves to, an address to which webhooks must not be sent."""


class Unresolved(Exception):
    """The host has no address."""


class SystemResolver:
    """The system's resolver, on its own threads, of which each workspace has a fair share.

    So slow name servers delay nothing but lookups of the workspace that uses them.
    """

    def __init__(self) -> None:
        self._threads = FairThreadPool(RESOLVERS, "resolve")

    async def __call__(self, workspace_id: WorkspaceId, host: str, port: int) -> Sequence[Address]:
        """Return the addresses of `host`, in the system's order of preference."""
        addresses = await self._threads.run(workspace_id, partial(_look_up, host, port))
        return list(dict.fromkeys(map(ipaddress.ip_address, addresses)))

    def close(self) -> None:
        """Accept no more lookups, without waiting for running ones."""
        self._threads.close()


class SafeNetwork(AsyncNetworkBackend):
    """The network backend of one connection at a time: connects to permitted addresses only."""

    def __init__(
        self, destinations: Destinations, resolve: Resolve, workspace_id: WorkspaceId
    ) -> None:
        self._destinations = destinations
        self._resolve = resolve
        self._workspace_id = workspace_id
        self._network = AnyIOBackend()
        self._opened: list[AsyncNetworkStream] = []

    async def aclose(self) -> None:
        """Close what was opened."""
        # httpcore does not close the connection if the TLS handshake is cancelled.
        while self._opened:
            await self._opened.pop().aclose()

    @override
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        addresses = await self._permitted(host, port)
        failure: Exception | None = None
        for address in addresses[:ADDRESSES_TRIED]:
            try:
                # The literal address, never `host`: nothing may resolve the name again.
                stream = await self._network.connect_tcp(
                    str(address), port, timeout or CONNECT_SECONDS, local_address, socket_options
                )
            except (ConnectError, ConnectTimeout) as error:
                failure = error
            else:
                self._opened.append(stream)
                return stream
        raise failure or Unresolved(host)

    @override
    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        raise ForbiddenAddress

    @override
    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)

    async def _permitted(self, host: str, port: int) -> Sequence[Address]:
        try:
            addresses = await self._resolve(self._workspace_id, host, port)
        except (OSError, UnicodeError):
            raise Unresolved(host) from None
        # All of them, though we try only a few: the order is the name server's choice.
        if not all(map(self._destinations.admit, addresses)):
            raise ForbiddenAddress
        return addresses


def _look_up(host: str, port: int) -> list[str]:
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in infos]

"""Connections to receivers that others chose: the name is resolved once, and every address of it must be admitted.

The connection goes to an address that was looked at, never to the name: what a name server says a moment later
changes nothing. One address that is not admitted refuses the name, since a name has no honest reason to mix them.
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

from keystead.domain.destinations import Address, Destinations
from keystead.domain.ids import WorkspaceId
from keystead.services.concurrency import FairThreadPool

RESOLVERS: Final = 64
"""How many names are looked up at the same time: a name server that never answers keeps a thread for long."""
ADDRESSES_TRIED: Final = 4
CONNECT_SECONDS: Final = 5.0
"""For one address; then the next is tried."""

Resolve = Callable[[WorkspaceId, str, int], Awaitable[Sequence[Address]]]
"""The addresses of a name (and port), looked up for a workspace. OSError if the name has none."""


class ForbiddenAddress(Exception):
    """A name or an address that leads where nothing may be sent."""


class Unresolved(Exception):
    """A name that has no address."""


class SystemResolver:
    """Asks the system, on threads of its own, so that slow name servers hold up nothing else.

    Each workspace has its share of the threads, so names without an answer hold up only their own workspace.
    """

    def __init__(self) -> None:
        self._threads = FairThreadPool(RESOLVERS, "resolve")

    async def __call__(self, workspace_id: WorkspaceId, host: str, port: int) -> Sequence[Address]:
        """Return the addresses of `host`, in the system's order of preference."""
        found = await self._threads.run(workspace_id, partial(_look_up, host, port))
        return list(dict.fromkeys(ipaddress.ip_address(address) for address in found))

    def close(self) -> None:
        """Takes no more names; one that is being looked up is not waited for."""
        self._threads.close()


class SafeNetwork(AsyncNetworkBackend):
    """Opens the connections of one attempt, to admitted addresses and to nothing else, and closes them."""

    def __init__(
        self, destinations: Destinations, resolve: Resolve, workspace_id: WorkspaceId
    ) -> None:
        self._destinations = destinations
        self._resolve = resolve
        self._workspace_id = workspace_id
        self._network = AnyIOBackend()
        self._opened: list[AsyncNetworkStream] = []

    async def aclose(self) -> None:
        """Closes what was opened. A handshake that was given up on leaves its connection to us."""
        for stream in self._opened:
            await stream.aclose()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """A connection to the first address that takes it. ForbiddenAddress where any is not admitted."""
        addresses = await self._admitted(host, port)
        failure: Exception | None = None
        for address in addresses[:ADDRESSES_TRIED]:
            try:
                stream = await self._network.connect_tcp(
                    str(address), port, timeout or CONNECT_SECONDS, local_address, socket_options
                )
            except (ConnectError, ConnectTimeout) as error:
                failure = error
            else:
                self._opened.append(stream)
                return stream
        raise failure or Unresolved(host)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface is httpcore's
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Never."""
        raise ForbiddenAddress

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await self._network.sleep(seconds)

    async def _admitted(self, host: str, port: int) -> Sequence[Address]:
        try:
            addresses = await self._resolve(self._workspace_id, host, port)
        except (OSError, UnicodeError):
            raise Unresolved(host) from None
        if not all(map(self._destinations.admit, addresses)):
            raise ForbiddenAddress
        return addresses


def _look_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(place[0]) for *_, place in found]

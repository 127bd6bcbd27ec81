"""Client and AsyncClient: a server and a key of one workspace, or a credential of the product's own service."""

from __future__ import annotations

from datetime import datetime
from ssl import SSLContext
from types import TracebackType
from typing import Self

import httpx2

from keystead.client import calls
from keystead.client.collections import AsyncCollections, Collections
from keystead.client.connection import AGENT, TIMEOUT, AsyncConnection, Connection, Options
from keystead.client.deliveries import AsyncDeliveries, Deliveries
from keystead.client.documents import AsyncDocuments, Documents
from keystead.client.events import AsyncEvents, Events
from keystead.client.exchange import Patience
from keystead.client.keys import AsyncKeys, Keys
from keystead.client.results import Introspection, PlanUse, Whoami
from keystead.client.webhooks import AsyncWebhooks, Webhooks


class Door:
    """A server and a credential, for code that waits. Its parts may be shared by threads."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        agent: str = AGENT,
        timeout: float = TIMEOUT,
        patience: Patience | None = None,
        tls: SSLContext | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """`timeout`: seconds for each wait on the network. `tls`: which servers to trust, if not the system's usual.

        UnsafeAddress for a URL that a token must not go to; NotAToken for what cannot be one. `transport` replaces
        httpx2's own, for tests and for what is not reached by a socket.
        """
        options = Options(agent, timeout, patience or Patience(), tls)
        self._connection = Connection(url, token, options, transport)

    @property
    def url(self) -> str:
        """The server's."""
        return self._connection.url

    def introspect(self, token: str) -> Introspection:
        """What a token is good for, now (RFC 7662). The client's own credential is a service's or an operator's."""
        return self._connection.run(calls.introspect(token))

    def revoke_token(self, token: str) -> None:
        """Ends the key of this token at once, whoever's it is (RFC 7009). The token is the proof, and goes alone."""
        self._connection.run(calls.revoke_token(token))

    def close(self) -> None:
        """Gives the sockets back."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.url}>"


class AsyncDoor:
    """As Door, awaited; it belongs to one event loop."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        agent: str = AGENT,
        timeout: float = TIMEOUT,
        patience: Patience | None = None,
        tls: SSLContext | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """As Door."""
        options = Options(agent, timeout, patience or Patience(), tls)
        self._connection = AsyncConnection(url, token, options, transport)

    @property
    def url(self) -> str:
        """The server's."""
        return self._connection.url

    async def introspect(self, token: str) -> Introspection:
        """As Door.introspect."""
        return await self._connection.run(calls.introspect(token))

    async def revoke_token(self, token: str) -> None:
        """As Door.revoke_token."""
        await self._connection.run(calls.revoke_token(token))

    async def close(self) -> None:
        """Gives the sockets back."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.url}>"


class Client(Door):
    """The API of a workspace, with one of its keys."""

    @property
    def keys(self) -> Keys:
        """The workspace's keys."""
        return Keys(self._connection)

    @property
    def collections(self) -> Collections:
        """The workspace's collections."""
        return Collections(self._connection)

    @property
    def documents(self) -> Documents:
        """The documents of its collections."""
        return Documents(self._connection)

    @property
    def events(self) -> Events:
        """What happened in the workspace."""
        return Events(self._connection)

    @property
    def webhooks(self) -> Webhooks:
        """Where the workspace's events are sent."""
        return Webhooks(self._connection)

    @property
    def deliveries(self) -> Deliveries:
        """What was sent to webhooks, and what waits."""
        return Deliveries(self._connection)

    @property
    def key_expires_at(self) -> datetime | None:
        """When the client's own key ends, if the last good answer said so: that is within 14 days. Else None."""
        return self._connection.key_expires_at

    def whoami(self) -> Whoami:
        """Whose key this is."""
        return self._connection.run(calls.whoami())

    def plan(self) -> PlanUse:
        """The workspace's plan, its limits, and how much of each is used."""
        return self._connection.run(calls.plan())


class AsyncClient(AsyncDoor):
    """As Client, awaited."""

    @property
    def keys(self) -> AsyncKeys:
        """The workspace's keys."""
        return AsyncKeys(self._connection)

    @property
    def collections(self) -> AsyncCollections:
        """The workspace's collections."""
        return AsyncCollections(self._connection)

    @property
    def documents(self) -> AsyncDocuments:
        """The documents of its collections."""
        return AsyncDocuments(self._connection)

    @property
    def events(self) -> AsyncEvents:
        """What happened in the workspace."""
        return AsyncEvents(self._connection)

    @property
    def webhooks(self) -> AsyncWebhooks:
        """Where the workspace's events are sent."""
        return AsyncWebhooks(self._connection)

    @property
    def deliveries(self) -> AsyncDeliveries:
        """What was sent to webhooks, and what waits."""
        return AsyncDeliveries(self._connection)

    @property
    def key_expires_at(self) -> datetime | None:
        """As Client.key_expires_at."""
        return self._connection.key_expires_at

    async def whoami(self) -> Whoami:
        """Whose key this is."""
        return await self._connection.run(calls.whoami())

    async def plan(self) -> PlanUse:
        """As Client.plan."""
        return await self._connection.run(calls.plan())

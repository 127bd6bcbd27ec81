"""Events over the API: the calls, and how both kinds of client offer them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from keystead.client import reading
from keystead.client.connection import AsyncConnection, Connection
from keystead.client.exchange import Call, Request
from keystead.client.results import Event, Page


def _page(type: str | None, limit: int, cursor: str | None) -> Call[Page[Event]]:
    asked = {"type": type, "limit": str(limit), "cursor": cursor}
    sent = {name: value for name, value in asked.items() if value is not None}
    return Call(Request("GET", "/v1/events", sent), reading.page(reading.event))


class Events:
    """What happened in the workspace."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, *, type: str | None = None) -> Iterator[Event]:
        """Every event, newest first; of that type, such as `key.revoked`, where given."""
        return self._connection.walk(lambda cursor: _page(type, 200, cursor))

    def page(
        self, *, type: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[Event]:
        """One page of events."""
        return self._connection.run(_page(type, limit, cursor))


class AsyncEvents:
    """As Events, awaited."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    def list(self, *, type: str | None = None) -> AsyncIterator[Event]:
        """As Events.list."""
        return self._connection.walk(lambda cursor: _page(type, 200, cursor))

    async def page(
        self, *, type: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[Event]:
        """As Events.page."""
        return await self._connection.run(_page(type, limit, cursor))

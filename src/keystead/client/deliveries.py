"""Deliveries of events to webhooks over the API: the calls, and how both kinds of client offer them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Literal

from keystead.client import reading
from keystead.client.connection import AsyncConnection, Connection
from keystead.client.exchange import Call, Request, path_of
from keystead.client.results import Delivery, Page, SentDelivery

Status = Literal["pending", "delivered", "failed"]


def _page(
    webhook_id: str, status: Status | None, limit: int, cursor: str | None
) -> Call[Page[Delivery]]:
    asked = {"status": status, "limit": str(limit), "cursor": cursor}
    sent = {name: value for name, value in asked.items() if value is not None}
    path = f"/v1/webhooks{path_of(webhook_id)}/deliveries"
    return Call(Request("GET", path, sent), reading.page(reading.delivery))


def _get(id: str) -> Call[SentDelivery]:
    return Call(Request("GET", f"/v1/deliveries{path_of(id)}"), reading.sent_delivery)


def _redeliver(id: str) -> Call[Delivery]:
    request = Request("POST", f"/v1/deliveries{path_of(id)}/redeliver", repeatable=False)
    return Call(request, reading.delivery)


class Deliveries:
    """What was sent to webhooks, and what waits."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, webhook_id: str, *, status: Status | None = None) -> Iterator[Delivery]:
        """Every delivery of a webhook that is kept, the newest events first; of that status, where given."""
        return self._connection.walk(lambda cursor: _page(webhook_id, status, 200, cursor))

    def page(
        self,
        webhook_id: str,
        *,
        status: Status | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Delivery]:
        """One page of a webhook's deliveries."""
        return self._connection.run(_page(webhook_id, status, limit, cursor))

    def get(self, id: str) -> SentDelivery:
        """One delivery with the event that it tells of. NotFound."""
        return self._connection.run(_get(id))

    def redeliver(self, id: str) -> Delivery:
        """Sends it again, whatever came of it. WebhookDisabled."""
        return self._connection.run(_redeliver(id))


class AsyncDeliveries:
    """As Deliveries, awaited."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    def list(self, webhook_id: str, *, status: Status | None = None) -> AsyncIterator[Delivery]:
        """As Deliveries.list."""
        return self._connection.walk(lambda cursor: _page(webhook_id, status, 200, cursor))

    async def page(
        self,
        webhook_id: str,
        *,
        status: Status | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Delivery]:
        """As Deliveries.page."""
        return await self._connection.run(_page(webhook_id, status, limit, cursor))

    async def get(self, id: str) -> SentDelivery:
        """As Deliveries.get."""
        return await self._connection.run(_get(id))

    async def redeliver(self, id: str) -> Delivery:
        """As Deliveries.redeliver."""
        return await self._connection.run(_redeliver(id))

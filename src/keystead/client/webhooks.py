"""Webhooks over the API: the calls, and how both kinds of client offer them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, Literal

from keystead.client import reading
from keystead.client.connection import AsyncConnection, Connection
from keystead.client.exchange import Call, Request, encode, path_of
from keystead.client.results import CreatedWebhook, Delivery, Page, Webhook
from keystead.domain.keys import UNSET, Unset

PATH = "/v1/webhooks"
Status = Literal["active", "disabled"]
Headers = Mapping[str, str]


def _page(limit: int, cursor: str | None) -> Call[Page[Webhook]]:
    asked = {"limit": str(limit)} | ({} if cursor is None else {"cursor": cursor})
    return Call(Request("GET", PATH, asked), reading.page(reading.webhook))


def _get(id: str) -> Call[Webhook]:
    return Call(Request("GET", PATH + path_of(id)), reading.webhook)


def _create(name: str, url: str, events: Iterable[str], headers: Headers) -> Call[CreatedWebhook]:
    body = {"name": name, "url": url, "events": list(events), "headers": dict(headers)}
    request = Request("POST", PATH, body=encode(body), repeatable=False)
    return Call(request, reading.created_webhook)


def _update(id: str, changes: Mapping[str, Any]) -> Call[Webhook]:
    sent = {name: value for name, value in changes.items() if value is not UNSET}
    body = {name: _plain(value) for name, value in sent.items()}
    return Call(Request("PATCH", PATH + path_of(id), body=encode(body)), reading.webhook)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return dict(value) if isinstance(value, Mapping) else list(value)


def _delete(id: str) -> Call[None]:
    return Call(Request("DELETE", PATH + path_of(id), repeatable=False), reading.nothing)


def _rotate_secret(id: str) -> Call[CreatedWebhook]:
    request = Request("POST", f"{PATH}{path_of(id)}/rotate-secret", repeatable=False)
    return Call(request, reading.created_webhook)


def _test(id: str) -> Call[Delivery]:
    request = Request("POST", f"{PATH}{path_of(id)}/test", repeatable=False)
    return Call(request, reading.delivery)


class Webhooks:
    """Where the workspace's events are sent."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> Iterator[Webhook]:
        """Every webhook, newest first."""
        return self._connection.walk(lambda cursor: _page(200, cursor))

    def page(self, *, limit: int = 50, cursor: str | None = None) -> Page[Webhook]:
        """One page of webhooks."""
        return self._connection.run(_page(limit, cursor))

    def get(self, id: str) -> Webhook:
        """One webhook. NotFound."""
        return self._connection.run(_get(id))

    def create(
        self, name: str, url: str, *, events: Iterable[str], headers: Headers | None = None
    ) -> CreatedWebhook:
        """A new webhook with its signing secret; `events` are types, or `*`. LimitReached, Invalid.

        Not tried again when in doubt.
        """
        return self._connection.run(_create(name, url, events, headers or {}))

    def update(
        self,
        id: str,
        *,
        name: str | Unset = UNSET,
        url: str | Unset = UNSET,
        events: Iterable[str] | Unset = UNSET,
        headers: Headers | Unset = UNSET,
        status: Status | Unset = UNSET,
        if_match: str | None = None,
    ) -> Webhook:
        """The webhook with what was given changed; disabled, nothing is sent and deliveries wait."""
        given = {"name": name, "url": url, "events": events, "headers": headers, "status": status}
        return self._connection.run(_update(id, given).when(if_match))

    def delete(self, id: str, *, if_match: str | None = None) -> None:
        """Deletes the webhook with its deliveries, for good."""
        self._connection.run(_delete(id).when(if_match))

    def rotate_secret(self, id: str) -> CreatedWebhook:
        """The webhook with a fresh secret; for 24 hours deliveries are signed with the one before too."""
        return self._connection.run(_rotate_secret(id))

    def test(self, id: str) -> Delivery:
        """Sends an event `webhook.test`; the delivery tells what came of it. WebhookDisabled."""
        return self._connection.run(_test(id))


class AsyncWebhooks:
    """As Webhooks, awaited."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    def list(self) -> AsyncIterator[Webhook]:
        """As Webhooks.list."""
        return self._connection.walk(lambda cursor: _page(200, cursor))

    async def page(self, *, limit: int = 50, cursor: str | None = None) -> Page[Webhook]:
        """As Webhooks.page."""
        return await self._connection.run(_page(limit, cursor))

    async def get(self, id: str) -> Webhook:
        """As Webhooks.get."""
        return await self._connection.run(_get(id))

    async def create(
        self, name: str, url: str, *, events: Iterable[str], headers: Headers | None = None
    ) -> CreatedWebhook:
        """As Webhooks.create."""
        return await self._connection.run(_create(name, url, events, headers or {}))

    async def update(
        self,
        id: str,
        *,
        name: str | Unset = UNSET,
        url: str | Unset = UNSET,
        events: Iterable[str] | Unset = UNSET,
        headers: Headers | Unset = UNSET,
        status: Status | Unset = UNSET,
        if_match: str | None = None,
    ) -> Webhook:
        """As Webhooks.update."""
        given = {"name": name, "url": url, "events": events, "headers": headers, "status": status}
        return await self._connection.run(_update(id, given).when(if_match))

    async def delete(self, id: str, *, if_match: str | None = None) -> None:
        """As Webhooks.delete."""
        await self._connection.run(_delete(id).when(if_match))

    async def rotate_secret(self, id: str) -> CreatedWebhook:
        """As Webhooks.rotate_secret."""
        return await self._connection.run(_rotate_secret(id))

    async def test(self, id: str) -> Delivery:
        """As Webhooks.test."""
        return await self._connection.run(_test(id))

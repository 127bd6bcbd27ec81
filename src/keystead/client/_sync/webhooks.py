"""The calls about events, webhooks and their deliveries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import NoneType
from typing import Final, Literal

from keystead.client._sync.sending import Resource, Sender
from keystead.client.requests import PAGE_SIZE, Request, as_list, json_body, path_of
from keystead.client.results import CreatedWebhook, Delivery, Event, Page, SentDelivery, Webhook
from keystead.domain.keys import UNSET, Unset

ROOT: Final = "/v1"
WEBHOOKS: Final = "/v1/webhooks"
DELIVERIES: Final = "/v1/deliveries"


class Events(Resource):
    """The events of a workspace."""

    def __init__(self, sender: Sender, root: str = ROOT) -> None:
        """`root` is the path of the workspace: of the key's own, or of the one that an operator names."""
        super().__init__(sender)
        self._path = f"{root}/events"

    def list(self, *, type: str | None = None) -> Iterator[Event]:
        """Yield every event of the type, such as `key.revoked`, newest first."""
        request = Request("GET", self._path, {"type": type, "limit": str(PAGE_SIZE)})
        return self._connection.paginate(request, Page[Event])

    def page(
        self, *, type: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[Event]:
        """Return a page of events."""
        query = {"type": type, "limit": str(limit), "cursor": cursor}
        return self._connection.send(Request("GET", self._path, query), Page[Event])


class Webhooks(Resource):
    """The webhooks of the workspace."""

    def list(self) -> Iterator[Webhook]:
        """Yield every webhook, newest first."""
        request = Request("GET", WEBHOOKS, {"limit": str(PAGE_SIZE)})
        return self._connection.paginate(request, Page[Webhook])

    def page(self, *, limit: int = 50, cursor: str | None = None) -> Page[Webhook]:
        """Return a page of webhooks."""
        request = Request("GET", WEBHOOKS, {"limit": str(limit), "cursor": cursor})
        return self._connection.send(request, Page[Webhook])

    def get(self, id: str) -> Webhook:
        """Return a webhook. Raises NotFound."""
        return self._connection.send(Request("GET", path_of(WEBHOOKS, id)), Webhook)

    def create(
        self,
        name: str,
        url: str,
        *,
        events: Iterable[str],
        headers: Mapping[str, str] | None = None,
    ) -> CreatedWebhook:
        """Create a webhook and return it with its signing secret. `events` are event types, or `*`.

        Not repeated if the response is lost. Raises LimitReached, Invalid.
        """
        body = json_body(name=name, url=url, events=as_list(events), headers=headers or {})
        request = Request("POST", WEBHOOKS, body=body, repeatable=False)
        return self._connection.send(request, CreatedWebhook)

    def update(
        self,
        id: str,
        *,
        name: str | Unset = UNSET,
        url: str | Unset = UNSET,
        events: Iterable[str] | Unset = UNSET,
        headers: Mapping[str, str] | Unset = UNSET,
        status: Literal["active", "disabled"] | Unset = UNSET,
        if_match: str | None = None,
    ) -> Webhook:
        """Change a webhook and return it. Deliveries to a disabled webhook wait."""
        body = json_body(name=name, url=url, events=as_list(events), headers=headers, status=status)
        request = Request("PATCH", path_of(WEBHOOKS, id), body=body, if_match=if_match)
        return self._connection.send(request, Webhook)

    def delete(self, id: str, *, if_match: str | None = None) -> None:
        """Delete a webhook and its deliveries, permanently."""
        path = path_of(WEBHOOKS, id)
        request = Request("DELETE", path, if_match=if_match, repeatable=False)
        self._connection.send(request, NoneType)

    def rotate_secret(self, id: str) -> CreatedWebhook:
        """Replace the signing secret. For 24 hours deliveries are also signed with the old one."""
        request = Request("POST", f"{path_of(WEBHOOKS, id)}/rotate-secret", repeatable=False)
        return self._connection.send(request, CreatedWebhook)

    def test(self, id: str) -> Delivery:
        """Send an event `webhook.test` and return its delivery with the result. Raises WebhookDisabled."""
        request = Request("POST", f"{path_of(WEBHOOKS, id)}/test", repeatable=False)
        return self._connection.send(request, Delivery)


class Deliveries(Resource):
    """The deliveries of events to webhooks."""

    def list(
        self, webhook_id: str, *, status: Literal["pending", "delivered", "failed"] | None = None
    ) -> Iterator[Delivery]:
        """Yield the retained deliveries of a webhook with the status, newest events first."""
        request = Request(
            "GET",
            f"{path_of(WEBHOOKS, webhook_id)}/deliveries",
            {"status": status, "limit": str(PAGE_SIZE)},
        )
        return self._connection.paginate(request, Page[Delivery])

    def page(
        self,
        webhook_id: str,
        *,
        status: Literal["pending", "delivered", "failed"] | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Delivery]:
        """Return a page of a webhook's deliveries."""
        request = Request(
            "GET",
            f"{path_of(WEBHOOKS, webhook_id)}/deliveries",
            {"status": status, "limit": str(limit), "cursor": cursor},
        )
        return self._connection.send(request, Page[Delivery])

    def get(self, id: str) -> SentDelivery:
        """Return a delivery with its event. Raises NotFound."""
        return self._connection.send(Request("GET", path_of(DELIVERIES, id)), SentDelivery)

    def redeliver(self, id: str) -> Delivery:
        """Send a delivery again, whatever its status. Raises WebhookDisabled."""
        request = Request("POST", f"{path_of(DELIVERIES, id)}/redeliver", repeatable=False)
        return self._connection.send(request, Delivery)

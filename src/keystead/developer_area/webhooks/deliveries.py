"""One delivery of a webhook: what was sent, what came of it, and sending it again."""

from __future__ import annotations

import json
from datetime import datetime, tzinfo
from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from keystead.developer_area.sign_in import cookies
from keystead.developer_area.sign_in.session import Visit
from keystead.developer_area.web.contexts import Moment
from keystead.developer_area.web.navigation import see_other
from keystead.developer_area.web.times import moment
from keystead.developer_area.webhooks.contexts import AttemptRow, DeliveryPage, DeliveryRow
from keystead.developer_area.webhooks.shared import WebhookDesk
from keystead.domain.errors import NotFound, RateLimited, WebhookDisabled
from keystead.domain.ids import DeliveryId
from keystead.domain.principals import Principal
from keystead.domain.roles import Permission
from keystead.domain.webhooks import Attempt, AttemptError, Delivery, WebhookEndpoint, WebhookStatus
from keystead.services.webhooks import SentDelivery


class DeliveryPages:
    """Who sees webhooks sees their deliveries; who manages them sends again."""

    def __init__(self, desk: WebhookDesk) -> None:
        self._desk = desk

    def show(self, visit: Visit) -> Response:
        """The delivery with its body and all its attempts, the latest first."""
        desk = self._desk
        acting, url = desk.acting(visit)
        endpoint = desk.find(visit, acting)
        sent = self._sent(visit, endpoint, acting.principal)
        delivery, now = sent.delivery, desk.services.keys.now()
        here = f"{url}/{endpoint.id}"
        may_change = acting.principal.may(Permission.MANAGE_WEBHOOKS)
        is_off = endpoint.status is WebhookStatus.DISABLED
        older = delivery.attempted - len(delivery.attempts)
        page = DeliveryPage(
            frame=desk.sessions.frame(visit, acting),
            message=cookies.said(visit.request),
            id=delivery.id,
            type=delivery.event_type,
            status=delivery.status,
            created=moment(delivery.created_at, now, acting.zone),
            following=ahead(delivery, now, acting.zone),
            attempts=[attempt_row(one, now, acting.zone) for one in reversed(delivery.attempts)],
            older=f"{older:,} earlier attempts are not kept." if older > 0 else "",
            body=_pretty(sent.body),
            webhook=endpoint.name,
            webhook_url=here,
            again_url=f"{here}/deliveries/{delivery.id}/redeliver"
            if may_change and not is_off
            else None,
            why_not="The webhook is off: switch it on to send again."
            if may_change and is_off
            else "",
        )
        return desk.render(page)

    def redeliver(self, visit: Visit) -> Response:
        """Sends it again, under the same id."""
        acting, url = self._desk.acting(visit, to_change=True)
        endpoint = self._desk.find(visit, acting)
        sent = self._sent(visit, endpoint, acting.principal)
        here = f"{url}/{endpoint.id}/deliveries/{sent.delivery.id}"
        response = see_other(here)
        try:
            self._desk.webhooks.redeliver(acting.principal, sent.delivery.id, visit.origin)
        except (WebhookDisabled, RateLimited) as refused:
            cookies.say(response, refused.detail)
        else:
            cookies.say(response, "It is on its way again, under the same id.")
        return response

    def _sent(self, visit: Visit, endpoint: WebhookEndpoint, principal: Principal) -> SentDelivery:
        """NotFound for a delivery of another webhook."""
        sent = self._desk.webhooks.delivery(principal, DeliveryId(visit.path("delivery_id")))
        if sent.delivery.webhook_id != endpoint.id:
            raise NotFound("There is no such delivery.")
        return sent


def _pretty(body: bytes) -> str:
    return json.dumps(json.loads(body), indent=2, ensure_ascii=False)


_ERRORS: Final = {
    AttemptError.REDIRECT: "a redirect, which is not followed",
    AttemptError.UNRESOLVED: "no address for the host",
    AttemptError.FORBIDDEN_ADDRESS: "an address that must not be sent to",
    AttemptError.FORBIDDEN_URL: "a URL that must not be sent to",
    AttemptError.UNREACHABLE: "nothing answers there",
    AttemptError.TLS: "no trusted certificate",
    AttemptError.TIMEOUT: "no answer in time",
    AttemptError.BAD_ANSWER: "an answer that is no HTTP",
}


def delivery_row(delivery: Delivery, here: str, now: datetime, zone: tzinfo) -> DeliveryRow:
    """A delivery of the webhook whose page is `here`."""
    return DeliveryRow(
        url=f"{here}/deliveries/{delivery.id}",
        type=delivery.event_type,
        status=delivery.status,
        attempts=f"{delivery.attempted:,}",
        last=outcome_words(delivery.attempts[-1]) if delivery.attempts else "Not tried yet",
        at=moment(delivery.created_at, now, zone),
        following=ahead(delivery, now, zone),
    )


def ahead(delivery: Delivery, now: datetime, zone: tzinfo) -> Moment | None:
    """When it is tried next; None where it is due already, or never tried again."""
    following = delivery.next_attempt_at
    return moment(following, now, zone) if following is not None and following > now else None


def attempt_row(attempt: Attempt, now: datetime, zone: tzinfo) -> AttemptRow:
    """One try."""
    took = f"{attempt.milliseconds:,} ms"
    return AttemptRow(moment(attempt.at, now, zone), outcome_words(attempt), took)


def outcome_words(attempt: Attempt) -> str:
    """Such as `204 No Content`, or `No answer in time`."""
    status = attempt.status
    told = "" if status is None else f"{status} {_phrase(status)}".strip()
    why = "" if attempt.error is None else _ERRORS.get(attempt.error, "")
    words = ": ".join(part for part in (told, why) if part) or "Failed"
    return words[0].upper() + words[1:]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""

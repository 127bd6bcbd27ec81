"""One delivery of a webhook: what was sent, what came of it, and sending it again."""

from __future__ import annotations

import json

from starlette.responses import Response

from keystead.developer_area.delivery_rows import ahead, attempt_row
from keystead.developer_area.redirects import see_other
from keystead.developer_area.sign_in import cookies
from keystead.developer_area.sign_in.session import Visit
from keystead.developer_area.web.times import moment
from keystead.developer_area.webhooks.contexts import DeliveryPage
from keystead.developer_area.webhooks.views import WebhookDesk
from keystead.domain.errors import NotFound, RateLimited, WebhookDisabled
from keystead.domain.ids import DeliveryId
from keystead.domain.principals import Principal
from keystead.domain.roles import Permission
from keystead.domain.webhooks import WebhookEndpoint, WebhookStatus
from keystead.services.webhooks import SentDelivery
from keystead.wire.webhooks import payload


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
            body=_pretty(payload(sent.event)),
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

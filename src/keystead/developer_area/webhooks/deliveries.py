"""The page of a delivery: its payload and attempts, and sending it again."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from keystead.developer_area.sign_in.cookies import redirect_with_message
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.labels import plural
from keystead.developer_area.webhooks.contexts import (
    AttemptRow,
    DeliveryPage,
    DeliveryRow,
    SuccessBar,
)
from keystead.developer_area.webhooks.forms import payload_text
from keystead.developer_area.webhooks.pages import WebhookPages, webhooks_url
from keystead.domain.errors import NotFound, RateLimited, WebhookDisabled
from keystead.domain.ids import DeliveryId
from keystead.domain.roles import Permission
from keystead.domain.webhook_health import DeliveryCounts, state_of
from keystead.domain.webhooks import (
    Attempt,
    AttemptError,
    Delivery,
    WebhookEndpoint,
    WebhookStatus,
)
from keystead.services.webhooks import SentDelivery

_ERRORS: Final = {
    AttemptError.REDIRECT: "redirects aren't followed",
    AttemptError.UNRESOLVED: "host not found",
    AttemptError.FORBIDDEN_ADDRESS: "forbidden address",
    AttemptError.FORBIDDEN_URL: "forbidden URL",
    AttemptError.UNREACHABLE: "connection failed",
    AttemptError.TLS: "no trusted certificate",
    AttemptError.TIMEOUT: "timed out",
    AttemptError.BAD_ANSWER: "invalid HTTP response",
}


class DeliveryPages(WebhookPages):
    """The pages of deliveries."""

    def show(self, visit: MemberVisit) -> Response:
        """Show a delivery with its payload and attempts, latest first."""
        webhook = self._webhook(visit)
        sent = self._sent(visit, webhook)
        delivery, webhook_url = sent.delivery, f"{webhooks_url(visit)}/{webhook.id}"
        may_change = visit.principal.may(Permission.MANAGE_WEBHOOKS)
        is_paused = webhook.status is WebhookStatus.DISABLED
        url = f"{webhook_url}/deliveries/{delivery.id}"
        older = delivery.attempted - len(delivery.attempts)
        page = DeliveryPage(
            frame=visit.frame(),
            id=delivery.id,
            type=delivery.event_type,
            state=state_of(delivery),
            created=visit.timestamp(delivery.created_at),
            next_attempt=_next_attempt(delivery, webhook, visit),
            attempts=[_attempt_row(attempt, visit) for attempt in reversed(delivery.attempts)],
            older=f"{plural(older, 'earlier attempt')} not shown." if older > 0 else "",
            body=payload_text(sent.event),
            webhook=webhook.name,
            webhook_url=webhook_url,
            resend_url=f"{url}/redeliver" if may_change and not is_paused else None,
            resend_hint="Resume the webhook to resend." if may_change and is_paused else "",
        )
        return self._render(page)

    def redeliver(self, visit: MemberVisit) -> Response:
        """Send a delivery again."""
        webhook, url = self._managed_webhook(visit)
        delivery = self._sent(visit, webhook).delivery
        message = "Resent with the same ID."
        try:
            self._services.webhooks.redeliver(visit.principal, delivery.id, visit.origin)
        except (WebhookDisabled, RateLimited) as refused:
            message = refused.detail
        return redirect_with_message(f"{url}/deliveries/{delivery.id}", message)

    def _sent(self, visit: MemberVisit, webhook: WebhookEndpoint) -> SentDelivery:
        """Return the delivery in the path. NotFound for another webhook's."""
        delivery_id = DeliveryId(visit.path("delivery_id"))
        sent = self._services.webhooks.delivery(visit.principal, delivery_id)
        if sent.delivery.webhook_id != webhook.id:
            raise NotFound("There is no such delivery.")
        return sent


def delivery_row(
    delivery: Delivery, webhook: WebhookEndpoint, webhook_url: str, visit: MemberVisit
) -> DeliveryRow:
    """Return a delivery for display."""
    return DeliveryRow(
        url=f"{webhook_url}/deliveries/{delivery.id}",
        type=delivery.event_type,
        state=state_of(delivery),
        attempts=f"{delivery.attempted:,}",
        last=_outcome(delivery.attempts[-1]) if delivery.attempts else "None yet",
        at=visit.timestamp(delivery.created_at),
        next_attempt=_next_attempt(delivery, webhook, visit),
    )


def success_bar(webhook: WebhookEndpoint, counts: DeliveryCounts) -> SuccessBar:
    """Return how many of a webhook's latest deliveries succeeded, for display."""
    attempted = plural(counts.attempted, "recent delivery", "recent deliveries")
    rest = ((counts.retrying, "retrying"), (counts.failed, "failed"))
    return SuccessBar(
        id=f"success-{webhook.id}",
        text=f"{counts.delivered} of {attempted} succeeded" if counts.attempted else "None yet",
        rest=", ".join(f"{count} {state}" for count, state in rest if count),
        delivered=counts.delivered,
        attempted=counts.attempted,
    )


def _next_attempt(delivery: Delivery, webhook: WebhookEndpoint, visit: MemberVisit) -> str:
    """Return when the next attempt is, empty if there is none."""
    due = delivery.next_attempt_at
    if due is None:
        return ""
    if webhook.status is WebhookStatus.DISABLED:
        return "Waits until the webhook is resumed"
    if due <= visit.now():
        return "Next attempt: now"
    next_attempt = visit.timestamp(due)
    return f"Next attempt {next_attempt.relative}, {next_attempt.exact}"


def _attempt_row(attempt: Attempt, visit: MemberVisit) -> AttemptRow:
    took = f"{attempt.milliseconds:,} ms"
    return AttemptRow(visit.timestamp(attempt.at), _outcome(attempt), took)


def _outcome(attempt: Attempt) -> str:
    """Return an outcome such as `204 No Content` or `Timed out`."""
    status = "" if attempt.status is None else f"{attempt.status} {_phrase(attempt.status)}".strip()
    error = "" if attempt.error is None else _ERRORS.get(attempt.error, "")
    text = ": ".join(part for part in (status, error) if part) or "Failed"
    return text[0].upper() + text[1:]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""

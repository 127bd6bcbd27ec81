"""The pages of webhooks: list, create, show, edit, pause, test, rotate the secret, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from keystead.developer_area.sign_in.cookies import redirect_with_message
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import Choice, QuestionPage
from keystead.developer_area.web.forms import form_once, form_version, new_nonce
from keystead.developer_area.web.labels import plural
from keystead.developer_area.web.navigation import pager
from keystead.developer_area.webhooks.contexts import (
    SuccessBar,
    WebhookPage,
    WebhookRow,
    WebhooksPage,
)
from keystead.developer_area.webhooks.deliveries import delivery_row, success_bar
from keystead.developer_area.webhooks.forms import WebhookEntry, webhook_problems
from keystead.developer_area.webhooks.pages import WebhookPages, webhooks_url
from keystead.domain.errors import (
    ChangedMeanwhile,
    IdempotencyMismatch,
    Invalid,
    LimitReached,
    RateLimited,
    WebhookDisabled,
)
from keystead.domain.ids import WebhookId
from keystead.domain.roles import Permission
from keystead.domain.step_up import SensitiveAction
from keystead.domain.webhook_health import RESEND_PERIODS, DeliveryCounts, resend_period
from keystead.domain.webhooks import (
    ALL_EVENTS,
    DeliveryStatus,
    DisabledReason,
    WebhookEndpoint,
    WebhookPatch,
    WebhookStatus,
)
from keystead.services.webhook_health import Resent

_WHY_DISABLED: Final = {
    DisabledReason.BY_HAND: "A member paused it.",
    DisabledReason.FAILING: "Every attempt of a delivery failed, over three days.",
    DisabledReason.GONE: "The receiver responded 410 Gone.",
}
_PERIODS: Final = {
    "1h": "1 hour ago",
    "24h": "24 hours ago",
    "7d": "7 days ago",
    "30d": "30 days ago",
}
_STATUSES: Final = {
    "": "All",
    DeliveryStatus.PENDING: "Queued and retrying",
    DeliveryStatus.DELIVERED: "Delivered",
    DeliveryStatus.FAILED: "Failed",
}


class WebhookViews(WebhookPages):
    """The pages of webhooks."""

    def index(self, visit: MemberVisit) -> Response:
        """List the webhooks, newest first."""
        url, page = webhooks_url(visit), visit.page(str)
        before = None if page.after is None else WebhookId(page.after)
        webhooks = self._services.webhooks.list(visit.principal, limit=page.limit, before=before)
        bars = self._success(visit, webhooks.items)
        context = WebhooksPage(
            frame=visit.frame(),
            quota=self._quota(visit, "webhooks", "webhook"),
            new_url=f"{url}/new" if _may_change(visit) else None,
            rows=[
                _row(webhook, bar, visit) for webhook, bar in zip(webhooks.items, bars, strict=True)
            ],
            pages=pager(url, page, webhooks.next),
        )
        return self._render(context)

    def new(self, visit: MemberVisit) -> Response:
        """Show the form of a new webhook."""
        visit.principal.require_permission(Permission.MANAGE_WEBHOOKS)
        _require_recent_authentication(visit)
        return self._form(visit, WebhookEntry())

    def create(self, visit: MemberVisit) -> Response:
        """Create a webhook and show its secret once, or show the form again with its problems."""
        visit.principal.require_permission(Permission.MANAGE_WEBHOOKS)
        entry, once = WebhookEntry.of_form(visit.form), form_once(visit.form)
        try:
            created = self._services.webhooks.create(
                visit.principal, entry.draft(), visit.origin, once
            )
        except IdempotencyMismatch:
            used = "This form has already created a webhook. Check your input, and send it again for another one."
            return self._form(visit, entry, None, {"form": used}, 409)
        except Invalid as refused:
            return self._form(visit, entry, None, webhook_problems(refused), 422)
        except LimitReached:
            return self._form(visit, entry, None, status=409)
        return self._secret_page(visit, created, 201)

    def show(self, visit: MemberVisit) -> Response:
        """Show a webhook and its deliveries, newest first."""
        webhook, now = self._webhook(visit), visit.now()
        url = f"{webhooks_url(visit)}/{webhook.id}"
        query = visit.query("status")
        status = DeliveryStatus(query) if query in set(DeliveryStatus) else None
        page = visit.page(int, status=status or "")
        deliveries = self._services.webhooks.deliveries(
            visit.principal, webhook.id, status=status, limit=page.limit, before=page.after
        )
        overlap, is_active = webhook.secret_overlap_until, webhook.status is WebhookStatus.ACTIVE
        may_resend = is_active and _may_change(visit)
        context = WebhookPage(
            frame=visit.frame(),
            id=webhook.id,
            name=webhook.name,
            status=_status(webhook),
            is_active=is_active,
            why_disabled=_why_disabled(webhook),
            destination=webhook.url,
            success=self._success(visit, [webhook])[0],
            events=[] if ALL_EVENTS in webhook.events else list(webhook.events),
            header_names=webhook.header_names,
            created=visit.timestamp(webhook.created_at),
            created_by=webhook.created_by.name,
            overlap=visit.timestamp(overlap) if overlap and overlap > now else None,
            list_url=webhooks_url(visit),
            here=url,
            may_change=_may_change(visit),
            statuses=[
                Choice(value, text, "", value == (status or ""))
                for value, text in _STATUSES.items()
            ],
            is_filtered=status is not None,
            resend_periods=self._resend_periods(visit, webhook) if may_resend else (),
            rows=[delivery_row(delivery, webhook, url, visit) for delivery in deliveries.items],
            pages=pager(url, page, deliveries.next, status=status or ""),
        )
        return self._render(context)

    def edit_form(self, visit: MemberVisit) -> Response:
        """Show the form with a webhook's values."""
        webhook, _ = self._managed_webhook(visit)
        _require_recent_authentication(visit)
        return self._form(visit, WebhookEntry.of_webhook(webhook), webhook)

    def edit(self, visit: MemberVisit) -> Response:
        """Save a webhook and show it, or show the form again with its problems."""
        webhook, url = self._managed_webhook(visit)
        entry = WebhookEntry.of_form(visit.form)
        try:
            patch, version = entry.patch(webhook), form_version(visit.form)
            self._services.webhooks.update(
                visit.principal, webhook.id, patch, visit.origin, version
            )
        except ChangedMeanwhile:
            current = self._webhook(visit)
            differences = entry.differences(current)
            return self._form(visit, entry, current, status=409, differences=differences)
        except Invalid as refused:
            return self._form(visit, entry, webhook, webhook_problems(refused), 422)
        return redirect_with_message(url, f"{entry.name} was saved.")

    def set_status(self, visit: MemberVisit) -> Response:
        """Pause or resume a webhook."""
        webhook, url = self._managed_webhook(visit)
        is_active = visit.form.one("status") == WebhookStatus.ACTIVE
        patch = WebhookPatch(status=WebhookStatus.ACTIVE if is_active else WebhookStatus.DISABLED)
        self._services.webhooks.update(visit.principal, webhook.id, patch, visit.origin)
        change = (
            "was resumed. Waiting deliveries are being sent now."
            if is_active
            else "is paused. Waiting deliveries are sent when you resume it; new events are not."
        )
        return redirect_with_message(url, f"{webhook.name} {change}")

    def test(self, visit: MemberVisit) -> Response:
        """Send a test event and show its delivery."""
        webhook, url = self._managed_webhook(visit)
        try:
            delivery = self._services.webhooks.test(visit.principal, webhook.id, visit.origin)
        except (WebhookDisabled, RateLimited) as refused:
            return redirect_with_message(url, refused.detail)
        return redirect_with_message(f"{url}/deliveries/{delivery.id}", "Test event sent.")

    def resend_failed(self, visit: MemberVisit) -> Response:
        """Resend all deliveries of a period that failed."""
        webhook, url = self._managed_webhook(visit)
        try:
            resent = self._services.webhook_health.resend_failed(
                visit.principal, webhook.id, resend_period(visit.form.one("since")), visit.origin
            )
        except (WebhookDisabled, RateLimited) as refused:
            return redirect_with_message(url, refused.detail)
        return redirect_with_message(url, _resent(resent))

    def rotate_form(self, visit: MemberVisit) -> Response:
        """Ask before rotating the secret."""
        webhook, url = self._managed_webhook(visit)
        page = QuestionPage(
            frame=visit.frame(),
            title=f"Rotate the secret of “{webhook.name}”?",
            text="For 24 hours we sign every delivery with both secrets, so you can switch without downtime.",
            button="Rotate secret",
            busy="Rotating…",
            outcome="the secret was rotated",
            is_danger=False,
            url=f"{url}/rotate-secret",
            back_url=url,
            once=new_nonce(),
        )
        return self._render(page)

    def rotate(self, visit: MemberVisit) -> Response:
        """Rotate the secret and show the new one once."""
        webhook, _ = self._managed_webhook(visit)
        once = form_once(visit.form)
        created = self._services.webhooks.rotate_secret(
            visit.principal, webhook.id, visit.origin, once
        )
        return self._secret_page(visit, created)

    def delete_form(self, visit: MemberVisit) -> Response:
        """Ask before deleting a webhook."""
        webhook, url = self._managed_webhook(visit)
        page = QuestionPage(
            frame=visit.frame(),
            title=f"Delete “{webhook.name}”?",
            text="We stop sending events to it immediately, queued ones included, and delete its deliveries.",
            button="Delete webhook",
            busy="Deleting…",
            outcome="the webhook was deleted",
            is_danger=True,
            url=f"{url}/delete",
            back_url=url,
        )
        return self._render(page)

    def delete(self, visit: MemberVisit) -> Response:
        """Delete a webhook and show the list."""
        webhook, _ = self._managed_webhook(visit)
        self._services.webhooks.delete(visit.principal, webhook.id, visit.origin)
        message = f"The webhook {webhook.name} was deleted."
        return redirect_with_message(webhooks_url(visit), message)

    def _success(
        self, visit: MemberVisit, webhooks: Sequence[WebhookEndpoint]
    ) -> Sequence[SuccessBar]:
        """Return how many of each webhook's latest deliveries succeeded."""
        ids = [webhook.id for webhook in webhooks]
        counts = self._services.webhook_health.counts(visit.principal, ids)
        return [
            success_bar(webhook, counts.get(webhook.id, DeliveryCounts())) for webhook in webhooks
        ]

    def _resend_periods(self, visit: MemberVisit, webhook: WebhookEndpoint) -> Sequence[Choice]:
        """Return the periods to choose from, if any delivery has failed."""
        failed = self._services.webhooks.deliveries(
            visit.principal, webhook.id, status=DeliveryStatus.FAILED, limit=1
        )
        if not failed.items:
            return ()
        return [Choice(name, _PERIODS[name], "", name == "24h") for name in RESEND_PERIODS]


def _resent(resent: Resent) -> str:
    if not resent.count:
        return "No deliveries failed in that period."
    are = "is" if resent.count == 1 else "are"
    deliveries = plural(resent.count, "failed delivery", "failed deliveries")
    more = " There are older ones: resend again to queue those." if resent.has_more else ""
    return f"{deliveries} {are} queued again.{more}"


def _require_recent_authentication(visit: MemberVisit) -> None:
    # Before the form is shown, so that users don't fill it in only to be asked for a password.
    visit.principal.require_recent_authentication(SensitiveAction.CHANGE_WEBHOOKS, visit.now())


def _may_change(visit: MemberVisit) -> bool:
    return visit.principal.may(Permission.MANAGE_WEBHOOKS)


def _why_disabled(webhook: WebhookEndpoint) -> str:
    return "" if webhook.disabled_for is None else _WHY_DISABLED[webhook.disabled_for]


def _status(webhook: WebhookEndpoint) -> str:
    return "active" if webhook.status is WebhookStatus.ACTIVE else "paused"


def _row(webhook: WebhookEndpoint, success: SuccessBar, visit: MemberVisit) -> WebhookRow:
    is_all = ALL_EVENTS in webhook.events
    return WebhookRow(
        name=webhook.name,
        url=f"{webhooks_url(visit)}/{webhook.id}",
        status=_status(webhook),
        state=_why_disabled(webhook),
        events="All events" if is_all else plural(len(webhook.events), "event type"),
        destination=webhook.url,
        success=success,
        created=visit.timestamp(webhook.created_at),
    )

"""The pages of webhooks: see them, make one, and see one with its deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from keystead.developer_area.delivery_rows import delivery_row
from keystead.developer_area.sign_in import cookies
from keystead.developer_area.sign_in.session import Acting, Sessions, Visit
from keystead.developer_area.web.contexts import Choice, Difference, QuotaLine
from keystead.developer_area.web.navigation import next_url, workspace_url
from keystead.developer_area.web.render import Renderer
from keystead.developer_area.web.times import moment
from keystead.developer_area.webhooks.contexts import (
    WebhookFormPage,
    WebhookPage,
    WebhookRow,
    WebhookSecretPage,
    WebhooksPage,
)
from keystead.developer_area.webhooks.forms import WebhookEntry, problems_of
from keystead.domain.errors import Invalid, LimitReached
from keystead.domain.ids import WebhookId
from keystead.domain.roles import Permission
from keystead.domain.step_up import SensitiveAction
from keystead.domain.webhooks import ALL_EVENTS, DeliveryStatus, DisabledReason, WebhookEndpoint
from keystead.http.paging import read_page
from keystead.services import Services
from keystead.services.webhooks import CreatedWebhook

_WHY: Final = {
    DisabledReason.BY_HAND: "Somebody switched it off.",
    DisabledReason.FAILING: "Every attempt of a delivery failed, over three days.",
    DisabledReason.GONE: "The receiver answered 410: it wants nothing more.",
}
_SHOWN: Final = {
    "": "All",
    DeliveryStatus.PENDING: "Waiting",
    DeliveryStatus.DELIVERED: "Delivered",
    DeliveryStatus.FAILED: "Failed",
}


class WebhookDesk:
    """What all pages of webhooks stand on."""

    def __init__(
        self, services: Services, render: Renderer, sessions: Sessions, *, plans_url: str | None
    ) -> None:
        self.services = services
        self.webhooks = services.webhooks
        self.render = render
        self.sessions = sessions
        self.plans_url = plans_url

    def acting(self, visit: Visit, *, to_change: bool = False) -> tuple[Acting, str]:
        """Who acts, and where the webhooks are. Forbidden for who may not change them, where that is asked."""
        acting = self.sessions.acting(visit)
        if to_change:
            acting.principal.require_permission(Permission.MANAGE_WEBHOOKS)
        return acting, f"{workspace_url(acting.workspace.id)}/webhooks"

    def require_recent_authentication(self, acting: Acting) -> None:
        """Raise ReauthenticationRequired before a form is shown, so that nothing is typed in vain."""
        acting.principal.require_recent_authentication(
            SensitiveAction.CHANGE_WEBHOOKS, self.services.keys.now()
        )

    def find(self, visit: Visit, acting: Acting) -> WebhookEndpoint:
        """The webhook that the address names."""
        return self.webhooks.get(acting.principal, WebhookId(visit.path("webhook_id")))

    def quota(self, acting: Acting) -> QuotaLine:
        """How many webhooks the plan has room for."""
        use = self.services.plans.use(acting.principal)
        quota = use.quotas["webhooks"]
        of = "" if quota.limit is None else f" of {quota.limit:,}"
        noun = "webhook" if (quota.limit or quota.used) == 1 else "webhooks"
        return QuotaLine(f"{quota.used:,}{of} {noun}", quota.used, quota.limit, use.plan.name)

    def form(
        self,
        visit: Visit,
        acting: Acting,
        entry: WebhookEntry,
        webhook: WebhookEndpoint | None = None,
        problems: dict[str, str] | None = None,
        status: int = 200,
        differences: Sequence[Difference] | None = None,
    ) -> Response:
        """The form of a new webhook, or of that one."""
        url = f"{workspace_url(acting.workspace.id)}/webhooks"
        here = url if webhook is None else f"{url}/{webhook.id}"
        page = WebhookFormPage(
            frame=self.sessions.frame(visit, acting),
            is_new=webhook is None,
            version=None if webhook is None else webhook.version,
            differences=differences,
            is_full=webhook is None and self.quota(acting).is_full,
            plans_url=self.plans_url,
            url=here if webhook is None else f"{here}/edit",
            back_url=here,
            problems=problems or {},
            name=entry.name,
            destination=entry.url,
            ranges=entry.ranges(),
            groups=entry.groups(),
            kept=[] if webhook is None else entry.kept(webhook),
            headers=entry.headers,
        )
        return self.render(page, status)

    def secret(
        self, visit: Visit, acting: Acting, created: CreatedWebhook, status: int = 200
    ) -> Response:
        """The answer that shows a secret, this once."""
        endpoint = created.endpoint
        overlap = endpoint.secret_overlap_until
        page = WebhookSecretPage(
            frame=self.sessions.frame(visit, acting),
            name=endpoint.name,
            secret=created.secret,
            overlap=None
            if overlap is None
            else moment(overlap, self.services.keys.now(), acting.zone),
            verify=_VERIFY,
            webhook_url=f"{workspace_url(acting.workspace.id)}/webhooks/{endpoint.id}",
        )
        return self.render(page, status)


_VERIFY: Final = """from standardwebhooks import Webhook

event = Webhook(secret).verify(request.body, request.headers)
"""


class WebhookPages:
    """What a person sees of webhooks, and how they make one."""

    def __init__(self, desk: WebhookDesk) -> None:
        self._desk = desk

    def index(self, visit: Visit) -> Response:
        """The webhooks of the workspace, newest first."""
        desk = self._desk
        acting, url = desk.acting(visit)
        asked = read_page(
            str,
            workspace_id=acting.workspace.id,
            path=visit.request.scope["path"],
            cursor=visit.query("cursor") or None,
        )
        before = None if asked.after is None else WebhookId(asked.after)
        found = desk.webhooks.list(acting.principal, limit=asked.limit, before=before)
        page = WebhooksPage(
            frame=desk.sessions.frame(visit, acting),
            message=cookies.said(visit.request),
            quota=desk.quota(acting),
            plans_url=desk.plans_url,
            new_url=f"{url}/new" if _may_change(acting) else None,
            rows=[_row(one, url, acting, desk) for one in found.items],
            first_url=url if asked.after is not None else None,
            next_url=next_url(url, asked, found.next),
        )
        return desk.render(page)

    def new(self, visit: Visit) -> Response:
        """The form for a new webhook."""
        acting, _ = self._desk.acting(visit, to_change=True)
        self._desk.require_recent_authentication(acting)
        return self._desk.form(visit, acting, WebhookEntry())

    def create(self, visit: Visit) -> Response:
        """A new webhook, its secret shown in this answer alone; or the form again, with what is wrong."""
        acting, _ = self._desk.acting(visit, to_change=True)
        entry = WebhookEntry.of(visit.form)
        try:
            made = self._desk.webhooks.create(acting.principal, entry.draft(), visit.origin)
        except Invalid as refused:
            problems = problems_of(refused)
            return self._desk.form(visit, acting, entry, None, problems, 422)
        except LimitReached:
            return self._desk.form(visit, acting, entry, None, status=409)
        return self._desk.secret(visit, acting, made, 201)

    def show(self, visit: Visit) -> Response:
        """One webhook, and its deliveries, newest first."""
        desk = self._desk
        acting, url = desk.acting(visit)
        endpoint = desk.find(visit, acting)
        here, now = f"{url}/{endpoint.id}", desk.services.keys.now()
        chosen = visit.query("status")
        status = DeliveryStatus(chosen) if chosen in set(DeliveryStatus) else None
        asked = read_page(
            int,
            workspace_id=acting.workspace.id,
            path=visit.request.scope["path"],
            filters={"status": status or ""},
            cursor=visit.query("cursor") or None,
        )
        found = desk.webhooks.deliveries(
            acting.principal, endpoint.id, status=status, limit=asked.limit, before=asked.after
        )
        overlap = endpoint.secret_overlap_until
        page = WebhookPage(
            frame=desk.sessions.frame(visit, acting),
            message=cookies.said(visit.request),
            id=endpoint.id,
            name=endpoint.name,
            status=endpoint.status,
            why_disabled="" if endpoint.disabled_for is None else _WHY[endpoint.disabled_for],
            destination=endpoint.url,
            told=[] if ALL_EVENTS in endpoint.events else list(endpoint.events),
            header_names=endpoint.header_names,
            created=moment(endpoint.created_at, now, acting.zone),
            created_by=endpoint.created_by.name,
            overlap=moment(overlap, now, acting.zone) if overlap and overlap > now else None,
            list_url=url,
            here=here,
            may_change=_may_change(acting),
            shown=[
                Choice(value, text, "", value == (status or "")) for value, text in _SHOWN.items()
            ],
            rows=[delivery_row(one, here, now, acting.zone) for one in found.items],
            first_url=here if asked.after is not None else None,
            next_url=next_url(here, asked, found.next, status=status or ""),
        )
        return desk.render(page)


def _may_change(acting: Acting) -> bool:
    return acting.principal.may(Permission.MANAGE_WEBHOOKS)


def _row(endpoint: WebhookEndpoint, url: str, acting: Acting, desk: WebhookDesk) -> WebhookRow:
    told = len(endpoint.events)
    few = f"{told} type{'' if told == 1 else 's'} of event"
    return WebhookRow(
        name=endpoint.name,
        url=f"{url}/{endpoint.id}",
        status=endpoint.status,
        state="" if endpoint.disabled_for is None else _WHY[endpoint.disabled_for],
        told="Everything" if ALL_EVENTS in endpoint.events else few,
        destination=endpoint.url,
        created=moment(endpoint.created_at, desk.services.keys.now(), acting.zone),
    )

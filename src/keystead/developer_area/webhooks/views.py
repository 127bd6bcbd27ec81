"""The pages of webhooks: see them, make one, and see one with its deliveries."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from keystead.developer_area.sign_in import cookies
from keystead.developer_area.sign_in.session import Acting, Visit
from keystead.developer_area.web.contexts import Choice
from keystead.developer_area.web.forms import made_from
from keystead.developer_area.web.navigation import next_url, see_other
from keystead.developer_area.web.times import moment
from keystead.developer_area.webhooks.contexts import (
    WebhookPage,
    WebhookQuestionPage,
    WebhookRow,
    WebhooksPage,
)
from keystead.developer_area.webhooks.deliveries import delivery_row
from keystead.developer_area.webhooks.forms import WebhookEntry, problems_of
from keystead.developer_area.webhooks.shared import WebhookDesk
from keystead.domain.errors import (
    ChangedMeanwhile,
    Invalid,
    LimitReached,
    RateLimited,
    WebhookDisabled,
)
from keystead.domain.ids import WebhookId
from keystead.domain.roles import Permission
from keystead.domain.webhooks import (
    ALL_EVENTS,
    DeliveryStatus,
    DisabledReason,
    WebhookEndpoint,
    WebhookPatch,
    WebhookStatus,
)
from keystead.http.paging import read_page

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
            rows=[_row(one, url, acting, desk) for one in found.endpoints],
            first_url=url if asked.after is not None else None,
            next_url=next_url(url, asked, found.next),
        )
        return desk.render(page)

    def new(self, visit: Visit) -> Response:
        """The form for a new webhook."""
        acting, _ = self._desk.acting(visit, to_change=True)
        self._desk.require_recent_proof(acting)
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
            rows=[delivery_row(one, here, now, acting.zone) for one in found.deliveries],
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


class WebhookChanges:
    """Every act needs the right to manage webhooks."""

    def __init__(self, desk: WebhookDesk) -> None:
        self._desk = desk

    def ask_to_edit(self, visit: Visit) -> Response:
        """The form with what stands there now."""
        acting, endpoint, _ = self._found(visit)
        self._desk.require_recent_proof(acting)
        return self._desk.form(visit, acting, WebhookEntry.about(endpoint), endpoint)

    def edit(self, visit: Visit) -> Response:
        """Changes it, then back to its page; or the form again, with what is wrong."""
        acting, endpoint, here = self._found(visit)
        entry = WebhookEntry.of(visit.form)
        try:
            patch = entry.patch(endpoint)
            self._desk.webhooks.update(
                acting.principal, endpoint.id, patch, visit.origin, made_from(visit.form)
            )
        except ChangedMeanwhile:
            current = self._desk.find(visit, acting)
            differences = entry.differences(current)
            return self._desk.form(
                visit, acting, entry, current, status=409, differences=differences
            )
        except Invalid as refused:
            problems = problems_of(refused)
            return self._desk.form(visit, acting, entry, endpoint, problems, 422)
        return _done(here, f"{entry.name} is saved.")

    def switch(self, visit: Visit) -> Response:
        """On or off, as the form says."""
        acting, endpoint, here = self._found(visit)
        on = visit.form.one("status") == WebhookStatus.ACTIVE
        patch = WebhookPatch(status=WebhookStatus.ACTIVE if on else WebhookStatus.DISABLED)
        self._desk.webhooks.update(acting.principal, endpoint.id, patch, visit.origin)
        said = "is on: what waited is sent now" if on else "is off: deliveries wait until it is on"
        return _done(here, f"{endpoint.name} {said}.")

    def test(self, visit: Visit) -> Response:
        """Sends it an event of its own, then on to that delivery."""
        acting, endpoint, here = self._found(visit)
        try:
            delivery = self._desk.webhooks.test(acting.principal, endpoint.id, visit.origin)
        except (WebhookDisabled, RateLimited) as refused:
            return _done(here, refused.detail)
        return _done(f"{here}/deliveries/{delivery.id}", "A test is on its way.")

    def ask_to_rotate(self, visit: Visit) -> Response:
        """The question before another secret."""
        acting, endpoint, here = self._found(visit)
        page = WebhookQuestionPage(
            frame=self._desk.sessions.frame(visit, acting),
            title=f"Give “{endpoint.name}” another secret?",
            text="For 24 hours every delivery is signed with both, so that the receiver can change over without a gap.",
            button="Make another secret",
            is_danger=False,
            url=f"{here}/rotate-secret",
            back_url=here,
        )
        return self._desk.render(page)

    def rotate(self, visit: Visit) -> Response:
        """Another secret, shown in this answer alone."""
        acting, endpoint, _ = self._found(visit)
        created = self._desk.webhooks.rotate_secret(acting.principal, endpoint.id, visit.origin)
        return self._desk.secret(visit, acting, created)

    def ask_to_delete(self, visit: Visit) -> Response:
        """The question before it is deleted."""
        acting, endpoint, here = self._found(visit)
        page = WebhookQuestionPage(
            frame=self._desk.sessions.frame(visit, acting),
            title=f"Delete “{endpoint.name}”?",
            text="Nothing is sent to it any more, what waits included, and its deliveries are forgotten.",
            button="Delete webhook",
            is_danger=True,
            url=f"{here}/delete",
            back_url=here,
        )
        return self._desk.render(page)

    def delete(self, visit: Visit) -> Response:
        """Deletes it for good; then back to the list, which says so."""
        acting, endpoint, here = self._found(visit)
        self._desk.webhooks.delete(acting.principal, endpoint.id, visit.origin)
        return _done(here.rpartition("/")[0], f"The webhook {endpoint.name} is deleted.")

    def _found(self, visit: Visit) -> tuple[Acting, WebhookEndpoint, str]:
        acting, url = self._desk.acting(visit, to_change=True)
        endpoint = self._desk.find(visit, acting)
        return acting, endpoint, f"{url}/{endpoint.id}"


def _done(url: str, sentence: str) -> Response:
    response = see_other(url)
    cookies.say(response, sentence)
    return response

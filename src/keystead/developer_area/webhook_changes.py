"""What a person does with a webhook: edit it, switch it on and off, another secret, a test, delete it."""

from __future__ import annotations

from starlette.responses import Response

from keystead.developer_area.redirects import see_other
from keystead.developer_area.sign_in import cookies
from keystead.developer_area.sign_in.session import Acting, Visit
from keystead.developer_area.web.forms import made_from
from keystead.developer_area.webhooks.contexts import WebhookQuestionPage
from keystead.developer_area.webhooks.forms import WebhookEntry, problems_of
from keystead.developer_area.webhooks.views import WebhookDesk
from keystead.domain.errors import ChangedMeanwhile, Invalid, RateLimited, WebhookDisabled
from keystead.domain.webhooks import WebhookEndpoint, WebhookPatch, WebhookStatus


class WebhookChanges:
    """Every act needs the right to manage webhooks."""

    def __init__(self, desk: WebhookDesk) -> None:
        self._desk = desk

    def ask_to_edit(self, visit: Visit) -> Response:
        """The form with what stands there now."""
        acting, endpoint, _ = self._found(visit)
        self._desk.require_recent_authentication(acting)
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

"""The page where a member chooses what they are told by e-mail in this workspace."""

from __future__ import annotations

from starlette.responses import Response

from keystead.developer_area.redirects import see_other
from keystead.developer_area.sign_in import cookies
from keystead.developer_area.sign_in.session import Sessions, Visit
from keystead.developer_area.web.contexts import Choice
from keystead.developer_area.web.navigation import workspace_url
from keystead.developer_area.web.render import Renderer
from keystead.developer_area.webhooks.contexts import NoticesPage
from keystead.domain.notification_digests import TOPIC_LABELS, Topic
from keystead.services import Services


class NoticePages:
    """Each member's own choice."""

    def __init__(self, services: Services, render: Renderer, sessions: Sessions) -> None:
        self._notices = services.notification_preferences
        self._render = render
        self._sessions = sessions

    def index(self, visit: Visit) -> Response:
        """What the person is told now."""
        acting = self._sessions.acting(visit)
        chosen = self._notices.get(acting.principal)
        url = workspace_url(acting.workspace.id)
        page = NoticesPage(
            frame=self._sessions.frame(visit, acting),
            message=cookies.said(visit.request),
            url=f"{url}/notices",
            email=acting.member.user.email or "",
            confirmed=acting.member.user.confirmed_email is not None,
            topics=[Choice(topic, TOPIC_LABELS[topic], "", topic in chosen) for topic in Topic],
            account_url=f"{url}/account",
        )
        return self._render(page)

    def choose(self, visit: Visit) -> Response:
        """Keeps the choice; then the page again, which says so."""
        acting = self._sessions.acting(visit)
        self._notices.choose(acting.principal, visit.form.many("topic"))
        response = see_other(f"{workspace_url(acting.workspace.id)}/notices")
        cookies.say(response, "Saved.")
        return response

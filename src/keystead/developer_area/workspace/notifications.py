"""The page of a member's notification preferences for the workspace."""

from __future__ import annotations

from starlette.responses import Response

from keystead.developer_area.sign_in.cookies import redirect_with_message
from keystead.developer_area.sign_in.pages import WorkspacePages
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import Choice
from keystead.developer_area.workspace.contexts import NotificationsPage
from keystead.domain.notification_digests import TOPIC_LABELS, Topic


class NotificationPages(WorkspacePages):
    """The pages of notification preferences."""

    def index(self, visit: MemberVisit) -> Response:
        """Show the member's preferences."""
        chosen = self._services.notification_preferences.get(visit.principal)
        page = NotificationsPage(
            frame=visit.frame(),
            url=f"{visit.workspace_url}/notices",
            email=visit.user.email or "",
            confirmed=visit.user.confirmed_email is not None,
            topics=[Choice(topic, TOPIC_LABELS[topic], "", topic in chosen) for topic in Topic],
        )
        return self._render(page)

    def save(self, visit: MemberVisit) -> Response:
        """Save the member's preferences."""
        self._services.notification_preferences.choose(visit.principal, visit.form.many("topic"))
        return redirect_with_message(f"{visit.workspace_url}/notices", "Saved.")

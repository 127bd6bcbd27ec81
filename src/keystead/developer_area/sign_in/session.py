"""The session behind a request, and the base of the pages that require one."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response

from keystead.developer_area.sign_in import cookies
from keystead.developer_area.sign_in.visits import MemberVisit, Visit
from keystead.developer_area.web.contexts import QuotaLine
from keystead.developer_area.web.error_pages import SignedOut
from keystead.developer_area.web.navigation import see_other
from keystead.developer_area.web.render import Renderer
from keystead.domain.errors import NotFound
from keystead.domain.product import Product
from keystead.domain.workspaces import Member
from keystead.http.client import note_caller
from keystead.services import Services
from keystead.services.sessions import Visitor


class Sessions:
    """Finds and ends the sessions of browsers."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def visitor(self, visit: Visit) -> Visitor | None:
        """Return the user who is signed in in this browser now: the session may have ended during the request."""
        return self._services.sign_in.visitor(visit.secret) if visit.known else None

    def member_visit(self, visit: Visit) -> MemberVisit:
        """Return the visit of the member of the workspace in the path. SignedOut without a session, else NotFound."""
        return self.visit_of(visit, visit.membership())

    def visit_of(self, visit: Visit, member: Member | None) -> MemberVisit:
        """Return the visit of that member, one of the signed-in user's. Raises as `member_visit` does."""
        visitor = visit.visitor
        if visitor is None or not visitor.members:
            raise SignedOut
        if member is None:
            raise NotFound("There is no such workspace.")
        note_caller(visit.request.scope, key_id=None, workspace_id=member.workspace_id)
        return MemberVisit(
            visit.request,
            visit.secret,
            visit.known,
            visit.form,
            visitor=visitor,
            services=self._services,
            member=member,
            workspace=visitor.workspaces[member.workspace_id],
        )

    def sign_out(self, visit: Visit) -> Response:
        """End the session and show the sign-in page."""
        self._services.sign_in.sign_out(visit.secret, visit.origin)
        response = see_other("/sign-in")
        cookies.drop_session(response)
        return response


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What all pages are built from. `base_url` is this server's public URL, without a trailing slash."""

    services: Services
    render: Renderer
    sessions: Sessions
    base_url: str
    product: Product


class WorkspacePages:
    """Base of the handlers of a workspace's pages."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._services = dependencies.services
        self._render = dependencies.render
        self._sessions = dependencies.sessions
        self._base_url = dependencies.base_url
        self._product = dependencies.product

    def _quota(self, visit: MemberVisit, limit: str, noun: str) -> QuotaLine:
        """Return the use of a limit of the workspace's plan."""
        use = self._services.plans.use(visit.principal)
        return QuotaLine.of(use.quotas[limit], noun, use.plan.name)

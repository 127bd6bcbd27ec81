"""Invitations: created and revoked by members, accepted through a link.

A link is `/invitation?link=<secret>`. Its GET uses nothing up; the form on the page does.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from keystead.developer_area.people.contexts import (
    InvitationPage,
    InvitationRow,
    InvitationsPage,
    InvitedPage,
    InvitePage,
)
from keystead.developer_area.people.members import (
    assignable_roles,
    member_tabs,
    members_url,
    parse_role,
)
from keystead.developer_area.sign_in.cookies import redirect_with_message
from keystead.developer_area.sign_in.session import Sessions, WorkspacePages
from keystead.developer_area.sign_in.visits import MemberVisit, Visit
from keystead.developer_area.web.contexts import ErrorPage, QuestionPage
from keystead.developer_area.web.error_pages import SIGN_IN
from keystead.developer_area.web.labels import people_problems, role_choices
from keystead.developer_area.web.navigation import (
    keys_url,
    pager,
    see_other,
    sign_in_url,
    with_query,
)
from keystead.developer_area.web.render import Renderer
from keystead.developer_area.web.timestamps import timestamp
from keystead.domain.errors import EmailTaken, Invalid, LimitReached, RateLimited
from keystead.domain.ids import InvitationId
from keystead.domain.invitations import Invitation, InvitationStatus
from keystead.domain.passwords import MIN_LENGTH, Password
from keystead.domain.roles import Permission, may_assign, permission_to_assign
from keystead.domain.token import Secret
from keystead.services import Services
from keystead.services.invitations import OpenInvitation
from keystead.services.sessions import Visitor


class InvitationPages(WorkspacePages):
    """The pages for members who invite others."""

    def index(self, visit: MemberVisit) -> Response:
        """List the invitations, newest first."""
        _require_manager(visit)
        url, page = _invitations_url(visit), visit.page(str)
        before = InvitationId(page.after) if page.after else None
        invitations = self._services.invitations.list(
            visit.principal, limit=page.limit, before=before
        )
        context = InvitationsPage(
            frame=visit.frame(),
            tabs=member_tabs(visit, "invitations"),
            invite_url=f"{url}/new",
            rows=[_row(invitation, visit) for invitation in invitations.items],
            pages=pager(url, page, invitations.next),
        )
        return self._render(context)

    def new(self, visit: MemberVisit) -> Response:
        """Show the form of an invitation."""
        _require_manager(visit)
        return self._form(visit)

    def invite(self, visit: MemberVisit) -> Response:
        """Create an invitation and show its link once, or show the form again with its problems."""
        _require_manager(visit)
        email = visit.form.one("email").strip()
        try:
            role = parse_role(visit.form.one("role"))
            link, invitation = self._services.invitations.invite(
                visit.principal, email, role, visit.origin
            )
        except Invalid as refused:
            return self._form(visit, people_problems(refused), status=422)
        page = InvitedPage(
            frame=visit.frame(),
            email=invitation.email,
            role=invitation.role,
            link=f"{self._base_url}/invitation?link={link.reveal()}",
            expires=visit.timestamp(invitation.expires_at),
        )
        return self._render(page, 201)

    def revoke_form(self, visit: MemberVisit) -> Response:
        """Ask before revoking an invitation."""
        _require_manager(visit)
        invitation = self._services.invitations.get(
            visit.principal, InvitationId(visit.path("invitation_id"))
        )
        visit.principal.require_permission(permission_to_assign(invitation.role))
        page = QuestionPage(
            frame=visit.frame(),
            title=f"Revoke the invitation of {invitation.email}?",
            text="Its link stops working immediately. Members who already accepted it stay.",
            button="Revoke invitation",
            busy="Revoking…",
            outcome="the invitation was revoked",
            is_danger=True,
            url=f"{_invitations_url(visit)}/{invitation.id}/revoke",
            back_url=_invitations_url(visit),
        )
        return self._render(page)

    def revoke(self, visit: MemberVisit) -> Response:
        """Revoke an invitation."""
        _require_manager(visit)
        invitation = self._services.invitations.revoke(
            visit.principal, InvitationId(visit.path("invitation_id")), visit.origin
        )
        message = f"The invitation of {invitation.email} was revoked."
        return redirect_with_message(_invitations_url(visit), message)

    def _form(
        self, visit: MemberVisit, problems: Mapping[str, str] | None = None, *, status: int = 200
    ) -> Response:
        roles, chosen = assignable_roles(visit), visit.form.one("role")
        page = InvitePage(
            frame=visit.frame(),
            url=_invitations_url(visit),
            full=self._quota(visit, "members", "member").is_full,
            email=visit.form.one("email"),
            roles=role_choices(
                roles,
                next((r for r in roles if r == chosen), None),
                has_documents=self._services.keys.catalog.has_documents,
            ),
            problems=problems or {},
        )
        return self._render(page, status)


class AcceptInvitationPages:
    """The page behind an invitation's link, for users with or without an account."""

    def __init__(self, services: Services, render: Renderer, sessions: Sessions) -> None:
        self._services = services
        self._render = render
        self._sessions = sessions

    def show(self, visit: Visit) -> Response:
        """Show the invitation."""
        link = visit.query("link")
        try:
            invitation = self._services.invitations.find(Secret(link))
        except Invalid:
            return self._link_failed(404)
        return self._page(visit, link, invitation)

    def accept(self, visit: Visit) -> Response:
        """Make the signed-in user or a new user a member."""
        link = visit.form.one("link")
        try:
            invitation = self._services.invitations.find(Secret(link))
        except Invalid:
            visit.log_refusal("invitation", "wrong")
            return self._link_failed(422)
        try:
            return self._join(visit, link) if self._user(visit) else self._register(visit, link)
        except LimitReached as full:
            text = f"{full.detail} Ask your admin to make room, then open this link again."
            return self._page(visit, link, invitation, {"form": text}, status=409)
        except RateLimited as limited:
            return self._page(visit, link, invitation, {"form": limited.detail}, status=429)
        except EmailTaken:
            taken = "This email already has an account. Sign in, then open this link again."
            return self._page(visit, link, invitation, {"taken": taken}, status=409)
        except Invalid as refused:
            problems = people_problems(refused)
            if "link" in problems:
                problems = {"form": f"The link {refused.errors[0].detail}."}
            return self._page(visit, link, invitation, problems, status=422)

    def _join(self, visit: Visit, link: str) -> Response:
        member = self._services.invitations.join(Secret(link), visit.secret, visit.origin)
        return see_other(keys_url(member.workspace_id))

    def _register(self, visit: Visit, link: str) -> Response:
        form = visit.form
        password = form.one("password")
        if password != form.one("again"):
            raise Invalid.field("/again", "The passwords don't match")
        entry = self._services.invitations.accept(
            Secret(link),
            form.one("name").strip(),
            Password(password) if password else None,
            visit.origin,
            visit.agent,
            visit.device,
            visit.browser_zone,
        )
        if visit.known:
            self._services.sign_in.sign_out(visit.secret, visit.origin)
        response = see_other(keys_url(entry.member.workspace_id))
        visit.explain_zone(response, entry.member.user)
        return visit.begin_session(response, entry.secret, entry.device)

    def _user(self, visit: Visit) -> Visitor | None:
        """Return the signed-in user, unless the product manages them: a portal user has one workspace."""
        visitor = visit.visitor
        return visitor if visitor and not visitor.user.is_of_portal else None

    def _page(
        self,
        visit: Visit,
        link: str,
        opened: OpenInvitation,
        problems: Mapping[str, str] | None = None,
        *,
        status: int = 200,
    ) -> Response:
        visitor, invitation = self._user(visit), opened.invitation
        page = InvitationPage(
            form_token=visit.form_token,
            link=link,
            workspace=opened.workspace.name,
            role=invitation.role,
            by=invitation.invited_by.name,
            email=invitation.email,
            expires=timestamp(invitation.expires_at, self._services.keys.now()),
            person=visitor.user.name if visitor else "",
            name=visit.form.one("name"),
            min_length=MIN_LENGTH,
            sign_in_url=sign_in_url(with_query("/invitation", link=link)),
            problems=problems or {},
        )
        return visit.bind(self._render(page, status))

    def _link_failed(self, status: int) -> Response:
        text = "An invitation works once, for seven days. Ask the person who invited you for a new one."
        title = "This invitation has expired or was already used"
        return self._render(ErrorPage(title, text, SIGN_IN), status)


def _invitations_url(visit: MemberVisit) -> str:
    return f"{members_url(visit)}/invitations"


def _require_manager(visit: MemberVisit) -> None:
    visit.principal.require_permission(Permission.MANAGE_MEMBERS)


def _row(invitation: Invitation, visit: MemberVisit) -> InvitationRow:
    status = invitation.status(visit.now())
    may_revoke = may_assign(visit.member.role, invitation.role)
    can_revoke = status is InvitationStatus.OPEN and may_revoke
    url = f"{_invitations_url(visit)}/{invitation.id}/revoke"
    return InvitationRow(
        id=invitation.id,
        email=invitation.email,
        role=invitation.role,
        status=status,
        by=invitation.invited_by.name,
        created=visit.timestamp(invitation.created_at),
        expires=visit.timestamp(invitation.expires_at),
        revoke_url=url if can_revoke else None,
    )

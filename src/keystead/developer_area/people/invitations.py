"""Invitations: made and seen by who manages the members, and accepted by whoever holds the link.

A link is `/invitation?link=<secret>`. Its GET uses nothing up; the form on it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlencode

from starlette.responses import Response

from keystead.developer_area.people.contexts import (
    InvitationPage,
    InvitationRow,
    InvitationsPage,
    InvitedPage,
    InvitePage,
    RevokeInvitationPage,
)
from keystead.developer_area.people.members import (
    members_quota,
    members_url,
    offered_roles,
    read_role,
    tabs,
)
from keystead.developer_area.people.wording import problems_of, role_choices
from keystead.developer_area.redirects import see_other
from keystead.developer_area.sign_in import cookies
from keystead.developer_area.sign_in.session import Acting, Sessions, Visit, bind, enter, keys_url
from keystead.developer_area.web.contexts import Link, RefusalPage
from keystead.developer_area.web.render import Renderer
from keystead.developer_area.web.times import moment
from keystead.domain.errors import EmailTaken, Invalid, LimitReached, RateLimited
from keystead.domain.ids import InvitationId
from keystead.domain.invitations import Invitation, InvitationStatus
from keystead.domain.passwords import MIN_LENGTH, Password
from keystead.domain.roles import Permission, may_assign, permission_to_assign
from keystead.domain.token import Secret
from keystead.http.paging import read_page
from keystead.services import Services
from keystead.services.invitations import OpenInvitation
from keystead.services.sessions import Visitor


class InvitationPages:
    """Inviting people into a workspace."""

    def __init__(
        self, services: Services, render: Renderer, sessions: Sessions, *, base_url: str
    ) -> None:
        self._services = services
        self._render = render
        self._sessions = sessions
        self._base_url = base_url

    def index(self, visit: Visit) -> Response:
        """All invitations, newest first."""
        acting, url = self._managing(visit)
        now = self._services.keys.now()
        asked = read_page(
            str,
            workspace_id=acting.workspace.id,
            path=visit.request.scope["path"],
            cursor=visit.query("cursor") or None,
        )
        before = InvitationId(asked.after) if asked.after else None
        found = self._services.invitations.list(acting.principal, limit=asked.limit, before=before)
        page = InvitationsPage(
            frame=self._sessions.frame(visit, acting),
            message=cookies.said(visit.request),
            tabs=tabs(acting, "invitations"),
            invite_url=f"{url}/new",
            rows=[_row(one, acting, now) for one in found.items],
            next_url=f"{url}?cursor={asked.cursor(found.next)}" if found.next else None,
            first_url=url if asked.after else None,
        )
        return self._render(page)

    def new(self, visit: Visit) -> Response:
        """The form for an invitation."""
        acting, _ = self._managing(visit)
        return self._new_page(visit, acting)

    def invite(self, visit: Visit) -> Response:
        """A new invitation, its link shown in this answer alone; or the form again, with what is wrong."""
        acting, url = self._managing(visit)
        email = visit.form.one("email").strip()
        try:
            role = read_role(visit.form.one("role"))
            link, made = self._services.invitations.invite(
                acting.principal, email, role, visit.origin
            )
        except Invalid as refused:
            return self._new_page(visit, acting, problems_of(refused), status=422)
        page = InvitedPage(
            frame=self._sessions.frame(visit, acting),
            email=made.email,
            role=made.role,
            link=f"{self._base_url}/invitation?link={link.reveal()}",
            expires=moment(made.expires_at, self._services.keys.now(), acting.zone),
            invitations_url=url,
        )
        return self._render(page, 201)

    def ask_to_revoke(self, visit: Visit) -> Response:
        """The question before an invitation is revoked."""
        acting, url = self._managing(visit)
        found = self._services.invitations.get(
            acting.principal, InvitationId(visit.path("invitation_id"))
        )
        acting.principal.require_permission(permission_to_assign(found.role))
        page = RevokeInvitationPage(
            frame=self._sessions.frame(visit, acting),
            email=found.email,
            role=found.role,
            url=f"{url}/{found.id}/revoke",
            invitations_url=url,
        )
        return self._render(page)

    def revoke(self, visit: Visit) -> Response:
        """Ends an invitation: its link opens nothing any more."""
        acting, url = self._managing(visit)
        ended = self._services.invitations.revoke(
            acting.principal, InvitationId(visit.path("invitation_id")), visit.origin
        )
        response = see_other(url)
        cookies.say(response, f"The invitation of {ended.email} is revoked.")
        return response

    def _managing(self, visit: Visit) -> tuple[Acting, str]:
        """Who manages the members, and where the invitations are."""
        acting = self._sessions.acting(visit)
        acting.principal.require_permission(Permission.MANAGE_MEMBERS)
        return acting, f"{members_url(acting)}/invitations"

    def _new_page(
        self,
        visit: Visit,
        acting: Acting,
        problems: Mapping[str, str] | None = None,
        *,
        status: int = 200,
    ) -> Response:
        offered, chosen = offered_roles(acting), visit.form.one("role")
        base = members_url(acting)
        page = InvitePage(
            frame=self._sessions.frame(visit, acting),
            url=f"{base}/invitations",
            members_url=base,
            full=members_quota(self._services, acting).is_full,
            email=visit.form.one("email"),
            roles=role_choices(offered, next((r for r in offered if r == chosen), None)),
            problems=problems or {},
        )
        return self._render(page, status)


class Door:
    """Where somebody who is invited comes in."""

    def __init__(self, services: Services, render: Renderer, sessions: Sessions) -> None:
        self._services = services
        self._render = render
        self._sessions = sessions

    def look(self, visit: Visit) -> Response:
        """What the link invites to."""
        link = visit.query("link")
        try:
            opened = self._services.invitations.find(Secret(link))
        except Invalid:
            return self._spent(404)
        return self._page(visit, link, opened)

    def come_in(self, visit: Visit) -> Response:
        """Makes the signed-in person a member, or a new person who is one."""
        link = visit.form.one("link")
        try:
            opened = self._services.invitations.find(Secret(link))
        except Invalid:
            visit.note_refusal("invitation", "wrong")
            return self._spent(422)
        try:
            person = self._person(visit)
            return self._join(visit, link) if person else self._accept(visit, link)
        except LimitReached as full:
            no_room = f"{full.detail} Tell who invited you; the link stays good."
            return self._page(visit, link, opened, {"form": no_room}, status=409)
        except RateLimited as wait:
            return self._page(visit, link, opened, {"form": wait.detail}, status=429)
        except EmailTaken:
            return self._page(visit, link, opened, {"taken": _TAKEN}, status=409)
        except Invalid as refused:
            problems = problems_of(refused)
            if "link" in problems:
                problems = {"form": f"The link {refused.errors[0].detail}."}
            return self._page(visit, link, opened, problems, status=422)

    def _join(self, visit: Visit, link: str) -> Response:
        member = self._services.invitations.join(Secret(link), visit.secret, visit.origin)
        return see_other(keys_url(member.workspace_id))

    def _accept(self, visit: Visit, link: str) -> Response:
        form = visit.form
        typed = form.one("password")
        if typed != form.one("again"):
            raise Invalid.field("/again", "is not the same")
        entered = self._services.invitations.accept(
            Secret(link),
            form.one("name").strip(),
            Password(typed) if typed else None,
            visit.origin,
            visit.agent,
            visit.device,
        )
        if visit.known:
            self._services.sign_in.sign_out(visit.secret, visit.origin)
        response = see_other(keys_url(entered.member.workspace_id))
        return enter(visit, response, entered.secret, entered.device)

    def _person(self, visit: Visit) -> Visitor | None:
        """Who is signed in and can be a member of several workspaces; a product's own user cannot."""
        visitor = self._sessions.visitor(visit)
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
        person, invitation = self._person(visit), opened.invitation
        wanted = f"/invitation?{urlencode({'link': link})}"
        page = InvitationPage(
            form_token=visit.form_token,
            link=link,
            workspace=opened.workspace.name,
            role=invitation.role,
            by=invitation.invited_by.name,
            email=invitation.email,
            expires=moment(invitation.expires_at, self._services.keys.now()),
            person=person.user.name if person else "",
            name=visit.form.one("name"),
            min_length=MIN_LENGTH,
            sign_in_url=f"/sign-in?{urlencode({'next': wanted})}",
            problems=problems or {},
        )
        return bind(visit, self._render(page, status))

    def _spent(self, status: int) -> Response:
        page = RefusalPage(
            "This invitation does not work any more",
            "It was used or revoked, it is older than seven days, or it was cut off on its way."
            " Ask who invited you for a new one.",
            Link("Sign in", "/sign-in"),
        )
        return self._render(page, status)


_TAKEN = (
    "There is an account with this e-mail address already. Sign in, and come back to this page."
)


def _row(invitation: Invitation, acting: Acting, now: datetime) -> InvitationRow:
    status = invitation.status(now)
    may = may_assign(acting.member.role, invitation.role)
    can_end = status is InvitationStatus.OPEN and may
    url = f"{members_url(acting)}/invitations/{invitation.id}/revoke"
    return InvitationRow(
        id=invitation.id,
        email=invitation.email,
        role=invitation.role,
        status=status,
        by=invitation.invited_by.name,
        created=moment(invitation.created_at, now, acting.zone),
        expires=moment(invitation.expires_at, now, acting.zone),
        revoke_url=url if can_end else None,
    )

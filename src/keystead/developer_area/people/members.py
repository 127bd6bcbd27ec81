"""The people of a workspace: seen, given another role, removed, leaving; and the workspace's own name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from starlette.responses import Response

from keystead.developer_area.people.contexts import (
    EndMembershipPage,
    MemberRow,
    MembersPage,
    RightRow,
    RolePage,
    WorkspaceNamePage,
)
from keystead.developer_area.people.wording import (
    KEPT_OWNER,
    problems_of,
    role_choices,
    with_article,
)
from keystead.developer_area.redirects import see_other
from keystead.developer_area.sign_in import cookies
from keystead.developer_area.sign_in.session import Acting, Sessions, Visit
from keystead.developer_area.web.contexts import Difference, Link, QuotaLine, differences
from keystead.developer_area.web.forms import made_from
from keystead.developer_area.web.render import Renderer
from keystead.developer_area.web.times import moment
from keystead.domain.errors import ChangedMeanwhile, Invalid, LastOwner
from keystead.domain.ids import UserId
from keystead.domain.roles import PERMISSIONS, Permission, may_assign, permission_to_assign
from keystead.domain.step_up import STEP_UP
from keystead.domain.workspaces import Member, Role
from keystead.http.paging import read_page
from keystead.services import Services


def _asks_again(permission: Permission | None) -> list[str]:
    return [step.label for step in STEP_UP.values() if step.permission is permission]


_RIGHTS: Final = [
    *(
        RightRow(right.label, [role in right.roles for role in Role], _asks_again(permission))
        for permission, right in PERMISSIONS.items()
    ),
    RightRow("Manage your own account", [True for _ in Role], _asks_again(None)),
]


class MemberPages:
    """What people do with the members of their workspace."""

    def __init__(self, services: Services, render: Renderer, sessions: Sessions) -> None:
        self._services = services
        self._render = render
        self._sessions = sessions

    def index(self, visit: Visit) -> Response:
        """Who is a member, as what, and what that means."""
        acting = self._sessions.acting(visit)
        url, now = members_url(acting), self._services.keys.now()
        asked = read_page(
            str,
            workspace_id=acting.workspace.id,
            path=visit.request.scope["path"],
            cursor=visit.query("cursor") or None,
        )
        after = UserId(asked.after) if asked.after else None
        found = self._services.members.list(acting.principal, limit=asked.limit, after=after)
        page = MembersPage(
            frame=self._sessions.frame(visit, acting),
            message=cookies.said(visit.request),
            tabs=tabs(acting, "members"),
            quota=members_quota(self._services, acting),
            plan_url=f"{acting.url}/plan",
            may_manage=acting.principal.may(Permission.MANAGE_MEMBERS),
            invite_url=f"{url}/invitations/new",
            name_url=_name_url(acting),
            leave_url=f"{url}/leave",
            rows=[_row(member, acting, now) for member in found.items],
            next_url=f"{url}?cursor={asked.cursor(found.next)}" if found.next else None,
            first_url=url if asked.after else None,
            roles=list(Role),
            rights=_RIGHTS,
        )
        return self._render(page)

    def ask_for_role(self, visit: Visit) -> Response:
        """The form for another role."""
        acting = self._sessions.acting(visit)
        return self._role_page(visit, acting, self._appointed(visit, acting))

    def change_role(self, visit: Visit) -> Response:
        """Another role, from the member's next request on."""
        acting = self._sessions.acting(visit)
        member, chosen = self._appointed(visit, acting), visit.form.one("role")
        try:
            role = read_role(chosen)
            changed = self._services.members.change_role(
                acting.principal, member.user.id, role, visit.origin, made_from(visit.form)
            )
        except ChangedMeanwhile:
            current = self._appointed(visit, acting)
            changes = differences(("Role", chosen, current.role))
            return self._role_page(visit, acting, current, status=409, changes=changes)
        except LastOwner:
            return self._role_page(visit, acting, member, KEPT_OWNER, status=409)
        except Invalid as refused:
            problem = problems_of(refused).get("role", refused.detail)
            return self._role_page(visit, acting, member, problem, status=422)
        return _back(acting, f"{changed.user.name} is {with_article(role)} now.")

    def ask_to_remove(self, visit: Visit) -> Response:
        """The question before a member is removed."""
        acting = self._sessions.acting(visit)
        return self._end_page(visit, acting, self._appointed(visit, acting))

    def remove(self, visit: Visit) -> Response:
        """Ends a membership."""
        acting = self._sessions.acting(visit)
        member = self._appointed(visit, acting)
        try:
            self._services.members.remove(acting.principal, member.user.id, visit.origin)
        except LastOwner:
            return self._end_page(visit, acting, member, KEPT_OWNER, status=409)
        return _back(acting, f"{member.user.name} is no member any more. Their keys live on.")

    def ask_to_leave(self, visit: Visit) -> Response:
        """The question before one leaves."""
        acting = self._sessions.acting(visit)
        return self._end_page(visit, acting, acting.member)

    def leave(self, visit: Visit) -> Response:
        """Ends one's own membership."""
        acting = self._sessions.acting(visit)
        try:
            self._services.members.leave(acting.principal, visit.origin)
        except LastOwner:
            return self._end_page(visit, acting, acting.member, KEPT_OWNER, status=409)
        return see_other("/")

    def ask_for_name(self, visit: Visit) -> Response:
        """The form for the workspace's name."""
        acting = self._sessions.acting(visit)
        acting.principal.require_permission(Permission.RENAME_WORKSPACE)
        return self._name_page(visit, acting, acting.workspace.name)

    def rename_workspace(self, visit: Visit) -> Response:
        """Another name for the workspace."""
        acting, name = self._sessions.acting(visit), visit.form.one("name").strip()
        try:
            self._services.workspaces.rename(
                acting.principal, name, visit.origin, made_from(visit.form)
            )
        except ChangedMeanwhile:
            acting = self._sessions.acting(visit)
            changes = differences(("Name", name, acting.workspace.name))
            return self._name_page(visit, acting, name, status=409, changes=changes)
        except Invalid as refused:
            return self._name_page(visit, acting, name, problems_of(refused)["name"], status=422)
        return _back(acting, f"The workspace is called {name} now.")

    def _appointed(self, visit: Visit, acting: Acting) -> Member:
        """The member of the path, where the acting person may change what they are. Forbidden, NotFound."""
        acting.principal.require_permission(Permission.MANAGE_MEMBERS)
        member = self._services.members.get(acting.principal, UserId(visit.path("user_id")))
        acting.principal.require_permission(permission_to_assign(member.role))
        return member

    def _role_page(
        self,
        visit: Visit,
        acting: Acting,
        member: Member,
        problem: str = "",
        status: int = 200,
        changes: Sequence[Difference] | None = None,
    ) -> Response:
        offered = offered_roles(acting, of_portal=member.user.is_of_portal)
        page = RolePage(
            frame=self._sessions.frame(visit, acting),
            name=member.user.name,
            url=_member_url(acting, member, "role"),
            members_url=members_url(acting),
            roles=role_choices(offered, member.role),
            version=member.version,
            differences=changes,
            problem=problem,
        )
        return self._render(page, status)

    def _end_page(
        self, visit: Visit, acting: Acting, member: Member, problem: str = "", status: int = 200
    ) -> Response:
        is_self = member.user.id == acting.member.user.id
        base = members_url(acting)
        page = EndMembershipPage(
            frame=self._sessions.frame(visit, acting),
            name=member.user.name,
            is_self=is_self,
            workspace=acting.workspace.name,
            url=f"{base}/leave" if is_self else _member_url(acting, member, "remove"),
            keys_url=acting.keys_url,
            members_url=base,
            problem=problem,
        )
        return self._render(page, status)

    def _name_page(
        self,
        visit: Visit,
        acting: Acting,
        name: str,
        problem: str = "",
        status: int = 200,
        changes: Sequence[Difference] | None = None,
    ) -> Response:
        page = WorkspaceNamePage(
            frame=self._sessions.frame(visit, acting),
            name=name,
            version=acting.workspace.version,
            differences=changes,
            url=f"{members_url(acting)}/workspace-name",
            members_url=members_url(acting),
            problem=problem,
        )
        return self._render(page, status)


def members_url(acting: Acting) -> str:
    """Where the members are."""
    return f"{acting.url}/members"


def tabs(acting: Acting, current: str) -> Sequence[Link]:
    """Members, and for who manages them the invitations."""
    url = members_url(acting)
    links = [Link("Members", url, current == "members")]
    if acting.principal.may(Permission.MANAGE_MEMBERS):
        links.append(Link("Invitations", f"{url}/invitations", current == "invitations"))
    return links


def members_quota(services: Services, acting: Acting) -> QuotaLine:
    """Such as `3 of 5 members`."""
    use = services.plans.use(acting.principal)
    quota = use.quotas["members"]
    members = "member" if (quota.limit or quota.used) == 1 else "members"
    of = "" if quota.limit is None else f" of {quota.limit}"
    return QuotaLine(f"{quota.used}{of} {members}", quota.used, quota.limit, use.plan.name)


def offered_roles(acting: Acting, *, of_portal: bool = False) -> Sequence[Role]:
    """The roles that the acting person may give; a product's own user never becomes an owner."""
    own = acting.member.role
    return [r for r in Role if may_assign(own, r) and not (of_portal and r is Role.OWNER)]


def read_role(text: str) -> Role:
    """The role of that name; Invalid for none."""
    try:
        return Role(text)
    except ValueError:
        raise Invalid.field("/role", "must be chosen") from None


def _row(member: Member, acting: Acting, now: datetime) -> MemberRow:
    user, is_self = member.user, member.user.id == acting.member.user.id
    may = may_assign(acting.member.role, member.role)
    return MemberRow(
        id=user.id,
        name=user.name,
        email=user.email or "",
        role=member.role,
        is_self=is_self,
        of_portal=user.is_of_portal,
        joined=moment(member.joined_at, now, acting.zone) if member.joined_at else None,
        role_url=_member_url(acting, member, "role") if may else None,
        remove_url=_member_url(acting, member, "remove") if may and not is_self else None,
    )


def _member_url(acting: Acting, member: Member, act: str) -> str:
    return f"{members_url(acting)}/{member.user.id}/{act}"


def _name_url(acting: Acting) -> str | None:
    may = acting.principal.may(Permission.RENAME_WORKSPACE)
    return f"{members_url(acting)}/workspace-name" if may else None


def _back(acting: Acting, sentence: str) -> Response:
    response = see_other(members_url(acting))
    cookies.say(response, sentence)
    return response

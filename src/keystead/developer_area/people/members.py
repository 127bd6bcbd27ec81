"""The members of a workspace: list, roles, removal and leaving; and the workspace's name."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from keystead.developer_area.people.contexts import (
    EndMembershipPage,
    MemberRow,
    MembersPage,
    PermissionRow,
    RolePage,
    WorkspaceNamePage,
)
from keystead.developer_area.sign_in.cookies import redirect_with_message
from keystead.developer_area.sign_in.session import WorkspacePages
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import Difference, Link, differences
from keystead.developer_area.web.forms import form_version
from keystead.developer_area.web.labels import (
    LAST_OWNER,
    people_problems,
    role_choices,
    with_article,
)
from keystead.developer_area.web.navigation import leave_page, pager
from keystead.domain.errors import ChangedMeanwhile, Invalid, LastOwner
from keystead.domain.ids import UserId
from keystead.domain.roles import Permission, may_assign, permission_to_assign, permissions_of
from keystead.domain.step_up import STEP_UP
from keystead.domain.workspaces import Member, Role


def _sensitive_actions(permission: Permission | None) -> list[str]:
    return [action.label for action in STEP_UP.values() if action.permission is permission]


def _permission_rows(*, has_documents: bool) -> list[PermissionRow]:
    rows = [
        PermissionRow(
            definition.label,
            [role in definition.roles for role in Role],
            _sensitive_actions(permission),
        )
        for permission, definition in permissions_of(has_documents=has_documents).items()
    ]
    own = PermissionRow("Manage your own account", [True for _ in Role], _sensitive_actions(None))
    return [*rows, own]


class MemberPages(WorkspacePages):
    """The pages of members."""

    def index(self, visit: MemberVisit) -> Response:
        """List the members, with the permissions of each role."""
        url, page = members_url(visit), visit.page(str)
        after = UserId(page.after) if page.after else None
        members = self._services.members.list(visit.principal, limit=page.limit, after=after)
        may_rename = visit.principal.may(Permission.RENAME_WORKSPACE)
        context = MembersPage(
            frame=visit.frame(),
            tabs=member_tabs(visit, "members"),
            quota=self._quota(visit, "members", "member"),
            may_manage=visit.principal.may(Permission.MANAGE_MEMBERS),
            invite_url=f"{url}/invitations/new",
            name_url=f"{url}/workspace-name" if may_rename else None,
            leave_url=f"{url}/leave",
            rows=[_row(member, visit) for member in members.items],
            pages=pager(url, page, members.next),
            roles=list(Role),
            rights=_permission_rows(has_documents=self._services.keys.catalog.has_documents),
        )
        return self._render(context)

    def role_form(self, visit: MemberVisit) -> Response:
        """Show the form of a member's role."""
        return self._role_page(visit, self._managed_member(visit))

    def change_role(self, visit: MemberVisit) -> Response:
        """Change a member's role."""
        member, value = self._managed_member(visit), visit.form.one("role")
        try:
            role, version = parse_role(value), form_version(visit.form)
            changed = self._services.members.change_role(
                visit.principal, member.user.id, role, visit.origin, version
            )
        except ChangedMeanwhile:
            current = self._managed_member(visit)
            changes = differences(("Role", value, current.role))
            return self._role_page(visit, current, status=409, changes=changes)
        except LastOwner:
            return self._role_page(visit, member, LAST_OWNER, status=409)
        except Invalid as refused:
            problem = people_problems(refused).get("role", refused.detail)
            return self._role_page(visit, member, problem, status=422)
        return _members_redirect(visit, f"{changed.user.name} is now {with_article(role)}.")

    def remove_form(self, visit: MemberVisit) -> Response:
        """Ask before removing a member."""
        return self._end_page(visit, self._managed_member(visit))

    def remove(self, visit: MemberVisit) -> Response:
        """Remove a member."""
        member = self._managed_member(visit)
        try:
            self._services.members.remove(visit.principal, member.user.id, visit.origin)
        except LastOwner:
            return self._end_page(visit, member, LAST_OWNER, status=409)
        return _members_redirect(visit, f"{member.user.name} was removed. Their keys keep working.")

    def leave_form(self, visit: MemberVisit) -> Response:
        """Ask before leaving the workspace."""
        return self._end_page(visit, visit.member)

    def leave(self, visit: MemberVisit) -> Response:
        """End the user's own membership."""
        try:
            self._services.members.leave(visit.principal, visit.origin)
        except LastOwner:
            return self._end_page(visit, visit.member, LAST_OWNER, status=409)
        return leave_page(visit.request, "/")

    def name_form(self, visit: MemberVisit) -> Response:
        """Show the form of the workspace's name."""
        visit.principal.require_permission(Permission.RENAME_WORKSPACE)
        return self._name_page(visit, visit.workspace.name)

    def rename_workspace(self, visit: MemberVisit) -> Response:
        """Rename the workspace."""
        name, version = visit.form.one("name").strip(), form_version(visit.form)
        try:
            self._services.workspaces.rename(visit.principal, name, visit.origin, version)
        except ChangedMeanwhile:
            current = self._sessions.member_visit(visit)
            changes = differences(("Name", name, current.workspace.name))
            return self._name_page(current, name, status=409, changes=changes)
        except Invalid as refused:
            return self._name_page(visit, name, people_problems(refused)["name"], status=422)
        return _members_redirect(visit, f"The workspace is now called {name}.")

    def _managed_member(self, visit: MemberVisit) -> Member:
        """Return the member in the path, whose membership the user may change. Forbidden, NotFound."""
        visit.principal.require_permission(Permission.MANAGE_MEMBERS)
        member = self._services.members.get(visit.principal, UserId(visit.path("user_id")))
        visit.principal.require_permission(permission_to_assign(member.role))
        return member

    def _role_page(
        self,
        visit: MemberVisit,
        member: Member,
        problem: str = "",
        status: int = 200,
        changes: Sequence[Difference] | None = None,
    ) -> Response:
        roles = assignable_roles(visit, of_portal=member.user.is_of_portal)
        page = RolePage(
            frame=visit.frame(),
            name=member.user.name,
            url=_member_url(visit, member, "role"),
            roles=role_choices(
                roles, member.role, has_documents=self._services.keys.catalog.has_documents
            ),
            version=member.version,
            differences=changes,
            problem=problem,
        )
        return self._render(page, status)

    def _end_page(
        self, visit: MemberVisit, member: Member, problem: str = "", status: int = 200
    ) -> Response:
        is_self, url = member.user.id == visit.user.id, members_url(visit)
        page = EndMembershipPage(
            frame=visit.frame(),
            name=member.user.name,
            is_self=is_self,
            workspace=visit.workspace.name,
            url=f"{url}/leave" if is_self else _member_url(visit, member, "remove"),
            problem=problem,
        )
        return self._render(page, status)

    def _name_page(
        self,
        visit: MemberVisit,
        name: str,
        problem: str = "",
        status: int = 200,
        changes: Sequence[Difference] | None = None,
    ) -> Response:
        page = WorkspaceNamePage(
            frame=visit.frame(),
            name=name,
            version=visit.workspace.version,
            differences=changes,
            url=f"{members_url(visit)}/workspace-name",
            problem=problem,
        )
        return self._render(page, status)


def members_url(visit: MemberVisit) -> str:
    """Return the page of the workspace's members."""
    return f"{visit.workspace_url}/members"


def member_tabs(visit: MemberVisit, current: str) -> Sequence[Link]:
    """Return the tabs: members, and invitations for those who may manage members."""
    url = members_url(visit)
    links = [Link("Members", url, current == "members")]
    if visit.principal.may(Permission.MANAGE_MEMBERS):
        links.append(Link("Invitations", f"{url}/invitations", current == "invitations"))
    return links


def assignable_roles(visit: MemberVisit, *, of_portal: bool = False) -> Sequence[Role]:
    """Return the roles that the user may assign. A portal user can't become an owner."""
    own = visit.member.role
    return [r for r in Role if may_assign(own, r) and not (of_portal and r is Role.OWNER)]


def parse_role(text: str) -> Role:
    """Return the role of that name. Invalid if there is none."""
    try:
        return Role(text)
    except ValueError:
        raise Invalid.field("/role", "Choose a role") from None


def _row(member: Member, visit: MemberVisit) -> MemberRow:
    user, is_self = member.user, member.user.id == visit.user.id
    may_change = may_assign(visit.member.role, member.role)
    return MemberRow(
        id=user.id,
        name=user.name,
        email=user.email or "",
        role=member.role,
        is_self=is_self,
        of_portal=user.is_of_portal,
        joined=visit.timestamp(member.joined_at),
        role_url=_member_url(visit, member, "role") if may_change else None,
        remove_url=_member_url(visit, member, "remove") if may_change and not is_self else None,
    )


def _member_url(visit: MemberVisit, member: Member, action: str) -> str:
    return f"{members_url(visit)}/{member.user.id}/{action}"


def _members_redirect(visit: MemberVisit, message: str) -> Response:
    return redirect_with_message(members_url(visit), message)

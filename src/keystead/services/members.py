"""Members of workspaces: list, put, change roles, remove, leave. What a role may do is decided in the domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from keystead.domain.errors import Forbidden, Invalid, LastOwner, NotFound
from keystead.domain.events import NO_ORIGIN, Act, EventType, Origin, Target
from keystead.domain.ids import UserId, WorkspaceId, is_id, new_id
from keystead.domain.invitations import Invitation
from keystead.domain.portal import PortalUser, check_portal_user
from keystead.domain.principals import Principal, PrincipalKind
from keystead.domain.roles import Permission, may_assign, permission_to_assign
from keystead.domain.step_up import actions_for_role_change
from keystead.domain.text import is_one_line
from keystead.domain.versions import IfMatch, require_match
from keystead.domain.workspaces import Member, Role, User
from keystead.services.authorization import Authorization
from keystead.services.paging import Page, page_of
from keystead.services.plans import require_room
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import events, invitations, users
from keystead.storage.tables import workspaces as rows


class Members:
    """The people of workspaces. A change takes effect with the next request: each one reads the membership."""

    def __init__(self, database: Database, clock: Clock, *, plans_url: str | None = None) -> None:
        self._database = database
        self._plans_url = plans_url
        self._authorization = Authorization(database, clock)

    @retry_on_conflict
    def list(
        self,
        principal: Principal,
        *,
        limit: int = 50,
        after: UserId | None = None,
        newest_first: bool = False,
    ) -> Page[Member, UserId]:
        """Return one page of members after that one, in the order of their ids."""
        principal.require_permission(Permission.READ)
        read = rows.page_of_newest_members if newest_first else rows.page_of_members
        with self._database.read_once(principal.workspace_id) as tx:
            members = read(tx, principal.workspace_id, limit=limit + 1, after=after)
        return page_of(members, limit, lambda member: member.user.id)

    @retry_on_conflict
    def get(self, principal: Principal, user_id: UserId) -> Member:
        """Return one member. Raises NotFound."""
        principal.require_permission(Permission.READ)
        with self._database.read_once(principal.workspace_id) as tx:
            return _find(tx, principal, user_id)

    @retry_on_conflict
    def find(self, principal: Principal, text: str) -> Member:
        """Return the member of that id or email. Raises NotFound."""
        principal.require_permission(Permission.READ)
        with self._database.read_once(principal.workspace_id) as tx:
            if "@" not in text or not is_one_line(text):
                return _find(tx, principal, UserId(text))
            member = rows.find_member_by_email(tx, principal.workspace_id, text)
        return NotFound.unless(member, "member")

    @retry_on_conflict
    def of_product(self, principal: Principal, external_id: str) -> Member | None:
        """Return the member with that id of the product's own, or None."""
        principal.require_permission(Permission.READ)
        with self._database.read(principal.workspace_id) as tx:
            return _find_of_product(tx, principal, external_id)

    @retry_on_conflict
    def put(
        self,
        principal: Principal,
        user: PortalUser,
        role: Role,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> tuple[Member, bool]:
        """Make the product's user a member, or set their name, email and role. Operators may do it in any role.

        Returns the member, and whether they are new. Raises LimitReached.
        """
        with self._authorization.changing(
            principal, origin, Permission.MANAGE_MEMBERS, keeps_access=True
        ) as (tx, act):
            if if_match is not None:
                member = _find_of_product(tx, principal, user.id)
                if_match.require(None if member is None else member.version)
            check_portal_user(user)
            return put_portal_member(tx, principal, user, role, act, self._plans_url)

    @retry_on_conflict
    def change_role(
        self,
        principal: Principal,
        user_id: UserId,
        role: Role,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> Member:
        """Give the member another role. Only owners make and unmake owners; raises LastOwner for the last one.

        An operator may do both.
        """
        with self._authorization.changing(
            principal, origin, Permission.MANAGE_MEMBERS, permission_to_assign(role)
        ) as (tx, act):
            member = _find_manageable(tx, act.principal, user_id)
            require_match(if_match, member.version)
            if role is member.role:
                return member
            require_proof_for_roles(act.principal, member.role, role, act.at)
            if role is Role.OWNER and member.user.is_of_portal and not principal.is_operator:
                raise Invalid.field("/role", "cannot be owner for a user of the product")
            _require_other_owner(tx, act.principal, member)
            set_role(tx, member, role, act)
            return replace(member, role=role, version=member.version + 1)

    @retry_on_conflict
    def remove(
        self,
        principal: Principal,
        user_id: UserId,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> None:
        """End a membership immediately. The keys that the member created keep working."""
        with self._authorization.changing(principal, origin, Permission.MANAGE_MEMBERS) as (
            tx,
            act,
        ):
            member = _find_manageable(tx, act.principal, user_id)
            require_match(if_match, member.version)
            _end(tx, act.principal, member, act)

    @retry_on_conflict
    def leave(self, principal: Principal, origin: Origin = NO_ORIGIN) -> None:
        """End the caller's own membership. Raises LastOwner."""
        if principal.kind is not PrincipalKind.MEMBER:
            raise Forbidden(Permission.READ, "Only a member can leave.")
        with self._authorization.changing(principal, origin) as (tx, act):
            _end(tx, act.principal, _find(tx, principal, UserId(principal.id)), act)


def require_proof_for_roles(
    principal: Principal, before: Role | None, after: Role | None, now: datetime
) -> None:
    """Raise ReauthenticationRequired if this change of role (None: not a member) needs a recent authentication."""
    for act in actions_for_role_change(before, after):
        principal.require_recent_authentication(act, now)


def add_member(
    tx: Tx, member: Member, act: Act, data: Mapping[str, object], plans_url: str | None
) -> None:
    """Make the user a member, with an event. Raises LimitReached. The lock is held."""
    workspace_id = member.workspace_id
    require_room(tx, workspace_id, "members", plans_url=plans_url)
    rows.insert_member(tx, member, act.at)
    data = {"name": member.user.name, "role": member.role, **data}
    _record(tx, EventType.MEMBER_ADDED, member, act, data)


def put_portal_member(
    tx: Tx,
    principal: Principal,
    wanted: PortalUser,
    role: Role,
    act: Act,
    plans_url: str | None,
    *,
    keeps_owner: bool = False,
    **data: object,
) -> tuple[Member, bool]:
    """Make the product's user a member with that name, email and role. Returns whether the member is new.

    The lock is held. `keeps_owner`: an owner stays one whatever `role` says. `data` is what the event of a new member
    contains besides.
    """
    user = _put_portal_user(tx, principal.workspace_id, wanted, act)
    current = rows.find_member(tx, principal.workspace_id, user.id)
    if current is None:
        member = Member(principal.workspace_id, user, role, act.at)
        add_member(tx, member, act, data, plans_url)
    elif current.role is not role and not (keeps_owner and current.role is Role.OWNER):
        set_role(tx, current, role, act)
    return NotFound.unless(
        rows.find_member(tx, principal.workspace_id, user.id), "member"
    ), current is None


def _put_portal_user(tx: Tx, workspace_id: WorkspaceId, wanted: PortalUser, act: Act) -> User:
    """Return the product's user with that name and email, after creating or updating the row."""
    confirmed_at = None if wanted.email is None else act.at  # the product vouches for it
    user = users.find_portal_user(tx, workspace_id, wanted.id)
    if user is None:
        user = User(
            UserId(new_id("usr", act.at)),
            wanted.name,
            wanted.email,
            act.at,
            portal_workspace_id=workspace_id,
            email_confirmed_at=confirmed_at,
            portal_user_id=wanted.id,
        )
        users.insert_user(tx, user)
    elif (user.name, user.email) != (wanted.name, wanted.email):
        user = replace(user, name=wanted.name, email=wanted.email, email_confirmed_at=confirmed_at)
        users.refresh_portal_user(tx, user)
        rows.touch_member(tx, workspace_id, user.id)
    return user


def set_role(tx: Tx, member: Member, role: Role, act: Act) -> None:
    """Change a member's role, with an event, and revoke the invitations that it may no longer give."""
    rows.set_role(tx, member.workspace_id, member.user.id, role)
    _revoke_invitations_of(tx, member, role, act)
    data = {"name": member.user.name, "from": member.role, "to": role}
    _record(tx, EventType.MEMBER_ROLE_CHANGED, member, act, data)


def revoke_invitation(tx: Tx, invitation: Invitation, act: Act) -> Invitation:
    """Revoke the invitation if it is open, with an event. Returns it as it is then."""
    if not invitations.revoke_invitation(tx, invitation.workspace_id, invitation.id, act.at):
        return invitation
    record_invitation(tx, EventType.MEMBER_INVITATION_REVOKED, invitation, act)
    return replace(invitation, revoked_at=act.at)


def record_invitation(tx: Tx, type: EventType, invitation: Invitation, act: Act) -> None:
    """Append an event about an invitation."""
    data = {"email": invitation.email, "role": invitation.role}
    target = Target("invitation", invitation.id)
    events.append_event(tx, invitation.workspace_id, type, act, target, data)


def _revoke_invitations_of(tx: Tx, inviter: Member, role: Role | None, act: Act) -> None:
    """Revoke the inviter's open links to roles that they may no longer give; `role` None: they are no member now."""
    for invitation in invitations.open_invitations(tx, inviter.workspace_id, act.at):
        by = invitation.invited_by
        theirs = by.kind is PrincipalKind.MEMBER and by.id == inviter.user.id
        if theirs and (role is None or not may_assign(role, invitation.role)):
            revoke_invitation(tx, invitation, act)


def _find_manageable(tx: Tx, principal: Principal, user_id: UserId) -> Member:
    """Return the member, if the principal may change their role. Raises Forbidden, NotFound."""
    member = _find(tx, principal, user_id)
    principal.require_permission(permission_to_assign(member.role))
    return member


def _find(tx: Tx, principal: Principal, user_id: UserId) -> Member:
    is_user_id = is_id("usr", user_id)
    member = rows.find_member(tx, principal.workspace_id, user_id) if is_user_id else None
    return NotFound.unless(member, "member")


def _find_of_product(tx: Tx, principal: Principal, external_id: str) -> Member | None:
    user = users.find_portal_user(tx, principal.workspace_id, external_id)
    return None if user is None else rows.find_member(tx, principal.workspace_id, user.id)


def _end(tx: Tx, principal: Principal, member: Member, act: Act) -> None:
    require_proof_for_roles(principal, member.role, None, act.at)
    _require_other_owner(tx, principal, member)
    rows.delete_member(tx, member.workspace_id, member.user.id)
    _revoke_invitations_of(tx, member, None, act)
    data = {"name": member.user.name, "role": member.role}
    _record(tx, EventType.MEMBER_REMOVED, member, act, data)


def _require_other_owner(tx: Tx, principal: Principal, member: Member) -> None:
    """Raise LastOwner if this member is the only owner. The lock is held, so the count can't change.

    An operator may leave a workspace without an owner, and gives it another one.
    """
    if principal.is_operator:
        return
    if member.role is Role.OWNER and rows.count_owners(tx, member.workspace_id) == 1:
        raise LastOwner


def _record(tx: Tx, type: EventType, member: Member, act: Act, data: Mapping[str, object]) -> None:
    target = Target("member", member.user.id)
    events.append_event(tx, member.workspace_id, type, act, target, data)

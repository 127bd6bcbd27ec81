"""Members of workspaces: list them, change roles, remove, leave. What a role may do is decided in the domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from keystead.domain.errors import Forbidden, Invalid, LastOwner, NotFound
from keystead.domain.events import NO_ORIGIN, Act, EventType, Origin, Target
from keystead.domain.ids import UserId, is_id
from keystead.domain.invitations import Invitation
from keystead.domain.principals import Principal, PrincipalKind
from keystead.domain.roles import Permission, may_assign, permission_to_assign
from keystead.domain.step_up import actions_for_role_change
from keystead.domain.text import is_one_line
from keystead.domain.versions import IfMatch, require_match
from keystead.domain.workspaces import Member, Role
from keystead.services.authorization import Authorization
from keystead.services.paging import Page, page_of
from keystead.services.plans import require_room
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import events, invitations
from keystead.storage.tables import workspaces as rows


class Members:
    """The people of workspaces. A change takes effect with the next request: each one reads the membership."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._authorization = Authorization(database, clock)

    @retry_on_conflict
    def list(
        self, principal: Principal, *, limit: int = 50, after: UserId | None = None
    ) -> Page[Member, UserId]:
        """Return one page of members, in the order of their ids."""
        principal.require_permission(Permission.READ)
        with self._database.read_once(principal.workspace_id) as tx:
            members = rows.page_of_members(tx, principal.workspace_id, limit=limit + 1, after=after)
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
    def change_role(
        self,
        principal: Principal,
        user_id: UserId,
        role: Role,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> Member:
        """Give the member another role. Only owners make and unmake owners; raises LastOwner for the last one."""
        with self._authorization.changing(
            principal, origin, Permission.MANAGE_MEMBERS, permission_to_assign(role)
        ) as (tx, act):
            member = _find_manageable(tx, act.principal, user_id)
            require_match(if_match, member.version)
            if role is member.role:
                return member
            require_proof_for_roles(act.principal, member.role, role, act.at)
            if role is Role.OWNER and member.user.is_of_portal:
                raise Invalid.field("/role", "cannot be owner for a user of the product")
            _require_other_owner(tx, member)
            set_role(tx, member, role, act)
            return replace(member, role=role, version=member.version + 1)

    @retry_on_conflict
    def remove(self, principal: Principal, user_id: UserId, origin: Origin = NO_ORIGIN) -> None:
        """End a membership immediately. The keys that the member created keep working."""
        with self._authorization.changing(principal, origin, Permission.MANAGE_MEMBERS) as (
            tx,
            act,
        ):
            _end(tx, act.principal, _find_manageable(tx, act.principal, user_id), act)

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


def _end(tx: Tx, principal: Principal, member: Member, act: Act) -> None:
    require_proof_for_roles(principal, member.role, None, act.at)
    _require_other_owner(tx, member)
    rows.delete_member(tx, member.workspace_id, member.user.id)
    _revoke_invitations_of(tx, member, None, act)
    data = {"name": member.user.name, "role": member.role}
    _record(tx, EventType.MEMBER_REMOVED, member, act, data)


def _require_other_owner(tx: Tx, member: Member) -> None:
    """Raise LastOwner if this member is the only owner. The lock is held, so the count can't change."""
    if member.role is Role.OWNER and rows.count_owners(tx, member.workspace_id) == 1:
        raise LastOwner


def _record(tx: Tx, type: EventType, member: Member, act: Act, data: Mapping[str, object]) -> None:
    target = Target("member", member.user.id)
    events.append_event(tx, member.workspace_id, type, act, target, data)

"""Members of workspaces: seen, given another role, removed, leaving. What a role may do is decided in the domain."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from keystead.domain.errors import Forbidden, Invalid, LastOwner, NotFound
from keystead.domain.events import NO_ORIGIN, Act, EventType, Origin, Target
from keystead.domain.ids import UserId, is_id
from keystead.domain.principals import Principal, PrincipalKind
from keystead.domain.roles import Permission, permission_to_assign
from keystead.domain.text import is_one_line
from keystead.domain.versions import IfMatch, require_match
from keystead.domain.workspaces import Member, Role
from keystead.services.authorization import Authorization, Change
from keystead.services.membership import require_proof_for_roles, revoke_invitations_of
from keystead.storage.clock import Clock
from keystead.storage.database import Database, Tx
from keystead.storage.retry import anew
from keystead.storage.tables import events
from keystead.storage.tables import workspaces as rows


@dataclass(frozen=True, slots=True)
class MemberPage:
    """Members in the order of their ids; `next` is the id to continue after, None at the end."""

    members: list[Member]
    next: UserId | None


class Members:
    """The people of workspaces. A change holds from the next request on: membership is read on each."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._authorization = Authorization(database, clock)

    @anew
    def list(
        self, principal: Principal, *, limit: int = 50, after: UserId | None = None
    ) -> MemberPage:
        """One page of members."""
        principal.require_permission(Permission.READ)
        with self._database.read(principal.workspace_id) as tx:
            found = rows.page_of_members(tx, principal.workspace_id, limit=limit + 1, after=after)
        page = found[:limit]
        return MemberPage(page, page[-1].user.id if len(found) > limit else None)

    @anew
    def get(self, principal: Principal, user_id: UserId) -> Member:
        """One member; NotFound for who is none here."""
        principal.require_permission(Permission.READ)
        with self._database.read(principal.workspace_id) as tx:
            return _find(tx, principal, user_id)

    @anew
    def find(self, principal: Principal, who: str) -> Member:
        """The member of that id, or the one whom that address signs in."""
        principal.require_permission(Permission.READ)
        with self._database.read(principal.workspace_id) as tx:
            if "@" not in who or not is_one_line(who):
                return _find(tx, principal, UserId(who))
            member = rows.find_member_by_email(tx, principal.workspace_id, who)
        if member is None:
            raise NotFound("There is no such member.")
        return member

    @anew
    def change_role(
        self,
        principal: Principal,
        user_id: UserId,
        role: Role,
        origin: Origin = NO_ORIGIN,
        if_match: IfMatch | None = None,
    ) -> Member:
        """Give the member another role. Only owners make and unmake owners; LastOwner for the last one."""
        needed = permission_to_assign(role)
        with self._managing(principal, origin, needed) as (tx, acting, act):
            member = _appointed(tx, acting, user_id)
            require_match(if_match, member.version)
            if role is member.role:
                return member
            require_proof_for_roles(acting, member.role, role, act.at)
            if role is Role.OWNER and member.user.is_of_portal:
                raise Invalid.field("/role", "cannot be owner for a user of the product")
            _require_other_owner(tx, member)
            rows.set_role(tx, member.workspace_id, user_id, role)
            revoke_invitations_of(tx, member, role, act)
            told = {"name": member.user.name, "from": member.role, "to": role}
            _record(tx, EventType.MEMBER_ROLE_CHANGED, member, act, told)
            return replace(member, role=role, version=member.version + 1)

    @anew
    def remove(self, principal: Principal, user_id: UserId, origin: Origin = NO_ORIGIN) -> None:
        """Ends a membership, at once. The keys that the member made live on."""
        with self._managing(principal, origin) as (tx, acting, act):
            _end(tx, acting, _appointed(tx, acting, user_id), act)

    @anew
    def leave(self, principal: Principal, origin: Origin = NO_ORIGIN) -> None:
        """Ends one's own membership. The last owner stays: LastOwner."""
        if principal.kind is not PrincipalKind.MEMBER:
            raise Forbidden(Permission.READ, "Only a member can leave.")
        with self._authorization.changing(principal, origin) as (tx, acting, act):
            _end(tx, acting, _find(tx, principal, UserId(principal.id)), act)

    def _managing(
        self, principal: Principal, origin: Origin, *also: Permission
    ) -> AbstractContextManager[Change]:
        return self._authorization.changing(principal, origin, Permission.MANAGE_MEMBERS, *also)


def _appointed(tx: Tx, acting: Principal, user_id: UserId) -> Member:
    """Return the member, if `acting` may change what they are. Forbidden, NotFound."""
    member = _find(tx, acting, user_id)
    acting.require_permission(permission_to_assign(member.role))
    return member


def _find(tx: Tx, principal: Principal, user_id: UserId) -> Member:
    named = is_id("usr", user_id)
    member = rows.find_member(tx, principal.workspace_id, user_id) if named else None
    if member is None:
        raise NotFound("There is no such member.")
    return member


def _end(tx: Tx, acting: Principal, member: Member, act: Act) -> None:
    """End the membership. Raises ReauthenticationRequired, LastOwner. The lock is held."""
    require_proof_for_roles(acting, member.role, None, act.at)
    _require_other_owner(tx, member)
    rows.delete_member(tx, member.workspace_id, member.user.id)
    revoke_invitations_of(tx, member, None, act)
    told = {"name": member.user.name, "role": member.role}
    _record(tx, EventType.MEMBER_REMOVED, member, act, told)


def _require_other_owner(tx: Tx, member: Member) -> None:
    """LastOwner where this member is the only one. The lock is held."""
    if member.role is Role.OWNER and rows.count_owners(tx, member.workspace_id) == 1:
        raise LastOwner


def _record(tx: Tx, type: EventType, member: Member, act: Act, told: Mapping[str, object]) -> None:
    target = Target("member", member.user.id)
    events.append_event(tx, member.workspace_id, type, act, target, told)

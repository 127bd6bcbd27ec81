"""Steps that changes of a workspace's people share, in the caller's transaction and under the workspace's lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from keystead.domain.events import Act, EventType, Target
from keystead.domain.ids import WorkspaceId
from keystead.domain.invitations import Invitation
from keystead.domain.plans import Quota, require_room
from keystead.domain.principals import Principal, PrincipalKind
from keystead.domain.roles import may_assign
from keystead.domain.step_up import actions_for_role_change
from keystead.domain.workspaces import Member, Role
from keystead.storage.database import Tx
from keystead.storage.tables import events, invitations, plans, workspaces


def require_proof_for_roles(
    principal: Principal, before: Role | None, after: Role | None, now: datetime
) -> None:
    """Raise ReauthenticationRequired if this change of role needs a recent authentication; None is no membership."""
    for act in actions_for_role_change(before, after):
        principal.require_recent_authentication(act, now)


def add_member(
    tx: Tx, member: Member, act: Act, told: Mapping[str, object], plans_url: str | None
) -> None:
    """Makes the user a member, and tells of it. LimitReached where the plan has no room."""
    _require_room(tx, member.workspace_id, plans_url)
    workspaces.insert_member(tx, member, act.at)
    data = {"name": member.user.name, "role": member.role, **told}
    target = Target("member", member.user.id)
    events.append_event(tx, member.workspace_id, EventType.MEMBER_ADDED, act, target, data)


def revoke_invitation(tx: Tx, invitation: Invitation, act: Act) -> Invitation:
    """The invitation, ended; as it is where it was not open."""
    if not invitations.revoke_invitation(tx, invitation.workspace_id, invitation.id, act.at):
        return invitation
    record_invitation(tx, EventType.MEMBER_INVITATION_REVOKED, invitation, act)
    return replace(invitation, revoked_at=act.at)


def revoke_invitations_of(tx: Tx, inviter: Member, role: Role | None, act: Act) -> None:
    """Ends the inviter's open links to roles that they may not give any more; None: they are no member now."""
    for invitation in invitations.open_invitations(tx, inviter.workspace_id, act.at):
        by = invitation.invited_by
        theirs = by.kind is PrincipalKind.MEMBER and by.id == inviter.user.id
        if theirs and (role is None or not may_assign(role, invitation.role)):
            revoke_invitation(tx, invitation, act)


def record_invitation(tx: Tx, type: EventType, invitation: Invitation, act: Act) -> None:
    """One event about an invitation."""
    told = {"email": invitation.email, "role": invitation.role}
    target = Target("invitation", invitation.id)
    events.append_event(tx, invitation.workspace_id, type, act, target, told)


def _require_room(tx: Tx, workspace_id: WorkspaceId, plans_url: str | None) -> None:
    plan = plans.plan_of(tx, workspace_id)
    quota = Quota(plan.limits.members, workspaces.count_members(tx, workspace_id))
    require_room("members", quota, plan, plans_url=plans_url)

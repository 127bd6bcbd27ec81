"""Invitations. Every statement names the workspace, except those that look up a link."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, bindparam, insert, select, update

from keystead.domain.ids import InvitationId, UserId, WorkspaceId
from keystead.domain.invitations import Invitation
from keystead.domain.workspaces import Role
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import ABOVE_EVERY_ID, LIMIT, actor_of, actor_values
from keystead.storage.schema.tables import invitations

_COLUMNS: Final = (
    invitations.c.id,
    invitations.c.workspace_id,
    invitations.c.email,
    invitations.c.role,
    invitations.c.invited_by_kind,
    invitations.c.invited_by_id,
    invitations.c.invited_by_name,
    invitations.c.created_at,
    invitations.c.expires_at,
    invitations.c.accepted_at,
    invitations.c.accepted_by,
    invitations.c.revoked_at,
)
_OF_WORKSPACE: Final = invitations.c.workspace_id == bindparam("workspace")
_IS_INVITATION: Final = and_(_OF_WORKSPACE, invitations.c.id == bindparam("invitation"))
_IS_LINK: Final = invitations.c.digest == bindparam("link")
_IS_OPEN: Final = and_(
    invitations.c.accepted_at.is_(None),
    invitations.c.revoked_at.is_(None),
    invitations.c.expires_at > bindparam("now"),
)
_ALL: Final = select(*_COLUMNS).order_by(invitations.c.id.desc())
_OF_LINK: Final = Query(select(*_COLUMNS).where(_IS_LINK))
_ONE: Final = Query(select(*_COLUMNS).where(_IS_INVITATION))
_PAGE: Final = Query(_ALL.where(_OF_WORKSPACE, invitations.c.id < bindparam("before")).limit(LIMIT))
_ALL_OPEN: Final = Query(_ALL.where(_IS_OPEN))
_OPEN: Final = Query(_ALL.where(_OF_WORKSPACE, _IS_OPEN))
_INSERT: Final = insert(invitations)
_ACCEPT: Final = update(invitations).where(_IS_LINK, _IS_OPEN).returning(*_COLUMNS)
_REVOKE: Final = update(invitations).where(_IS_INVITATION, _IS_OPEN).returning(invitations.c.id)


def insert_invitation(tx: Tx, digest: bytes, invitation: Invitation) -> None:
    """Insert an invitation."""
    tx.execute(
        _INSERT,
        {
            "digest": digest,
            "id": invitation.id,
            "workspace_id": invitation.workspace_id,
            "email": invitation.email,
            "role": invitation.role,
            **actor_values("invited_by", invitation.invited_by),
            "created_at": invitation.created_at,
            "expires_at": invitation.expires_at,
        },
    )


def invitation_of_link(tx: Tx, digest: bytes) -> Invitation | None:
    """Return the invitation of a link, open or not."""
    row = _OF_LINK.first(tx, {"link": digest})
    return None if row is None else _from_row(row)


def find_invitation(
    tx: Tx, workspace_id: WorkspaceId, invitation_id: InvitationId
) -> Invitation | None:
    """Return the workspace's invitation of that id."""
    row = _ONE.first(tx, {"workspace": workspace_id, "invitation": invitation_id})
    return None if row is None else _from_row(row)


def page_of_invitations(
    tx: Tx, workspace_id: WorkspaceId, *, limit: int, before: str | None = None
) -> list[Invitation]:
    """Return at most `limit` invitations, open or not, newest first, with an id below `before`."""
    values = {"workspace": workspace_id, "before": before or ABOVE_EVERY_ID, "limit": limit}
    return [_from_row(row) for row in _PAGE.all(tx, values)]


def open_invitations(tx: Tx, workspace_id: WorkspaceId, now: datetime) -> list[Invitation]:
    """Return the workspace's invitations that can be accepted, newest first."""
    rows = _OPEN.all(tx, {"workspace": workspace_id, "now": now})
    return [_from_row(row) for row in rows]


def all_open_invitations(tx: Tx, now: datetime) -> list[Invitation]:
    """Return every workspace's invitations that can be accepted, newest first."""
    return [_from_row(row) for row in _ALL_OPEN.all(tx, {"now": now})]


def accept_invitation(tx: Tx, digest: bytes, user_id: UserId, now: datetime) -> Invitation | None:
    """Accept the open invitation of a link. Only one of two concurrent calls gets it."""
    accepted = {"link": digest, "now": now, "accepted_at": now, "accepted_by": user_id}
    row = tx.execute(_ACCEPT, accepted).first()
    return None if row is None else _from_row(row)


def revoke_invitation(
    tx: Tx, workspace_id: WorkspaceId, invitation_id: InvitationId, now: datetime
) -> bool:
    """Revoke an open invitation. Returns False if it was not open."""
    revoked = {"workspace": workspace_id, "invitation": invitation_id, "now": now}
    return tx.execute(_REVOKE, {**revoked, "revoked_at": now}).first() is not None


def _from_row(row: Sequence[Any]) -> Invitation:
    id, workspace_id, email, role, inviter_kind, inviter_id, inviter_name, *times = row
    created_at, expires_at, accepted_at, accepted_by, revoked_at = times
    return Invitation(
        id=id,
        workspace_id=workspace_id,
        email=email,
        role=Role(role),
        invited_by=actor_of(inviter_kind, inviter_id, inviter_name),
        created_at=created_at,
        expires_at=expires_at,
        accepted_at=accepted_at,
        accepted_by=accepted_by,
        revoked_at=revoked_at,
    )

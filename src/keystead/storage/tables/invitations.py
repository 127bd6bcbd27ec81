"""Invitations. Every statement names the workspace, except those that look up a link."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, insert, select, update

from keystead.domain.ids import InvitationId, UserId, WorkspaceId
from keystead.domain.invitations import Invitation
from keystead.domain.workspaces import Role
from keystead.storage.database import Tx
from keystead.storage.schema.columns import actor_of, actor_values
from keystead.storage.schema.tables import invitations

_COLUMNS = [column for column in invitations.c if column.name != "digest"]


def insert_invitation(tx: Tx, digest: bytes, invitation: Invitation) -> None:
    """Insert an invitation."""
    tx.execute(
        insert(invitations),
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
    row = tx.execute(select(*_COLUMNS).where(invitations.c.digest == digest)).first()
    return None if row is None else _from_row(row)


def find_invitation(
    tx: Tx, workspace_id: WorkspaceId, invitation_id: InvitationId
) -> Invitation | None:
    """Return the workspace's invitation of that id."""
    query = select(*_COLUMNS).where(
        invitations.c.workspace_id == workspace_id, invitations.c.id == invitation_id
    )
    row = tx.execute(query).first()
    return None if row is None else _from_row(row)


def page_of_invitations(
    tx: Tx, workspace_id: WorkspaceId, *, limit: int, before: str | None = None
) -> list[Invitation]:
    """Return at most `limit` invitations, open or not, newest first, with an id below `before`."""
    query = select(*_COLUMNS).where(invitations.c.workspace_id == workspace_id)
    if before is not None:
        query = query.where(invitations.c.id < before)
    rows = tx.execute(query.order_by(invitations.c.id.desc()).limit(limit))
    return [_from_row(row) for row in rows]


def open_invitations(tx: Tx, workspace_id: WorkspaceId, now: datetime) -> list[Invitation]:
    """Return the workspace's invitations that can be accepted, newest first."""
    query = select(*_COLUMNS).where(invitations.c.workspace_id == workspace_id, _is_open(now))
    return [_from_row(row) for row in tx.execute(query.order_by(invitations.c.id.desc()))]


def all_open_invitations(tx: Tx, now: datetime) -> list[Invitation]:
    """Return every workspace's invitations that can be accepted, newest first."""
    query = select(*_COLUMNS).where(_is_open(now))
    return [_from_row(row) for row in tx.execute(query.order_by(invitations.c.id.desc()))]


def accept_invitation(tx: Tx, digest: bytes, user_id: UserId, now: datetime) -> Invitation | None:
    """Accept the open invitation of a link. Only one of two concurrent calls gets it."""
    accepted = (
        update(invitations)
        .where(invitations.c.digest == digest, _is_open(now))
        .values(accepted_at=now, accepted_by=user_id)
        .returning(*_COLUMNS)
    )
    row = tx.execute(accepted).first()
    return None if row is None else _from_row(row)


def revoke_invitation(
    tx: Tx, workspace_id: WorkspaceId, invitation_id: InvitationId, now: datetime
) -> bool:
    """Revoke an open invitation. Returns False if it was not open."""
    revoked = update(invitations).where(
        invitations.c.workspace_id == workspace_id,
        invitations.c.id == invitation_id,
        _is_open(now),
    )
    return (
        tx.execute(revoked.values(revoked_at=now).returning(invitations.c.id)).first() is not None
    )


def _is_open(now: datetime) -> ColumnElement[bool]:
    return (
        invitations.c.accepted_at.is_(None)
        & invitations.c.revoked_at.is_(None)
        & (invitations.c.expires_at > now)
    )


def _from_row(row: Row[Any]) -> Invitation:
    return Invitation(
        id=row.id,
        workspace_id=row.workspace_id,
        email=row.email,
        role=Role(row.role),
        invited_by=actor_of(row, "invited_by"),
        created_at=row.created_at,
        expires_at=row.expires_at,
        accepted_at=row.accepted_at,
        accepted_by=row.accepted_by,
        revoked_at=row.revoked_at,
    )

"""Workspaces and members."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from string import ascii_lowercase, ascii_uppercase
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, collate, delete, func, insert, or_, select, update

from keystead.domain.ids import UserId, WorkspaceId
from keystead.domain.users import fold_email
from keystead.domain.versions import first_version
from keystead.domain.workspaces import Member, Role, Workspace
from keystead.storage.database import Tx
from keystead.storage.schema.tables import members, users, workspaces
from keystead.storage.tables.users import USER_COLUMNS, user_of

_ASCII_LOWER: Final = str.maketrans(ascii_uppercase, ascii_lowercase)


def insert_workspace(tx: Tx, workspace: Workspace) -> None:
    """Insert a workspace."""
    tx.execute(
        insert(workspaces),
        {
            "id": workspace.id,
            "name": workspace.name,
            "plan_id": workspace.plan_id,
            "created_at": workspace.created_at,
            "suspended_at": workspace.suspended_at,
        },
    )


def find_workspace(tx: Tx, workspace_id: WorkspaceId) -> Workspace | None:
    """Return the workspace of that id."""
    row = tx.execute(select(workspaces).where(workspaces.c.id == workspace_id)).first()
    return None if row is None else _workspace(row)


def workspaces_of(tx: Tx, user_id: UserId) -> list[Workspace]:
    """Return the workspaces of a user, oldest first."""
    own = workspaces.c.id == members.c.workspace_id
    query = select(workspaces).join(members, own).where(members.c.user_id == user_id)
    return [_workspace(row) for row in tx.execute(query.order_by(workspaces.c.id))]


def page_of_workspaces(
    tx: Tx, *, query: str = "", limit: int, before: str | None = None
) -> list[Workspace]:
    """Return at most `limit` workspaces, newest first, with an id below `before`.

    `query` is an exact id or a part of the name.
    """
    page = select(workspaces).order_by(workspaces.c.id.desc()).limit(limit)
    if before is not None:
        page = page.where(workspaces.c.id < before)
    if query:
        page = page.where(or_(workspaces.c.id == query, _is_named(tx, query)))
    return [_workspace(row) for row in tx.execute(page)]


def workspaces_named(tx: Tx, name: str) -> list[Workspace]:
    """Return at most ten workspaces with exactly that name, which need not be unique."""
    query = select(workspaces).where(workspaces.c.name == name).order_by(workspaces.c.id).limit(10)
    return [_workspace(row) for row in tx.execute(query)]


def set_suspension(tx: Tx, workspace_id: WorkspaceId, suspended_at: datetime | None) -> None:
    """Suspend the workspace from that time on, or resume it (None)."""
    changed = update(workspaces).where(workspaces.c.id == workspace_id)
    tx.execute(changed.values(suspended_at=suspended_at))


def set_name(tx: Tx, workspace_id: WorkspaceId, name: str) -> None:
    """Set the name, and raise the version."""
    changed = update(workspaces).where(workspaces.c.id == workspace_id)
    tx.execute(changed.values(name=name, version=workspaces.c.version + 1))


def set_plan(
    tx: Tx, workspace_id: WorkspaceId, plan_id: str, overrides: Mapping[str, int | None]
) -> None:
    """Set the plan and the workspace's own limits, and raise the version."""
    changed = update(workspaces).where(workspaces.c.id == workspace_id)
    version = workspaces.c.version + 1
    tx.execute(changed.values(plan_id=plan_id, limit_overrides=dict(overrides), version=version))


def overrides_of(tx: Tx, workspace_id: WorkspaceId) -> dict[str, int | None]:
    """Return the workspace's own limits; empty if it doesn't exist."""
    query = select(workspaces.c.limit_overrides).where(workspaces.c.id == workspace_id)
    overrides: dict[str, int | None] | None = tx.execute(query).scalar()
    return dict(overrides or {})


def insert_member(tx: Tx, member: Member, now: datetime) -> None:
    """Insert a membership."""
    tx.execute(
        insert(members),
        {
            "workspace_id": member.workspace_id,
            "user_id": member.user.id,
            "role": member.role,
            "joined_at": now,
            "version": first_version(now),
        },
    )


def find_member(tx: Tx, workspace_id: WorkspaceId, user_id: UserId) -> Member | None:
    """Return the user's membership of the workspace."""
    query = _memberships().where(
        members.c.workspace_id == workspace_id, members.c.user_id == user_id
    )
    row = tx.execute(query).first()
    return None if row is None else _member(row)


def memberships_of(tx: Tx, user_id: UserId) -> list[Member]:
    """Return every membership of a user, the oldest workspace first."""
    query = _memberships().where(members.c.user_id == user_id).order_by(members.c.workspace_id)
    return [_member(row) for row in tx.execute(query)]


def members_of(tx: Tx, workspace_id: WorkspaceId) -> list[Member]:
    """Return all members of a workspace, the longest-standing first."""
    query = _memberships().where(members.c.workspace_id == workspace_id)
    return [_member(row) for row in tx.execute(query.order_by(members.c.joined_at, users.c.id))]


def page_of_members(
    tx: Tx, workspace_id: WorkspaceId, *, limit: int, after: str | None = None
) -> list[Member]:
    """Return at most `limit` members in the order of their user ids, with an id above `after`."""
    query = _memberships().where(members.c.workspace_id == workspace_id)
    if after is not None:
        query = query.where(members.c.user_id > after)
    return [_member(row) for row in tx.execute(query.order_by(members.c.user_id).limit(limit))]


def find_member_by_email(tx: Tx, workspace_id: WorkspaceId, email: str) -> Member | None:
    """Return the member with that sign-in address."""
    query = _memberships().where(
        members.c.workspace_id == workspace_id, users.c.sign_in_email == fold_email(email)
    )
    row = tx.execute(query).first()
    return None if row is None else _member(row)


def set_role(tx: Tx, workspace_id: WorkspaceId, user_id: UserId, role: Role) -> None:
    """Set the role, and raise the version."""
    changed = update(members).where(
        members.c.workspace_id == workspace_id, members.c.user_id == user_id
    )
    tx.execute(changed.values(role=role, version=members.c.version + 1))


def delete_member(tx: Tx, workspace_id: WorkspaceId, user_id: UserId) -> None:
    """Delete a membership, and with it (by cascade) its sign-in links."""
    tx.execute(
        delete(members).where(members.c.workspace_id == workspace_id, members.c.user_id == user_id)
    )


def count_owners(tx: Tx, workspace_id: WorkspaceId) -> int:
    """Return how many owners a workspace has."""
    query = select(func.count()).select_from(members)
    owners = query.where(members.c.workspace_id == workspace_id, members.c.role == Role.OWNER)
    return tx.execute(owners).scalar_one()


def oldest_owner(tx: Tx) -> Member | None:
    """Return the owner of the oldest workspace that has one."""
    query = _memberships().where(members.c.role == Role.OWNER)
    row = tx.execute(query.order_by(members.c.workspace_id, members.c.joined_at).limit(1)).first()
    return None if row is None else _member(row)


def count_members(tx: Tx, workspace_id: WorkspaceId) -> int:
    """Return how many members a workspace has."""
    query = select(func.count()).select_from(members).where(members.c.workspace_id == workspace_id)
    return tx.execute(query).scalar_one()


def _is_named(tx: Tx, part: str) -> ColumnElement[bool]:
    """Return the condition that the name contains `part`, ignoring the case of ASCII letters on both engines."""
    name = workspaces.c.name
    folded = func.lower(name if tx.dialect.name == "sqlite" else collate(name, "C"))
    return folded.contains(part.translate(_ASCII_LOWER), autoescape=True)


def _memberships() -> Any:
    own = (members.c.workspace_id, members.c.role, members.c.joined_at, members.c.version)
    columns = select(*own, *USER_COLUMNS)
    return columns.join(users, users.c.id == members.c.user_id)


def _workspace(row: Row[Any]) -> Workspace:
    return Workspace(row.id, row.name, row.plan_id, row.created_at, row.suspended_at, row.version)


def _member(row: Row[Any]) -> Member:
    user, role = user_of(row), Role(row.role)
    return Member(row.workspace_id, user, role, row.joined_at, version=row.version)

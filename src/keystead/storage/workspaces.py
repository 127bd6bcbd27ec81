"""Workspaces, users and members in rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from keystead.domain.ids import UserId, WorkspaceId
from keystead.domain.workspaces import Member, Role, User, Workspace
from keystead.storage.database import Tx
from keystead.storage.schema import members, users, workspaces


def insert_workspace(tx: Tx, workspace: Workspace) -> None:
    """Adds a workspace."""
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
    """The workspace of that id."""
    row = tx.execute(select(workspaces).where(workspaces.c.id == workspace_id)).first()
    return None if row is None else _workspace(row)


def page_of_workspaces(tx: Tx, *, limit: int, before: str | None = None) -> list[Workspace]:
    """At most `limit` workspaces, newest first, with an id below `before`."""
    query = select(workspaces).order_by(workspaces.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(workspaces.c.id < before)
    return [_workspace(row) for row in tx.execute(query)]


def workspaces_named(tx: Tx, name: str) -> list[Workspace]:
    """The workspaces of exactly that name: names are for people and need not be unique. At most ten."""
    query = select(workspaces).where(workspaces.c.name == name).order_by(workspaces.c.id).limit(10)
    return [_workspace(row) for row in tx.execute(query)]


def set_suspension(tx: Tx, workspace_id: WorkspaceId, suspended_at: datetime | None) -> None:
    """Suspends the workspace from that instant, or resumes it."""
    changed = update(workspaces).where(workspaces.c.id == workspace_id)
    tx.execute(changed.values(suspended_at=suspended_at))


def set_plan(
    tx: Tx, workspace_id: WorkspaceId, plan_id: str, overrides: Mapping[str, int | None]
) -> None:
    """Puts the workspace on a plan, with limits of its own where it has them."""
    changed = update(workspaces).where(workspaces.c.id == workspace_id)
    tx.execute(changed.values(plan_id=plan_id, limit_overrides=dict(overrides)))


def insert_user(tx: Tx, user: User) -> None:
    """Adds a user."""
    row = {"id": user.id, "name": user.name, "email": user.email, "created_at": user.created_at}
    tx.execute(insert(users), row)


def insert_member(tx: Tx, member: Member, now: datetime) -> None:
    """Makes a user a member of a workspace."""
    tx.execute(
        insert(members),
        {
            "workspace_id": member.workspace_id,
            "user_id": member.user.id,
            "role": member.role,
            "joined_at": now,
        },
    )


def find_member(tx: Tx, workspace_id: WorkspaceId, user_id: UserId) -> Member | None:
    """The user's membership of the workspace."""
    query = _memberships().where(
        members.c.workspace_id == workspace_id, members.c.user_id == user_id
    )
    row = tx.execute(query).first()
    return None if row is None else _member(row)


def memberships_of(tx: Tx, user_id: UserId) -> list[Member]:
    """Every membership of a user, the oldest workspace first."""
    query = _memberships().where(members.c.user_id == user_id).order_by(members.c.workspace_id)
    return [_member(row) for row in tx.execute(query)]


def members_of(tx: Tx, workspace_id: WorkspaceId) -> list[Member]:
    """Every member of a workspace, the longest first."""
    query = _memberships().where(members.c.workspace_id == workspace_id)
    return [_member(row) for row in tx.execute(query.order_by(members.c.joined_at, users.c.id))]


def oldest_owner(tx: Tx) -> Member | None:
    """The owner of the oldest workspace that has one."""
    query = _memberships().where(members.c.role == Role.OWNER)
    row = tx.execute(query.order_by(members.c.workspace_id, members.c.joined_at).limit(1)).first()
    return None if row is None else _member(row)


def count_members(tx: Tx, workspace_id: WorkspaceId) -> int:
    """How many members a workspace has."""
    query = select(func.count()).select_from(members).where(members.c.workspace_id == workspace_id)
    return tx.execute(query).scalar_one()


def _memberships() -> Any:
    return select(
        members.c.workspace_id,
        members.c.role,
        users.c.id,
        users.c.name,
        users.c.email,
        users.c.created_at,
    ).join(users, users.c.id == members.c.user_id)


def _workspace(row: Row[Any]) -> Workspace:
    return Workspace(row.id, row.name, row.plan_id, row.created_at, row.suspended_at)


def _member(row: Row[Any]) -> Member:
    user = User(row.id, row.name, row.email, row.created_at)
    return Member(row.workspace_id, user, Role(row.role))

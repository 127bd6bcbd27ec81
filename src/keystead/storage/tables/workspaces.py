"""Workspaces and members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from string import ascii_lowercase, ascii_uppercase
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Exists,
    and_,
    bindparam,
    collate,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from keystead.domain.ids import UserId, WorkspaceId
from keystead.domain.rate_limits import NO_RATE_LIMITS, RateLimits
from keystead.domain.users import fold_email
from keystead.domain.versions import first_version
from keystead.domain.workspaces import Member, Role, Workspace
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import ABOVE_EVERY_ID, LIMIT, escape_like
from keystead.storage.schema.tables import members, users, workspaces
from keystead.storage.tables.users import USER_COLUMNS, user_of

WORKSPACE_COLUMNS: Final = (
    workspaces.c.id,
    workspaces.c.name,
    workspaces.c.plan_id,
    workspaces.c.created_at,
    workspaces.c.suspended_at,
    workspaces.c.version,
    workspaces.c.external_id,
)
_ASCII_LOWER: Final = str.maketrans(ascii_uppercase, ascii_lowercase)

_IS_KEPT: Final = workspaces.c.deleted_at.is_(None)
_WORKSPACES: Final = select(*WORKSPACE_COLUMNS).where(_IS_KEPT)
"""Without deleted ones, whose rows are still to be purged: no list and no caller may see them."""
_ONE: Final = Query(_WORKSPACES.where(workspaces.c.id == bindparam("workspace")))
_BY_EXTERNAL_ID: Final = Query(
    _WORKSPACES.where(workspaces.c.external_id == bindparam("external_id"))
)
_OF_USER: Final = Query(
    _WORKSPACES.join(members, workspaces.c.id == members.c.workspace_id)
    .where(members.c.user_id == bindparam("user"))
    .order_by(workspaces.c.id)
)
_NEWEST_FIRST: Final = (
    _WORKSPACES.where(workspaces.c.id < bindparam("before"))
    .order_by(workspaces.c.id.desc())
    .limit(LIMIT)
)
_PAGE: Final = Query(_NEWEST_FIRST)
_SEARCH: Final = {
    dialect: Query(
        _NEWEST_FIRST.where(
            or_(
                workspaces.c.id == bindparam("query"),
                # The case of ASCII letters only: SQLite knows no other, and PostgreSQL none but these under C.
                func.lower(name).contains(bindparam("part"), escape="/"),
            )
        )
    )
    for dialect, name in (
        ("sqlite", workspaces.c.name),
        ("postgresql", collate(workspaces.c.name, "C")),
    )
}
_NAMED: Final = Query(
    _WORKSPACES.where(workspaces.c.name == bindparam("name")).order_by(workspaces.c.id).limit(10)
)
_OVERRIDES: Final = Query(
    select(workspaces.c.limit_overrides).where(workspaces.c.id == bindparam("workspace"))
)
_RATES: Final = Query(
    select(workspaces.c.workspace_per_minute, workspaces.c.key_per_minute).where(
        workspaces.c.id == bindparam("workspace")
    )
)
_INSERT: Final = insert(workspaces)
_UPDATE: Final = update(workspaces).where(workspaces.c.id == bindparam("workspace"))
_EDIT: Final = _UPDATE.values(version=workspaces.c.version + 1)

_MEMBER_COLUMNS: Final = (
    members.c.workspace_id,
    members.c.role,
    members.c.joined_at,
    members.c.version,
    *USER_COLUMNS,
)
_MEMBERS: Final = (
    select(*_MEMBER_COLUMNS)
    .join(users, users.c.id == members.c.user_id)
    .join(workspaces, workspaces.c.id == members.c.workspace_id)
    .where(_IS_KEPT)
)
_OF_WORKSPACE: Final = members.c.workspace_id == bindparam("workspace")
_IS_MEMBER: Final = and_(_OF_WORKSPACE, members.c.user_id == bindparam("user"))
_MEMBER: Final = Query(_MEMBERS.where(_IS_MEMBER))
_ROLE: Final = Query(select(members.c.role).where(_IS_MEMBER))
_MEMBERSHIPS: Final = Query(
    _MEMBERS.where(members.c.user_id == bindparam("user")).order_by(members.c.workspace_id)
)
_MEMBERS_BY_AGE: Final = Query(
    _MEMBERS.where(_OF_WORKSPACE).order_by(members.c.joined_at, users.c.id)
)
_PAGE_OF_MEMBERS: Final = Query(
    _MEMBERS.where(_OF_WORKSPACE, members.c.user_id > bindparam("after"))
    .order_by(members.c.user_id)
    .limit(LIMIT)
)
_PAGE_OF_NEWEST_MEMBERS: Final = Query(
    _MEMBERS.where(_OF_WORKSPACE, members.c.user_id < bindparam("before"))
    .order_by(members.c.user_id.desc())
    .limit(LIMIT)
)
_MEMBER_BY_EMAIL: Final = Query(
    _MEMBERS.where(_OF_WORKSPACE, users.c.sign_in_email == bindparam("email"))
)
_OLDEST_OWNER: Final = Query(
    _MEMBERS.where(members.c.role == Role.OWNER)
    .order_by(members.c.workspace_id, members.c.joined_at)
    .limit(1)
)
_COUNT_OWNERS: Final = Query(
    select(func.count()).select_from(members).where(_OF_WORKSPACE, members.c.role == Role.OWNER)
)
_INSERT_MEMBER: Final = insert(members)
_EDIT_MEMBER: Final = update(members).where(_IS_MEMBER).values(version=members.c.version + 1)
_DELETE_MEMBER: Final = delete(members).where(_IS_MEMBER)


def is_deleted(workspace_id: ColumnElement[str]) -> Exists:
    """Return the condition that the workspace is deleted, and its rows still to be purged: one look into an index."""
    return (
        select(workspaces.c.id)
        .where(workspaces.c.id == workspace_id, workspaces.c.deleted_at.is_not(None))
        .exists()
    )


def insert_workspace(tx: Tx, workspace: Workspace) -> None:
    """Insert a workspace."""
    tx.execute(
        _INSERT,
        {
            "id": workspace.id,
            "name": workspace.name,
            "plan_id": workspace.plan_id,
            "created_at": workspace.created_at,
            "suspended_at": workspace.suspended_at,
            "external_id": workspace.external_id,
        },
    )


def find_workspace(tx: Tx, workspace_id: WorkspaceId) -> Workspace | None:
    """Return the workspace of that id."""
    row = _ONE.first(tx, {"workspace": workspace_id})
    return None if row is None else workspace_of(row)


def find_by_external_id(tx: Tx, external_id: str) -> Workspace | None:
    """Return the workspace with that id of the product's own."""
    row = _BY_EXTERNAL_ID.first(tx, {"external_id": external_id})
    return None if row is None else workspace_of(row)


def workspaces_of(tx: Tx, user_id: UserId) -> list[Workspace]:
    """Return the workspaces of a user, oldest first."""
    return [workspace_of(row) for row in _OF_USER.all(tx, {"user": user_id})]


def page_of_workspaces(
    tx: Tx, *, query: str = "", limit: int, before: str | None = None
) -> list[Workspace]:
    """Return at most `limit` workspaces, newest first, with an id below `before`.

    `query` is an exact id or a part of the name, in any case of its ASCII letters.
    """
    page = _PAGE
    values: dict[str, Any] = {"before": before or ABOVE_EVERY_ID, "limit": limit}
    if query:
        page = _SEARCH[tx.dialect.name]
        values |= {"query": query, "part": escape_like(query.translate(_ASCII_LOWER))}
    return [workspace_of(row) for row in page.all(tx, values)]


def workspaces_named(tx: Tx, name: str) -> list[Workspace]:
    """Return at most ten workspaces with exactly that name, which need not be unique."""
    return [workspace_of(row) for row in _NAMED.all(tx, {"name": name})]


def set_suspension(tx: Tx, workspace_id: WorkspaceId, suspended_at: datetime | None) -> None:
    """Suspend the workspace from that time on, or resume it (None)."""
    tx.execute(_UPDATE, {"workspace": workspace_id, "suspended_at": suspended_at})


def set_name(tx: Tx, workspace_id: WorkspaceId, name: str) -> None:
    """Set the name, and raise the version."""
    tx.execute(_EDIT, {"workspace": workspace_id, "name": name})


def set_external_id(tx: Tx, workspace_id: WorkspaceId, external_id: str) -> None:
    """Set the product's own id, and raise the version."""
    tx.execute(_EDIT, {"workspace": workspace_id, "external_id": external_id})


def set_plan(
    tx: Tx, workspace_id: WorkspaceId, plan_id: str, overrides: Mapping[str, int | None]
) -> None:
    """Set the plan and the workspace's own limits, and raise the version."""
    changed = {"plan_id": plan_id, "limit_overrides": dict(overrides)}
    tx.execute(_EDIT, {"workspace": workspace_id, **changed})


def set_rates(tx: Tx, workspace_id: WorkspaceId, rates: Mapping[str, int | None]) -> None:
    """Set the workspace's own rate limits by name, and raise the version."""
    tx.execute(_EDIT, {"workspace": workspace_id, **rates})


def rates_of(tx: Tx, workspace_id: WorkspaceId) -> RateLimits:
    """Return the workspace's own rate limits; none if it doesn't exist."""
    row = _RATES.first(tx, {"workspace": workspace_id})
    return NO_RATE_LIMITS if row is None else RateLimits(*row)


def overrides_of(tx: Tx, workspace_id: WorkspaceId) -> dict[str, int | None]:
    """Return the workspace's own limits; empty if it doesn't exist."""
    overrides: dict[str, int | None] | None
    overrides = _OVERRIDES.scalar(tx, {"workspace": workspace_id})
    return dict(overrides or {})


def insert_member(tx: Tx, member: Member, now: datetime) -> None:
    """Insert a membership."""
    tx.execute(
        _INSERT_MEMBER,
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
    row = _MEMBER.first(tx, {"workspace": workspace_id, "user": user_id})
    return None if row is None else _member(row)


def find_role(tx: Tx, workspace_id: WorkspaceId, user_id: UserId) -> Role | None:
    """Return the user's role in the workspace."""
    role = _ROLE.scalar(tx, {"workspace": workspace_id, "user": user_id})
    return None if role is None else Role(role)


def memberships_of(tx: Tx, user_id: UserId) -> list[Member]:
    """Return every membership of a user, the oldest workspace first."""
    return [_member(row) for row in _MEMBERSHIPS.all(tx, {"user": user_id})]


def members_of(tx: Tx, workspace_id: WorkspaceId) -> list[Member]:
    """Return all members of a workspace, the longest-standing first."""
    return [_member(row) for row in _MEMBERS_BY_AGE.all(tx, {"workspace": workspace_id})]


def page_of_members(
    tx: Tx, workspace_id: WorkspaceId, *, limit: int, after: str | None = None
) -> list[Member]:
    """Return at most `limit` members in the order of their user ids, with an id above `after`."""
    values = {"workspace": workspace_id, "after": after or "", "limit": limit}
    return [_member(row) for row in _PAGE_OF_MEMBERS.all(tx, values)]


def page_of_newest_members(
    tx: Tx, workspace_id: WorkspaceId, *, limit: int, after: str | None = None
) -> list[Member]:
    """Return at most `limit` members, the newest ids first, with an id below `after`."""
    values = {"workspace": workspace_id, "before": after or ABOVE_EVERY_ID, "limit": limit}
    return [_member(row) for row in _PAGE_OF_NEWEST_MEMBERS.all(tx, values)]


def find_member_by_email(tx: Tx, workspace_id: WorkspaceId, email: str) -> Member | None:
    """Return the member with that sign-in address."""
    values = {"workspace": workspace_id, "email": fold_email(email)}
    row = _MEMBER_BY_EMAIL.first(tx, values)
    return None if row is None else _member(row)


def set_role(tx: Tx, workspace_id: WorkspaceId, user_id: UserId, role: Role) -> None:
    """Set the role, and raise the version."""
    tx.execute(_EDIT_MEMBER, {"workspace": workspace_id, "user": user_id, "role": role})


def touch_member(tx: Tx, workspace_id: WorkspaceId, user_id: UserId) -> None:
    """Raise the version of a membership whose user has changed."""
    tx.execute(_EDIT_MEMBER, {"workspace": workspace_id, "user": user_id})


def delete_member(tx: Tx, workspace_id: WorkspaceId, user_id: UserId) -> None:
    """Delete a membership, and with it (by cascade) its sign-in links."""
    tx.execute(_DELETE_MEMBER, {"workspace": workspace_id, "user": user_id})


def count_owners(tx: Tx, workspace_id: WorkspaceId) -> int:
    """Return how many owners a workspace has."""
    owners: int = _COUNT_OWNERS.scalar(tx, {"workspace": workspace_id})
    return owners


def oldest_owner(tx: Tx) -> Member | None:
    """Return the owner of the oldest workspace that has one."""
    row = _OLDEST_OWNER.first(tx)
    return None if row is None else _member(row)


def workspace_of(row: Sequence[Any]) -> Workspace:
    """Return the workspace of a row of WORKSPACE_COLUMNS."""
    return Workspace(*row)


def _member(row: Sequence[Any]) -> Member:
    workspace_id, role, joined_at, version, *user = row
    return Member(workspace_id, user_of(user), Role(role), joined_at, version=version)

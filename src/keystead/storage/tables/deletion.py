"""The end of a workspace: hide it immediately, then delete its rows in small batches. Only a tombstone stays.

The tables come from the schema: whatever has a `workspace_id` is deleted, in an order that no foreign key forbids.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    Delete,
    Table,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    tuple_,
    update,
)

from keystead.domain.device_logins import code_subject
from keystead.domain.ids import InvitationId, UserId, WorkspaceId
from keystead.domain.revocation_log import WORKSPACE_DELETED, RevocationEntry
from keystead.domain.throttle import (
    Subject,
    account_subject,
    device_subject,
    new_password_subject,
    sending_subject,
    session_subject,
)
from keystead.domain.workspaces import Workspace
from keystead.storage.database import Tx
from keystead.storage.freshness.revocation_log import note_revocation
from keystead.storage.queries import Query
from keystead.storage.schema.columns import LIMIT
from keystead.storage.schema.tables import (
    api_keys,
    deleted_workspaces,
    documents,
    invitations,
    known_devices,
    members,
    metadata,
    notification_digests,
    sessions,
    throttles,
    users,
    webhook_endpoints,
    webhook_queues,
    workspaces,
)

DOCUMENTS_AT_ONCE: Final = 20
TEXT_AT_ONCE: Final = 256 * 1024
"""Documents of one batch, and the characters of their texts unless a single one has more.

The words of a text leave the index with it: 256 KiB take 30 ms, in which SQLite has no other writer.
"""
KEYS_AT_ONCE: Final = 50
PEOPLE_AT_ONCE: Final = 50

_WORKSPACE: Final[BindParameter[Any]] = bindparam("workspace")
_AMONG: Final[BindParameter[Any]] = bindparam("among", expanding=True)

_INSERT: Final = insert(deleted_workspaces)
_TOMBSTONE: Final = Query(
    select(deleted_workspaces.c.id).where(deleted_workspaces.c.id == _WORKSPACE)
)
_HIDE: Final = update(workspaces).where(workspaces.c.id == _WORKSPACE)
_ERASE_SECRETS: Final = (
    update(webhook_endpoints)
    .where(webhook_endpoints.c.workspace_id == _WORKSPACE, webhook_endpoints.c.deleted_at.is_(None))
    .values(sealed=None, deleted_at=bindparam("now"))
)
_DELETE_QUEUES: Final = delete(webhook_queues).where(webhook_queues.c.workspace_id == _WORKSPACE)
_DELETE_DIGEST: Final = delete(notification_digests).where(
    notification_digests.c.workspace_id == _WORKSPACE
)

_UNPURGED: Final = Query(
    select(workspaces.c.id).where(workspaces.c.deleted_at.is_not(None)).order_by(workspaces.c.id)
)
_TRY_LOCK: Final = Query(select(func.pg_try_advisory_xact_lock(func.hashtext(_WORKSPACE))))
_DOCUMENTS: Final = Query(
    select(documents.c.serial, func.length(documents.c.text))
    .where(documents.c.workspace_id == _WORKSPACE)
    .limit(LIMIT)
)
_DELETE_DOCUMENTS: Final = delete(documents).where(
    documents.c.workspace_id == _WORKSPACE, documents.c.serial.in_(_AMONG)
)
_KEYS: Final = Query(
    select(api_keys.c.id)
    .where(api_keys.c.workspace_id == _WORKSPACE)
    .limit(LIMIT)
    .with_for_update()
)
_OWN_KEY: Final = api_keys.c.workspace_id == _WORKSPACE
_UNLINK_KEYS: Final = (
    update(api_keys).where(_OWN_KEY, api_keys.c.rotated_to.in_(_AMONG)).values(rotated_to=None)
)
_DELETE_KEYS: Final = delete(api_keys).where(_OWN_KEY, api_keys.c.id.in_(_AMONG))
_INVITATIONS: Final = Query(
    select(invitations.c.id).where(invitations.c.workspace_id == _WORKSPACE).limit(LIMIT)
)
_DELETE_INVITATIONS: Final = delete(invitations).where(
    invitations.c.workspace_id == _WORKSPACE, invitations.c.id.in_(_AMONG)
)
_MEMBERS: Final = Query(
    select(members.c.user_id).where(members.c.workspace_id == _WORKSPACE).limit(LIMIT)
)
_FORMER_PORTAL_USERS: Final = Query(
    select(users.c.id).where(users.c.portal_workspace_id == _WORKSPACE).limit(LIMIT)
)
_WITHOUT_OTHERS: Final = Query(
    select(users.c.id, users.c.sign_in_email).where(
        users.c.id.in_(_AMONG),
        ~exists().where(members.c.user_id == users.c.id, members.c.workspace_id != _WORKSPACE),
    )
)
_SESSIONS: Final = Query(
    select(sessions.c.digest, sessions.c.id).where(sessions.c.user_id.in_(_AMONG)).limit(LIMIT)
)
_DELETE_SESSIONS: Final = delete(sessions).where(sessions.c.digest.in_(_AMONG))
_DEVICES: Final = Query(select(known_devices.c.digest).where(known_devices.c.user_id.in_(_AMONG)))
_FORGET_ACCEPTANCE: Final = (
    update(invitations).where(invitations.c.accepted_by.in_(_AMONG)).values(accepted_by=None)
)
_DELETE_MEMBERS: Final = delete(members).where(
    members.c.workspace_id == _WORKSPACE, members.c.user_id.in_(_AMONG)
)
_DELETE_USERS: Final = delete(users).where(users.c.id.in_(_AMONG))
_DELETE_THROTTLES: Final = delete(throttles).where(throttles.c.subject.in_(_AMONG))
_DELETE_WORKSPACE: Final = delete(workspaces).where(
    workspaces.c.id == _WORKSPACE, workspaces.c.deleted_at.is_not(None)
)


def bury(tx: Tx, workspace: Workspace, now: datetime) -> None:
    """Leave a tombstone and hide the workspace from every read, under its lock.

    The secrets of its webhooks go immediately, so that no worker can sign for it, and its digest, so that a worker that
    is sending it stops. The product's own id is free for another workspace.
    """
    id = workspace.id
    tx.execute(_INSERT, {"id": id, "external_id": workspace.external_id, "deleted_at": now})
    tx.execute(_HIDE, {"workspace": id, "deleted_at": now, "external_id": None})
    tx.execute(_ERASE_SECRETS, {"workspace": id, "now": now})
    tx.execute(_DELETE_QUEUES, {"workspace": id})
    tx.execute(_DELETE_DIGEST, {"workspace": id})
    note_revocation(tx, RevocationEntry(now, WORKSPACE_DELETED, WorkspaceId(""), 0, id))


def has_tombstone(tx: Tx, workspace_id: WorkspaceId) -> bool:
    """Return whether a workspace of that id was deleted."""
    return _TOMBSTONE.first(tx, {"workspace": workspace_id}) is not None


def unpurged_workspaces(tx: Tx) -> list[WorkspaceId]:
    """Return the deleted workspaces that still have rows, the oldest first."""
    return _UNPURGED.scalars(tx)


def try_lock(tx: Tx, workspace_id: WorkspaceId) -> bool:
    """Return False if another server is purging the workspace. SQLite has a single writer anyway."""
    if tx.dialect.name != "postgresql":
        return True
    return bool(_TRY_LOCK.scalar(tx, {"workspace": workspace_id}))


def delete_contents(tx: Tx, workspace_id: WorkspaceId, limit: int) -> bool:
    """Delete at most `limit` rows that are neither keys' nor people's. Returns whether there may be more."""
    for table in _contents():
        if table is documents:
            if _delete_documents(tx, workspace_id):
                return True
            continue
        values = {"workspace": workspace_id, "limit": limit}
        deleted = tx.execute(_delete_some(table), values).rowcount
        if deleted == limit:
            return True
        limit -= deleted
    return _delete_invitations(tx, workspace_id, limit)


def delete_keys(tx: Tx, workspace_id: WorkspaceId, limit: int) -> bool:
    """Delete some keys, after at most `limit` rows about them. Returns whether there may be more."""
    # Locked, so that use which is flushed meanwhile waits, and then finds that its key is gone.
    keys = _KEYS.scalars(tx, {"workspace": workspace_id, "limit": KEYS_AT_ONCE})
    if not keys:
        return False
    values = {"workspace": workspace_id, "among": keys}
    for table in _of_keys():
        deleted = tx.execute(_delete_some(table), {**values, "limit": limit}).rowcount
        if deleted == limit:
            return True
        limit -= deleted
    tx.execute(_UNLINK_KEYS, values)
    tx.execute(_DELETE_KEYS, values)
    return True


def delete_people(tx: Tx, workspace_id: WorkspaceId, limit: int) -> bool:
    """Delete some memberships, and the users who have no other. Returns whether there may be more."""
    page = {"workspace": workspace_id, "limit": PEOPLE_AT_ONCE}
    people = _MEMBERS.scalars(tx, page) or _FORMER_PORTAL_USERS.scalars(tx, page)
    if not people:
        return False
    rows = _WITHOUT_OTHERS.all(tx, {"workspace": workspace_id, "among": people})
    leaving = {"among": [id for id, _ in rows]}
    ended = _SESSIONS.all(tx, {**leaving, "limit": limit})
    _delete_throttles(tx, [session_subject(id) for _, id in ended])
    tx.execute(_DELETE_SESSIONS, {"among": [digest for digest, _ in ended]})
    if len(ended) == limit:
        return True
    devices = _DEVICES.scalars(tx, leaving)
    subjects = [device_subject(digest) for digest in devices]
    subjects += [new_password_subject(UserId(id)) for id, _ in rows]
    subjects += [code_subject(UserId(id)) for id, _ in rows]
    subjects += [account_subject(email) for _, email in rows if email]
    _delete_throttles(tx, subjects)
    tx.execute(_FORGET_ACCEPTANCE, leaving)
    tx.execute(_DELETE_MEMBERS, {"workspace": workspace_id, "among": people})
    tx.execute(_DELETE_USERS, leaving)  # what else belongs to a user goes by cascade: few rows
    return True


def delete_workspace(tx: Tx, workspace_id: WorkspaceId) -> None:
    """Delete the row of a deleted workspace that has no other rows left."""
    _delete_throttles(tx, [sending_subject(workspace_id)])
    tx.execute(_DELETE_WORKSPACE, {"workspace": workspace_id})


def _delete_documents(tx: Tx, workspace_id: WorkspaceId) -> bool:
    """Delete some documents. Returns whether there were any."""
    serials, size = list[int](), 0
    values = {"workspace": workspace_id, "limit": DOCUMENTS_AT_ONCE}
    for serial, length in _DOCUMENTS.all(tx, values):
        size += length
        if serials and size > TEXT_AT_ONCE:
            break
        serials.append(serial)
    tx.execute(_DELETE_DOCUMENTS, {"workspace": workspace_id, "among": serials})
    return bool(serials)


def _delete_invitations(tx: Tx, workspace_id: WorkspaceId, limit: int) -> bool:
    ids = _INVITATIONS.scalars(tx, {"workspace": workspace_id, "limit": limit})
    _delete_throttles(tx, [new_password_subject(InvitationId(id)) for id in ids])
    tx.execute(_DELETE_INVITATIONS, {"workspace": workspace_id, "among": ids})
    return len(ids) == limit


def _delete_throttles(tx: Tx, subjects: Sequence[Subject]) -> None:
    if subjects:
        tx.execute(_DELETE_THROTTLES, {"among": list(subjects)})


@cache
def _contents() -> tuple[Table, ...]:
    """Return the tables that are deleted by the workspace alone: those that others refer to come last."""
    others = {api_keys, invitations, members, *_of_keys()}
    return tuple(table for table in _tables() if table not in others)


@cache
def _of_keys() -> tuple[Table, ...]:
    """Return the tables of rows about a key, which are found by its id."""
    return tuple(table for table in _tables() if "key_id" in table.c)


def _tables() -> list[Table]:
    return [table for table in reversed(metadata.sorted_tables) if "workspace_id" in table.c]


@cache
def _delete_some(table: Table) -> Delete:
    """Return the statement that deletes at most `limit` rows of a workspace, or of some of its keys."""
    conditions = [table.c.workspace_id == _WORKSPACE]
    if "key_id" in table.c:
        conditions.append(table.c.key_id.in_(_AMONG))
    key = [column for column in table.primary_key if column is not table.c.workspace_id]
    if not key:  # one row a workspace
        return delete(table).where(*conditions)
    some = select(*key).where(*conditions).limit(LIMIT)
    return delete(table).where(*conditions, tuple_(*key).in_(some))

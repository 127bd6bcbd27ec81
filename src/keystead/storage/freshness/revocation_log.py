"""Revocations within their transaction, and what a database knows of them later: nothing, if it is an older backup."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from sqlalchemy import Connection, Table, delete, select

from keystead.domain.events import EventType
from keystead.domain.ids import WorkspaceId
from keystead.domain.revocation_log import (
    CREDENTIAL_REVOKED,
    WORKSPACE_DELETED,
    RevocationEntry,
)
from keystead.storage.schema.tables import (
    api_keys,
    credentials,
    deleted_workspaces,
    email_confirmations,
    sessions,
    sign_in_links,
    workspaces,
)

_KEY: Final = "keystead_revocations"
_BATCH_SIZE: Final = 500


def note_revocation(tx: Connection, entry: RevocationEntry) -> None:
    """Keep the entry until the transaction is committed."""
    tx.info.setdefault(_KEY, []).append(entry)


def take_revocations(tx: Connection) -> list[RevocationEntry]:
    """Return the entries that were noted on this connection, and forget them."""
    entries: list[RevocationEntry] = tx.info.pop(_KEY, [])
    return entries


def last_events(tx: Connection, ids: Iterable[WorkspaceId]) -> dict[WorkspaceId, int]:
    """Return the number of the newest event of each of these workspaces; unknown ones are absent."""
    numbers: dict[WorkspaceId, int] = {}
    for batch in _batches(ids):
        query = select(workspaces.c.id, workspaces.c.last_event).where(workspaces.c.id.in_(batch))
        numbers.update((row.id, row.last_event) for row in tx.execute(query))
    return numbers


def deleted_among(tx: Connection, ids: Iterable[WorkspaceId]) -> set[WorkspaceId]:
    """Return those of these workspaces that have a tombstone in this database."""
    deleted: set[WorkspaceId] = set()
    for batch in _batches(ids):
        query = select(deleted_workspaces.c.id).where(deleted_workspaces.c.id.in_(batch))
        deleted.update(tx.execute(query).scalars())
    return deleted


def undeleted_workspaces(tx: Connection, entries: Sequence[RevocationEntry]) -> set[str]:
    """Return the workspaces among these entries that exist in this database, and are not deleted."""
    ids = {WorkspaceId(e.target_id) for e in entries if e.type == WORKSPACE_DELETED}
    return set(last_events(tx, ids - deleted_among(tx, ids)))


def unrevoked_keys(tx: Connection, entries: Sequence[RevocationEntry]) -> set[str]:
    """Return the keys among these entries that are not revoked in this database."""
    return _unrevoked(
        tx, api_keys, (e.target_id for e in entries if e.type == EventType.KEY_REVOKED)
    )


def unrevoked_credentials(tx: Connection, entries: Sequence[RevocationEntry]) -> set[str]:
    """Return the credentials among these entries that are not revoked in this database."""
    return _unrevoked(
        tx, credentials, (e.target_id for e in entries if e.type == CREDENTIAL_REVOKED)
    )


def _unrevoked(tx: Connection, table: Table, ids: Iterable[str]) -> set[str]:
    unrevoked: set[str] = set()
    for batch in _batches(ids):
        query = select(table.c.id).where(table.c.id.in_(batch), table.c.revoked_at.is_(None))
        unrevoked.update(tx.execute(query).scalars())
    return unrevoked


def end_all_sessions(tx: Connection) -> int:
    """End every session, and delete every sign-in link and every link that changes an email.

    Returns how many sessions were open.
    """
    ended = tx.execute(delete(sessions).where(sessions.c.ended_at.is_(None))).rowcount
    tx.execute(delete(sessions))
    tx.execute(delete(sign_in_links))
    tx.execute(delete(email_confirmations))
    return ended


def _batches(ids: Iterable[str]) -> Iterator[Sequence[str]]:
    ordered = sorted(set(ids))
    return (ordered[start : start + _BATCH_SIZE] for start in range(0, len(ordered), _BATCH_SIZE))

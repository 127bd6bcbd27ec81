"""Endings within their transaction, and what a database knows of them afterwards: nothing, where it is an older one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from sqlalchemy import Connection, Table, delete, select

from keystead.domain.events import EventType
from keystead.domain.ids import WorkspaceId
from keystead.domain.revocation_log import CREDENTIAL_REVOKED, RevocationEntry
from keystead.storage.schema.tables import (
    api_keys,
    credentials,
    email_confirmations,
    sessions,
    sign_in_links,
    workspaces,
)

_NOTED: Final = "keystead_endings"
_AT_ONCE: Final = 500


def note_ending(tx: Connection, ending: RevocationEntry) -> None:
    """Keeps it for the moment when the transaction is committed."""
    tx.info.setdefault(_NOTED, []).append(ending)


def take_endings(tx: Connection) -> list[RevocationEntry]:
    """What was noted on this connection; it is forgotten."""
    noted: list[RevocationEntry] = tx.info.pop(_NOTED, [])
    return noted


def last_events(tx: Connection, ids: Iterable[WorkspaceId]) -> dict[WorkspaceId, int]:
    """The number of the newest event of each of these workspaces; those that are not there are absent."""
    rows = workspaces.c
    found: dict[WorkspaceId, int] = {}
    for some in _batches(ids):
        asked = select(rows.id, rows.last_event).where(rows.id.in_(some))
        found.update((row.id, row.last_event) for row in tx.execute(asked))
    return found


def keys_alive(tx: Connection, endings: Sequence[RevocationEntry]) -> set[str]:
    """Of the keys that were revoked those that this database calls alive."""
    return _alive(tx, api_keys, [one for one in endings if one.type == EventType.KEY_REVOKED])


def credentials_alive(tx: Connection, endings: Sequence[RevocationEntry]) -> set[str]:
    """Of the credentials that were revoked those that this database calls alive."""
    return _alive(tx, credentials, [one for one in endings if one.type == CREDENTIAL_REVOKED])


def _alive(tx: Connection, table: Table, revoked: Sequence[RevocationEntry]) -> set[str]:
    alive: set[str] = set()
    for some in _batches(one.target_id for one in revoked):
        asked = select(table.c.id).where(table.c.id.in_(some), table.c.revoked_at.is_(None))
        alive.update(tx.execute(asked).scalars())
    return alive


def forget_sessions(tx: Connection) -> int:
    """End everybody's session, and take back every sign-in link and every link that changes an email.

    Returns how many sessions were open.
    """
    ended = tx.execute(delete(sessions).where(sessions.c.ended_at.is_(None))).rowcount
    tx.execute(delete(sessions))
    tx.execute(delete(sign_in_links))
    tx.execute(delete(email_confirmations))
    return ended


def _batches(ids: Iterable[str]) -> Iterator[Sequence[str]]:
    listed = sorted(set(ids))
    return (listed[start : start + _AT_ONCE] for start in range(0, len(listed), _AT_ONCE))

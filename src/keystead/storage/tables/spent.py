"""Rows that are no longer needed, found by age and deleted by key, for five tables in the same way."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Column, Table, delete, select

from keystead.storage.database import Tx
from keystead.storage.schema import tables as schema


class Spent(StrEnum):
    """A kind of row, by the name of its table."""

    LINKS = "sign_in_links"
    CONFIRMATIONS = "email_confirmations"
    SESSIONS = "sessions"
    DEVICES = "known_devices"
    FAILURES = "throttles"


_AGES: Final[Mapping[Spent, Column[Any]]] = {
    Spent.LINKS: schema.sign_in_links.c.expires_at,
    Spent.CONFIRMATIONS: schema.email_confirmations.c.expires_at,
    Spent.SESSIONS: schema.sessions.c.created_at,
    Spent.DEVICES: schema.known_devices.c.used_at,
    Spent.FAILURES: schema.throttles.c.last_at,
}
"""The column with a row's age; null in a confirmation that was not sent yet, which stays."""


def keys_before(
    tx: Tx, kind: Spent, instant: datetime, but: Collection[bytes | str], limit: int
) -> list[bytes | str]:
    """Return the keys of at most `limit` rows from before `instant`, without those in `but`."""
    key = _key_of(kind)
    old = select(key).where(_AGES[kind] < instant)
    if but:
        old = old.where(key.not_in(but))
    return list(tx.execute(old.limit(limit)).scalars())


def delete_rows(tx: Tx, kind: Spent, keys: Sequence[bytes | str], instant: datetime) -> int:
    """Delete those of the rows that are still from before `instant`. Return how many were deleted."""
    key = _key_of(kind)
    gone = delete(_table_of(kind)).where(key.in_(keys), _AGES[kind] < instant)
    return len(tx.execute(gone.returning(key)).all())


def _table_of(kind: Spent) -> Table:
    return schema.metadata.tables[kind]


def _key_of(kind: Spent) -> Column[Any]:
    [key] = _table_of(kind).primary_key
    return key

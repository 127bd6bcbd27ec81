"""Confirmations of emails in rows: one at most for each user, found by the digest of its link's secret."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, exists, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from keystead.domain.confirmations import Pending
from keystead.domain.ids import UserId, new_id
from keystead.storage.database import Tx
from keystead.storage.schema.tables import email_confirmations as rows
from keystead.storage.schema.tables import users


@dataclass(frozen=True, slots=True)
class ClaimedConfirmation:
    """A confirmation email that is due, under a lease. `failures` in a row so far."""

    user_id: UserId
    email: str
    failures: int
    lease: str


def request_confirmation(tx: Tx, user_id: UserId, email: str, now: datetime) -> None:
    """Request a confirmation email to that address, replacing any earlier request, whose link stops working."""
    fresh = (sqlite if tx.dialect.name == "sqlite" else postgresql).insert(rows)
    request: dict[str, Any] = {
        "email": email,
        "requested_at": now,
        "due_at": now,
        "failures": 0,
        "lease": None,
        "leased_until": None,
        "digest": None,
        "expires_at": None,
    }
    replaced = fresh.on_conflict_do_update(index_elements=[rows.c.user_id], set_=request)
    tx.execute(replaced.values(user_id=user_id, **request))


def find_pending(tx: Tx, user_id: UserId) -> Pending | None:
    """Return what the user has yet to confirm."""
    query = select(rows.c.email, rows.c.requested_at, rows.c.due_at, rows.c.expires_at)
    row = tx.execute(query.where(rows.c.user_id == user_id)).first()
    return None if row is None else Pending(*row)


def find_by_link(tx: Tx, digest: bytes, now: datetime) -> tuple[UserId, str] | None:
    """Return the user of the link and the email that it confirms; None if it has expired or never existed."""
    query = select(rows.c.user_id, rows.c.email).where(rows.c.digest == digest)
    row = tx.execute(query.where(rows.c.expires_at > now)).first()
    return None if row is None else (row.user_id, row.email)


def consume_link(tx: Tx, digest: bytes, now: datetime) -> tuple[UserId, str] | None:
    """Delete the link and return the same as `find_by_link`; of two concurrent calls, one succeeds."""
    used = delete(rows).where(rows.c.digest == digest, rows.c.expires_at > now)
    row = tx.execute(used.returning(rows.c.user_id, rows.c.email)).first()
    return None if row is None else (row.user_id, row.email)


def withdraw_change(tx: Tx, user_id: UserId) -> None:
    """Take back a request for another email than the user's own."""
    own = exists().where(users.c.id == user_id, users.c.email == rows.c.email)
    tx.execute(delete(rows).where(rows.c.user_id == user_id, ~own))


def is_any_due(tx: Tx, now: datetime) -> bool:
    """Return whether an email is due."""
    return bool(tx.execute(select(exists().where(*_due(now)))).scalar_one())


def claim_confirmations(
    tx: Tx, now: datetime, until: datetime, limit: int
) -> list[ClaimedConfirmation]:
    """Lease at most `limit` due emails until then, the longest due first; skip those that are locked."""
    waiting = (
        select(rows.c.user_id, rows.c.email, rows.c.failures)
        .where(*_due(now))
        .order_by(rows.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    lease = new_id("lease", now)
    claims = [ClaimedConfirmation(*row, lease) for row in tx.execute(waiting)]
    if claims:
        among = rows.c.user_id.in_([claimed.user_id for claimed in claims])
        tx.execute(update(rows).where(among).values(lease=lease, leased_until=until))
    return claims


def set_link(tx: Tx, claimed: ClaimedConfirmation, digest: bytes, expires_at: datetime) -> bool:
    """Store the digest of the link's secret. Returns False if the lease is lost."""
    linked = update(rows).where(*_held(claimed)).values(digest=digest, expires_at=expires_at)
    return tx.execute(linked).rowcount == 1


def settle_confirmation(tx: Tx, claimed: ClaimedConfirmation) -> None:
    """Record that the email was sent or given up, so it is no longer due."""
    _give_back(tx, claimed, due_at=None)


def postpone_confirmation(
    tx: Tx, claimed: ClaimedConfirmation, until: datetime, failures: int
) -> None:
    """Release the lease and make the email due at `until`."""
    _give_back(tx, claimed, due_at=until, failures=failures)


def _due(now: datetime) -> tuple[Any, ...]:
    free = or_(rows.c.leased_until.is_(None), rows.c.leased_until <= now)
    return rows.c.due_at <= now, free


def _held(claimed: ClaimedConfirmation) -> tuple[Any, ...]:
    return rows.c.user_id == claimed.user_id, rows.c.lease == claimed.lease


def _give_back(tx: Tx, claimed: ClaimedConfirmation, **values: Any) -> None:
    """Release the lease, unless it is lost or another email was requested meanwhile."""
    given = update(rows).where(*_held(claimed))
    tx.execute(given.values(lease=None, leased_until=None, **values))

"""Pending confirmations of email addresses: at most one per user, found by the digest of its link's secret."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, exists, or_, select, update

from keystead.domain.confirmations import PendingConfirmation
from keystead.domain.ids import UserId, new_id
from keystead.storage.database import Tx
from keystead.storage.schema.columns import upsert
from keystead.storage.schema.tables import email_confirmations as rows
from keystead.storage.schema.tables import users


@dataclass(frozen=True, slots=True)
class ClaimedConfirmation:
    """A confirmation email to send, under a lease, after that many consecutive failures."""

    user_id: UserId
    email: str
    failures: int
    lease: str


def request_confirmation(tx: Tx, user_id: UserId, email: str, now: datetime) -> None:
    """Have a confirmation sent to that address. It replaces an earlier request, whose link stops working."""
    fresh = upsert(tx, rows)
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


def find_pending(tx: Tx, user_id: UserId) -> PendingConfirmation | None:
    """Return what the user has yet to confirm."""
    query = select(rows.c.email, rows.c.requested_at, rows.c.due_at, rows.c.expires_at)
    row = tx.execute(query.where(rows.c.user_id == user_id)).first()
    return None if row is None else PendingConfirmation(*row)


def find_by_link(tx: Tx, digest: bytes, now: datetime) -> tuple[UserId, str] | None:
    """Return the link's user and the address that it confirms; None if it has expired or does not exist."""
    query = select(rows.c.user_id, rows.c.email).where(rows.c.digest == digest)
    row = tx.execute(query.where(rows.c.expires_at > now)).first()
    return None if row is None else (row.user_id, row.email)


def consume_link(tx: Tx, digest: bytes, now: datetime) -> tuple[UserId, str] | None:
    """Use the link and return what `find_by_link` does. Only one of two concurrent calls succeeds."""
    used = delete(rows).where(rows.c.digest == digest, rows.c.expires_at > now)
    row = tx.execute(used.returning(rows.c.user_id, rows.c.email)).first()
    return None if row is None else (row.user_id, row.email)


def withdraw_change(tx: Tx, user_id: UserId) -> None:
    """Cancel a request to change the user's address."""
    own = exists().where(users.c.id == user_id, users.c.email == rows.c.email)
    tx.execute(delete(rows).where(rows.c.user_id == user_id, ~own))


def is_any_due(tx: Tx, now: datetime) -> bool:
    """Return whether a confirmation is due."""
    return bool(tx.execute(select(exists().where(*_due(now)))).scalar_one())


def claim_confirmations(
    tx: Tx, now: datetime, until: datetime, limit: int
) -> list[ClaimedConfirmation]:
    """Lease at most `limit` due confirmations until then, the longest due first."""
    # SKIP LOCKED: another worker is claiming the locked rows right now; waiting would gain nothing.
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
    """Store the digest of the link's secret. Return False if the lease is lost."""
    linked = update(rows).where(*_leased(claimed)).values(digest=digest, expires_at=expires_at)
    return tx.execute(linked).rowcount == 1


def settle_confirmation(tx: Tx, claimed: ClaimedConfirmation) -> None:
    """Record that the confirmation was sent or given up."""
    _release(tx, claimed, due_at=None)


def postpone_confirmation(
    tx: Tx, claimed: ClaimedConfirmation, until: datetime, failures: int
) -> None:
    """Release the lease and make the confirmation due at `until`."""
    _release(tx, claimed, due_at=until, failures=failures)


def _due(now: datetime) -> tuple[Any, ...]:
    free = or_(rows.c.leased_until.is_(None), rows.c.leased_until <= now)
    return rows.c.due_at <= now, free


def _leased(claimed: ClaimedConfirmation) -> tuple[Any, ...]:
    return rows.c.user_id == claimed.user_id, rows.c.lease == claimed.lease


def _release(tx: Tx, claimed: ClaimedConfirmation, **values: Any) -> None:
    # Matches no row if the lease was lost, or replaced by a new request.
    released = update(rows).where(*_leased(claimed))
    tx.execute(released.values(lease=None, leased_until=None, **values))

"""Pending confirmations of email addresses: at most one per user, found by the digest of its link's secret."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, bindparam, delete, exists, or_, select, update

from keystead.domain.confirmations import PendingConfirmation
from keystead.domain.ids import UserId, new_id
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import LIMIT, upsert
from keystead.storage.schema.tables import email_confirmations as rows
from keystead.storage.schema.tables import users

_IS_USERS: Final = rows.c.user_id == bindparam("user")
_IS_LEASED: Final = and_(_IS_USERS, rows.c.lease == bindparam("held"))
_IS_LINK: Final = and_(rows.c.digest == bindparam("link"), rows.c.expires_at > bindparam("now"))
_IS_DUE: Final = and_(
    rows.c.due_at <= bindparam("now"),
    or_(rows.c.leased_until.is_(None), rows.c.leased_until <= bindparam("now")),
)
_REQUEST: Final = upsert(
    rows,
    lambda fresh: fresh.on_conflict_do_update(
        index_elements=[rows.c.user_id],
        set_={
            column.name: fresh.excluded[column.name]
            for column in rows.c
            if column is not rows.c.user_id
        },
    ),
)
_PENDING: Final = Query(
    select(rows.c.email, rows.c.requested_at, rows.c.due_at, rows.c.expires_at).where(_IS_USERS)
)
_OF_LINK: Final = Query(select(rows.c.user_id, rows.c.email).where(_IS_LINK))
_CONSUME: Final = delete(rows).where(_IS_LINK).returning(rows.c.user_id, rows.c.email)
_WITHDRAW_CHANGE: Final = delete(rows).where(
    _IS_USERS,
    ~exists().where(users.c.id == rows.c.user_id, users.c.email == rows.c.email),
)
_IS_ANY_DUE: Final = Query(select(exists().where(_IS_DUE)))
# SKIP LOCKED: another worker is claiming the locked rows right now; waiting would gain nothing.
_WAITING: Final = Query(
    select(rows.c.user_id, rows.c.email, rows.c.failures)
    .where(_IS_DUE)
    .order_by(rows.c.due_at)
    .limit(LIMIT)
    .with_for_update(skip_locked=True)
)
_LEASE: Final = update(rows).where(rows.c.user_id.in_(bindparam("users", expanding=True)))
_UPDATE_LEASED: Final = update(rows).where(_IS_LEASED)


@dataclass(frozen=True, slots=True)
class ClaimedConfirmation:
    """A confirmation email to send, under a lease, after that many consecutive failures."""

    user_id: UserId
    email: str
    failures: int
    lease: str


def request_confirmation(tx: Tx, user_id: UserId, email: str, now: datetime) -> None:
    """Have a confirmation sent to that address. It replaces an earlier request, whose link stops working."""
    request: dict[str, Any] = {
        "user_id": user_id,
        "email": email,
        "requested_at": now,
        "due_at": now,
        "failures": 0,
        "lease": None,
        "leased_until": None,
        "digest": None,
        "expires_at": None,
    }
    tx.execute(_REQUEST[tx.dialect.name], request)


def find_pending(tx: Tx, user_id: UserId) -> PendingConfirmation | None:
    """Return what the user has yet to confirm."""
    row = _PENDING.first(tx, {"user": user_id})
    return None if row is None else PendingConfirmation(*row)


def find_by_link(tx: Tx, digest: bytes, now: datetime) -> tuple[UserId, str] | None:
    """Return the link's user and the address that it confirms; None if it has expired or does not exist."""
    row = _OF_LINK.first(tx, {"link": digest, "now": now})
    return None if row is None else (row[0], row[1])


def consume_link(tx: Tx, digest: bytes, now: datetime) -> tuple[UserId, str] | None:
    """Use the link and return what `find_by_link` does. Only one of two concurrent calls succeeds."""
    row = tx.execute(_CONSUME, {"link": digest, "now": now}).first()
    return None if row is None else (row[0], row[1])


def withdraw_change(tx: Tx, user_id: UserId) -> None:
    """Cancel a request to change the user's address."""
    tx.execute(_WITHDRAW_CHANGE, {"user": user_id})


def is_any_due(tx: Tx, now: datetime) -> bool:
    """Return whether a confirmation is due."""
    return bool(_IS_ANY_DUE.scalar(tx, {"now": now}))


def claim_confirmations(
    tx: Tx, now: datetime, until: datetime, limit: int
) -> list[ClaimedConfirmation]:
    """Lease at most `limit` due confirmations until then, the longest due first."""
    lease, waiting = new_id("lease", now), _WAITING.all(tx, {"now": now, "limit": limit})
    claims = [ClaimedConfirmation(id, email, failures, lease) for id, email, failures in waiting]
    if claims:
        among = [claimed.user_id for claimed in claims]
        tx.execute(_LEASE, {"users": among, "lease": lease, "leased_until": until})
    return claims


def set_link(tx: Tx, claimed: ClaimedConfirmation, digest: bytes, expires_at: datetime) -> bool:
    """Store the digest of the link's secret. Return False if the lease is lost."""
    link = {"digest": digest, "expires_at": expires_at}
    return tx.execute(_UPDATE_LEASED, {**_leased(claimed), **link}).rowcount == 1


def settle_confirmation(tx: Tx, claimed: ClaimedConfirmation) -> None:
    """Record that the confirmation was sent or given up."""
    _release(tx, claimed, due_at=None)


def postpone_confirmation(
    tx: Tx, claimed: ClaimedConfirmation, until: datetime, failures: int
) -> None:
    """Release the lease and make the confirmation due at `until`."""
    _release(tx, claimed, due_at=until, failures=failures)


def _leased(claimed: ClaimedConfirmation) -> dict[str, str]:
    return {"user": claimed.user_id, "held": claimed.lease}


def _release(tx: Tx, claimed: ClaimedConfirmation, **values: Any) -> None:
    # Matches no row if the lease was lost, or replaced by a new request.
    released = {"lease": None, "leased_until": None, **values}
    tx.execute(_UPDATE_LEASED, {**_leased(claimed), **released})

"""Notification digests: which are due, which worker is sending them, and the members' preferences."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    case,
    delete,
    exists,
    literal,
    or_,
    select,
    type_coerce,
    update,
)

from keystead.domain.events import Event
from keystead.domain.ids import UserId, WorkspaceId, new_id
from keystead.domain.notification_digests import GATHERING_DELAY, INTERVAL, Topic
from keystead.storage.database import Tx
from keystead.storage.schema.columns import Instant, upsert
from keystead.storage.schema.tables import digest_emails
from keystead.storage.schema.tables import notification_digests as digests
from keystead.storage.schema.tables import notification_preferences as preferences

_DAY: Final = round(INTERVAL.total_seconds()) * 1_000_000


@dataclass(frozen=True, slots=True)
class ClaimedDigest:
    """A due digest of a workspace's events after `reported_through`, leased, after that many consecutive failures."""

    workspace_id: WorkspaceId
    reported_through: int
    failures: int
    lease: str


def make_digest_due(tx: Tx, event: Event) -> None:
    """Make a digest due: some time after its first event, and at most one a day."""
    fresh = upsert(tx, digests)
    new, old = fresh.excluded, digests.c
    next_day = type_coerce(old.sent_at, BigInteger) + _DAY
    due_at = type_coerce(new.due_at, BigInteger)
    due = case(
        (old.due_at.is_not(None), old.due_at),
        (next_day > due_at, next_day),
        else_=due_at,
    )
    scheduled = fresh.on_conflict_do_update(
        index_elements=[old.workspace_id], set_={"due_at": due, "newest": new.newest}
    )
    row = {
        "workspace_id": event.workspace_id,
        "due_at": event.occurred_at + GATHERING_DELAY,
        "newest": event.sequence,
    }
    tx.execute(scheduled, row)


def claim_digests(tx: Tx, now: datetime, until: datetime, limit: int) -> list[ClaimedDigest]:
    """Lease at most `limit` due digests until then, the longest due first."""
    # SKIP LOCKED: another worker is claiming the locked rows right now; waiting would gain nothing.
    waiting = (
        select(digests.c.workspace_id, digests.c.reported_through, digests.c.failures)
        .where(
            digests.c.due_at <= now,
            or_(digests.c.leased_until.is_(None), digests.c.leased_until <= now),
        )
        .order_by(digests.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    lease = new_id("lease", now)
    claims = [ClaimedDigest(*row, lease) for row in tx.execute(waiting)]
    among = digests.c.workspace_id.in_([claimed.workspace_id for claimed in claims])
    if claims:
        tx.execute(update(digests).where(among).values(lease=lease, leased_until=until))
    return claims


def letters_sent(tx: Tx, workspace_id: WorkspaceId) -> dict[UserId, int]:
    """Return the last event reported to each member whose emails differ from the workspace's digest."""
    query = select(digest_emails.c.user_id, digest_emails.c.through)
    rows = tx.execute(query.where(digest_emails.c.workspace_id == workspace_id))
    return {row.user_id: row.through for row in rows}


def note_letter(
    tx: Tx, claimed: ClaimedDigest, user_id: UserId, through: int, until: datetime
) -> bool:
    """Record that a member's email reported all events up to `through`, and extend the lease.

    Returns False, and records nothing, if the lease is lost.
    """
    extended = update(digests).where(*_leased(claimed)).values(leased_until=until)
    if tx.execute(extended).rowcount == 0:
        return False
    fresh = upsert(tx, digest_emails)
    noted = fresh.on_conflict_do_update(
        index_elements=[digest_emails.c.workspace_id, digest_emails.c.user_id],
        set_={"through": fresh.excluded.through},
    )
    row = {"workspace_id": claimed.workspace_id, "user_id": user_id, "through": through}
    tx.execute(noted, row)
    return True


def settle_digest(tx: Tx, claimed: ClaimedDigest, through: int, now: datetime) -> None:
    """Record that all events up to `through` were reported; later ones are due in a day."""
    # Members who got their email in an earlier attempt at this digest are behind: keep their rows, and
    # make another digest due, which sends them the rest even if nothing else happens.
    behind = digest_emails.c.through.between(claimed.reported_through + 1, through - 1)
    of_workspace = digest_emails.c.workspace_id == claimed.workspace_id
    tx.execute(delete(digest_emails).where(of_workspace, ~behind))
    is_more = or_(digests.c.newest > through, exists(select(literal(1)).where(of_workspace)))
    later = case((is_more, literal(now + INTERVAL, Instant)), else_=None)
    done = {"reported_through": through, "sent_at": now, "due_at": later, "failures": 0}
    _release(tx, claimed, done)


def postpone_digest(tx: Tx, claimed: ClaimedDigest, until: datetime, failures: int) -> None:
    """Release the lease and make the digest due at `until`."""
    _release(tx, claimed, {"due_at": until, "failures": failures})


def give_up_digest(tx: Tx, claimed: ClaimedDigest, now: datetime) -> None:
    """Drop the digest; the next event starts a new one."""
    done = {"reported_through": digests.c.newest, "sent_at": now, "due_at": None, "failures": 0}
    _release(tx, claimed, done)


def topics_chosen(tx: Tx, workspace_id: WorkspaceId) -> dict[UserId, frozenset[Topic]]:
    """Return the topics of the members who have chosen any."""
    query = select(preferences.c.user_id, preferences.c.topics)
    rows = tx.execute(query.where(preferences.c.workspace_id == workspace_id))
    return {row.user_id: _parse(row.topics) for row in rows}


def choose_topics(
    tx: Tx, workspace_id: WorkspaceId, user_id: UserId, topics: frozenset[Topic]
) -> None:
    """Store a member's topics."""
    fresh = upsert(tx, preferences)
    chosen = fresh.on_conflict_do_update(
        index_elements=[preferences.c.workspace_id, preferences.c.user_id],
        set_={"topics": fresh.excluded.topics},
    )
    row = {"workspace_id": workspace_id, "user_id": user_id, "topics": " ".join(sorted(topics))}
    tx.execute(chosen, row)


def _parse(topics: str) -> frozenset[Topic]:
    # Skip unknown topics, which a newer version may have written.
    known = set(Topic)
    return frozenset(Topic(name) for name in topics.split() if name in known)


def _release(tx: Tx, claimed: ClaimedDigest, values: dict[str, Any]) -> None:
    # Matches no row if the lease expired and another worker took over.
    released = update(digests).where(*_leased(claimed))
    tx.execute(released.values(lease=None, leased_until=None, **values))


def _leased(claimed: ClaimedDigest) -> tuple[ColumnElement[bool], ...]:
    return digests.c.workspace_id == claimed.workspace_id, digests.c.lease == claimed.lease

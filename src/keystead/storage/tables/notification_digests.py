"""Notification digests: which are due, which worker is sending them, and the members' preferences."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    bindparam,
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
from keystead.domain.notification_digests import GATHERING_DELAY, IMMEDIATE, INTERVAL, Topic
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import LIMIT, Instant, upsert
from keystead.storage.schema.tables import digest_emails
from keystead.storage.schema.tables import notification_digests as digests
from keystead.storage.schema.tables import notification_preferences as preferences

_DAY: Final = round(INTERVAL.total_seconds()) * 1_000_000


def _next_due(new: Any) -> Any:
    """Return when the digest is due after an event: as before, a day after the last one, or as the event asks."""
    old = digests.c
    next_day = type_coerce(old.sent_at, BigInteger) + _DAY
    due_at = type_coerce(new.due_at, BigInteger)
    return case((old.due_at.is_not(None), old.due_at), (next_day > due_at, next_day), else_=due_at)


_SCHEDULE: Final = upsert(
    digests,
    lambda fresh: fresh.on_conflict_do_update(
        index_elements=[digests.c.workspace_id],
        set_={"due_at": _next_due(fresh.excluded), "newest": fresh.excluded.newest},
    ),
)
_SCHEDULE_NOW: Final = upsert(
    digests,
    lambda fresh: fresh.on_conflict_do_update(
        index_elements=[digests.c.workspace_id],
        set_={"due_at": fresh.excluded.due_at, "newest": fresh.excluded.newest},
    ),
)
# SKIP LOCKED: another worker is claiming the locked rows right now; waiting would gain nothing.
_WAITING: Final = Query(
    select(digests.c.workspace_id, digests.c.reported_through, digests.c.failures)
    .where(
        digests.c.due_at <= bindparam("now"),
        or_(digests.c.leased_until.is_(None), digests.c.leased_until <= bindparam("now")),
    )
    .order_by(digests.c.due_at)
    .limit(LIMIT)
    .with_for_update(skip_locked=True)
)
_LEASE: Final = update(digests).where(
    digests.c.workspace_id.in_(bindparam("workspaces", expanding=True))
)
_UPDATE_LEASED: Final = update(digests).where(
    digests.c.workspace_id == bindparam("workspace"), digests.c.lease == bindparam("held")
)
_SENT: Final = Query(
    select(digest_emails.c.user_id, digest_emails.c.through).where(
        digest_emails.c.workspace_id == bindparam("workspace")
    )
)
_NOTE: Final = upsert(
    digest_emails,
    lambda fresh: fresh.on_conflict_do_update(
        index_elements=[digest_emails.c.workspace_id, digest_emails.c.user_id],
        set_={"through": fresh.excluded.through},
    ),
)
_OF_WORKSPACE: Final = digest_emails.c.workspace_id == bindparam("workspace")
_DELETE_SETTLED: Final = delete(digest_emails).where(
    _OF_WORKSPACE,
    ~digest_emails.c.through.between(bindparam("from_event"), bindparam("until_event")),
)
_IS_MORE: Final = or_(
    digests.c.newest > bindparam("last"), exists(select(literal(1)).where(_OF_WORKSPACE))
)
_SETTLE: Final = _UPDATE_LEASED.values(
    due_at=case((_IS_MORE, bindparam("next_day", type_=Instant)), else_=None)
)
_GIVE_UP: Final = _UPDATE_LEASED.values(reported_through=digests.c.newest)
_TOPICS: Final = Query(
    select(preferences.c.user_id, preferences.c.topics).where(
        preferences.c.workspace_id == bindparam("workspace")
    )
)
_CHOOSE: Final = upsert(
    preferences,
    lambda fresh: fresh.on_conflict_do_update(
        index_elements=[preferences.c.workspace_id, preferences.c.user_id],
        set_={"topics": fresh.excluded.topics},
    ),
)


_RELEASED: Final = {"lease": None, "leased_until": None}


@dataclass(frozen=True, slots=True)
class ClaimedDigest:
    """A due digest of a workspace's events after `reported_through`, leased, after that many consecutive failures."""

    workspace_id: WorkspaceId
    reported_through: int
    failures: int
    lease: str


def make_digest_due(tx: Tx, event: Event) -> None:
    """Make a digest due: some time after its first event and at most one a day, or now if the event is urgent."""
    is_urgent = event.type in IMMEDIATE
    schedule = _SCHEDULE_NOW if is_urgent else _SCHEDULE
    row = {
        "workspace_id": event.workspace_id,
        "due_at": event.occurred_at + (timedelta() if is_urgent else GATHERING_DELAY),
        "newest": event.sequence,
    }
    tx.execute(schedule[tx.dialect.name], row)


def claim_digests(tx: Tx, now: datetime, until: datetime, limit: int) -> list[ClaimedDigest]:
    """Lease at most `limit` due digests until then, the longest due first."""
    lease, waiting = new_id("lease", now), _WAITING.all(tx, {"now": now, "limit": limit})
    claims = [ClaimedDigest(id, through, failures, lease) for id, through, failures in waiting]
    if claims:
        among = [claimed.workspace_id for claimed in claims]
        tx.execute(_LEASE, {"workspaces": among, "lease": lease, "leased_until": until})
    return claims


def letters_sent(tx: Tx, workspace_id: WorkspaceId) -> dict[UserId, int]:
    """Return the last event reported to each member whose emails differ from the workspace's digest."""
    return dict(_SENT.all(tx, {"workspace": workspace_id}))


def note_letter(
    tx: Tx, claimed: ClaimedDigest, user_id: UserId, through: int, until: datetime
) -> bool:
    """Record that a member's email reported all events up to `through`, and extend the lease.

    Returns False, and records nothing, if the lease is lost.
    """
    if tx.execute(_UPDATE_LEASED, {**_leased(claimed), "leased_until": until}).rowcount == 0:
        return False
    row = {"workspace_id": claimed.workspace_id, "user_id": user_id, "through": through}
    tx.execute(_NOTE[tx.dialect.name], row)
    return True


def settle_digest(tx: Tx, claimed: ClaimedDigest, through: int, now: datetime) -> None:
    """Record that all events up to `through` were reported; later ones are due in a day."""
    # Members who got their email in an earlier attempt at this digest are behind: keep their rows, and
    # make another digest due, which sends them the rest even if nothing else happens.
    behind = {"from_event": claimed.reported_through + 1, "until_event": through - 1}
    tx.execute(_DELETE_SETTLED, {"workspace": claimed.workspace_id, **behind})
    settled = {"reported_through": through, "sent_at": now, "failures": 0, **_RELEASED}
    values = {"last": through, "next_day": now + INTERVAL, **settled}
    tx.execute(_SETTLE, {**_leased(claimed), **values})


def postpone_digest(tx: Tx, claimed: ClaimedDigest, until: datetime, failures: int) -> None:
    """Release the lease and make the digest due at `until`."""
    postponed = {"due_at": until, "failures": failures, **_RELEASED}
    tx.execute(_UPDATE_LEASED, {**_leased(claimed), **postponed})


def give_up_digest(tx: Tx, claimed: ClaimedDigest, now: datetime) -> None:
    """Drop the digest; the next event starts a new one."""
    dropped = {"sent_at": now, "due_at": None, "failures": 0, **_RELEASED}
    tx.execute(_GIVE_UP, {**_leased(claimed), **dropped})


def topics_chosen(tx: Tx, workspace_id: WorkspaceId) -> dict[UserId, frozenset[Topic]]:
    """Return the topics of the members who have chosen any."""
    rows = _TOPICS.all(tx, {"workspace": workspace_id})
    return {user_id: _parse(topics) for user_id, topics in rows}


def choose_topics(
    tx: Tx, workspace_id: WorkspaceId, user_id: UserId, topics: frozenset[Topic]
) -> None:
    """Store a member's topics."""
    row = {"workspace_id": workspace_id, "user_id": user_id, "topics": " ".join(sorted(topics))}
    tx.execute(_CHOOSE[tx.dialect.name], row)


def _parse(topics: str) -> frozenset[Topic]:
    # Skip unknown topics, which a newer version may have written.
    known = set(Topic)
    return frozenset(Topic(name) for name in topics.split() if name in known)


def _leased(claimed: ClaimedDigest) -> dict[str, str]:
    """Return the digest's id and lease: it matches no row if the lease expired and another worker took over."""
    return {"workspace": claimed.workspace_id, "held": claimed.lease}

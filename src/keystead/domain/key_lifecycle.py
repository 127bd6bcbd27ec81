"""Key events caused by time: expiring, expired, used after its end. Those of unused keys are in disuse.py.

Each event has a deduplication key. An event whose key equals the last one of the same kind was already recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from keystead.domain.events import EventType
from keystead.domain.instants import format_instant, to_microseconds
from keystead.domain.keys import ApiKey, KeyStatus
from keystead.domain.usage import MAX_CALLERS, KeyCaller

EXPIRING_DAYS: Final = (1, 7, 14)
"""Days before expiry at which a key is reported; of several that have passed, only the nearest counts."""


class LifecycleKind(StrEnum):
    """The kinds of lifecycle events. The last event of each kind and key is stored."""

    EXPIRED = "expired"
    EXPIRING = "expiring"
    UNUSED = "unused"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class LifecycleEvent:
    """An event to record: its type and data, and the key that prevents a second one."""

    kind: LifecycleKind
    type: EventType
    dedup_key: str
    data: Mapping[str, object]


def expiry_event(key: ApiKey, now: datetime) -> LifecycleEvent | None:
    """Return the event that the key has expired, or will within 14, 7 or 1 days, if one is due.

    A rotated key has an intended end, so only its expiry counts.
    """
    if key.expires_at is None or key.revoked_at is not None:
        return None
    if key.expires_at <= now:
        dedup_key = expiry_dedup_key(key.expires_at, 0)
        return LifecycleEvent(
            LifecycleKind.EXPIRED, EventType.KEY_EXPIRED, dedup_key, common_data(key)
        )
    days = _days_left(key, key.expires_at, now)
    if days is None or key.rotated_to is not None:
        return None
    dedup_key = expiry_dedup_key(key.expires_at, days)
    data = {**common_data(key), "days": days}
    return LifecycleEvent(LifecycleKind.EXPIRING, EventType.KEY_EXPIRING, dedup_key, data)


def expiry_dedup_key(expires_at: datetime, days: int) -> str:
    """Return the deduplication key of an expiry, that many days before it; 0 for the expiry itself."""
    return f"{to_microseconds(expires_at)}/{days}"


def _days_left(key: ApiKey, expires_at: datetime, now: datetime) -> int | None:
    """Return which of EXPIRING_DAYS has come; None before the first, or if the key was created after it."""
    days = next((days for days in EXPIRING_DAYS if expires_at - now <= timedelta(days=days)), None)
    created_later = days is not None and key.created_at > expires_at - timedelta(days=days)
    return None if created_later else days


def refusal_event(
    key: ApiKey, callers: Sequence[KeyCaller], now: datetime
) -> LifecycleEvent | None:
    """Return the event that clients still call with an ended key, once a day (UTC)."""
    status = key.status(now)
    if status is KeyStatus.ACTIVE:
        return None
    refused = [caller for caller in callers if caller.caller.reason is not None][:MAX_CALLERS]
    refusals = [
        {
            "address": caller.caller.address or None,
            "agent": caller.caller.agent or None,
            "last_at": format_instant(caller.last_at),
            "times": caller.times,
        }
        for caller in refused
    ]
    data = {**common_data(key), "reason": status, "callers": refusals}
    return LifecycleEvent(
        LifecycleKind.REFUSED, EventType.KEY_REFUSED, refusal_dedup_key(now), data
    )


def refusal_dedup_key(now: datetime) -> str:
    """Return the deduplication key of refusals on the day of `now`."""
    return now.date().isoformat()


def common_data(key: ApiKey) -> dict[str, object]:
    """Return what all lifecycle events of a key contain."""
    expires_at = key.expires_at and format_instant(key.expires_at)
    return {"description": key.description, "hint": key.hint, "expires_at": expires_at}

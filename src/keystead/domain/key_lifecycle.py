"""What time alone brings upon a key: it expires soon, it has expired, nobody uses it, it is called though it ended.

A notice bears a mark of what it tells. Where the mark is the one that was told last, there is nothing to tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from keystead.domain.events import EventType
from keystead.domain.instants import format_instant, to_microseconds
from keystead.domain.key_hygiene import UNUSED_AFTER
from keystead.domain.keys import ApiKey, KeyStatus
from keystead.domain.usage import MAX_CALLERS, KeyCaller

EXPIRING_DAYS: Final = (1, 7, 14)
"""How many days before its end a key is spoken of; of several that have passed, the nearest alone."""
UNUSED_INTERVAL: Final = timedelta(days=30)


class LifecycleKind(StrEnum):
    """What a notice is of. Of each kind and key, the last one is remembered."""

    EXPIRED = "expired"
    EXPIRING = "expiring"
    UNUSED = "unused"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class LifecycleEvent:
    """Something to tell of a key: the event's type and data, and the mark that keeps it from being told again."""

    kind: LifecycleKind
    type: EventType
    mark: str
    data: Mapping[str, object]


def expiry_event(key: ApiKey, now: datetime) -> LifecycleEvent | None:
    """That the key has expired, or will in 14, 7 or 1 days. A key that was rotated has its end on purpose."""
    if key.expires_at is None or key.revoked_at is not None:
        return None
    told = _told(key)
    if key.expires_at <= now:
        mark = expiry_dedup_key(key.expires_at, 0)
        return LifecycleEvent(LifecycleKind.EXPIRED, EventType.KEY_EXPIRED, mark, told)
    days = _days_left(key, key.expires_at, now)
    if days is None or key.rotated_to is not None:
        return None
    mark = expiry_dedup_key(key.expires_at, days)
    return LifecycleEvent(
        LifecycleKind.EXPIRING, EventType.KEY_EXPIRING, mark, {**told, "days": days}
    )


def expiry_dedup_key(end: datetime, days: int) -> str:
    """The mark of an end: which, and how many days before it; 0 for the end itself."""
    return f"{to_microseconds(end)}/{days}"


def _days_left(key: ApiKey, end: datetime, now: datetime) -> int | None:
    """Which of the days before its end has come; None where none has, or the key was made later than that."""
    passed = [days for days in EXPIRING_DAYS if end - now <= timedelta(days=days)]
    days = next(iter(passed), None)
    made_later = days is not None and key.created_at > end - timedelta(days=days)
    return None if made_later else days


def unused_event(key: ApiKey, now: datetime) -> LifecycleEvent | None:
    """That a living key was not used for 30 days; and again every 30 days."""
    if key.status(now) is not KeyStatus.ACTIVE or key.rotated_to is not None:
        return None
    used_at = key.last_use.at if key.last_use else None
    mark = unused_dedup_key(key.created_at, used_at, now)
    if mark is None:
        return None
    used = used_at and format_instant(used_at)
    data = {**_told(key), "last_used_at": used, "days": (now - (used_at or key.created_at)).days}
    return LifecycleEvent(LifecycleKind.UNUSED, EventType.KEY_UNUSED, mark, data)


def unused_dedup_key(created_at: datetime, used_at: datetime | None, now: datetime) -> str | None:
    """The mark of a key's disuse: since when, and how often 30 days have passed; None before the first time."""
    since = used_at or created_at
    if now - since < UNUSED_AFTER:
        return None
    return f"{to_microseconds(since)}/{(now - since) // UNUSED_INTERVAL}"


def refusal_event(
    key: ApiKey, callers: Sequence[KeyCaller], now: datetime
) -> LifecycleEvent | None:
    """That an ended key is still called, and by whom; once a day (UTC)."""
    status = key.status(now)
    if status is KeyStatus.ACTIVE:
        return None
    refused = [each for each in callers if each.caller.reason is not None][:MAX_CALLERS]
    told = [
        {
            "address": each.caller.address or None,
            "agent": each.caller.agent or None,
            "last_at": format_instant(each.last_at),
            "times": each.times,
        }
        for each in refused
    ]
    data = {**_told(key), "reason": status, "callers": told}
    return LifecycleEvent(
        LifecycleKind.REFUSED, EventType.KEY_REFUSED, refusal_dedup_key(now), data
    )


def refusal_dedup_key(now: datetime) -> str:
    """The mark of the refusals of that day."""
    return now.date().isoformat()


def _told(key: ApiKey) -> dict[str, object]:
    end = key.expires_at and format_instant(key.expires_at)
    return {"description": key.description, "hint": key.hint, "expires_at": end}

"""Key events caused by time: expiring, expired, used after its end, silent after a rotation; disuse.py has the rest.

Each event has a deduplication key. An event whose key equals the last one of the same kind was already recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from keystead.domain.events import EventType
from keystead.domain.instants import format_instant, to_microseconds
from keystead.domain.keys import ApiKey, KeyStatus
from keystead.domain.rotations import QUIET_MARGIN
from keystead.domain.usage import MAX_CALLERS, KeyCaller

EXPIRING_DAYS: Final = (1, 7, 14)
"""Days before expiry at which a key is reported; of several that have passed, only the nearest counts."""


class LifecycleKind(StrEnum):
    """The kinds of lifecycle events. The last event of each kind and key is stored."""

    EXPIRED = "expired"
    EXPIRING = "expiring"
    UNUSED = "unused"
    REFUSED = "refused"
    REUSED = "reused"


@dataclass(frozen=True, slots=True)
class LifecycleEvent:
    """An event to record: its type and data, and the key that prevents a second one.

    `kind`: a LifecycleKind; for REUSED followed by the network, so that each network has its own last event.
    """

    kind: str
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


def reuse_event(key: ApiKey, address: str | None, now: datetime) -> LifecycleEvent:
    """Return the event that clients still send a key that was rotated, once a day (UTC) and network."""
    data = {**common_data(key), "rotated_to": key.rotated_to, "address": address or None}
    return LifecycleEvent(reuse_kind(address), EventType.KEY_REUSED, refusal_dedup_key(now), data)


def reuse_kind(address: str | None) -> str:
    """Return the kind of that event for a caller's address: one for each /24 of IPv4 and /64 of IPv6."""
    try:
        ip = ip_address(address or "")
    except ValueError:
        return LifecycleKind.REUSED
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    network = ip_network((int(ip), 24 if ip.version == 4 else 64), strict=False)
    return f"{LifecycleKind.REUSED} {network}"


def is_quiet(key: ApiKey, successor: ApiKey, now: datetime) -> bool:
    """Return whether a rotated key ends before its overlap does: its successor is in use, and it has been silent."""
    if key.quiet_seconds is None or key.status(now) is not KeyStatus.ACTIVE:
        return False
    silence = timedelta(seconds=key.quiet_seconds) + QUIET_MARGIN
    since = successor.created_at  # of the rotation
    if key.last_use is not None:
        since = max(since, key.last_use.at)
    return successor.last_use is not None and since + silence <= now


def common_data(key: ApiKey) -> dict[str, object]:
    """Return what all lifecycle events of a key contain."""
    expires_at = key.expires_at and format_instant(key.expires_at)
    return {"description": key.description, "hint": key.hint, "expires_at": expires_at}

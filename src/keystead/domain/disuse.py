"""Keys that are not used: the notices of it, and their end if the policy ends unused keys.

Notices come every 30 days. If the policy ends unused keys, one of them names the day of that end, 14 days or more
ahead. A use in between starts all of it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keystead.domain.events import EventType
from keystead.domain.instants import format_instant, from_microseconds, to_microseconds
from keystead.domain.key_lifecycle import LifecycleEvent, LifecycleKind, common_data
from keystead.domain.keys import ApiKey, KeyStatus

INTERVAL: Final = timedelta(days=30)
NOTICE: Final = timedelta(days=14)
"""The least time between the notice that a key will end for disuse, and that end."""
UNWRITTEN: Final = timedelta(minutes=1)
"""How long after its announced end a key is revoked: by then every use before it is written."""
REASON: Final = "unused"
"""Why a key was revoked, as its event says."""


@dataclass(frozen=True, slots=True)
class Disuse:
    """What was last reported: unused since when, how many times INTERVAL, and the announced end, if any."""

    since: datetime
    intervals: int
    ends_at: datetime | None = None

    @classmethod
    def parse(cls, mark: str | None) -> Disuse | None:
        """Return the disuse that `mark` has; None for None."""
        if mark is None:
            return None
        since, intervals, *ends_at = mark.split("/")
        return cls(
            from_microseconds(int(since)),
            int(intervals),
            from_microseconds(int(ends_at[0])) if ends_at else None,
        )

    @property
    def mark(self) -> str:
        """The text that is stored. A notice with the mark of the last one was already recorded."""
        ends_at = () if self.ends_at is None else (to_microseconds(self.ends_at),)
        return "/".join(map(str, (to_microseconds(self.since), self.intervals, *ends_at)))


def due_notice(
    since: datetime, noted: Disuse | None, end_unused_days: int | None, now: datetime
) -> Disuse | None:
    """Return the notice to record about a key that is unused since then, or None if it needs no notice.

    Args:
        since: The last use; for a key that was never used, its creation.
        noted: The last notice.
        end_unused_days: The policy's; None ends no key.
        now: The time.
    """
    last = noted if noted is not None and noted.since == since else Disuse(since, 0)
    due = Disuse(since, (now - since) // INTERVAL, _announced(last, end_unused_days, now))
    has_news = due.intervals > last.intervals or due.ends_at not in {None, last.ends_at}
    return due if has_news else None


def is_end_due(
    since: datetime, noted: Disuse | None, end_unused_days: int | None, now: datetime
) -> bool:
    """Return whether a key ends for disuse: its end was announced, has passed, and is still the policy's."""
    if noted is None or noted.since != since or noted.ends_at is None:
        return False
    stands = _announced(noted, end_unused_days, now) == noted.ends_at
    return stands and noted.ends_at + UNWRITTEN <= now


def unused_event(key: ApiKey, notice: Disuse, now: datetime) -> LifecycleEvent | None:
    """Return the event of a notice; None for a key that has ended, or has an intended end because it was rotated."""
    ends_at = notice.ends_at
    has_intended_end = key.rotated_to is not None and ends_at is None
    if key.status(now) is not KeyStatus.ACTIVE or has_intended_end:
        return None
    used_at = key.last_use.at if key.last_use else None
    data = {
        **common_data(key),
        "last_used_at": used_at and format_instant(used_at),
        "days": (now - notice.since).days,
        "ends_at": ends_at and format_instant(ends_at),
    }
    return LifecycleEvent(LifecycleKind.UNUSED, EventType.KEY_UNUSED, notice.mark, data)


def unused_since(key: ApiKey) -> datetime:
    """Return the last use of a key; for a key that was never used, its creation."""
    return key.last_use.at if key.last_use else key.created_at


def _announced(last: Disuse, end_unused_days: int | None, now: datetime) -> datetime | None:
    """Return the end to announce: the last one while it fits the policy; None if the policy's is further away."""
    if end_unused_days is None:
        return None
    end = _whole(last.since + timedelta(days=end_unused_days))
    if now < end - NOTICE:
        return None
    earliest = max(end, _whole(now + NOTICE))
    if last.ends_at is not None and end <= last.ends_at <= earliest:
        return last.ends_at
    return earliest


def _whole(time: datetime) -> datetime:
    return time.replace(microsecond=0)

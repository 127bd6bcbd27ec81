"""Signing in to the Developer area: one-time links and sessions, and when each of them stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keystead.domain.ids import UserId, WorkspaceId

LINK_LIFETIME: Final = timedelta(minutes=15)
IDLE_LIMIT: Final = timedelta(hours=1)
ABSOLUTE_LIMIT: Final = timedelta(hours=24)
TOUCH_INTERVAL: Final = timedelta(seconds=60)
"""`seen_at` is written at most this often: reading a page does not write a row each time."""


@dataclass(frozen=True, slots=True)
class SignInLink:
    """Whom a one-time link signs in, where, and until when it may be used."""

    workspace_id: WorkspaceId
    user_id: UserId
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in person. `signed_in_at` is the last proof of who they are."""

    user_id: UserId
    created_at: datetime
    signed_in_at: datetime
    seen_at: datetime
    ended_at: datetime | None = None
    address: str | None = None
    agent: str | None = None

    def stands(self, now: datetime) -> bool:
        """Not ended, used within the last hour, begun within the last 24 hours."""
        return (
            self.ended_at is None
            and now < self.seen_at + IDLE_LIMIT
            and now < self.created_at + ABSOLUTE_LIMIT
        )

    def needs_touch(self, now: datetime) -> bool:
        """Whether its use should be written down again."""
        return now >= self.seen_at + TOUCH_INTERVAL

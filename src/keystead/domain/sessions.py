"""Signing in to the Developer area: one-time links, sessions and known devices, and when each of them stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from keystead.domain.ids import SessionId, UserId, WorkspaceId

LINK_LIFETIME: Final = timedelta(minutes=15)
PORTAL_LINK_LIFETIME: Final = timedelta(minutes=5)
IDLE_LIMIT: Final = timedelta(hours=1)
ABSOLUTE_LIMIT: Final = timedelta(hours=24)
REAUTHENTICATION_AGE: Final = timedelta(minutes=15)
"""How long a proof of who one is suffices for what needs a fresh one."""
TOUCH_INTERVAL: Final = timedelta(seconds=60)
"""`seen_at` is written at most this often: reading a page does not write a row each time."""
DEVICE_LIFETIME: Final = timedelta(days=180)
"""Counted from the last sign-in on that device."""
MAX_DEVICES: Final = 10


class LinkPurpose(StrEnum):
    """What a one-time link is for: where the person lands."""

    SIGN_IN = "sign_in"
    PASSWORD = "password"
    PORTAL = "portal"


class AuthenticationMethod(StrEnum):
    """How a person proved who they are."""

    LINK = "link"
    PASSWORD = "password"
    PORTAL = "portal"
    INVITATION = "invitation"


@dataclass(frozen=True, slots=True)
class Authentication:
    """When and how a person last proved who they are. `return_url`: where a product's own user does it again."""

    at: datetime
    method: AuthenticationMethod
    return_url: str | None = None

    def is_recent(self, now: datetime) -> bool:
        """Whether it was given within the last 15 minutes."""
        return now < self.at + REAUTHENTICATION_AGE


@dataclass(frozen=True, slots=True)
class SignInLink:
    """Whom a one-time link signs in, where, what for, and until when it may be used."""

    workspace_id: WorkspaceId
    user_id: UserId
    expires_at: datetime
    purpose: LinkPurpose = LinkPurpose.SIGN_IN
    return_url: str | None = None

    @property
    def method(self) -> AuthenticationMethod:
        """What its use proves."""
        return (
            AuthenticationMethod.PORTAL
            if self.purpose is LinkPurpose.PORTAL
            else AuthenticationMethod.LINK
        )


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in person's browser. `signed_in_at` and `proven_by`: when and how they last proved who they are.

    The id names the session in lists; what opens it is a secret, of which the rows keep a fingerprint.
    """

    id: SessionId
    user_id: UserId
    created_at: datetime
    signed_in_at: datetime
    seen_at: datetime
    ended_at: datetime | None = None
    address: str | None = None
    agent: str | None = None
    proven_by: AuthenticationMethod = AuthenticationMethod.LINK
    return_url: str | None = None

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

    @property
    def authentication(self) -> Authentication:
        """When and how the person last proved who they are."""
        return Authentication(self.signed_in_at, self.proven_by, self.return_url)


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A browser that signed this person in before: it opens nothing, but has an allowance of its own."""

    user_id: UserId
    created_at: datetime
    used_at: datetime

    def stands(self, now: datetime) -> bool:
        """Used within the last 180 days."""
        return now < self.used_at + DEVICE_LIFETIME

"""Signing in to the Developer area: one-time links, sessions, known devices, and how long each is valid."""

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
"""How long an authentication counts as recent for sensitive actions."""
TOUCH_INTERVAL: Final = timedelta(seconds=60)
"""`seen_at` is written at most once per interval, so that not every page writes a row."""
DEVICE_LIFETIME: Final = timedelta(days=180)
"""Counted from the last sign-in on the device."""
MAX_DEVICES: Final = 10


def may_continue(sent_at: datetime, now: datetime) -> bool:
    """Return whether a form that was sent then continues after a sign-in without another click."""
    return sent_at <= now < sent_at + REAUTHENTICATION_AGE


class LinkPurpose(StrEnum):
    """The purpose of a one-time link, which decides where it leads."""

    SIGN_IN = "sign_in"
    PASSWORD = "password"
    PORTAL = "portal"


class AuthenticationMethod(StrEnum):
    """How a person authenticated."""

    LINK = "link"
    PASSWORD = "password"
    PORTAL = "portal"
    INVITATION = "invitation"


@dataclass(frozen=True, slots=True)
class Authentication:
    """When and how a person last authenticated. `return_url`: the page where a product's user does it again."""

    at: datetime
    method: AuthenticationMethod
    return_url: str | None = None

    def is_recent(self, now: datetime) -> bool:
        """Return whether it happened within the last 15 minutes."""
        return now < self.at + REAUTHENTICATION_AGE


@dataclass(frozen=True, slots=True)
class SignInLink:
    """A one-time link that signs a user in. It doesn't contain the secret."""

    workspace_id: WorkspaceId
    user_id: UserId
    expires_at: datetime
    purpose: LinkPurpose = LinkPurpose.SIGN_IN
    return_url: str | None = None

    @property
    def is_of_portal(self) -> bool:
        """Return whether a product made it for a user of its own."""
        return self.purpose is LinkPurpose.PORTAL

    @property
    def method(self) -> AuthenticationMethod:
        """Return the authentication method of its use."""
        return AuthenticationMethod.PORTAL if self.is_of_portal else AuthenticationMethod.LINK


@dataclass(frozen=True, slots=True)
class Session:
    """A session of a signed-in person. `signed_in_at` and `proven_by`: when and how they last authenticated.

    The id names the session in lists. A separate secret opens it; the rows have its fingerprint.
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

    def is_active(self, now: datetime) -> bool:
        """Return whether it is valid: not ended, used within the last hour, started within the last 24 hours."""
        return (
            self.ended_at is None
            and now < self.seen_at + IDLE_LIMIT
            and now < self.created_at + ABSOLUTE_LIMIT
        )

    def began_since(self, joined_at: datetime | None) -> bool:
        """Return whether it began at or after that time: a former member who joins again signs in again."""
        return joined_at is not None and joined_at <= self.created_at

    def needs_touch(self, now: datetime) -> bool:
        """Return whether to write `seen_at` again."""
        return now >= self.seen_at + TOUCH_INTERVAL

    @property
    def authentication(self) -> Authentication:
        """Return when and how the person last authenticated."""
        return Authentication(self.signed_in_at, self.proven_by, self.return_url)


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A browser that signed this person in before. It grants no access, but has its own backoff policy."""

    user_id: UserId
    created_at: datetime
    used_at: datetime

    def is_active(self, now: datetime) -> bool:
        """Return whether it was used within the last 180 days."""
        return now < self.used_at + DEVICE_LIFETIME

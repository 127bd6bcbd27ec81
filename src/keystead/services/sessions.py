"""Sessions: what all ways of signing in share, as steps within the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from keystead.domain.errors import SessionEnded
from keystead.domain.events import Act, EventType, Origin, Target
from keystead.domain.ids import SessionId, UserId, WorkspaceId, new_id
from keystead.domain.principals import Actor, PrincipalKind
from keystead.domain.sessions import AuthenticationMethod, KnownDevice, LinkPurpose, Session
from keystead.domain.throttle import device_subject
from keystead.domain.time_zones import proposed_zone
from keystead.domain.token import Secret
from keystead.domain.usage import printable
from keystead.domain.workspaces import Member, User, Workspace
from keystead.storage.database import Tx
from keystead.storage.tables import events, throttles, users
from keystead.storage.tables import sessions as rows


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A sign-in as a member of one workspace: secrets for the session's cookie and, if new, the device's."""

    secret: Secret
    member: Member
    device: Secret | None = None
    purpose: LinkPurpose | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """A sign-in of a user with any number of memberships."""

    secret: Secret
    user: User
    members: list[Member]
    device: Secret | None = None


@dataclass(frozen=True, slots=True)
class Visitor:
    """The signed-in user, their session, their memberships and the workspaces of these, the oldest first."""

    session: Session
    user: User
    members: list[Member]
    workspaces: Mapping[WorkspaceId, Workspace]


@dataclass(frozen=True, slots=True)
class Browser:
    """The browser of a sign-in: the request's origin, its user agent, its device's secret, its time zone."""

    origin: Origin
    agent: str | None = None
    device: Secret | None = None
    time_zone: str = ""


def start_session(
    tx: Tx,
    user: User,
    browser: Browser,
    now: datetime,
    by: AuthenticationMethod,
    return_url: str | None = None,
) -> tuple[Secret, Session]:
    """Insert a session of that user, signed in just now. Returns it with its secret.

    A user without a time zone gets the browser's: they see times in it from the first page on.
    """
    zone = proposed_zone(user.time_zone, browser.time_zone)
    if zone is not None:
        users.set_time_zone(tx, user.id, zone)
    secret = Secret.fresh()
    session = Session(
        id=SessionId(new_id("ses", now)),
        user_id=user.id,
        created_at=now,
        signed_in_at=now,
        seen_at=now,
        address=browser.origin.address,
        agent=printable(browser.agent),
        proven_by=by,
        return_url=return_url,
    )
    rows.insert_session(tx, secret.fingerprint(), session)
    return secret, session


def renew_session(tx: Tx, secret: Secret, session: Session) -> Secret:
    """Give the session a new secret, which is returned. Raises SessionEnded if it ended meanwhile."""
    renewed = Secret.fresh()
    if not rows.renew_session(tx, secret.fingerprint(), renewed.fingerprint(), session):
        raise SessionEnded
    return renewed


def require_session(tx: Tx, secret: Secret, now: datetime) -> Session:
    """Return the active session of that secret. Raises SessionEnded."""
    session = rows.find_session(tx, secret.fingerprint())
    if session is None or not session.is_active(now):
        raise SessionEnded
    return session


def remember_device(tx: Tx, user_id: UserId, device: Secret | None, now: datetime) -> Secret | None:
    """Make the device known, with a full allowance. Returns its new secret, or None if it keeps the one it has."""
    if device is not None:
        digest = device.fingerprint()
        known = rows.find_device(tx, digest)
        if known is not None and known.user_id == user_id and known.is_active(now):
            rows.touch_device(tx, digest, now)
            throttles.delete_failures(tx, device_subject(digest))
            return None
    fresh = Secret.fresh()
    rows.insert_device(tx, fresh.fingerprint(), KnownDevice(user_id, now, now))
    return fresh


def with_proof(members: Iterable[Member], session: Session) -> list[Member]:
    """Return the members with the session's proof of identity."""
    return [replace(member, authentication=session.authentication) for member in members]


def record(
    tx: Tx,
    members: Iterable[Member],
    type: EventType,
    now: datetime,
    origin: Origin,
    data: Mapping[str, object] | None = None,
) -> None:
    """Append an event to each workspace of a user who changed their own account."""
    # Sorted: each event locks its workspace's row, and two transactions that lock in one order can't deadlock.
    for member in sorted(members, key=lambda member: member.workspace_id):
        actor = Actor(PrincipalKind.MEMBER, member.user.id, member.user.name)
        target = Target("member", member.user.id)
        events.append_event(tx, member.workspace_id, type, Act(actor, now, origin), target, data)

"""What the ways of signing in have in common: sessions begun, renewed and told of in somebody's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from keystead.domain.errors import SessionEnded
from keystead.domain.events import Act, EventType, Origin, Target
from keystead.domain.ids import SessionId, UserId, new_id
from keystead.domain.principals import Actor, PrincipalKind
from keystead.domain.sessions import AuthenticationMethod, KnownDevice, LinkPurpose, Session
from keystead.domain.throttle import device_subject
from keystead.domain.token import Secret
from keystead.domain.usage import printable
from keystead.domain.workspaces import Member, User
from keystead.storage.database import Tx
from keystead.storage.tables import events, known_devices, throttles
from keystead.storage.tables import sessions as rows


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A fresh session's secret, for the cookie, and where the person lands. `device`: a new secret for its own."""

    secret: Secret
    member: Member
    device: Secret | None = None
    purpose: LinkPurpose | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """The same for somebody who is a member of any number of workspaces, none included."""

    secret: Secret
    user: User
    members: list[Member]
    device: Secret | None = None


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is signed in, in which session, and where they are a member, the oldest workspace first."""

    session: Session
    user: User
    members: list[Member]


@dataclass(frozen=True, slots=True)
class Browser:
    """Where somebody signs in from: the request's origin, what the browser calls itself, its device's secret."""

    origin: Origin
    agent: str | None = None
    device: Secret | None = None


def begin(
    tx: Tx,
    user_id: UserId,
    browser: Browser,
    now: datetime,
    by: AuthenticationMethod,
    return_url: str | None = None,
) -> tuple[Secret, Session]:
    """A session of that person, signed in just now."""
    secret = Secret.fresh()
    session = Session(
        id=SessionId(new_id("ses", now)),
        user_id=user_id,
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


def renew(tx: Tx, secret: Secret, session: Session) -> Secret:
    """The same session under a new secret; the old one opens nothing. SessionEnded where it ended meanwhile."""
    renewed = Secret.fresh()
    if not rows.renew_session(tx, secret.fingerprint(), renewed.fingerprint(), session):
        raise SessionEnded
    return renewed


def require_standing(tx: Tx, secret: Secret, now: datetime) -> Session:
    """The session, or SessionEnded."""
    session = rows.find_session(tx, secret.fingerprint())
    if session is None or not session.is_active(now):
        raise SessionEnded
    return session


def remember_device(tx: Tx, user_id: UserId, device: Secret | None, now: datetime) -> Secret | None:
    """Knows the device from now on, its allowance whole: the secret to give it, None where it holds the right one."""
    if device is not None:
        digest = device.fingerprint()
        found = known_devices.find_device(tx, digest)
        if found is not None and found.user_id == user_id and found.is_active(now):
            known_devices.touch_device(tx, digest, now)
            throttles.delete_failures(tx, device_subject(digest))
            return None
    fresh = Secret.fresh()
    known_devices.insert_device(tx, fresh.fingerprint(), KnownDevice(user_id, now, now))
    return fresh


def proven(members: Iterable[Member], session: Session) -> list[Member]:
    """The members, as they act in that session."""
    return [replace(member, authentication=session.authentication) for member in members]


def record(
    tx: Tx,
    members: Iterable[Member],
    type: EventType,
    now: datetime,
    origin: Origin,
    data: Mapping[str, object] | None = None,
) -> None:
    """One event in each workspace of a person who did something with their own account."""
    for member in sorted(members, key=lambda member: member.workspace_id):
        actor = Actor(PrincipalKind.MEMBER, member.user.id, member.user.name)
        target = Target("member", member.user.id)
        events.append_event(tx, member.workspace_id, type, Act(actor, now, origin), target, data)

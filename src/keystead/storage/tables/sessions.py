"""Sign-in links, sessions and known devices, found by the SHA-256 of their secret."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, bindparam, delete, insert, select, update

from keystead.domain.ids import SessionId, UserId
from keystead.domain.sessions import (
    ABSOLUTE_LIMIT,
    MAX_DEVICES,
    AuthenticationMethod,
    KnownDevice,
    LinkPurpose,
    Session,
    SignInLink,
)
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.tables import known_devices, sessions, sign_in_links

_INSERT_LINK: Final = insert(sign_in_links)
_LINK: Final = (
    sign_in_links.c.workspace_id,
    sign_in_links.c.user_id,
    sign_in_links.c.expires_at,
    sign_in_links.c.purpose,
    sign_in_links.c.return_url,
)
_IS_OPEN_LINK: Final = and_(
    sign_in_links.c.digest == bindparam("link"),
    sign_in_links.c.used_at.is_(None),
    sign_in_links.c.expires_at > bindparam("now"),
)
_FIND_LINK: Final = Query(select(*_LINK).where(_IS_OPEN_LINK))
_CONSUME_LINK: Final = update(sign_in_links).where(_IS_OPEN_LINK).returning(*_LINK)
_DELETE_UNUSED_LINKS: Final = delete(sign_in_links).where(
    sign_in_links.c.user_id == bindparam("user"), sign_in_links.c.used_at.is_(None)
)

_SESSIONS: Final = select(
    sessions.c.id,
    sessions.c.user_id,
    sessions.c.created_at,
    sessions.c.signed_in_at,
    sessions.c.seen_at,
    sessions.c.ended_at,
    sessions.c.address,
    sessions.c.agent,
    sessions.c.proven_by,
    sessions.c.return_url,
)
_IS_SESSION: Final = sessions.c.digest == bindparam("session")
_ONE: Final = Query(_SESSIONS.where(_IS_SESSION))
_OPEN_OF_USER: Final = and_(sessions.c.user_id == bindparam("user"), sessions.c.ended_at.is_(None))
_OF_USER: Final = Query(
    _SESSIONS.where(_OPEN_OF_USER, sessions.c.created_at > bindparam("created_after")).order_by(
        sessions.c.created_at.desc(), sessions.c.id.desc()
    )
)
_INSERT: Final = insert(sessions)
_TOUCH: Final = update(sessions).where(_IS_SESSION, sessions.c.seen_at < bindparam("now"))
_UPDATE_OPEN: Final = update(sessions).where(_IS_SESSION, sessions.c.ended_at.is_(None))
_RENEW: Final = _UPDATE_OPEN.returning(sessions.c.id)
_END_ONE_OF_USER: Final = (
    update(sessions)
    .where(_OPEN_OF_USER, sessions.c.id == bindparam("session"))
    .returning(sessions.c.id)
)
_END_OTHERS_OF_USER: Final = (
    update(sessions)
    .where(_OPEN_OF_USER, sessions.c.id != bindparam("session"))
    .returning(sessions.c.id)
)

_INSERT_DEVICE: Final = insert(known_devices)
_DEVICE: Final = Query(
    select(known_devices.c.user_id, known_devices.c.created_at, known_devices.c.used_at).where(
        known_devices.c.digest == bindparam("device")
    )
)
_LATEST_DEVICES: Final = Query(
    select(known_devices.c.digest)
    .where(known_devices.c.user_id == bindparam("user"))
    .order_by(known_devices.c.used_at.desc(), known_devices.c.digest)
    .limit(MAX_DEVICES)
)
_TOUCH_DEVICE: Final = update(known_devices).where(known_devices.c.digest == bindparam("device"))
_DELETE_DEVICES: Final = delete(known_devices).where(known_devices.c.user_id == bindparam("user"))
_DELETE_OTHER_DEVICES: Final = _DELETE_DEVICES.where(
    known_devices.c.digest.not_in(bindparam("kept", expanding=True))
)


def insert_link(tx: Tx, digest: bytes, link: SignInLink, now: datetime) -> None:
    """Insert a sign-in link."""
    row = {"digest": digest, "created_at": now, **_values(link)}
    tx.execute(_INSERT_LINK, row)


def find_link(tx: Tx, digest: bytes, now: datetime) -> SignInLink | None:
    """Return the link if it is unused and has not expired."""
    row = _FIND_LINK.first(tx, {"link": digest, "now": now})
    return None if row is None else _link(row)


def consume_link(tx: Tx, digest: bytes, now: datetime) -> SignInLink | None:
    """Use the link if it is unused and has not expired. Only one of two concurrent calls gets it."""
    row = tx.execute(_CONSUME_LINK, {"link": digest, "now": now, "used_at": now}).first()
    return None if row is None else _link(row)


def insert_session(tx: Tx, digest: bytes, session: Session) -> None:
    """Insert a session."""
    tx.execute(_INSERT, {"digest": digest, **_values(session)})


def find_session(tx: Tx, digest: bytes) -> Session | None:
    """Return the session, ended or not."""
    row = _ONE.first(tx, {"session": digest})
    return None if row is None else _session(row)


def touch_session(tx: Tx, digest: bytes, now: datetime) -> None:
    """Record that the session was used; the time only moves forward."""
    tx.execute(_TOUCH, {"session": digest, "now": now, "seen_at": now})


def end_session(tx: Tx, digest: bytes, now: datetime) -> None:
    """End the session, unless it has ended before."""
    tx.execute(_UPDATE_OPEN, {"session": digest, "ended_at": now})


def standing_sessions(tx: Tx, user_id: UserId, now: datetime) -> list[Session]:
    """Return the user's valid sessions, newest first."""
    values = {"user": user_id, "created_after": now - ABSOLUTE_LIMIT}
    candidates = map(_session, _OF_USER.all(tx, values))
    return [session for session in candidates if session.is_active(now)]


def renew_session(tx: Tx, digest: bytes, renewed: bytes, session: Session) -> bool:
    """Give a session another secret and a new proof of identity. Returns False if it has ended."""
    values = {"session": digest, "digest": renewed, **_values(session)}
    return tx.execute(_RENEW, values).first() is not None


def end_session_of(tx: Tx, user_id: UserId, session_id: SessionId, now: datetime) -> bool:
    """End one of the user's sessions. Returns False if it doesn't exist or has ended before."""
    ended = {"user": user_id, "session": session_id, "ended_at": now}
    return tx.execute(_END_ONE_OF_USER, ended).first() is not None


def end_other_sessions(tx: Tx, user_id: UserId, current: SessionId, now: datetime) -> int:
    """End all of the user's sessions except one. Returns how many."""
    ended = {"user": user_id, "session": current, "ended_at": now}
    return len(tx.execute(_END_OTHERS_OF_USER, ended).all())


def delete_unused_links(tx: Tx, user_id: UserId) -> None:
    """Delete the user's unused links."""
    tx.execute(_DELETE_UNUSED_LINKS, {"user": user_id})


def _values(value: SignInLink | Session) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _link(row: Sequence[Any]) -> SignInLink:
    workspace_id, user_id, expires_at, purpose, return_url = row
    return SignInLink(
        workspace_id=workspace_id,
        user_id=user_id,
        expires_at=expires_at,
        purpose=LinkPurpose(purpose),
        return_url=return_url,
    )


def _session(row: Sequence[Any]) -> Session:
    id, user_id, created_at, signed_in_at, seen_at, ended_at, *source, proven_by, return_url = row
    address, agent = source
    return Session(
        id=id,
        user_id=user_id,
        created_at=created_at,
        signed_in_at=signed_in_at,
        seen_at=seen_at,
        ended_at=ended_at,
        address=address,
        agent=agent,
        proven_by=AuthenticationMethod(proven_by),
        return_url=return_url,
    )


def insert_device(tx: Tx, digest: bytes, device: KnownDevice) -> None:
    """Insert a device. Deletes the user's least recently used ones beyond ten."""
    row = {
        "digest": digest,
        "user_id": device.user_id,
        "created_at": device.created_at,
        "used_at": device.used_at,
    }
    tx.execute(_INSERT_DEVICE, row)
    latest = set(_LATEST_DEVICES.scalars(tx, {"user": device.user_id})) | {digest}
    tx.execute(_DELETE_OTHER_DEVICES, {"user": device.user_id, "kept": list(latest)})


def find_device(tx: Tx, digest: bytes) -> KnownDevice | None:
    """Return the device, expired or not."""
    row = _DEVICE.first(tx, {"device": digest})
    return None if row is None else KnownDevice(*row)


def touch_device(tx: Tx, digest: bytes, now: datetime) -> None:
    """Record that the user signed in on the device again."""
    tx.execute(_TOUCH_DEVICE, {"device": digest, "used_at": now})


def delete_devices(tx: Tx, user_id: UserId) -> None:
    """Delete all devices of a user."""
    tx.execute(_DELETE_DEVICES, {"user": user_id})

"""Sign-in links, sessions and known devices, found by the SHA-256 of their secret."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

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
from keystead.storage.schema.tables import known_devices, sessions, sign_in_links

_LINK_COLUMNS = [sign_in_links.c[name] for name in SignInLink.__slots__]


def insert_link(tx: Tx, digest: bytes, link: SignInLink, now: datetime) -> None:
    """Insert a sign-in link."""
    row = {"digest": digest, "created_at": now, **_values(link)}
    tx.execute(insert(sign_in_links), row)


def consume_link(tx: Tx, digest: bytes, now: datetime) -> SignInLink | None:
    """Use the link if it is unused and has not expired. Only one of two concurrent calls gets it."""
    used = (
        update(sign_in_links)
        .where(
            sign_in_links.c.digest == digest,
            sign_in_links.c.used_at.is_(None),
            sign_in_links.c.expires_at > now,
        )
        .values(used_at=now)
        .returning(*_LINK_COLUMNS)
    )
    row = tx.execute(used).first()
    return None if row is None else _link(row)


def insert_session(tx: Tx, digest: bytes, session: Session) -> None:
    """Insert a session."""
    tx.execute(insert(sessions), {"digest": digest, **_values(session)})


def find_session(tx: Tx, digest: bytes) -> Session | None:
    """Return the session, ended or not."""
    row = tx.execute(select(sessions).where(sessions.c.digest == digest)).first()
    return None if row is None else _session(row)


def touch_session(tx: Tx, digest: bytes, now: datetime) -> None:
    """Record that the session was used; the time only moves forward."""
    seen = update(sessions).where(sessions.c.digest == digest, sessions.c.seen_at < now)
    tx.execute(seen.values(seen_at=now))


def end_session(tx: Tx, digest: bytes, now: datetime) -> None:
    """End the session, unless it has ended before."""
    ended = update(sessions).where(sessions.c.digest == digest, sessions.c.ended_at.is_(None))
    tx.execute(ended.values(ended_at=now))


def standing_sessions(tx: Tx, user_id: UserId, now: datetime) -> list[Session]:
    """Return the user's valid sessions, newest first."""
    query = select(sessions).where(
        sessions.c.user_id == user_id,
        sessions.c.ended_at.is_(None),
        sessions.c.created_at > now - ABSOLUTE_LIMIT,
    )
    candidates = map(
        _session, tx.execute(query.order_by(sessions.c.created_at.desc(), sessions.c.id.desc()))
    )
    return [session for session in candidates if session.is_active(now)]


def renew_session(tx: Tx, digest: bytes, renewed: bytes, session: Session) -> bool:
    """Give a session another secret and a new proof of identity. Returns False if it has ended."""
    changed = update(sessions).where(sessions.c.digest == digest, sessions.c.ended_at.is_(None))
    values = {"digest": renewed, **_values(session)}
    return tx.execute(changed.values(values).returning(sessions.c.id)).first() is not None


def end_session_of(tx: Tx, user_id: UserId, session_id: SessionId, now: datetime) -> bool:
    """End one of the user's sessions. Returns False if it doesn't exist or has ended before."""
    ended = update(sessions).where(
        sessions.c.id == session_id,
        sessions.c.user_id == user_id,
        sessions.c.ended_at.is_(None),
    )
    return tx.execute(ended.values(ended_at=now).returning(sessions.c.id)).first() is not None


def end_other_sessions(tx: Tx, user_id: UserId, current: SessionId, now: datetime) -> int:
    """End all of the user's sessions except one. Returns how many."""
    ended = update(sessions).where(
        sessions.c.user_id == user_id, sessions.c.id != current, sessions.c.ended_at.is_(None)
    )
    return len(tx.execute(ended.values(ended_at=now).returning(sessions.c.id)).all())


def delete_unused_links(tx: Tx, user_id: UserId) -> None:
    """Delete the user's unused links."""
    unused = delete(sign_in_links).where(
        sign_in_links.c.user_id == user_id, sign_in_links.c.used_at.is_(None)
    )
    tx.execute(unused)


def _values(value: SignInLink | Session) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _link(row: Row[Any]) -> SignInLink:
    return SignInLink(
        workspace_id=row.workspace_id,
        user_id=row.user_id,
        expires_at=row.expires_at,
        purpose=LinkPurpose(row.purpose),
        return_url=row.return_url,
    )


def _session(row: Row[Any]) -> Session:
    return Session(
        id=row.id,
        user_id=row.user_id,
        created_at=row.created_at,
        signed_in_at=row.signed_in_at,
        seen_at=row.seen_at,
        ended_at=row.ended_at,
        address=row.address,
        agent=row.agent,
        proven_by=AuthenticationMethod(row.proven_by),
        return_url=row.return_url,
    )


def insert_device(tx: Tx, digest: bytes, device: KnownDevice) -> None:
    """Insert a device. Deletes the user's least recently used ones beyond ten."""
    row = {
        "digest": digest,
        "user_id": device.user_id,
        "created_at": device.created_at,
        "used_at": device.used_at,
    }
    tx.execute(insert(known_devices), row)
    of_user = select(known_devices.c.digest).where(known_devices.c.user_id == device.user_id)
    newest = of_user.order_by(known_devices.c.used_at.desc(), known_devices.c.digest)
    latest = set(tx.execute(newest.limit(MAX_DEVICES)).scalars()) | {digest}
    tx.execute(
        delete(known_devices).where(
            known_devices.c.user_id == device.user_id, known_devices.c.digest.not_in(latest)
        )
    )


def find_device(tx: Tx, digest: bytes) -> KnownDevice | None:
    """Return the device, expired or not."""
    row = tx.execute(select(known_devices).where(known_devices.c.digest == digest)).first()
    return None if row is None else KnownDevice(row.user_id, row.created_at, row.used_at)


def touch_device(tx: Tx, digest: bytes, now: datetime) -> None:
    """Record that the user signed in on the device again."""
    used = update(known_devices).where(known_devices.c.digest == digest)
    tx.execute(used.values(used_at=now))


def delete_devices(tx: Tx, user_id: UserId) -> None:
    """Delete all devices of a user."""
    tx.execute(delete(known_devices).where(known_devices.c.user_id == user_id))

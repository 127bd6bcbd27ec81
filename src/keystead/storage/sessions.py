"""Sign-in links and sessions in rows, found by the SHA-256 of what the person holds."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, Table, delete, insert, select, update

from keystead.domain.sessions import Session, SignInLink
from keystead.storage.database import Tx
from keystead.storage.schema import sessions, sign_in_links


def insert_link(tx: Tx, digest: bytes, link: SignInLink, now: datetime) -> None:
    """Adds a sign-in link."""
    row = {"digest": digest, "created_at": now, **_values(link)}
    tx.execute(insert(sign_in_links), row)


def consume_link(tx: Tx, digest: bytes, now: datetime) -> SignInLink | None:
    """Uses the link up, if it is unused and has not expired; of two at once, one gets it."""
    used = (
        update(sign_in_links)
        .where(
            sign_in_links.c.digest == digest,
            sign_in_links.c.used_at.is_(None),
            sign_in_links.c.expires_at > now,
        )
        .values(used_at=now)
        .returning(
            sign_in_links.c.workspace_id, sign_in_links.c.user_id, sign_in_links.c.expires_at
        )
    )
    row = tx.execute(used).first()
    return None if row is None else SignInLink(row.workspace_id, row.user_id, row.expires_at)


def insert_session(tx: Tx, digest: bytes, session: Session) -> None:
    """Adds a session."""
    tx.execute(insert(sessions), {"digest": digest, **_values(session)})


def find_session(tx: Tx, digest: bytes) -> Session | None:
    """The session, whether it still stands or not."""
    row = tx.execute(select(sessions).where(sessions.c.digest == digest)).first()
    return None if row is None else _session(row)


def touch_session(tx: Tx, digest: bytes, now: datetime) -> None:
    """Notes that the session was used; forward only."""
    seen = update(sessions).where(sessions.c.digest == digest, sessions.c.seen_at < now)
    tx.execute(seen.values(seen_at=now))


def end_session(tx: Tx, digest: bytes, now: datetime) -> None:
    """Ends the session; the first end stays."""
    ended = update(sessions).where(sessions.c.digest == digest, sessions.c.ended_at.is_(None))
    tx.execute(ended.values(ended_at=now))


def delete_links_before(tx: Tx, instant: datetime, limit: int) -> int:
    """Forgets at most `limit` links that expired before `instant`; how many that were."""
    spent = select(sign_in_links.c.digest).where(sign_in_links.c.expires_at < instant).limit(limit)
    return _delete(tx, sign_in_links, spent)


def delete_sessions_before(tx: Tx, instant: datetime, limit: int) -> int:
    """Forgets at most `limit` sessions that began before `instant`; how many that were."""
    old = select(sessions.c.digest).where(sessions.c.created_at < instant).limit(limit)
    return _delete(tx, sessions, old)


def _delete(tx: Tx, table: Table, digests: Select[Any]) -> int:
    gone = delete(table).where(table.c.digest.in_(digests)).returning(table.c.digest)
    return len(tx.execute(gone).all())


def _values(value: SignInLink | Session) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _session(row: Row[Any]) -> Session:
    return Session(
        user_id=row.user_id,
        created_at=row.created_at,
        signed_in_at=row.signed_in_at,
        seen_at=row.seen_at,
        ended_at=row.ended_at,
        address=row.address,
        agent=row.agent,
    )

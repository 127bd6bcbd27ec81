"""Sign-ins from terminals, found by the digest of either code. Only approved ones belong to a workspace."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, bindparam, delete, exists, func, insert, select, update

from keystead.domain.device_logins import Approval, DeviceLogin, DeviceRequest
from keystead.domain.ids import WorkspaceId
from keystead.domain.keys import KeyDraft
from keystead.storage.database import Tx
from keystead.storage.queries import Change, Query
from keystead.storage.schema.device_login_tables import device_logins

_ROW: Final = device_logins.c
_IS_LOGIN: Final = _ROW.digest == bindparam("of_digest")
_HAS_CODE: Final = _ROW.user_code_digest == bindparam("code")
_IS_PENDING: Final = and_(
    _HAS_CODE,
    _ROW.denied_at.is_(None),
    _ROW.approved_at.is_(None),
    _ROW.expires_at > bindparam("now"),
)
_LOGIN: Final = select(
    _ROW.description,
    _ROW.scopes,
    _ROW.host,
    _ROW.address,
    _ROW.agent,
    _ROW.created_at,
    _ROW.expires_at,
    _ROW.polled_at,
    _ROW.denied_at,
    _ROW.approved_at,
    _ROW.approved_from,
    _ROW.workspace_id,
    _ROW.user_id,
    _ROW.key_description,
    _ROW.key_scopes,
    _ROW.key_expires_at,
)
_BY_DIGEST: Final = Query(_LOGIN.where(_IS_LOGIN))
_LOCKED: Final = Query(_LOGIN.where(_IS_LOGIN).with_for_update())
_BY_CODE: Final = Query(_LOGIN.where(_HAS_CODE))
_COUNTS: Final = Query(
    select(
        func.count(),
        func.count().filter(_ROW.subject == bindparam("subject")),
    ).where(_ROW.expires_at > bindparam("now"))
)
_INSERT: Final = Change(insert(device_logins))
_NOTE_POLL: Final = Change(update(device_logins).where(_IS_LOGIN))
_DECIDE: Final = update(device_logins).where(_IS_PENDING).returning(_ROW.digest)
_DELETE: Final = delete(device_logins).where(_IS_LOGIN)
_DELETE_EXPIRED: Final = delete(device_logins).where(_ROW.expires_at <= bindparam("now"))
_IS_ANY_EXPIRED: Final = Query(select(exists().where(_ROW.expires_at <= bindparam("now"))))
_COLLECT: Final = _DELETE.where(_ROW.workspace_id == bindparam("workspace")).returning(_ROW.digest)


def insert_login(
    tx: Tx, digest: bytes, code_digest: bytes, subject: str, login: DeviceLogin
) -> None:
    """Insert a pending sign-in, found by these digests and counted for that subject."""
    row = {
        "digest": digest,
        "user_code_digest": code_digest,
        "subject": subject,
        "address": login.address,
        "agent": login.agent,
        "host": login.request.host,
        "description": login.request.description,
        "scopes": login.request.scopes,
        "created_at": login.created_at,
        "expires_at": login.expires_at,
    }
    _INSERT.run(tx, row)


def count_logins(tx: Tx, subject: str, now: datetime) -> tuple[int, int]:
    """Return how many sign-ins have not expired: in all, and those of the subject."""
    total, own = _COUNTS.first(tx, {"subject": subject, "now": now}) or (0, 0)
    return total, own


def find_login(tx: Tx, digest: bytes) -> DeviceLogin | None:
    """Return the sign-in with the device code of that digest."""
    return _of_row(_BY_DIGEST.first(tx, {"of_digest": digest}))


def lock_login(tx: Tx, digest: bytes) -> DeviceLogin | None:
    """Like `find_login`, locking the row until the transaction ends."""
    return _of_row(_LOCKED.first(tx, {"of_digest": digest}))


def find_by_user_code(tx: Tx, code_digest: bytes) -> DeviceLogin | None:
    """Return the sign-in with the user code of that digest."""
    return _of_row(_BY_CODE.first(tx, {"code": code_digest}))


def note_poll(tx: Tx, digest: bytes, now: datetime) -> None:
    """Write when the terminal last polled."""
    _NOTE_POLL.run(tx, {"of_digest": digest, "polled_at": now})


def approve_login(tx: Tx, code_digest: bytes, approval: Approval) -> bool:
    """Store the approval of a pending sign-in. Returns False if it is not pending."""
    draft = approval.draft
    values = {
        "approved_at": approval.at,
        "approved_from": approval.address,
        "workspace_id": approval.workspace_id,
        "user_id": approval.user_id,
        "key_description": draft.description,
        "key_scopes": draft.scopes,
        "key_expires_at": draft.expires_at,
    }
    return _decide(tx, code_digest, approval.at, values)


def deny_login(tx: Tx, code_digest: bytes, now: datetime) -> bool:
    """Deny a pending sign-in. Returns False if it is not pending."""
    return _decide(tx, code_digest, now, {"denied_at": now})


def collect_login(tx: Tx, workspace_id: WorkspaceId, digest: bytes) -> bool:
    """Delete an approved sign-in of the workspace. Returns False if another call did."""
    approved = {"of_digest": digest, "workspace": workspace_id}
    return tx.execute(_COLLECT, approved).first() is not None


def delete_login(tx: Tx, digest: bytes) -> None:
    """Delete a sign-in."""
    tx.execute(_DELETE, {"of_digest": digest})


def is_any_expired(tx: Tx, now: datetime) -> bool:
    """Return whether a sign-in has expired."""
    return bool(_IS_ANY_EXPIRED.scalar(tx, {"now": now}))


def delete_expired(tx: Tx, now: datetime) -> None:
    """Delete all sign-ins that have expired."""
    tx.execute(_DELETE_EXPIRED, {"now": now})


def _decide(tx: Tx, code_digest: bytes, now: datetime, values: dict[str, Any]) -> bool:
    decided = tx.execute(_DECIDE, {"code": code_digest, "now": now, **values})
    return decided.first() is not None


def _of_row(row: Sequence[Any] | None) -> DeviceLogin | None:
    if row is None:
        return None
    description, scopes, host, address, agent, created_at, expires_at, polled_at, denied_at = row[
        :9
    ]
    return DeviceLogin(
        DeviceRequest(description, scopes, host),
        address,
        agent,
        created_at,
        expires_at,
        polled_at,
        denied_at,
        _approval_of(*row[9:]),
    )


def _approval_of(
    at: Any, address: Any, workspace_id: Any, user_id: Any, description: Any, scopes: Any, end: Any
) -> Approval | None:
    if at is None:
        return None
    return Approval(workspace_id, user_id, at, address, KeyDraft(description, end, scopes))

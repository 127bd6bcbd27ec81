"""Credentials of the product's own services and operators, separate from the keys of workspaces."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Text, bindparam, func, insert, select, update

from keystead.domain.credentials import Credential, CredentialKind
from keystead.domain.digest import Digest
from keystead.domain.ids import CredentialId, WorkspaceId
from keystead.domain.principals import PrincipalKind
from keystead.domain.revocation_log import CREDENTIAL_REVOKED, RevocationEntry
from keystead.storage.database import Tx
from keystead.storage.freshness.revocation_log import note_revocation
from keystead.storage.queries import Query
from keystead.storage.schema.columns import ABOVE_EVERY_ID, LIMIT, actor_of, actor_values
from keystead.storage.schema.tables import credentials

_ALL: Final = select(
    credentials.c.id,
    credentials.c.kind,
    credentials.c.name,
    credentials.c.hint,
    credentials.c.created_at,
    credentials.c.created_by_kind,
    credentials.c.created_by_id,
    credentials.c.created_by_name,
    credentials.c.revoked_at,
    credentials.c.revoked_by,
)
_ONE: Final = Query(_ALL.where(credentials.c.id == bindparam("credential")))
_SERIAL: Final = func.substr(credentials.c.id, func.length(credentials.c.kind) + 2)
"""The id without its kind, which rises with time."""
_NEWEST_FIRST: Final = Query(_ALL.order_by(_SERIAL.desc()))
_PAGE: Final = Query(
    _ALL.where(bindparam("before") > _SERIAL).order_by(_SERIAL.desc()).limit(LIMIT)
)
_CREATED_BY: Final = Query(
    _ALL.where(
        credentials.c.created_by_kind == PrincipalKind.OPERATOR,
        credentials.c.created_by_id == bindparam("credential"),
    ).order_by(credentials.c.id)
)
_LIVE: Final = Query(
    select(credentials.c.id).where(
        credentials.c.id == bindparam("credential"), credentials.c.revoked_at.is_(None)
    )
)
_PEPPERS: Final = Query(
    select(credentials.c.pepper_id).where(credentials.c.revoked_at.is_(None)).distinct()
)
_INSERT: Final = insert(credentials)
_REVOKE: Final = update(credentials).where(
    credentials.c.id == bindparam("credential"), credentials.c.revoked_at.is_(None)
)
_LOCK_NUMBER: Final = func.hashtextextended(bindparam("credential", type_=Text), 0)
_HOLD: Final = Query(select(func.pg_advisory_xact_lock_shared(_LOCK_NUMBER)))
_LOCK: Final = Query(select(func.pg_advisory_xact_lock(_LOCK_NUMBER)))


def insert_credential(tx: Tx, credential: Credential, digest: Digest) -> None:
    """Insert a credential with the digest of its token."""
    tx.execute(
        _INSERT,
        {
            "id": credential.id,
            "kind": credential.kind,
            "name": credential.name,
            "hint": credential.hint,
            "pepper_id": digest.pepper_id,
            "digest": digest.value,
            "created_at": credential.created_at,
            **actor_values("created_by", credential.created_by),
        },
    )


def find_credential(tx: Tx, credential_id: CredentialId) -> Credential | None:
    """Return the credential of that id."""
    row = _ONE.first(tx, {"credential": credential_id})
    return None if row is None else _from_row(row)


def all_credentials(tx: Tx) -> list[Credential]:
    """Return every credential, revoked ones too, newest first."""
    return [_from_row(row) for row in _NEWEST_FIRST.all(tx)]


def page_of_credentials(tx: Tx, *, limit: int, before: str | None = None) -> list[Credential]:
    """Return at most `limit` credentials, newest first, whose ids without their kinds are below `before`."""
    values = {"before": before or ABOVE_EVERY_ID, "limit": limit}
    return [_from_row(row) for row in _PAGE.all(tx, values)]


def credentials_created_by(tx: Tx, credential_id: CredentialId) -> list[Credential]:
    """Return the credentials that this one created, revoked ones too."""
    return [_from_row(row) for row in _CREATED_BY.all(tx, {"credential": credential_id})]


def hold_credential(tx: Tx, credential_id: CredentialId) -> bool:
    """Return whether the credential is live. Revoking it then waits for the end of this transaction."""
    # An advisory lock, since a row lock needs UPDATE, and the application's role may only read here.
    _take_lock(tx, _HOLD, credential_id)
    return _LIVE.first(tx, {"credential": credential_id}) is not None


def revoke_credential(tx: Tx, credential_id: CredentialId, now: datetime, revoked_by: str) -> None:
    """Revoke the credential after its running changes have ended. A second call changes nothing."""
    _take_lock(tx, _LOCK, credential_id)
    revoked = {"credential": credential_id, "revoked_at": now, "revoked_by": revoked_by}
    tx.execute(_REVOKE, revoked)
    note_revocation(tx, RevocationEntry(now, CREDENTIAL_REVOKED, WorkspaceId(""), 0, credential_id))


def pepper_ids_of_live_credentials(tx: Tx) -> set[str]:
    """Return the ids of the peppers that unrevoked credentials need."""
    return set(_PEPPERS.scalars(tx))


def _take_lock(tx: Tx, lock: Query, credential_id: CredentialId) -> None:
    """Take an advisory lock for the credential on PostgreSQL. SQLite has a single writer anyway."""
    if tx.dialect.name == "postgresql":
        lock.first(tx, {"credential": credential_id})


def _from_row(row: Sequence[Any]) -> Credential:
    id, kind, name, hint, created_at, creator_kind, creator_id, creator_name, *revoked = row
    return Credential(
        id,
        CredentialKind(kind),
        name,
        hint,
        created_at,
        actor_of(creator_kind, creator_id, creator_name),
        *revoked,
    )

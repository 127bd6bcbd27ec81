"""Credentials of the product's own services and operators, separate from the keys of workspaces."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from keystead.domain.credentials import Credential, CredentialKind
from keystead.domain.digest import Digest
from keystead.domain.ids import CredentialId, WorkspaceId
from keystead.domain.revocation_log import CREDENTIAL_REVOKED, RevocationEntry
from keystead.storage.database import Tx
from keystead.storage.freshness.revocation_log import note_revocation
from keystead.storage.schema.columns import actor_of, actor_values
from keystead.storage.schema.tables import credentials

_COLUMNS = [column for column in credentials.c if column.name not in {"digest", "pepper_id"}]


def insert_credential(tx: Tx, credential: Credential, digest: Digest) -> None:
    """Insert a credential with the digest of its token."""
    tx.execute(
        insert(credentials),
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
    row = tx.execute(select(*_COLUMNS).where(credentials.c.id == credential_id)).first()
    return None if row is None else _from_row(row)


def all_credentials(tx: Tx) -> list[Credential]:
    """Return every credential, revoked ones too, newest first."""
    rows = tx.execute(select(*_COLUMNS).order_by(credentials.c.id.desc()))
    return [_from_row(row) for row in rows]


def hold_credential(tx: Tx, credential_id: CredentialId) -> bool:
    """Return whether the credential is live. Revoking it then waits for the end of this transaction."""
    # An advisory lock, since a row lock needs UPDATE, and the application's role may only read here.
    _lock(tx, func.pg_advisory_xact_lock_shared, credential_id)
    live = select(credentials.c.id).where(
        credentials.c.id == credential_id, credentials.c.revoked_at.is_(None)
    )
    return tx.execute(live).first() is not None


def revoke_credential(tx: Tx, credential_id: CredentialId, now: datetime, revoked_by: str) -> None:
    """Revoke the credential after its running changes have ended. A second call changes nothing."""
    _lock(tx, func.pg_advisory_xact_lock, credential_id)
    ended = update(credentials).where(
        credentials.c.id == credential_id, credentials.c.revoked_at.is_(None)
    )
    tx.execute(ended.values(revoked_at=now, revoked_by=revoked_by))
    note_revocation(tx, RevocationEntry(now, CREDENTIAL_REVOKED, WorkspaceId(""), 0, credential_id))


def pepper_ids_of_live_credentials(tx: Tx) -> set[str]:
    """Return the ids of the peppers that unrevoked credentials need."""
    live = select(credentials.c.pepper_id).where(credentials.c.revoked_at.is_(None))
    return set(tx.execute(live.distinct()).scalars())


def _lock(tx: Tx, lock: Any, credential_id: CredentialId) -> None:
    """Take an advisory lock for the credential on PostgreSQL. SQLite has a single writer anyway."""
    if tx.dialect.name == "postgresql":
        tx.execute(select(lock(func.hashtextextended(credential_id, 0))))


def _from_row(row: Row[Any]) -> Credential:
    return Credential(
        id=row.id,
        kind=CredentialKind(row.kind),
        name=row.name,
        hint=row.hint,
        created_at=row.created_at,
        created_by=actor_of(row, "created_by"),
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
    )

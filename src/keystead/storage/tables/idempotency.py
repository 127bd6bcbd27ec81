"""Idempotency keys: claimed before the work, completed with its result; never a token."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update

from keystead.domain.ids import WorkspaceId
from keystead.storage.database import Tx
from keystead.storage.schema.tables import idempotency_keys as rows


@dataclass(frozen=True, slots=True)
class Claim:
    """A request with an Idempotency-Key, and the id of what it created (None while it is in progress)."""

    workspace_id: WorkspaceId
    caller: str
    key: str
    fingerprint: bytes
    claim: str
    claimed_at: datetime
    resource_id: str | None = None


def find_claim(tx: Tx, workspace_id: WorkspaceId, caller: str, key: str) -> Claim | None:
    """Return the claim on that Idempotency-Key."""
    row = tx.execute(select(rows).where(*_is(workspace_id, caller, key))).first()
    return None if row is None else Claim(**row._mapping)


def insert_claim(tx: Tx, claim: Claim) -> None:
    """Insert the claim, replacing an earlier one."""
    tx.execute(delete(rows).where(*_is(claim.workspace_id, claim.caller, claim.key)))
    values = {name: getattr(claim, name) for name in Claim.__slots__}
    tx.execute(insert(rows), values)


def finish_claim(tx: Tx, claim: Claim, resource_id: str) -> bool:
    """Record the result of the claim. Returns False if another request has taken the key over."""
    finished = update(rows).where(*_mine(claim)).values(resource_id=resource_id)
    return tx.execute(finished.returning(rows.c.claim)).first() is not None


def delete_claim(tx: Tx, claim: Claim) -> None:
    """Release the Idempotency-Key, unless another request has taken it over."""
    tx.execute(delete(rows).where(*_mine(claim)))


def delete_claims_before(tx: Tx, workspace_id: WorkspaceId, instant: datetime) -> None:
    """Delete a workspace's expired claims."""
    tx.execute(delete(rows).where(rows.c.workspace_id == workspace_id, rows.c.claimed_at < instant))


def _mine(claim: Claim) -> tuple[Any, ...]:
    return (*_is(claim.workspace_id, claim.caller, claim.key), rows.c.claim == claim.claim)


def _is(workspace_id: WorkspaceId, caller: str, key: str) -> tuple[Any, ...]:
    return rows.c.workspace_id == workspace_id, rows.c.caller == caller, rows.c.key == key

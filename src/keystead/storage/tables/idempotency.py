"""Idempotency keys: claimed before the work, completed with its result; never a token."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import and_, bindparam, delete, insert, select, update

from keystead.domain.ids import WorkspaceId
from keystead.storage.database import Tx
from keystead.storage.queries import Query
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


_IS_ONE: Final = and_(
    rows.c.workspace_id == bindparam("of_workspace"),
    rows.c.caller == bindparam("of_caller"),
    rows.c.key == bindparam("of_key"),
)
_IS_MINE: Final = and_(_IS_ONE, rows.c.claim == bindparam("of_claim"))
_ONE: Final = Query(select(*(rows.c[name] for name in Claim.__slots__)).where(_IS_ONE))
_INSERT: Final = insert(rows)
_DELETE: Final = delete(rows).where(_IS_ONE)
_FINISH: Final = update(rows).where(_IS_MINE).returning(rows.c.claim)
_RELEASE: Final = delete(rows).where(_IS_MINE)
_DELETE_EXPIRED: Final = delete(rows).where(
    rows.c.workspace_id == bindparam("of_workspace"), rows.c.claimed_at < bindparam("before")
)


def find_claim(tx: Tx, workspace_id: WorkspaceId, caller: str, key: str) -> Claim | None:
    """Return the claim on that Idempotency-Key."""
    row = _ONE.first(tx, _id(workspace_id, caller, key))
    return None if row is None else Claim(*row)


def insert_claim(tx: Tx, claim: Claim) -> None:
    """Insert the claim, replacing an earlier one."""
    tx.execute(_DELETE, _id(claim.workspace_id, claim.caller, claim.key))
    tx.execute(_INSERT, {name: getattr(claim, name) for name in Claim.__slots__})


def finish_claim(tx: Tx, claim: Claim, resource_id: str) -> bool:
    """Record the result of the claim. Returns False if another request has taken the key over."""
    return tx.execute(_FINISH, {**_mine(claim), "resource_id": resource_id}).first() is not None


def delete_claim(tx: Tx, claim: Claim) -> None:
    """Release the Idempotency-Key, unless another request has taken it over."""
    tx.execute(_RELEASE, _mine(claim))


def delete_claims_before(tx: Tx, workspace_id: WorkspaceId, instant: datetime) -> None:
    """Delete a workspace's expired claims."""
    tx.execute(_DELETE_EXPIRED, {"of_workspace": workspace_id, "before": instant})


def _mine(claim: Claim) -> dict[str, str]:
    return {**_id(claim.workspace_id, claim.caller, claim.key), "of_claim": claim.claim}


def _id(workspace_id: WorkspaceId, caller: str, key: str) -> dict[str, str]:
    return {"of_workspace": workspace_id, "of_caller": caller, "of_key": key}

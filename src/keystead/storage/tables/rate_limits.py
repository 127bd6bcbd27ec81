"""The rate limits of a key: its plan's, or its own."""

from __future__ import annotations

from sqlalchemy import and_, delete, func, insert, literal, select

from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.rate_limits import RateLimits
from keystead.storage.database import Tx
from keystead.storage.schema.tables import key_rates, plans, workspaces


def rate_limits_of(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId) -> RateLimits:
    """Return the rate limits for requests with that key. Its own limit replaces the plan's per-key limit."""
    own = and_(key_rates.c.workspace_id == workspaces.c.id, key_rates.c.key_id == literal(key_id))
    query = (
        select(
            plans.c.workspace_per_minute,
            func.coalesce(key_rates.c.per_minute, plans.c.key_per_minute),
        )
        .select_from(workspaces)
        .join(plans, workspaces.c.plan_id == plans.c.id)
        .outerjoin(key_rates, own)
        .where(workspaces.c.id == workspace_id)
    )
    row = tx.execute(query).first()
    return RateLimits() if row is None else RateLimits(*row)


def find_key_rate(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId) -> int | None:
    """Return the key's own rate limit."""
    query = select(key_rates.c.per_minute).where(
        key_rates.c.workspace_id == workspace_id, key_rates.c.key_id == key_id
    )
    number: int | None = tx.execute(query).scalar()
    return number


def set_key_rate(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId, per_minute: int | None) -> None:
    """Set or remove the key's own rate limit, under the workspace's lock."""
    tx.execute(
        delete(key_rates).where(
            key_rates.c.workspace_id == workspace_id, key_rates.c.key_id == key_id
        )
    )
    if per_minute is not None:
        row = {"workspace_id": workspace_id, "key_id": key_id, "per_minute": per_minute}
        tx.execute(insert(key_rates), row)

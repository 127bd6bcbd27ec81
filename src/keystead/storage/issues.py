"""What introspection tells of a key that stands, beside what its verification read: one statement."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select

from keystead.domain.ids import KeyId, WorkspaceId
from keystead.storage.database import Tx
from keystead.storage.schema import api_keys, workspaces


class Issue(NamedTuple):
    """When a key was made, and for whom."""

    at: datetime
    workspace_name: str
    plan_id: str


def find_issue(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId) -> Issue | None:
    """The issue of the workspace's key of that id."""
    joined = api_keys.join(workspaces, workspaces.c.id == api_keys.c.workspace_id)
    wanted = select(api_keys.c.created_at, workspaces.c.name, workspaces.c.plan_id)
    row = tx.execute(
        wanted.select_from(joined).where(
            api_keys.c.workspace_id == workspace_id, api_keys.c.id == key_id
        )
    ).first()
    return None if row is None else Issue(*row)

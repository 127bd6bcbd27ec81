"""What introspection tells of a key that stands, beside what its verification read: one statement."""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import select

from keystead.storage.point_reads.by_id import ById, Readings
from keystead.storage.schema.tables import api_keys, workspaces

ISSUE: Final = ById(
    select(
        api_keys.c.id,
        api_keys.c.created_at,
        workspaces.c.name,
        workspaces.c.plan_id,
    ).join(workspaces, workspaces.c.id == api_keys.c.workspace_id),
    api_keys.c.id,
)
"""Its columns behind the id are Issue's fields, in order."""


class Issue(NamedTuple):
    """When a key was made (microseconds since 1970), and for whom."""

    at: int
    workspace_name: str
    plan_id: str


class IssueLookup:
    """Reads the issue of one key, each time: a workspace's name and plan may change without an end of anything."""

    def __init__(self, readings: Readings) -> None:
        self._read = readings.of(ISSUE)

    async def find_on_loop(self, key_id: str) -> Issue | None:
        """The issue of the key that was verified, or None. Unavailable where the database does not answer."""
        row = await self._read(key_id)
        return None if row is None else Issue._make(row[1:])

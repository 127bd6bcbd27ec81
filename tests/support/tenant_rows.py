"""Rows of two workspaces in every table that belongs to one, and interleaved transactions over them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from random import Random
from typing import Any, Final

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import postgresql

from keystead.domain.errors import Unavailable
from keystead.domain.ids import WorkspaceId
from keystead.storage import database as databases
from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import SETTING, Purpose
from keystead.storage.row_security.diff import SERVER_ROLE
from keystead.storage.row_security.grants import TENANT_ROWS
from keystead.storage.schema import tables as schema
from tests.support.administrator import write_behind
from tests.support.installations import UNLIMITED

OURS, THEIRS = WorkspaceId("ws_ours"), WorkspaceId("ws_theirs")
CHOSEN: Final[dict[tuple[str, str], Any]] = {
    ("workspaces", "plan_id"): UNLIMITED,
    ("webhook_endpoints", "status"): "active",
    ("webhook_endpoints", "sealed"): b"sealed",
    ("deliveries", "status"): "delivered",
    ("users", "portal_user_id"): "1",
    ("device_logins", "approved_at"): 1,
}
"""The values of columns that do not accept any value, or require one."""
ALSO: Final = {
    "webhook_endpoints": ["sealed"],
    "users": ["portal_workspace_id", "portal_user_id"],
    "api_keys": ["rotated_to"],
    "invitations": ["accepted_by"],
    "device_logins": ["workspace_id", "approved_at"],
}
"""Nullable columns that have a value in a generated row."""
WHO: Final = "SELECT current_user::text, session_user::text, coalesce(current_setting(%(setting)s, true), '')"


class Rollback(Exception):
    """An exception that ends a transaction without a trace."""


def fill(database: Database) -> None:
    """Insert a row of each of two workspaces in every table that belongs to one."""
    with write_behind(database) as tx:
        for workspace_id in (OURS, THEIRS):
            for table in schema.metadata.sorted_tables:
                if table.name in TENANT_ROWS:
                    _insert(tx, table.name, workspace_id)


def _insert(tx: Tx, table: str, workspace_id: str) -> None:
    """Insert a row whose every name is the workspace's, so that it refers only to rows of its own workspace."""
    row = row_of(table, needed_columns(table), workspace_id)
    names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
    tx.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values}) ON CONFLICT DO NOTHING"), row)


def row_of(table: str, needed: list[tuple[str, str]], workspace_id: str) -> dict[str, Any]:
    """Return a row of a workspace with a value in each of these columns."""
    return {name: _value(table, name, type, workspace_id) for name, type in needed}


def needed_columns(table: str) -> list[tuple[str, str]]:
    """Return the columns that require a value, with PostgreSQL's names of their types."""
    also = ALSO.get(table, [])
    return [
        (column.name, column.type.compile(dialect=postgresql.dialect()).lower())  # type: ignore[no-untyped-call]
        for column in schema.metadata.tables[table].columns
        if column.name in also or not (column.nullable or column.server_default or column.identity)
    ]


def _value(table: str, column: str, type: str, workspace_id: str) -> Any:
    whole = {"bigint": 1, "integer": 1, "bytea": workspace_id.encode().ljust(32), "tsvector": ""}
    return CHOSEN.get((table, column), whole.get(type, workspace_id))


def interleave(url: str, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run that many transactions of three threads over two connections: some roll back, some are the login's own."""
    monkeypatch.setattr(databases, "POOL_SIZE", 1)
    seen = "SELECT DISTINCT workspace_id FROM api_keys"
    with closing(Database(url)) as pooled, ThreadPoolExecutor(3) as threads:

        def leak_of(number: int) -> str | None:
            """Return the rows that were visible and should not have been. Retry if no connection was free in time."""
            with suppress(Unavailable):
                return attempt(number)
            return leak_of(number)

        def attempt(number: int) -> str | None:
            random = Random(number)
            workspace_id = random.choice((OURS, THEIRS))
            if random.random() < 0.2:
                with pooled.read_across(Purpose.SERVER) as tx:
                    who = tx.exec_driver_sql(WHO, {"setting": SETTING}).one()
                return None if tuple(who) == (SERVER_ROLE, SERVER_ROLE, "") else f"login: {who}"
            work = pooled.read if random.random() < 0.7 else pooled.write
            with suppress(Rollback), work(workspace_id) as tx:
                owners = list(tx.execute(text(seen)).scalars())
                if owners != [workspace_id]:
                    return f"{workspace_id}: {owners}"
                if random.random() < 0.2:
                    raise Rollback
            return None

        wrong = [leak for leak in threads.map(leak_of, range(times)) if leak]
    assert wrong == []

"""Loading a population into an empty, migrated database: by the raw driver, rebuilding indexes afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

import psycopg

from bench.populations import Population, Row
from keystead.storage.engine.connections import sqlite_driver

BATCH: Final = 20_000
NOW: Final = time.time_ns() // 1000
_WORKSPACES: Final = "workspaces (id, name, plan_id, limit_overrides, created_at)"
_KEYS: Final = (
    "api_keys (id, workspace_id, description, folded_description, hint, pepper_id, digest, scopes, created_at,"
    " created_by_kind, created_by_id, created_by_name, expires_at, revoked_at)"
)
_AFTERWARDS: Final = (
    """
    INSERT INTO key_use (key_id, workspace_id, last_used_at, last_used_ip, last_used_agent)
    SELECT id, workspace_id, created_at + 86400000000, '192.0.2.1', 'bench/1.0' FROM api_keys
    WHERE created_at / 4000000 % 3 = 0 ORDER BY id
    """,
    """
    INSERT INTO events (workspace_id, sequence, id, type, occurred_at, actor_kind, actor_id, actor_name,
        target_type, target_id, data)
    SELECT workspace_id, row_number() OVER (PARTITION BY workspace_id ORDER BY id), 'evt' || substr(id, 4),
        'key.created', created_at, 'operator', 'bench', 'bench', 'key', id, '{}'
    FROM api_keys WHERE created_at / 4000000 % 5 = 0 ORDER BY workspace_id, id
    """,
    """
    UPDATE workspaces SET last_event =
        (SELECT coalesce(max(sequence), 0) FROM events WHERE events.workspace_id = workspaces.id)
    """,
    f"""
    INSERT INTO key_counts (workspace_id, counted, at) SELECT workspace_id, count(*), {NOW} FROM api_keys
    WHERE revoked_at IS NULL AND rotated_to IS NULL AND (expires_at IS NULL OR expires_at > {NOW})
    GROUP BY workspace_id
    """,
)
"""Yield the uses of every third key and an event for every fifth; counts are written as at creation."""
_UNSAFE: Final = (
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA cache_size = -2000000",
)
_KEPT: Final = """
    SELECT type, name, sql FROM sqlite_master
    WHERE type IN ('index', 'trigger') AND tbl_name IN ('api_keys', 'events') AND sql IS NOT NULL
"""
_LOAD: Final = (
    "SET synchronous_commit = off",
    "SET maintenance_work_mem = '512MB'",
    "SET work_mem = '512MB'",
)
_CONSTRAINTS: Final = """
    SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid) FROM pg_constraint
    WHERE contype IN ('f', 'u') AND connamespace = 'public'::regnamespace AND
        (conrelid IN ('api_keys'::regclass, 'events'::regclass) OR confrelid = 'api_keys'::regclass)
    ORDER BY contype
"""
_INDEXES: Final = """
    SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
    WHERE indrelid IN ('api_keys'::regclass, 'events'::regclass) AND NOT indisprimary
"""


def load(url: str, population: Population) -> None:
    """Fill the database at `url` (its owner's) with the population. It must not be in use."""
    if url.startswith("sqlite:///"):
        _load_sqlite(url.removeprefix("sqlite:///"), population)
    else:
        _load_postgresql(url, population)


def _load_sqlite(path: str, population: Population) -> None:
    connection = sqlite_driver.connect(path, isolation_level=None)
    for pragma in _UNSAFE:
        connection.execute(pragma).fetchall()
    kept = connection.execute(_KEPT).fetchall()
    connection.execute("BEGIN")
    for type, name, _ in kept:
        connection.execute(f"DROP {type} {name}")
    for table, rows in ((_WORKSPACES, population.workspace_rows()), (_KEYS, population.key_rows())):
        for batch in _batches(rows):
            marks = ", ".join("?" * len(batch[0]))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", batch)
    for statement in (*_AFTERWARDS, *(sql for *_, sql in kept)):
        connection.execute(statement)
    connection.execute("COMMIT")
    connection.close()


def _load_postgresql(dsn: str, population: Population) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for setting in _LOAD:
            connection.execute(setting)
        connection.execute("ALTER TABLE api_keys DISABLE TRIGGER USER")
        constraints = connection.execute(_CONSTRAINTS).fetchall()
        for table, name, _ in constraints:
            connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}".encode())
        indexes = connection.execute(_INDEXES).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}".encode())
        for table, rows in (
            (_WORKSPACES, population.workspace_rows()),
            (_KEYS, population.key_rows()),
        ):
            _copy(connection, table, rows)
        for statement in (*_AFTERWARDS, *(definition for _, definition in indexes)):
            connection.execute(statement.encode())
        for table, name, definition in reversed(constraints):
            unchecked = " NOT VALID" if definition.startswith("FOREIGN") else ""
            added = f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}{unchecked}"
            connection.execute(added.encode())
        connection.execute("ALTER TABLE api_keys ENABLE TRIGGER USER")
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def _copy(connection: psycopg.Connection[Any], table: str, rows: Iterable[Row]) -> None:
    with connection.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
        for batch in _batches(rows):
            copy.write("".join("\t".join(map(_written, row)) + "\n" for row in batch))


def _written(value: object) -> str:
    """Format values for COPY; a population contains nothing to escape."""
    if value is None:
        return "\\N"
    return f"\\\\x{value.hex()}" if isinstance(value, bytes) else str(value)


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    source = iter(rows)
    while batch := list(islice(source, BATCH)):
        yield batch

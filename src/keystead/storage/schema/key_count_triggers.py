"""Triggers with which the database counts the keys of each workspace.

`key_counts.counted` is the number of keys that are neither revoked nor rotated, and expire after `at` or
never. Being triggers, they count the writes of every server, older versions included. Keys also expire
without a write: a reader adjusts the count by the keys that expire between `at` and now, from an index.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection

_ON_SQLITE: Final = (
    """
    CREATE TRIGGER api_keys_added AFTER INSERT ON api_keys
    WHEN new.revoked_at IS NULL AND new.rotated_to IS NULL BEGIN
        INSERT INTO key_counts (workspace_id, counted, at) VALUES (new.workspace_id, 1, 0)
        ON CONFLICT (workspace_id) DO UPDATE SET counted = counted + (new.expires_at IS NULL OR new.expires_at > at);
    END
    """,
    """
    CREATE TRIGGER api_keys_changed AFTER UPDATE OF revoked_at, rotated_to, expires_at ON api_keys
    WHEN old.revoked_at IS NOT new.revoked_at OR old.rotated_to IS NOT new.rotated_to
        OR old.expires_at IS NOT new.expires_at BEGIN
        UPDATE key_counts SET counted = counted
            + (new.revoked_at IS NULL AND new.rotated_to IS NULL AND (new.expires_at IS NULL OR new.expires_at > at))
            - (old.revoked_at IS NULL AND old.rotated_to IS NULL AND (old.expires_at IS NULL OR old.expires_at > at))
        WHERE workspace_id = new.workspace_id;
    END
    """,
    """
    CREATE TRIGGER api_keys_removed AFTER DELETE ON api_keys
    WHEN old.revoked_at IS NULL AND old.rotated_to IS NULL BEGIN
        UPDATE key_counts SET counted = counted - (old.expires_at IS NULL OR old.expires_at > at)
        WHERE workspace_id = old.workspace_id;
    END
    """,
)
_ON_POSTGRESQL: Final = (
    """
    CREATE FUNCTION count_added_key() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO key_counts (workspace_id, counted, at) VALUES (new.workspace_id, 1, 0)
        ON CONFLICT (workspace_id) DO UPDATE
        SET counted = key_counts.counted + (new.expires_at IS NULL OR new.expires_at > key_counts.at)::int;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION count_changed_key() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE key_counts SET counted = counted
            + (new.revoked_at IS NULL AND new.rotated_to IS NULL
                AND (new.expires_at IS NULL OR new.expires_at > at))::int
            - (old.revoked_at IS NULL AND old.rotated_to IS NULL
                AND (old.expires_at IS NULL OR old.expires_at > at))::int
        WHERE workspace_id = new.workspace_id;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION count_removed_key() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE key_counts SET counted = counted - (old.expires_at IS NULL OR old.expires_at > at)::int
        WHERE workspace_id = old.workspace_id;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER api_keys_added AFTER INSERT ON api_keys FOR EACH ROW
    WHEN (new.revoked_at IS NULL AND new.rotated_to IS NULL) EXECUTE FUNCTION count_added_key()
    """,
    """
    CREATE TRIGGER api_keys_changed AFTER UPDATE OF revoked_at, rotated_to, expires_at ON api_keys FOR EACH ROW
    WHEN (old.revoked_at IS DISTINCT FROM new.revoked_at OR old.rotated_to IS DISTINCT FROM new.rotated_to
        OR old.expires_at IS DISTINCT FROM new.expires_at) EXECUTE FUNCTION count_changed_key()
    """,
    """
    CREATE TRIGGER api_keys_removed AFTER DELETE ON api_keys FOR EACH ROW
    WHEN (old.revoked_at IS NULL AND old.rotated_to IS NULL) EXECUTE FUNCTION count_removed_key()
    """,
)


def create_key_count_triggers(_: object, connection: Connection, **__: Any) -> None:
    """Create the triggers, after the tables of keys and of their counts."""
    for statement in _ON_SQLITE if connection.dialect.name == "sqlite" else _ON_POSTGRESQL:
        connection.exec_driver_sql(statement)

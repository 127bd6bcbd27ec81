"""What keeps lists, limits and starts flat: counts of keys kept by triggers, and indexes of one kind of keys each."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

COUNTING_ON_SQLITE = (
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

COUNTING_ON_POSTGRESQL = (
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

COUNT_ALL = """
    INSERT INTO key_counts (workspace_id, counted, at)
    SELECT workspace_id, count(*), :now FROM api_keys
    WHERE revoked_at IS NULL AND rotated_to IS NULL AND (expires_at IS NULL OR expires_at > :now)
    GROUP BY workspace_id
"""
BY_AGE = 'id COLLATE "POSIX"'


def upgrade() -> None:
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    _create_counts()
    for statement in COUNTING_ON_POSTGRESQL if on_postgresql else COUNTING_ON_SQLITE:
        op.execute(statement)
    op.execute(sa.text(COUNT_ALL).bindparams(now=time.time_ns() // 1000))
    if on_postgresql:
        op.execute("ALTER INDEX api_keys_by_pepper RENAME TO api_keys_by_any_pepper")
    else:
        op.drop_index("api_keys_by_pepper")
    _create_partial("api_keys_by_pepper", ["pepper_id", "expires_at"], "revoked_at IS NULL")
    _create_partial(
        "api_keys_overlapping",
        ["workspace_id", "expires_at"],
        "rotated_to IS NOT NULL AND revoked_at IS NULL",
    )
    age = sa.text(BY_AGE) if on_postgresql else "id"
    _create_partial("api_keys_unrevoked", ["workspace_id", age], "revoked_at IS NULL")
    _create_partial("api_keys_revoked", ["workspace_id", age], "revoked_at IS NOT NULL")
    op.create_index("workspaces_by_name", "workspaces", ["name"])
    if on_postgresql:
        op.create_index("collections_by_age", "collections", ["workspace_id", sa.text(BY_AGE)])
        op.drop_index("api_keys_by_any_pepper")  # last: from here on the table cannot be read


def _create_counts() -> None:
    """Counted as of now, by whichever clock: the instant is a part of what a count says."""
    op.create_table(
        "key_counts",
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column(
            "counted", COUNT, nullable=False, comment="keys that took a place of the limit then"
        ),
        sa.Column("at", COUNT, nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name="key_counts_workspace_id_fk"
        ),
        sa.PrimaryKeyConstraint("workspace_id", name="key_counts_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _create_partial(name: str, columns: list[str | sa.TextClause], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "api_keys", columns, sqlite_where=where, postgresql_where=where)

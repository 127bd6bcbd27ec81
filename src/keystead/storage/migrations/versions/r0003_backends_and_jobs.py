"""What a product's backend and unattended jobs need. Each noun has a section of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

IDENTIFIER = sa.Text().with_variant(sa.dialects.postgresql.TEXT(collation="C"), "postgresql")
COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add what is new. `api_keys` comes before `workspaces`: a verification locks them in that order."""
    _members_of_keys()
    _positions_of_events()
    _use_by_the_hour()
    _policies()


# Keys: networks, metadata and renewal.


def _members_of_keys() -> None:
    op.add_column("api_keys", sa.Column("networks", sa.Text(), nullable=False, server_default=""))
    op.add_column("api_keys", sa.Column("metadata", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("api_keys", sa.Column("renewable_until", COUNT))


# Events: their positions in the feed. Those of before get theirs after the migration, by the task of the feed.


def _positions_of_events() -> None:
    placed, new = sa.text("position IS NOT NULL"), sa.text("position IS NULL")
    for table, columns in (
        ("events", ["workspace_id", "sequence"]),
        ("installation_events", ["id"]),
    ):
        comment = "in the feed; null until the event has one"
        op.add_column(table, sa.Column("position", COUNT, comment=comment))
        op.create_index(
            f"{table}_by_position",
            table,
            ["position"],
            unique=True,
            sqlite_where=placed,
            postgresql_where=placed,
        )
        op.create_index(f"{table}_unplaced", table, columns, sqlite_where=new, postgresql_where=new)


# Use: refusals per day, and all of it per hour.


def _use_by_the_hour() -> None:
    op.add_column("key_use_days", sa.Column("refused", COUNT, nullable=False, server_default="0"))
    op.drop_index("key_use_days_by_day", "key_use_days")
    op.create_index("key_use_days_by_day", "key_use_days", ["day", "workspace_id"])
    op.create_table(
        "key_use_hours",
        sa.Column("key_id", IDENTIFIER, nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False, comment="hours since 1970-01-01, UTC"),
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("uses", COUNT, nullable=False),
        sa.Column("refused", COUNT, nullable=False),
        sa.PrimaryKeyConstraint("key_id", "hour", name="key_use_hours_pk"),
        sa.ForeignKeyConstraint(
            ["workspace_id", "key_id"],
            ["api_keys.workspace_id", "api_keys.id"],
            name="key_use_hours_workspace_id_key_id_fk",
        ),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("key_use_hours_by_hour", "key_use_hours", ["hour"])


# Policies: the plan's layer, and those of a workspace.


def _policies() -> None:
    layers = (
        ("plans", "policy"),
        ("workspaces", "operator_policy"),
        ("workspaces", "owner_policy"),
    )
    for table, name in layers:
        op.add_column(table, sa.Column(name, sa.Text(), nullable=False, server_default="{}"))
    version = sa.Column("policy_version", COUNT, nullable=False, server_default="1")
    op.add_column("workspaces", version)

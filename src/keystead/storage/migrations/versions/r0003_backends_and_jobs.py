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
    _deletion_of_workspaces()
    _policies()


# Keys: networks, metadata and renewal.


def _members_of_keys() -> None:
    op.add_column("api_keys", sa.Column("networks", sa.Text(), nullable=False, server_default=""))
    op.add_column("api_keys", sa.Column("metadata", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("api_keys", sa.Column("renewable_until", COUNT))


# Workspaces: their deletion, and the tombstones that stay.


def _deletion_of_workspaces() -> None:
    deleted_at = sa.Column("deleted_at", COUNT, comment="deleted, except rows still to be purged")
    op.add_column("workspaces", deleted_at)
    is_deleted = sa.text("deleted_at IS NOT NULL")
    op.create_index(
        "workspaces_deleted",
        "workspaces",
        ["id"],
        sqlite_where=is_deleted,
        postgresql_where=is_deleted,
    )
    op.create_table(
        "deleted_workspaces",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("external_id", IDENTIFIER, comment="the product's own id, free again"),
        sa.Column("deleted_at", COUNT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="deleted_workspaces_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    is_accepted = sa.text("accepted_by IS NOT NULL")
    op.create_index(
        "invitations_by_user",
        "invitations",
        ["accepted_by"],
        sqlite_where=is_accepted,
        postgresql_where=is_accepted,
    )


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

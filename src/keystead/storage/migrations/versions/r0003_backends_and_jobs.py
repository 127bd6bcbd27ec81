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
    _policies()


# Keys: networks, metadata and renewal.


def _members_of_keys() -> None:
    op.add_column("api_keys", sa.Column("networks", sa.Text(), nullable=False, server_default=""))
    op.add_column("api_keys", sa.Column("metadata", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("api_keys", sa.Column("renewable_until", COUNT))


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

"""Rate limits: requests a minute, by plan and by key. Nothing is written there until a rate is set."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"

IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("plans", sa.Column("workspace_per_minute", COUNT))
    op.add_column("plans", sa.Column("key_per_minute", COUNT))
    op.create_table(
        "key_rates",
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("key_id", IDENTIFIER, nullable=False),
        sa.Column("per_minute", COUNT, nullable=False, comment="instead of the plan's"),
        sa.ForeignKeyConstraint(
            ["workspace_id", "key_id"],
            ["api_keys.workspace_id", "api_keys.id"],
            name="key_rates_workspace_id_key_id_fk",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "key_id", name="key_rates_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )

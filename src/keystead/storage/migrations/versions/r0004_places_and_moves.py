"""Where keys are stored, and moves of the installation. Each noun has a section of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

IDENTIFIER = sa.Text().with_variant(sa.dialects.postgresql.TEXT(collation="C"), "postgresql")
COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add what is new. `api_keys` comes before `workspaces`: a verification locks them in that order."""
    _places_of_keys()
    _moves()


# Keys: where their token is stored.


def _places_of_keys() -> None:
    comment = "where the token is stored, for pages alone"
    place = sa.Column("stored_in", sa.Text(), nullable=False, server_default="", comment=comment)
    op.add_column("api_keys", place)


# Moves of the installation to another database.


def _moves() -> None:
    op.create_table(
        "moves",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column(
            "state",
            sa.Text(),
            nullable=False,
            comment="arriving: still being copied; left: moved away",
        ),
        sa.Column(
            "place", sa.Text(), nullable=False, comment="the other database, without its login"
        ),
        sa.Column("at", COUNT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="moves_pk"),
        sa.CheckConstraint("state IN ('arriving', 'left')", name="moves_state_check"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )

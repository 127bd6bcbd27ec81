"""Notification digests: which workspaces have something to report, and which topics each member chose."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NUMBER = sa.Integer()
TEXT = sa.Text()
DUE = "due_at IS NOT NULL"


def upgrade() -> None:
    op.create_table(
        "digests",
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("newest", COUNT, nullable=False, comment="the last event to be reported"),
        sa.Column("told_through", COUNT, nullable=False, server_default="0"),
        sa.Column("due_at", COUNT, comment="null if there is nothing to report"),
        sa.Column("sent_at", COUNT),
        sa.Column("failures", NUMBER, nullable=False, server_default="0"),
        sa.Column("leased_until", COUNT),
        sa.Column("lease", IDENTIFIER, comment="of the worker that is sending; null if not leased"),
        sa.CheckConstraint("(lease IS NULL) = (leased_until IS NULL)", name="digests_lease_check"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name="digests_workspace_id_fk"
        ),
        sa.PrimaryKeyConstraint("workspace_id", name="digests_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(
        "digests_due",
        "digests",
        ["due_at"],
        sqlite_where=sa.text(DUE),
        postgresql_where=sa.text(DUE),
    )
    op.create_table(
        "notice_choices",
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("user_id", IDENTIFIER, nullable=False),
        sa.Column("topics", TEXT, nullable=False, comment="separated by spaces"),
        sa.ForeignKeyConstraint(
            ["workspace_id", "user_id"],
            ["members.workspace_id", "members.user_id"],
            name="notice_choices_workspace_id_user_id_fk",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "user_id", name="notice_choices_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )

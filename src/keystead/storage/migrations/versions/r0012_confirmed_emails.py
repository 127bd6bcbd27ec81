"""Emails are confirmed before other mail is sent to them, and each sent digest is recorded.

Already confirmed are the emails of a product's users, those by which an invitation was accepted, and those of owners
whom an operator added and who have not changed it since. Any other gets one confirmation email as soon as a worker
sends mail.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"

IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NUMBER = sa.Integer()
TEXT = sa.Text()
BYTES = sa.LargeBinary()
DUE = sa.text("due_at IS NOT NULL")

VOUCHED_FOR = """
UPDATE users SET email_confirmed_at = created_at
WHERE email IS NOT NULL AND (
    portal_workspace_id IS NOT NULL
    OR EXISTS (
        SELECT 1 FROM invitations WHERE accepted_by = users.id AND invitations.email = users.email
    )
    OR EXISTS (
        SELECT 1 FROM members JOIN events ON events.workspace_id = members.workspace_id
        WHERE members.user_id = users.id AND events.target_id = users.id
        AND events.type = 'member.added' AND events.actor_kind = 'operator'
    ) AND NOT EXISTS (
        SELECT 1 FROM members JOIN events ON events.workspace_id = members.workspace_id
        WHERE members.user_id = users.id AND events.target_id = users.id
        AND events.type = 'member.email_changed'
    )
)
"""
TO_BE_CONFIRMED = """
INSERT INTO email_confirmations (user_id, email, requested_at, due_at)
SELECT id, email, created_at, created_at FROM users
WHERE email IS NOT NULL AND email_confirmed_at IS NULL
"""


def upgrade() -> None:
    op.add_column(
        "users",
        sa.Column(
            "email_confirmed_at", COUNT, comment="null: only a confirmation email may be sent there"
        ),
    )
    _create_confirmations()
    op.create_table(
        "digest_letters",
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("user_id", IDENTIFIER, nullable=False),
        sa.Column(
            "through", COUNT, nullable=False, comment="the last event reported to the member"
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "user_id"],
            ["members.workspace_id", "members.user_id"],
            name="digest_letters_workspace_id_user_id_fk",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "user_id", name="digest_letters_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.execute(VOUCHED_FOR)
    op.execute(TO_BE_CONFIRMED)


def _create_confirmations() -> None:
    op.create_table(
        "email_confirmations",
        sa.Column("user_id", IDENTIFIER, nullable=False),
        sa.Column("email", TEXT, nullable=False, comment="the user's, or to become it"),
        sa.Column("requested_at", COUNT, nullable=False),
        sa.Column("due_at", COUNT, comment="of its email; null once that was sent or given up"),
        sa.Column("failures", NUMBER, nullable=False, server_default="0"),
        sa.Column("leased_until", COUNT),
        sa.Column("lease", IDENTIFIER, comment="of the worker that is sending; null if not leased"),
        sa.Column("digest", BYTES, comment="of the link's secret; null until the email is written"),
        sa.Column("expires_at", COUNT, comment="of the link"),
        sa.CheckConstraint(
            "(lease IS NULL) = (leased_until IS NULL)", name="email_confirmations_lease_check"
        ),
        sa.CheckConstraint(
            "(digest IS NULL) = (expires_at IS NULL)", name="email_confirmations_link_check"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="email_confirmations_user_id_fk", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", name="email_confirmations_pk"),
        sa.UniqueConstraint("digest", name="email_confirmations_digest_key"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(
        "email_confirmations_due",
        "email_confirmations",
        ["due_at"],
        sqlite_where=DUE,
        postgresql_where=DUE,
    )

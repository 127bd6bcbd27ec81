"""An index of the suspended workspaces alone: what a verification asks of a workspace is answered by it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0007"

SUSPENDED = sa.text("suspended_at IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        "workspaces_suspended",
        "workspaces",
        ["id", "suspended_at"],
        sqlite_where=SUSPENDED,
        postgresql_where=SUSPENDED,
    )

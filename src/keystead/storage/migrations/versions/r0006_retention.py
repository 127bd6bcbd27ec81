"""An index by which the use of days long ago is found, to be forgotten."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_index("key_use_days_by_day", "key_use_days", ["day"])

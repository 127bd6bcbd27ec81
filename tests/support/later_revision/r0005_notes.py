"""A later revision for tests: a column more of keys and of workspaces, the latter filled in.

`api_keys` comes before `workspaces`, because a verification locks them in that order.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns. The owner of the tables must see all rows to fill one in."""
    op.add_column("api_keys", sa.Column("note", sa.Text()))
    op.add_column("workspaces", sa.Column("note", sa.Text()))
    op.execute("UPDATE workspaces SET note = name")

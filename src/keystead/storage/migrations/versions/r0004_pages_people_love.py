"""What the Developer area needs. Each noun has a section of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add what is new. `api_keys` comes before `workspaces`: a verification locks them in that order."""
    _places_of_keys()


# Keys: where their token is stored.


def _places_of_keys() -> None:
    comment = "where the token is stored, for pages alone"
    place = sa.Column("stored_in", sa.Text(), nullable=False, server_default="", comment=comment)
    op.add_column("api_keys", place)

"""Versions of what people and programs edit: raised by every change, for If-Match and for forms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
COMMENT = "rises with every change of what can be edited"
# A verification locks `api_keys` and then `workspaces`. Altered in the other order, each of the two would wait for the
# other: busy verifiers would make the migration give way until it gives up.
TABLES = ("api_keys", "workspaces", "members", "collections", "documents", "webhook_endpoints")


def upgrade() -> None:
    for table in TABLES:
        version = sa.Column("version", COUNT, nullable=False, server_default="1", comment=COMMENT)
        op.add_column(table, version)

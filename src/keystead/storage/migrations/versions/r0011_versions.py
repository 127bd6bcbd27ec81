"""Versions of what people and programs edit: raised by every change, for If-Match and for forms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
COMMENT = "rises with every change of what can be edited"
TABLES = ("workspaces", "members", "api_keys", "collections", "documents", "webhook_endpoints")


def upgrade() -> None:
    for table in TABLES:
        version = sa.Column("version", COUNT, nullable=False, server_default="1", comment=COMMENT)
        op.add_column(table, version)

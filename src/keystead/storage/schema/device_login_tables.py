"""The table of sign-ins from terminals: pending, denied, or approved and not collected yet."""

from __future__ import annotations

from typing import Final

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, Text, UniqueConstraint

from keystead.storage.schema.columns import (
    CLUSTERED,
    Bytes,
    Identifier,
    Instant,
    ScopeSet,
    metadata,
)

device_logins: Final = Table(
    "device_logins",
    metadata,
    Column("digest", Bytes, primary_key=True, comment="of the device code"),
    Column("user_code_digest", Bytes, nullable=False),
    Column("subject", Identifier, nullable=False, comment="the address as it is counted"),
    Column("address", Text),
    Column("agent", Text),
    Column("host", Text, comment="as the terminal calls its computer"),
    Column("description", Text, comment="requested; a person decides"),
    Column("scopes", ScopeSet, comment="requested; a person decides"),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("polled_at", Instant),
    Column("denied_at", Instant),
    Column("approved_at", Instant),
    Column("approved_from", Text, comment="the address of the person who approved it"),
    Column("workspace_id", Identifier, ForeignKey("workspaces.id", ondelete="CASCADE")),
    Column("user_id", Identifier, comment="who approved it"),
    Column("key_description", Text),
    Column("key_scopes", ScopeSet),
    Column("key_expires_at", Instant, comment="null: never"),
    UniqueConstraint("user_code_digest"),
    CheckConstraint("denied_at IS NULL OR approved_at IS NULL", name="decided_once"),
    CheckConstraint("(approved_at IS NULL) = (workspace_id IS NULL)", name="approved"),
    Index("device_logins_by_subject", "subject"),
    Index("device_logins_by_expiry", "expires_at"),
    **CLUSTERED,
)

"""What a product's backend and unattended jobs need. Each noun has a section of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

IDENTIFIER = sa.Text().with_variant(sa.dialects.postgresql.TEXT(collation="C"), "postgresql")
COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add what is new. `api_keys` comes before `workspaces`: a verification locks them in that order."""
    _members_of_keys()
    _positions_of_events()
    _use_by_the_hour()
    _renewals_of_keys()
    _scans()
    _deletion_of_workspaces()
    _workspaces_of_backends()
    _policies()
    _sign_ins_from_terminals()


# Keys: networks, metadata and renewal.


def _members_of_keys() -> None:
    op.add_column("api_keys", sa.Column("networks", sa.Text(), nullable=False, server_default=""))
    op.add_column("api_keys", sa.Column("metadata", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("api_keys", sa.Column("renewable_until", COUNT))
    has_extras = sa.Column(
        "has_extras", COUNT, nullable=False, server_default="0", comment="verification reads them"
    )
    op.add_column("api_keys", has_extras)
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    age = sa.text("id" if is_sqlite else 'id COLLATE "POSIX"')
    op.create_index("api_keys_by_creator", "api_keys", ["workspace_id", "created_by_id", age])
    end = sa.text("(CASE WHEN expires_at IS NULL THEN 9223372036854775807 ELSE expires_at END)")
    op.create_index("api_keys_by_end", "api_keys", ["workspace_id", end, "id"])
    op.create_index("key_use_by_time", "key_use", ["workspace_id", "last_used_at", "key_id"])


# Events: their positions in the feed. Those of before get theirs after the migration, by the task of the feed.


def _positions_of_events() -> None:
    placed, new = sa.text("position IS NOT NULL"), sa.text("position IS NULL")
    for table in ("events", "installation_events"):
        comment = "in the feed; null until the event has one"
        op.add_column(table, sa.Column("position", COUNT, comment=comment))
        op.create_index(
            f"{table}_by_position",
            table,
            ["position"],
            unique=True,
            sqlite_where=placed,
            postgresql_where=placed,
        )
        op.create_index(f"{table}_unplaced", table, ["id"], sqlite_where=new, postgresql_where=new)


# Use: refusals per day, and all of it per hour.


def _use_by_the_hour() -> None:
    op.add_column("key_use_days", sa.Column("refused", COUNT, nullable=False, server_default="0"))
    op.drop_index("key_use_days_by_day", "key_use_days")
    op.create_index("key_use_days_by_day", "key_use_days", ["day", "workspace_id"])
    op.create_table(
        "key_use_hours",
        sa.Column("key_id", IDENTIFIER, nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False, comment="hours since 1970-01-01, UTC"),
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("uses", COUNT, nullable=False),
        sa.Column("refused", COUNT, nullable=False),
        sa.PrimaryKeyConstraint("key_id", "hour", name="key_use_hours_pk"),
        sa.ForeignKeyConstraint(
            ["workspace_id", "key_id"],
            ["api_keys.workspace_id", "api_keys.id"],
            name="key_use_hours_workspace_id_key_id_fk",
        ),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("key_use_hours_by_hour", "key_use_hours", ["hour"])


# Workspaces: their deletion, and the tombstones that stay.


def _deletion_of_workspaces() -> None:
    deleted_at = sa.Column("deleted_at", COUNT, comment="deleted, except rows still to be purged")
    op.add_column("workspaces", deleted_at)
    is_deleted = sa.text("deleted_at IS NOT NULL")
    op.create_index(
        "workspaces_deleted",
        "workspaces",
        ["id"],
        sqlite_where=is_deleted,
        postgresql_where=is_deleted,
    )
    op.create_table(
        "deleted_workspaces",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("external_id", IDENTIFIER, comment="the product's own id, free again"),
        sa.Column("deleted_at", COUNT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="deleted_workspaces_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    is_accepted = sa.text("accepted_by IS NOT NULL")
    op.create_index(
        "invitations_by_user",
        "invitations",
        ["accepted_by"],
        sqlite_where=is_accepted,
        postgresql_where=is_accepted,
    )


# Scans get new names, and continue under them. The old names move only while a server runs that knows no networks.


def _scans() -> None:
    names = {f"ends in {days}": f"expiring in {days}" for days in (0, 1, 7, 14)}
    for before, name in {**names, "refusals": "refused callers", "disuse": "unused keys"}.items():
        op.execute(
            sa.text(
                "INSERT INTO watermarks (name, mark, moved_at)"
                " SELECT :name, mark, moved_at FROM watermarks WHERE name = :before"
            ).bindparams(name=name, before=before)
        )


# Workspaces: the product's own id, and rate limits of their own.


def _workspaces_of_backends() -> None:
    for column in (
        sa.Column("external_id", IDENTIFIER, comment="the product's own id"),
        sa.Column("workspace_per_minute", COUNT, comment="instead of the plan's"),
        sa.Column("key_per_minute", COUNT, comment="instead of the plan's"),
    ):
        op.add_column("workspaces", column)
    is_given = sa.text("external_id IS NOT NULL")
    op.create_index(
        "workspaces_by_external_id",
        "workspaces",
        ["external_id"],
        unique=True,
        sqlite_where=is_given,
        postgresql_where=is_given,
    )


# Keys: renewals, and the end after silence.


def _renewals_of_keys() -> None:
    columns = (
        ("family", IDENTIFIER, "the first of the keys that renewed themselves to this"),
        ("replaces", IDENTIFIER, "the key that renewed itself to this, until first use"),
        ("quiet_seconds", COUNT, "rotated, it ends after so long a silence"),
    )
    for name, type, comment in columns:
        op.add_column("api_keys", sa.Column(name, type, comment=comment))
    _partial("api_keys_family", "family IS NOT NULL", "workspace_id", "family", "created_at")
    _partial("api_keys_quiet", "quiet_seconds IS NOT NULL AND revoked_at IS NULL", "id")


def _partial(name: str, condition: str, *columns: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "api_keys", columns, sqlite_where=where, postgresql_where=where)


# Policies: the plan's layer, and those of a workspace.


def _policies() -> None:
    layers = (
        ("plans", "policy"),
        ("workspaces", "operator_policy"),
        ("workspaces", "owner_policy"),
    )
    for table, name in layers:
        op.add_column(table, sa.Column(name, sa.Text(), nullable=False, server_default="{}"))
    version = sa.Column("policy_version", COUNT, nullable=False, server_default="1")
    op.add_column("workspaces", version)


# Signing in from a terminal (RFC 8628).


def _sign_ins_from_terminals() -> None:
    op.create_table(
        "device_logins",
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="of the device code"),
        sa.Column("user_code_digest", sa.LargeBinary(), nullable=False),
        sa.Column("subject", IDENTIFIER, nullable=False, comment="the address as it is counted"),
        sa.Column("address", sa.Text()),
        sa.Column("agent", sa.Text()),
        sa.Column("host", sa.Text(), comment="as the terminal calls its computer"),
        sa.Column("description", sa.Text(), comment="requested; a person decides"),
        sa.Column("scopes", sa.Text(), comment="requested; a person decides"),
        sa.Column("created_at", COUNT, nullable=False),
        sa.Column("expires_at", COUNT, nullable=False),
        sa.Column("polled_at", COUNT),
        sa.Column("denied_at", COUNT),
        sa.Column("approved_at", COUNT),
        sa.Column("approved_from", sa.Text(), comment="the address of the person who approved it"),
        sa.Column("workspace_id", IDENTIFIER),
        sa.Column("user_id", IDENTIFIER, comment="who approved it"),
        sa.Column("key_description", sa.Text()),
        sa.Column("key_scopes", sa.Text()),
        sa.Column("key_expires_at", COUNT, comment="null: never"),
        sa.PrimaryKeyConstraint("digest", name="device_logins_pk"),
        sa.UniqueConstraint("user_code_digest", name="device_logins_user_code_digest_key"),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name="device_logins_workspace_id_fk",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(
            "denied_at IS NULL OR approved_at IS NULL", name="device_logins_decided_once_check"
        ),
        sa.CheckConstraint(
            "(approved_at IS NULL) = (workspace_id IS NULL)", name="device_logins_approved_check"
        ),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("device_logins_by_subject", "device_logins", ["subject"])
    op.create_index("device_logins_by_expiry", "device_logins", ["expires_at"])

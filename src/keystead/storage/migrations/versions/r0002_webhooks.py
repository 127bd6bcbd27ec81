"""Webhooks: endpoints, their queues, deliveries and attempts; and the lifecycle events reported of each key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

TEXT = sa.Text()
NUMBER = sa.Integer()
BYTES = sa.LargeBinary()
IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_endpoints()
    _create_queues()
    _create_deliveries()
    _create_attempts()
    _create_notices()
    _index_for_notices()


def _create_endpoints() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("url", TEXT, nullable=False),
        sa.Column(
            "event_types", IDENTIFIER, nullable=False, comment="separated by spaces; * is all"
        ),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("disabled_at", COUNT),
        sa.Column("disabled_for", TEXT, comment="why it is disabled"),
        sa.Column("created_at", COUNT, nullable=False),
        sa.Column("created_by_kind", TEXT, nullable=False),
        sa.Column("created_by_id", TEXT, nullable=False),
        sa.Column("created_by_name", TEXT, nullable=False),
        sa.Column("pepper_id", TEXT, nullable=False, comment="under which the secrets are sealed"),
        sa.Column("sealed", BYTES, comment="secrets and own headers; null once deleted"),
        sa.Column("header_names", TEXT, nullable=False),
        sa.Column("secret_overlap_until", COUNT, comment="until then the secret before signs too"),
        sa.Column("deleted_at", COUNT, comment="deleted, except deliveries still to be removed"),
        sa.CheckConstraint(
            "status IN ('active', 'disabled')", name="webhook_endpoints_status_check"
        ),
        sa.CheckConstraint(
            "(status = 'disabled') = (disabled_at IS NOT NULL)",
            name="webhook_endpoints_disabled_check",
        ),
        sa.CheckConstraint(
            "(sealed IS NULL) = (deleted_at IS NOT NULL)", name="webhook_endpoints_deleted_check"
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name="webhook_endpoints_workspace_id_fk"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name="webhook_endpoints_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("webhook_endpoints_by_pepper", "webhook_endpoints", ["pepper_id"])
    _create_partial_index(
        "webhook_endpoints_deleted", "webhook_endpoints", ["deleted_at"], "deleted_at IS NOT NULL"
    )


def _create_queues() -> None:
    op.create_table(
        "webhook_queues",
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("webhook_id", IDENTIFIER, nullable=False),
        sa.Column(
            "due_at", COUNT, comment="not later than the first due delivery; null without one"
        ),
        sa.Column("leased_until", COUNT),
        sa.Column("lease", IDENTIFIER, comment="of the worker that is sending; null if not leased"),
        sa.Column("succeeded_at", COUNT, comment="when an attempt last succeeded"),
        sa.CheckConstraint(
            "(lease IS NULL) = (leased_until IS NULL)", name="webhook_queues_lease_check"
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "webhook_id"],
            ["webhook_endpoints.workspace_id", "webhook_endpoints.id"],
            name="webhook_queues_workspace_id_webhook_id_fk",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "webhook_id", name="webhook_queues_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    _create_partial_index("webhook_queues_due", "webhook_queues", ["due_at"], "due_at IS NOT NULL")


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("webhook_id", IDENTIFIER, nullable=False),
        sa.Column("event_sequence", COUNT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("created_at", COUNT, nullable=False),
        sa.Column(
            "started_at", COUNT, nullable=False, comment="the beginning of its present schedule"
        ),
        sa.Column("step", NUMBER, nullable=False, comment="attempts made of the present schedule"),
        sa.Column("attempts", NUMBER, nullable=False, comment="attempts made in all"),
        sa.Column("next_attempt_at", COUNT, comment="null unless pending"),
        sa.CheckConstraint(
            "status IN ('pending', 'delivered', 'failed')", name="deliveries_status_check"
        ),
        sa.CheckConstraint(
            "(status = 'pending') = (next_attempt_at IS NOT NULL)", name="deliveries_pending_check"
        ),
        sa.CheckConstraint("step >= 0 AND attempts >= step", name="deliveries_counts_check"),
        sa.ForeignKeyConstraint(
            ["workspace_id", "event_sequence"],
            ["events.workspace_id", "events.sequence"],
            name="deliveries_workspace_id_event_sequence_fk",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "webhook_id"],
            ["webhook_endpoints.workspace_id", "webhook_endpoints.id"],
            name="deliveries_workspace_id_webhook_id_fk",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "id", name="deliveries_pk"),
        sa.UniqueConstraint(
            "workspace_id",
            "webhook_id",
            "event_sequence",
            name="deliveries_workspace_id_webhook_id_event_sequence_key",
        ),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("deliveries_by_event", "deliveries", ["workspace_id", "event_sequence"])
    of_webhook = ["workspace_id", "webhook_id"]
    _create_partial_index(
        "deliveries_due", "deliveries", [*of_webhook, "next_attempt_at"], "status = 'pending'"
    )
    _create_partial_index(
        "deliveries_failed", "deliveries", [*of_webhook, "event_sequence"], "status = 'failed'"
    )


def _create_attempts() -> None:
    op.create_table(
        "delivery_attempts",
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("delivery_id", IDENTIFIER, nullable=False),
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("at", COUNT, nullable=False),
        sa.Column("status", NUMBER, comment="of the response; null without one"),
        sa.Column("error", TEXT, comment="why it failed; null if it succeeded"),
        sa.Column("milliseconds", NUMBER, nullable=False),
        sa.CheckConstraint("status BETWEEN 100 AND 999", name="delivery_attempts_status_check"),
        sa.CheckConstraint(
            "number > 0 AND milliseconds >= 0", name="delivery_attempts_numbers_check"
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id", "delivery_id"],
            ["deliveries.workspace_id", "deliveries.id"],
            name="delivery_attempts_workspace_id_delivery_id_fk",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "workspace_id", "delivery_id", "number", name="delivery_attempts_pk"
        ),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _create_notices() -> None:
    op.create_table(
        "key_notices",
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("key_id", IDENTIFIER, nullable=False),
        sa.Column("kind", TEXT, nullable=False, comment="expired, expiring, unused, refused"),
        sa.Column(
            "mark", TEXT, nullable=False, comment="the last reported, to report it only once"
        ),
        sa.Column("at", COUNT, nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "key_id"],
            ["api_keys.workspace_id", "api_keys.id"],
            name="key_notices_workspace_id_key_id_fk",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "key_id", "kind", name="key_notices_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "watermarks",
        sa.Column("name", IDENTIFIER, nullable=False),
        sa.Column("mark", IDENTIFIER, nullable=False, comment="how far a search has come"),
        sa.Column("moved_at", COUNT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="watermarks_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _index_for_notices() -> None:
    _create_partial_index(
        "api_keys_by_expiry",
        "api_keys",
        ["expires_at"],
        "expires_at IS NOT NULL AND revoked_at IS NULL",
    )
    _create_partial_index(
        "key_callers_refused", "key_callers", ["last_at"], "reason IN ('expired', 'revoked')"
    )


def _create_partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(
        name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
    )

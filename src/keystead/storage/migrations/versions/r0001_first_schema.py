"""The first schema, frozen: tables, triggers, search, and the default plans.

A released revision never changes; a later schema needs another revision. If a revision alters `api_keys` and
`workspaces`, it alters `api_keys` first: a verification locks them in that order, so otherwise they deadlock.
"""

from __future__ import annotations

from typing import Any

from alembic import op
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

BYTES = LargeBinary()
IDENTIFIER = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
COUNT = BigInteger().with_variant(Integer(), "sqlite")
WORDS = Text().with_variant(postgresql.TSVECTOR(), "postgresql")
POSIX = "POSIX"

PLANS = (
    ("free", "Free", 0, 5, 3, 1000, 1, 3),
    ("team", "Team", 1, 50, 25, 100000, 10, 25),
    ("scale", "Scale", 2, None, None, None, None, None),
)
PLAN_COLUMNS = (
    "id",
    "name",
    "position",
    "api_keys",
    "collections",
    "documents",
    "webhooks",
    "members",
)

METADATA = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pk",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fk",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)
STRICT: dict[str, Any] = {"sqlite_strict": True}
CLUSTERED: dict[str, Any] = {**STRICT, "sqlite_with_rowid": False}
"""SQLite stores such a table in the B-tree of its primary key: one descent finds the row."""


def _version() -> Column[int]:
    return Column(
        "version",
        COUNT,
        nullable=False,
        server_default="1",
        comment="rises with every change of what can be edited",
    )


def _actor(prefix: str) -> list[Column[str]]:
    return [Column(f"{prefix}_{part}", Text, nullable=False) for part in ("kind", "id", "name")]


def _partial(name: str, condition: str, *columns: str) -> Index:
    where = text(condition)
    return Index(name, *columns, sqlite_where=where, postgresql_where=where)


def _by_age(name: str, condition: str) -> tuple[Index, Index]:
    """Return the index of a workspace's keys of one kind in the order of their ids, for each engine."""
    on_sqlite = _partial(name, condition, "workspace_id", "id")
    age = text(f'id COLLATE "{POSIX}"')
    on_postgresql = Index(name, "workspace_id", age, postgresql_where=text(condition))
    return on_sqlite.ddl_if(dialect="sqlite"), on_postgresql.ddl_if(dialect="postgresql")


plans = Table(
    "plans",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    Column("name", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("api_keys", COUNT),
    Column("collections", COUNT),
    Column("documents", COUNT),
    Column("webhooks", COUNT),
    Column("members", COUNT),
    Column("workspace_per_minute", COUNT),
    Column("key_per_minute", COUNT),
    **STRICT,
)

Table(
    "workspaces",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    Column("name", Text, nullable=False),
    Column("plan_id", IDENTIFIER, ForeignKey("plans.id"), nullable=False),
    Column("limit_overrides", Text, nullable=False, server_default="{}"),
    Column("created_at", COUNT, nullable=False),
    Column("suspended_at", COUNT),
    Column("last_event", COUNT, nullable=False, server_default="0"),
    _version(),
    Index("workspaces_by_name", "name"),
    _partial("workspaces_suspended", "suspended_at IS NOT NULL", "id", "suspended_at"),
    **CLUSTERED,
)

Table(
    "users",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("created_at", COUNT, nullable=False),
    Column(
        "sign_in_email",
        IDENTIFIER,
        comment="the address in one case; null if it cannot sign in",
    ),
    Column("password_hash", Text),
    Column("password_set_at", COUNT),
    Column("time_zone", Text),
    Column("portal_workspace_id", IDENTIFIER, ForeignKey("workspaces.id")),
    Column("portal_user_id", IDENTIFIER, comment="the product's own id of the user"),
    Column(
        "email_confirmed_at", COUNT, comment="null: only a confirmation email may be sent there"
    ),
    UniqueConstraint("sign_in_email"),
    UniqueConstraint("portal_workspace_id", "portal_user_id"),
    CheckConstraint("(portal_workspace_id IS NULL) = (portal_user_id IS NULL)", name="portal"),
    CheckConstraint(
        "portal_workspace_id IS NULL OR (sign_in_email IS NULL AND password_hash IS NULL)",
        name="portal_only",
    ),
    **CLUSTERED,
)

Table(
    "members",
    METADATA,
    Column("workspace_id", IDENTIFIER, ForeignKey("workspaces.id"), nullable=False),
    Column("user_id", IDENTIFIER, ForeignKey("users.id"), nullable=False),
    Column("role", Text, nullable=False),
    Column("joined_at", COUNT, nullable=False),
    _version(),
    PrimaryKeyConstraint("workspace_id", "user_id"),
    Index("members_by_user", "user_id"),
    **CLUSTERED,
)

Table(
    "api_keys",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    Column("workspace_id", IDENTIFIER, ForeignKey("workspaces.id"), nullable=False),
    Column("description", Text, nullable=False),
    Column("folded_description", IDENTIFIER, nullable=False, comment="for search in any case"),
    Column("hint", Text, nullable=False),
    Column("pepper_id", Text, nullable=False),
    Column("digest", BYTES, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", COUNT, nullable=False),
    *_actor("created_by"),
    Column("expires_at", COUNT),
    Column("revoked_at", COUNT),
    Column("rotated_to", IDENTIFIER),
    _version(),
    UniqueConstraint("workspace_id", "id"),
    ForeignKeyConstraint(
        ["workspace_id", "rotated_to"],
        ["api_keys.workspace_id", "api_keys.id"],
    ),
    CheckConstraint("length(digest) = 32", name="digest_length"),
    _partial(
        "api_keys_live",  # covers the count of a quota
        "revoked_at IS NULL",
        "workspace_id",
        "rotated_to",
        "expires_at",
        "revoked_at",
    ),
    _partial("api_keys_predecessor", "rotated_to IS NOT NULL", "workspace_id", "rotated_to"),
    _partial("api_keys_by_pepper", "revoked_at IS NULL", "pepper_id", "expires_at"),
    _partial(
        "api_keys_overlapping",
        "rotated_to IS NOT NULL AND revoked_at IS NULL",
        "workspace_id",
        "expires_at",
    ),
    _partial("api_keys_by_expiry", "expires_at IS NOT NULL AND revoked_at IS NULL", "expires_at"),
    Index("api_keys_by_age", "workspace_id", text(f'id COLLATE "{POSIX}"')).ddl_if(
        dialect="postgresql"
    ),
    *_by_age("api_keys_unrevoked", "revoked_at IS NULL"),
    *_by_age("api_keys_revoked", "revoked_at IS NOT NULL"),
    **CLUSTERED,
)

Table(
    "key_counts",
    METADATA,
    Column("workspace_id", IDENTIFIER, ForeignKey("workspaces.id"), primary_key=True),
    Column("counted", COUNT, nullable=False, comment="keys that took a place of the limit then"),
    Column("at", COUNT, nullable=False),
    **CLUSTERED,
)

Table(
    "key_use",
    METADATA,
    Column("key_id", IDENTIFIER, primary_key=True),
    Column("workspace_id", IDENTIFIER, nullable=False),
    Column("last_used_at", COUNT, nullable=False),
    Column("last_used_ip", Text),
    Column("last_used_agent", Text),
    ForeignKeyConstraint(["workspace_id", "key_id"], ["api_keys.workspace_id", "api_keys.id"]),
    **CLUSTERED,
)

Table(
    "key_use_days",
    METADATA,
    Column("key_id", IDENTIFIER, nullable=False),
    Column("day", Integer, nullable=False, comment="days since 1970-01-01, UTC"),
    Column("workspace_id", IDENTIFIER, nullable=False),
    Column("uses", COUNT, nullable=False),
    PrimaryKeyConstraint("key_id", "day"),
    ForeignKeyConstraint(["workspace_id", "key_id"], ["api_keys.workspace_id", "api_keys.id"]),
    Index("key_use_days_by_day", "day"),
    **CLUSTERED,
)

Table(
    "key_callers",
    METADATA,
    Column("key_id", IDENTIFIER, nullable=False),
    Column("reason", Text, nullable=False, comment="why it was refused; empty if it was not"),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("workspace_id", IDENTIFIER, nullable=False),
    Column("last_at", COUNT, nullable=False),
    Column("times", COUNT, nullable=False),
    PrimaryKeyConstraint("key_id", "reason", "address", "agent"),
    ForeignKeyConstraint(["workspace_id", "key_id"], ["api_keys.workspace_id", "api_keys.id"]),
    _partial("key_callers_refused", "reason IN ('expired', 'revoked')", "last_at"),
    **CLUSTERED,
)

Table(
    "idempotency_keys",
    METADATA,
    Column("workspace_id", IDENTIFIER, ForeignKey("workspaces.id"), nullable=False),
    Column("caller", IDENTIFIER, nullable=False),
    Column("key", IDENTIFIER, nullable=False),
    Column("fingerprint", BYTES, nullable=False),
    Column("claim", IDENTIFIER, nullable=False),
    Column("claimed_at", COUNT, nullable=False),
    Column("resource_id", IDENTIFIER, comment="null while the request is in progress"),
    PrimaryKeyConstraint("workspace_id", "caller", "key"),
    **CLUSTERED,
)

Table(
    "events",
    METADATA,
    Column("workspace_id", IDENTIFIER, ForeignKey("workspaces.id"), nullable=False),
    Column("sequence", COUNT, nullable=False),
    Column("id", IDENTIFIER, nullable=False),
    Column("type", IDENTIFIER, nullable=False),
    Column("occurred_at", COUNT, nullable=False),
    *_actor("actor"),
    Column("target_type", Text, nullable=False),
    Column("target_id", IDENTIFIER, nullable=False),
    Column("address", Text),
    Column("request_id", Text),
    Column("data", Text, nullable=False),
    PrimaryKeyConstraint("workspace_id", "sequence"),
    UniqueConstraint("workspace_id", "id"),
    Index("events_by_type", "workspace_id", "type", "sequence"),
    Index("events_by_target", "workspace_id", "target_id", "sequence"),
    **CLUSTERED,
)

Table(
    "installation_events",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    Column("type", IDENTIFIER, nullable=False),
    Column("occurred_at", COUNT, nullable=False),
    *_actor("actor"),
    Column("target_type", Text, nullable=False),
    Column("target_id", IDENTIFIER, nullable=False),
    Column("data", Text, nullable=False),
    **CLUSTERED,
)

Table(
    "collections",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    Column("workspace_id", IDENTIFIER, ForeignKey("workspaces.id"), nullable=False),
    Column("name", IDENTIFIER, comment="null once deleted, until its last document is gone"),
    Column("title", Text, nullable=False),
    Column("documents", COUNT, nullable=False, server_default="0"),
    Column("last_number", COUNT, nullable=False, server_default="0"),
    Column("created_at", COUNT, nullable=False),
    Column("updated_at", COUNT, nullable=False),
    _version(),
    UniqueConstraint("workspace_id", "name"),
    UniqueConstraint("workspace_id", "id"),
    Index("collections_by_age", "workspace_id", text(f'id COLLATE "{POSIX}"')).ddl_if(
        dialect="postgresql"
    ),
    **CLUSTERED,
)

Table(
    "documents",
    METADATA,
    Column("serial", COUNT, Identity(always=True), primary_key=True),
    Column("workspace_id", IDENTIFIER, nullable=False),
    Column("collection_id", IDENTIFIER, nullable=False),
    Column("number", COUNT, nullable=False, comment="counts within the collection"),
    Column("id", IDENTIFIER, nullable=False),
    Column("title", Text, nullable=False),
    Column("url", Text),
    Column("attributes", Text, nullable=False),
    Column("digest", BYTES, nullable=False),
    Column("created_at", COUNT, nullable=False),
    Column("updated_at", COUNT, nullable=False),
    Column("text", Text, nullable=False),
    Column("words", WORDS, nullable=False, comment="what search looks into"),
    _version(),
    UniqueConstraint("workspace_id", "collection_id", "id"),
    UniqueConstraint("workspace_id", "collection_id", "number"),
    ForeignKeyConstraint(
        ["workspace_id", "collection_id"], ["collections.workspace_id", "collections.id"]
    ),
    **STRICT,
)

Table(
    "sign_in_links",
    METADATA,
    Column("digest", BYTES, primary_key=True),
    Column("workspace_id", IDENTIFIER, nullable=False),
    Column("user_id", IDENTIFIER, nullable=False),
    Column("created_at", COUNT, nullable=False),
    Column("expires_at", COUNT, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("return_url", Text),
    Column("used_at", COUNT),
    ForeignKeyConstraint(
        ["workspace_id", "user_id"], ["members.workspace_id", "members.user_id"], ondelete="CASCADE"
    ),
    Index("sign_in_links_by_member", "workspace_id", "user_id"),
    **CLUSTERED,
)

Table(
    "sessions",
    METADATA,
    Column("digest", BYTES, primary_key=True),
    Column("id", IDENTIFIER, nullable=False),
    Column("user_id", IDENTIFIER, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", COUNT, nullable=False),
    Column("signed_in_at", COUNT, nullable=False, comment="the last proof of identity"),
    Column("seen_at", COUNT, nullable=False),
    Column("ended_at", COUNT),
    Column("address", Text),
    Column("agent", Text),
    Column("proven_by", Text, nullable=False),
    Column("return_url", Text),
    UniqueConstraint("id"),
    Index("sessions_by_user", "user_id"),
    **CLUSTERED,
)

Table(
    "known_devices",
    METADATA,
    Column("digest", BYTES, primary_key=True),
    Column("user_id", IDENTIFIER, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", COUNT, nullable=False),
    Column("used_at", COUNT, nullable=False),
    Index("known_devices_by_user", "user_id"),
    **CLUSTERED,
)

Table(
    "email_confirmations",
    METADATA,
    Column("user_id", IDENTIFIER, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("email", Text, nullable=False, comment="the user's, or to become it"),
    Column("requested_at", COUNT, nullable=False),
    Column("due_at", COUNT, comment="of its email; null once that was sent or given up"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("leased_until", COUNT),
    Column("lease", IDENTIFIER, comment="of the worker that is sending; null if not leased"),
    Column("digest", BYTES, comment="of the link's secret; null until the email is written"),
    Column("expires_at", COUNT, comment="of the link"),
    UniqueConstraint("digest"),
    CheckConstraint("(lease IS NULL) = (leased_until IS NULL)", name="lease"),
    CheckConstraint("(digest IS NULL) = (expires_at IS NULL)", name="link"),
    _partial("email_confirmations_due", "due_at IS NOT NULL", "due_at"),
    **CLUSTERED,
)

Table(
    "throttles",
    METADATA,
    Column("subject", IDENTIFIER, primary_key=True),
    Column("failures", COUNT, nullable=False),
    Column("last_at", COUNT, nullable=False),
    Index("throttles_by_age", "last_at"),
    **CLUSTERED,
)

Table(
    "invitations",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    Column("workspace_id", IDENTIFIER, ForeignKey("workspaces.id"), nullable=False),
    Column("digest", BYTES, nullable=False),
    Column("email", Text, nullable=False),
    Column("role", Text, nullable=False),
    *_actor("invited_by"),
    Column("created_at", COUNT, nullable=False),
    Column("expires_at", COUNT, nullable=False),
    Column("accepted_at", COUNT),
    Column("accepted_by", IDENTIFIER, ForeignKey("users.id")),
    Column("revoked_at", COUNT),
    UniqueConstraint("digest"),
    Index("invitations_by_workspace", "workspace_id", "id"),
    **CLUSTERED,
)

Table(
    "credentials",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("hint", Text, nullable=False),
    Column("pepper_id", Text, nullable=False),
    Column("digest", BYTES, nullable=False),
    Column("created_at", COUNT, nullable=False),
    *_actor("created_by"),
    Column("revoked_at", COUNT),
    Column("revoked_by", Text),
    CheckConstraint("length(digest) = 32", name="digest_length"),
    **CLUSTERED,
)

Table(
    "webhook_endpoints",
    METADATA,
    Column("workspace_id", IDENTIFIER, ForeignKey("workspaces.id"), nullable=False),
    Column("id", IDENTIFIER, nullable=False),
    Column("name", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("event_types", IDENTIFIER, nullable=False, comment="separated by spaces; * is all"),
    Column("status", Text, nullable=False),
    Column("disabled_at", COUNT),
    Column("disabled_for", Text, comment="why it is disabled"),
    Column("created_at", COUNT, nullable=False),
    *_actor("created_by"),
    Column("pepper_id", Text, nullable=False, comment="under which the secrets are sealed"),
    Column("sealed", BYTES, comment="secrets and own headers; null once deleted"),
    Column("header_names", Text, nullable=False),
    Column("secret_overlap_until", COUNT, comment="until then the secret before signs too"),
    Column("deleted_at", COUNT, comment="deleted, except deliveries still to be removed"),
    _version(),
    PrimaryKeyConstraint("workspace_id", "id"),
    CheckConstraint("status IN ('active', 'disabled')", name="status"),
    CheckConstraint("(status = 'disabled') = (disabled_at IS NOT NULL)", name="disabled"),
    CheckConstraint("(sealed IS NULL) = (deleted_at IS NOT NULL)", name="deleted"),
    Index("webhook_endpoints_by_pepper", "pepper_id"),
    _partial("webhook_endpoints_deleted", "deleted_at IS NOT NULL", "deleted_at"),
    **CLUSTERED,
)

Table(
    "webhook_queues",
    METADATA,
    Column("workspace_id", IDENTIFIER, nullable=False),
    Column("webhook_id", IDENTIFIER, nullable=False),
    Column("due_at", COUNT, comment="not later than the first due delivery; null without one"),
    Column("leased_until", COUNT),
    Column("lease", IDENTIFIER, comment="of the worker that is sending; null if not leased"),
    Column("succeeded_at", COUNT, comment="when an attempt last succeeded"),
    PrimaryKeyConstraint("workspace_id", "webhook_id"),
    ForeignKeyConstraint(
        ["workspace_id", "webhook_id"],
        ["webhook_endpoints.workspace_id", "webhook_endpoints.id"],
        ondelete="CASCADE",
    ),
    CheckConstraint("(lease IS NULL) = (leased_until IS NULL)", name="lease"),
    _partial("webhook_queues_due", "due_at IS NOT NULL", "due_at"),
    **CLUSTERED,
)

Table(
    "deliveries",
    METADATA,
    Column("workspace_id", IDENTIFIER, nullable=False),
    Column("id", IDENTIFIER, nullable=False),
    Column("webhook_id", IDENTIFIER, nullable=False),
    Column("event_sequence", COUNT, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", COUNT, nullable=False),
    Column("started_at", COUNT, nullable=False, comment="the beginning of its present schedule"),
    Column("step", Integer, nullable=False, comment="attempts made of the present schedule"),
    Column("attempts", Integer, nullable=False, comment="attempts made in all"),
    Column("next_attempt_at", COUNT, comment="null unless pending"),
    PrimaryKeyConstraint("workspace_id", "id"),
    UniqueConstraint("workspace_id", "webhook_id", "event_sequence"),
    ForeignKeyConstraint(
        ["workspace_id", "webhook_id"],
        ["webhook_endpoints.workspace_id", "webhook_endpoints.id"],
    ),
    ForeignKeyConstraint(
        ["workspace_id", "event_sequence"], ["events.workspace_id", "events.sequence"]
    ),
    CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="status"),
    CheckConstraint("(status = 'pending') = (next_attempt_at IS NOT NULL)", name="pending"),
    CheckConstraint("step >= 0 AND attempts >= step", name="counts"),
    Index("deliveries_by_event", "workspace_id", "event_sequence"),
    _partial(
        "deliveries_due", "status = 'pending'", "workspace_id", "webhook_id", "next_attempt_at"
    ),
    _partial(
        "deliveries_failed", "status = 'failed'", "workspace_id", "webhook_id", "event_sequence"
    ),
    **CLUSTERED,
)

Table(
    "delivery_attempts",
    METADATA,
    Column("workspace_id", IDENTIFIER, nullable=False),
    Column("delivery_id", IDENTIFIER, nullable=False),
    Column("number", Integer, nullable=False),
    Column("at", COUNT, nullable=False),
    Column("status", Integer, comment="of the response; null without one"),
    Column("error", Text, comment="why it failed; null if it succeeded"),
    Column("milliseconds", Integer, nullable=False),
    PrimaryKeyConstraint("workspace_id", "delivery_id", "number"),
    ForeignKeyConstraint(
        ["workspace_id", "delivery_id"],
        ["deliveries.workspace_id", "deliveries.id"],
        ondelete="CASCADE",
    ),
    CheckConstraint("status BETWEEN 100 AND 999", name="status"),
    CheckConstraint("number > 0 AND milliseconds >= 0", name="numbers"),
    **CLUSTERED,
)

Table(
    "key_lifecycle_marks",
    METADATA,
    Column("workspace_id", IDENTIFIER, nullable=False),
    Column("key_id", IDENTIFIER, nullable=False),
    Column("kind", Text, nullable=False, comment="expired, expiring, unused, refused"),
    Column("mark", Text, nullable=False, comment="the last reported, to report it only once"),
    Column("at", COUNT, nullable=False),
    PrimaryKeyConstraint("workspace_id", "key_id", "kind"),
    ForeignKeyConstraint(["workspace_id", "key_id"], ["api_keys.workspace_id", "api_keys.id"]),
    **CLUSTERED,
)

Table(
    "key_rates",
    METADATA,
    Column("workspace_id", IDENTIFIER, nullable=False),
    Column("key_id", IDENTIFIER, nullable=False),
    Column("per_minute", COUNT, nullable=False, comment="instead of the plan's"),
    PrimaryKeyConstraint("workspace_id", "key_id"),
    ForeignKeyConstraint(["workspace_id", "key_id"], ["api_keys.workspace_id", "api_keys.id"]),
    **CLUSTERED,
)

Table(
    "watermarks",
    METADATA,
    Column("name", IDENTIFIER, primary_key=True),
    Column("mark", IDENTIFIER, nullable=False, comment="how far a search has come"),
    Column("moved_at", COUNT, nullable=False),
    **CLUSTERED,
)

Table(
    "notification_digests",
    METADATA,
    Column("workspace_id", IDENTIFIER, ForeignKey("workspaces.id"), primary_key=True),
    Column("newest", COUNT, nullable=False, comment="the last event to be reported"),
    Column("reported_through", COUNT, nullable=False, server_default="0"),
    Column("due_at", COUNT, comment="null if there is nothing to report"),
    Column("sent_at", COUNT),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("leased_until", COUNT),
    Column("lease", IDENTIFIER, comment="of the worker that is sending; null if not leased"),
    CheckConstraint("(lease IS NULL) = (leased_until IS NULL)", name="lease"),
    _partial("notification_digests_due", "due_at IS NOT NULL", "due_at"),
    **CLUSTERED,
)

Table(
    "digest_emails",
    METADATA,
    Column("workspace_id", IDENTIFIER, nullable=False),
    Column("user_id", IDENTIFIER, nullable=False),
    Column("through", COUNT, nullable=False, comment="the last event reported to the member"),
    PrimaryKeyConstraint("workspace_id", "user_id"),
    ForeignKeyConstraint(
        ["workspace_id", "user_id"], ["members.workspace_id", "members.user_id"], ondelete="CASCADE"
    ),
    **CLUSTERED,
)

Table(
    "notification_preferences",
    METADATA,
    Column("workspace_id", IDENTIFIER, nullable=False),
    Column("user_id", IDENTIFIER, nullable=False),
    Column("topics", Text, nullable=False, comment="separated by spaces"),
    PrimaryKeyConstraint("workspace_id", "user_id"),
    ForeignKeyConstraint(
        ["workspace_id", "user_id"], ["members.workspace_id", "members.user_id"], ondelete="CASCADE"
    ),
    **CLUSTERED,
)

ON_SQLITE = (
    """
    CREATE TRIGGER api_keys_added AFTER INSERT ON api_keys
    WHEN new.revoked_at IS NULL AND new.rotated_to IS NULL BEGIN
        INSERT INTO key_counts (workspace_id, counted, at) VALUES (new.workspace_id, 1, 0)
        ON CONFLICT (workspace_id) DO UPDATE SET counted = counted + (new.expires_at IS NULL OR new.expires_at > at);
    END
    """,
    """
    CREATE TRIGGER api_keys_changed AFTER UPDATE OF revoked_at, rotated_to, expires_at ON api_keys
    WHEN old.revoked_at IS NOT new.revoked_at OR old.rotated_to IS NOT new.rotated_to
        OR old.expires_at IS NOT new.expires_at BEGIN
        UPDATE key_counts SET counted = counted
            + (new.revoked_at IS NULL AND new.rotated_to IS NULL AND (new.expires_at IS NULL OR new.expires_at > at))
            - (old.revoked_at IS NULL AND old.rotated_to IS NULL AND (old.expires_at IS NULL OR old.expires_at > at))
        WHERE workspace_id = new.workspace_id;
    END
    """,
    """
    CREATE TRIGGER api_keys_removed AFTER DELETE ON api_keys
    WHEN old.revoked_at IS NULL AND old.rotated_to IS NULL BEGIN
        UPDATE key_counts SET counted = counted - (old.expires_at IS NULL OR old.expires_at > at)
        WHERE workspace_id = old.workspace_id;
    END
    """,
    """
    CREATE VIEW document_words AS
    SELECT serial, replace(words, ' ', ' ' || lower(substr(collection_id, -10))) AS words FROM documents
    """,
    """
    CREATE VIRTUAL TABLE document_search USING fts5(
        words, content='document_words', content_rowid='serial', tokenize='ascii', detail='none', columnsize=0
    )
    """,
    """
    CREATE TRIGGER documents_inserted AFTER INSERT ON documents BEGIN
        INSERT INTO document_search (rowid, words)
        VALUES (new.serial, replace(new.words, ' ', ' ' || lower(substr(new.collection_id, -10))));
    END
    """,
    """
    CREATE TRIGGER documents_deleted AFTER DELETE ON documents BEGIN
        INSERT INTO document_search (document_search, rowid, words)
        VALUES ('delete', old.serial, replace(old.words, ' ', ' ' || lower(substr(old.collection_id, -10))));
    END
    """,
    """
    CREATE TRIGGER documents_updated AFTER UPDATE OF words ON documents WHEN old.words <> new.words BEGIN
        INSERT INTO document_search (document_search, rowid, words)
        VALUES ('delete', old.serial, replace(old.words, ' ', ' ' || lower(substr(old.collection_id, -10))));
        INSERT INTO document_search (rowid, words)
        VALUES (new.serial, replace(new.words, ' ', ' ' || lower(substr(new.collection_id, -10))));
    END
    """,
)

ON_POSTGRESQL = (
    """
    CREATE FUNCTION count_added_key() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO key_counts (workspace_id, counted, at) VALUES (new.workspace_id, 1, 0)
        ON CONFLICT (workspace_id) DO UPDATE
        SET counted = key_counts.counted + (new.expires_at IS NULL OR new.expires_at > key_counts.at)::int;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION count_changed_key() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE key_counts SET counted = counted
            + (new.revoked_at IS NULL AND new.rotated_to IS NULL
                AND (new.expires_at IS NULL OR new.expires_at > at))::int
            - (old.revoked_at IS NULL AND old.rotated_to IS NULL
                AND (old.expires_at IS NULL OR old.expires_at > at))::int
        WHERE workspace_id = new.workspace_id;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE FUNCTION count_removed_key() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE key_counts SET counted = counted - (old.expires_at IS NULL OR old.expires_at > at)::int
        WHERE workspace_id = old.workspace_id;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER api_keys_added AFTER INSERT ON api_keys FOR EACH ROW
    WHEN (new.revoked_at IS NULL AND new.rotated_to IS NULL) EXECUTE FUNCTION count_added_key()
    """,
    """
    CREATE TRIGGER api_keys_changed AFTER UPDATE OF revoked_at, rotated_to, expires_at ON api_keys FOR EACH ROW
    WHEN (old.revoked_at IS DISTINCT FROM new.revoked_at OR old.rotated_to IS DISTINCT FROM new.rotated_to
        OR old.expires_at IS DISTINCT FROM new.expires_at) EXECUTE FUNCTION count_changed_key()
    """,
    """
    CREATE TRIGGER api_keys_removed AFTER DELETE ON api_keys FOR EACH ROW
    WHEN (old.revoked_at IS NULL AND old.rotated_to IS NULL) EXECUTE FUNCTION count_removed_key()
    """,
    """
    CREATE TABLE document_words (
        serial BIGINT NOT NULL,
        words TSVECTOR NOT NULL,
        CONSTRAINT document_words_pk PRIMARY KEY (serial),
        CONSTRAINT document_words_serial_fk FOREIGN KEY (serial) REFERENCES documents (serial) ON DELETE CASCADE
    )
    """,
    """
    CREATE INDEX document_words_by_word ON document_words USING gin (words)
    WITH (gin_pending_list_limit = 1024)
    """,
    """
    CREATE FUNCTION keep_document_words() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO document_words (serial, words) VALUES (new.serial, new.words)
        ON CONFLICT (serial) DO UPDATE SET words = excluded.words;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER documents_words AFTER INSERT OR UPDATE OF words ON documents
    FOR EACH ROW EXECUTE FUNCTION keep_document_words()
    """,
)


def upgrade() -> None:
    connection = op.get_bind()
    METADATA.create_all(connection)
    for statement in ON_SQLITE if connection.dialect.name == "sqlite" else ON_POSTGRESQL:
        op.execute(statement)
    op.bulk_insert(plans, [dict(zip(PLAN_COLUMNS, plan, strict=True)) for plan in PLANS])

"""All tables, constraints and indexes, for both dialects. Foreign keys include the workspace."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

from keystead.domain.plans import LIMIT_NAMES
from keystead.domain.rate_limits import RATE_NAMES
from keystead.domain.renewals import NO_END
from keystead.storage.schema import columns, device_login_tables
from keystead.storage.schema.columns import (
    BY_AGE,
    Bytes,
    Count,
    Identifier,
    Instant,
    Json,
    NetworkSet,
    RenewalEnd,
    ScopeSet,
    actor_columns,
)
from keystead.storage.schema.columns import CLUSTERED as _CLUSTERED
from keystead.storage.schema.columns import STRICT as _STRICT
from keystead.storage.schema.key_count_triggers import create_key_count_triggers
from keystead.storage.schema.search import Words, create_search

metadata = columns.metadata
device_logins = device_login_tables.device_logins
"""Declared in a file of its own. This module has all tables."""


def _version() -> Column[int]:
    return Column(
        "version",
        Count,
        nullable=False,
        server_default="1",
        comment="rises with every change of what can be edited",
    )


def _partial(name: str, condition: str, *columns: str, unique: bool = False) -> Index:
    where = text(condition)
    return Index(name, *columns, unique=unique, sqlite_where=where, postgresql_where=where)


def _position() -> Column[int]:
    return Column("position", Count, comment="in the feed; null until the event has one")


def _by_position(table: str) -> tuple[Index, Index]:
    """Return the index of a table's events in the order of the feed, and that of those not in it yet.

    Partial: a table with a unique index over all rows would lock an event that gets its position against deliveries.
    """
    return (
        _partial(f"{table}_by_position", "position IS NOT NULL", "position", unique=True),
        _partial(f"{table}_unplaced", "position IS NULL", "id"),
    )


def _by_age(name: str, condition: str | None, *columns: str) -> tuple[Index, Index]:
    """Return the index of a workspace's keys of one kind in the order of their ids, for each engine."""
    where = None if condition is None else text(condition)
    on_sqlite = Index(name, "workspace_id", *columns, "id", sqlite_where=where)
    age = text(f'id COLLATE "{BY_AGE}"')
    on_postgresql = Index(name, "workspace_id", *columns, age, postgresql_where=where)
    return on_sqlite.ddl_if(dialect="sqlite"), on_postgresql.ddl_if(dialect="postgresql")


plans = Table(
    "plans",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("name", Text, nullable=False),
    Column("position", Integer, nullable=False),
    *(Column(name, Count) for name in (*LIMIT_NAMES, *RATE_NAMES)),
    Column("policy", Json, nullable=False, server_default="{}"),
    **_STRICT,
)

workspaces = Table(
    "workspaces",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("name", Text, nullable=False),
    Column("plan_id", Identifier, ForeignKey("plans.id"), nullable=False),
    Column("limit_overrides", Json, nullable=False, server_default="{}"),
    Column("created_at", Instant, nullable=False),
    Column("suspended_at", Instant),
    Column("last_event", Count, nullable=False, server_default="0"),
    Column("deleted_at", Instant, comment="deleted, except rows still to be purged"),
    Column("external_id", Identifier, comment="the product's own id"),
    *(Column(name, Count, comment="instead of the plan's") for name in RATE_NAMES),
    _version(),
    # Partial: a change of a column that foreign keys could refer to would block all inserts into the workspace.
    _partial("workspaces_by_external_id", "external_id IS NOT NULL", "external_id", unique=True),
    Column("operator_policy", Json, nullable=False, server_default="{}"),
    Column("owner_policy", Json, nullable=False, server_default="{}"),
    Column("policy_version", Count, nullable=False, server_default="1"),
    Index("workspaces_by_name", "name"),
    _partial("workspaces_suspended", "suspended_at IS NOT NULL", "id", "suspended_at"),
    _partial("workspaces_deleted", "deleted_at IS NOT NULL", "id"),
    **_CLUSTERED,
)

deleted_workspaces = Table(
    "deleted_workspaces",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("external_id", Identifier, comment="the product's own id, free again"),
    Column("deleted_at", Instant, nullable=False),
    **_CLUSTERED,
)
"""Tombstones: all that stays of a deleted workspace."""

users = Table(
    "users",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("created_at", Instant, nullable=False),
    Column(
        "sign_in_email",
        Identifier,
        comment="the address in one case; null if it cannot sign in",
    ),
    Column("password_hash", Text),
    Column("password_set_at", Instant),
    Column("time_zone", Text),
    Column("portal_workspace_id", Identifier, ForeignKey("workspaces.id")),
    Column("portal_user_id", Identifier, comment="the product's own id of the user"),
    Column(
        "email_confirmed_at", Instant, comment="null: only a confirmation email may be sent there"
    ),
    UniqueConstraint("sign_in_email"),
    UniqueConstraint("portal_workspace_id", "portal_user_id"),
    CheckConstraint("(portal_workspace_id IS NULL) = (portal_user_id IS NULL)", name="portal"),
    CheckConstraint(
        "portal_workspace_id IS NULL OR (sign_in_email IS NULL AND password_hash IS NULL)",
        name="portal_only",
    ),
    **_CLUSTERED,
)

members = Table(
    "members",
    metadata,
    Column("workspace_id", Identifier, ForeignKey("workspaces.id"), nullable=False),
    Column("user_id", Identifier, ForeignKey("users.id"), nullable=False),
    Column("role", Text, nullable=False),
    Column("joined_at", Instant, nullable=False),
    _version(),
    PrimaryKeyConstraint("workspace_id", "user_id"),
    Index("members_by_user", "user_id"),
    **_CLUSTERED,
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("workspace_id", Identifier, ForeignKey("workspaces.id"), nullable=False),
    Column("description", Text, nullable=False),
    Column("folded_description", Identifier, nullable=False, comment="for search in any case"),
    Column("hint", Text, nullable=False),
    Column("pepper_id", Text, nullable=False),
    Column("digest", Bytes, nullable=False),
    Column("scopes", ScopeSet, nullable=False),
    Column("created_at", Instant, nullable=False),
    *actor_columns("created_by"),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
    Column("rotated_to", Identifier),
    _version(),
    Column("networks", NetworkSet, nullable=False, server_default=""),
    Column("metadata", Json, nullable=False, server_default="{}"),
    Column("renewable_until", RenewalEnd),
    Column("family", Identifier, comment="the first of the keys that renewed themselves to this"),
    Column("replaces", Identifier, comment="the key that renewed itself to this, until first use"),
    Column("quiet_seconds", Count, comment="rotated, it ends after so long a silence"),
    Column(
        "has_extras", Count, nullable=False, server_default="0", comment="verification reads them"
    ),
    Column(
        "stored_in",
        Text,
        nullable=False,
        server_default="",
        comment="where the token is stored, for pages alone",
    ),
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
    _partial("api_keys_family", "family IS NOT NULL", "workspace_id", "family", "created_at"),
    _partial("api_keys_quiet", "quiet_seconds IS NOT NULL AND revoked_at IS NULL", "id"),
    _partial("api_keys_by_pepper", "revoked_at IS NULL", "pepper_id", "expires_at"),
    _partial(
        "api_keys_overlapping",
        "rotated_to IS NOT NULL AND revoked_at IS NULL",
        "workspace_id",
        "expires_at",
    ),
    _partial("api_keys_by_expiry", "expires_at IS NOT NULL AND revoked_at IS NULL", "expires_at"),
    Index("api_keys_by_age", "workspace_id", text(f'id COLLATE "{BY_AGE}"')).ddl_if(
        dialect="postgresql"
    ),
    *_by_age("api_keys_unrevoked", "revoked_at IS NULL"),
    *_by_age("api_keys_revoked", "revoked_at IS NOT NULL"),
    *_by_age("api_keys_by_creator", None, "created_by_id"),
    Index(
        "api_keys_by_end",
        "workspace_id",
        # Not COALESCE: PostgreSQL considers it leaky, and would filter by it only after row-level security.
        text(f"(CASE WHEN expires_at IS NULL THEN {NO_END} ELSE expires_at END)"),
        "id",
    ),
    **_CLUSTERED,
)

key_counts = Table(
    "key_counts",
    metadata,
    Column("workspace_id", Identifier, ForeignKey("workspaces.id"), primary_key=True),
    Column("counted", Count, nullable=False, comment="keys that took a place of the limit then"),
    Column("at", Instant, nullable=False),
    **_CLUSTERED,
)
event.listen(key_counts, "after_create", create_key_count_triggers)

key_use = Table(
    "key_use",
    metadata,
    Column("key_id", Identifier, primary_key=True),
    Column("workspace_id", Identifier, nullable=False),
    Column("last_used_at", Instant, nullable=False),
    Column("last_used_ip", Text),
    Column("last_used_agent", Text),
    ForeignKeyConstraint(["workspace_id", "key_id"], ["api_keys.workspace_id", "api_keys.id"]),
    Index("key_use_by_time", "workspace_id", "last_used_at", "key_id"),
    **_CLUSTERED,
)

key_use_days = Table(
    "key_use_days",
    metadata,
    Column("key_id", Identifier, nullable=False),
    Column("day", Integer, nullable=False, comment="days since 1970-01-01, UTC"),
    Column("workspace_id", Identifier, nullable=False),
    Column("uses", Count, nullable=False),
    Column("refused", Count, nullable=False, server_default="0"),
    PrimaryKeyConstraint("key_id", "day"),
    ForeignKeyConstraint(["workspace_id", "key_id"], ["api_keys.workspace_id", "api_keys.id"]),
    Index("key_use_days_by_day", "day", "workspace_id"),
    **_CLUSTERED,
)

key_use_hours = Table(
    "key_use_hours",
    metadata,
    Column("key_id", Identifier, nullable=False),
    Column("hour", Integer, nullable=False, comment="hours since 1970-01-01, UTC"),
    Column("workspace_id", Identifier, nullable=False),
    Column("uses", Count, nullable=False),
    Column("refused", Count, nullable=False),
    PrimaryKeyConstraint("key_id", "hour"),
    ForeignKeyConstraint(["workspace_id", "key_id"], ["api_keys.workspace_id", "api_keys.id"]),
    Index("key_use_hours_by_hour", "hour"),
    **_CLUSTERED,
)

key_callers = Table(
    "key_callers",
    metadata,
    Column("key_id", Identifier, nullable=False),
    Column("reason", Text, nullable=False, comment="why it was refused; empty if it was not"),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("workspace_id", Identifier, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("times", Count, nullable=False),
    PrimaryKeyConstraint("key_id", "reason", "address", "agent"),
    ForeignKeyConstraint(["workspace_id", "key_id"], ["api_keys.workspace_id", "api_keys.id"]),
    _partial("key_callers_refused", "reason IN ('expired', 'revoked')", "last_at"),
    **_CLUSTERED,
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("workspace_id", Identifier, ForeignKey("workspaces.id"), nullable=False),
    Column("caller", Identifier, nullable=False),
    Column("key", Identifier, nullable=False),
    Column("fingerprint", Bytes, nullable=False),
    Column("claim", Identifier, nullable=False),
    Column("claimed_at", Instant, nullable=False),
    Column("resource_id", Identifier, comment="null while the request is in progress"),
    PrimaryKeyConstraint("workspace_id", "caller", "key"),
    **_CLUSTERED,
)

events = Table(
    "events",
    metadata,
    Column("workspace_id", Identifier, ForeignKey("workspaces.id"), nullable=False),
    Column("sequence", Count, nullable=False),
    Column("id", Identifier, nullable=False),
    Column("type", Identifier, nullable=False),
    Column("occurred_at", Instant, nullable=False),
    *actor_columns("actor"),
    Column("target_type", Text, nullable=False),
    Column("target_id", Identifier, nullable=False),
    Column("address", Text),
    Column("request_id", Text),
    Column("data", Json, nullable=False),
    _position(),
    PrimaryKeyConstraint("workspace_id", "sequence"),
    UniqueConstraint("workspace_id", "id"),
    Index("events_by_type", "workspace_id", "type", "sequence"),
    Index("events_by_target", "workspace_id", "target_id", "sequence"),
    *_by_position("events"),
    **_CLUSTERED,
)

installation_events = Table(
    "installation_events",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("type", Identifier, nullable=False),
    Column("occurred_at", Instant, nullable=False),
    *actor_columns("actor"),
    Column("target_type", Text, nullable=False),
    Column("target_id", Identifier, nullable=False),
    Column("data", Json, nullable=False),
    _position(),
    *_by_position("installation_events"),
    **_CLUSTERED,
)

collections = Table(
    "collections",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("workspace_id", Identifier, ForeignKey("workspaces.id"), nullable=False),
    Column("name", Identifier, comment="null once deleted, until its last document is gone"),
    Column("title", Text, nullable=False),
    Column("documents", Count, nullable=False, server_default="0"),
    Column("last_number", Count, nullable=False, server_default="0"),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    _version(),
    UniqueConstraint("workspace_id", "name"),
    UniqueConstraint("workspace_id", "id"),
    Index("collections_by_age", "workspace_id", text(f'id COLLATE "{BY_AGE}"')).ddl_if(
        dialect="postgresql"
    ),
    **_CLUSTERED,
)

documents = Table(
    "documents",
    metadata,
    Column("serial", Count, Identity(always=True), primary_key=True),
    Column("workspace_id", Identifier, nullable=False),
    Column("collection_id", Identifier, nullable=False),
    Column("number", Count, nullable=False, comment="counts within the collection"),
    Column("id", Identifier, nullable=False),
    Column("title", Text, nullable=False),
    Column("url", Text),
    Column("attributes", Json, nullable=False),
    Column("digest", Bytes, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("text", Text, nullable=False),
    Column("words", Words, nullable=False, comment="what search looks into"),
    _version(),
    UniqueConstraint("workspace_id", "collection_id", "id"),
    UniqueConstraint("workspace_id", "collection_id", "number"),
    ForeignKeyConstraint(
        ["workspace_id", "collection_id"], ["collections.workspace_id", "collections.id"]
    ),
    **_STRICT,
)
event.listen(documents, "after_create", create_search)

sign_in_links = Table(
    "sign_in_links",
    metadata,
    Column("digest", Bytes, primary_key=True),
    Column("workspace_id", Identifier, nullable=False),
    Column("user_id", Identifier, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("return_url", Text),
    Column("used_at", Instant),
    ForeignKeyConstraint(
        ["workspace_id", "user_id"], ["members.workspace_id", "members.user_id"], ondelete="CASCADE"
    ),
    Index("sign_in_links_by_member", "workspace_id", "user_id"),
    **_CLUSTERED,
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", Bytes, primary_key=True),
    Column("id", Identifier, nullable=False),
    Column("user_id", Identifier, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("signed_in_at", Instant, nullable=False, comment="the last proof of identity"),
    Column("seen_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("address", Text),
    Column("agent", Text),
    Column("proven_by", Text, nullable=False),
    Column("return_url", Text),
    UniqueConstraint("id"),
    Index("sessions_by_user", "user_id"),
    **_CLUSTERED,
)

known_devices = Table(
    "known_devices",
    metadata,
    Column("digest", Bytes, primary_key=True),
    Column("user_id", Identifier, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("used_at", Instant, nullable=False),
    Index("known_devices_by_user", "user_id"),
    **_CLUSTERED,
)

email_confirmations = Table(
    "email_confirmations",
    metadata,
    Column("user_id", Identifier, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("email", Text, nullable=False, comment="the user's, or to become it"),
    Column("requested_at", Instant, nullable=False),
    Column("due_at", Instant, comment="of its email; null once that was sent or given up"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("leased_until", Instant),
    Column("lease", Identifier, comment="of the worker that is sending; null if not leased"),
    Column("digest", Bytes, comment="of the link's secret; null until the email is written"),
    Column("expires_at", Instant, comment="of the link"),
    UniqueConstraint("digest"),
    CheckConstraint("(lease IS NULL) = (leased_until IS NULL)", name="lease"),
    CheckConstraint("(digest IS NULL) = (expires_at IS NULL)", name="link"),
    _partial("email_confirmations_due", "due_at IS NOT NULL", "due_at"),
    **_CLUSTERED,
)

throttles = Table(
    "throttles",
    metadata,
    Column("subject", Identifier, primary_key=True),
    Column("failures", Count, nullable=False),
    Column("last_at", Instant, nullable=False),
    Index("throttles_by_age", "last_at"),
    **_CLUSTERED,
)

invitations = Table(
    "invitations",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("workspace_id", Identifier, ForeignKey("workspaces.id"), nullable=False),
    Column("digest", Bytes, nullable=False),
    Column("email", Text, nullable=False),
    Column("role", Text, nullable=False),
    *actor_columns("invited_by"),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("accepted_at", Instant),
    Column("accepted_by", Identifier, ForeignKey("users.id")),
    Column("revoked_at", Instant),
    UniqueConstraint("digest"),
    Index("invitations_by_workspace", "workspace_id", "id"),
    _partial("invitations_by_user", "accepted_by IS NOT NULL", "accepted_by"),
    **_CLUSTERED,
)

credentials = Table(
    "credentials",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("hint", Text, nullable=False),
    Column("pepper_id", Text, nullable=False),
    Column("digest", Bytes, nullable=False),
    Column("created_at", Instant, nullable=False),
    *actor_columns("created_by"),
    Column("revoked_at", Instant),
    Column("revoked_by", Text),
    CheckConstraint("length(digest) = 32", name="digest_length"),
    **_CLUSTERED,
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("workspace_id", Identifier, ForeignKey("workspaces.id"), nullable=False),
    Column("id", Identifier, nullable=False),
    Column("name", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("event_types", Identifier, nullable=False, comment="separated by spaces; * is all"),
    Column("status", Text, nullable=False),
    Column("disabled_at", Instant),
    Column("disabled_for", Text, comment="why it is disabled"),
    Column("created_at", Instant, nullable=False),
    *actor_columns("created_by"),
    Column("pepper_id", Text, nullable=False, comment="under which the secrets are sealed"),
    Column("sealed", Bytes, comment="secrets and own headers; null once deleted"),
    Column("header_names", Json, nullable=False),
    Column("secret_overlap_until", Instant, comment="until then the secret before signs too"),
    Column("deleted_at", Instant, comment="deleted, except deliveries still to be removed"),
    _version(),
    PrimaryKeyConstraint("workspace_id", "id"),
    CheckConstraint("status IN ('active', 'disabled')", name="status"),
    CheckConstraint("(status = 'disabled') = (disabled_at IS NOT NULL)", name="disabled"),
    CheckConstraint("(sealed IS NULL) = (deleted_at IS NOT NULL)", name="deleted"),
    Index("webhook_endpoints_by_pepper", "pepper_id"),
    _partial("webhook_endpoints_deleted", "deleted_at IS NOT NULL", "deleted_at"),
    **_CLUSTERED,
)

webhook_queues = Table(
    "webhook_queues",
    metadata,
    Column("workspace_id", Identifier, nullable=False),
    Column("webhook_id", Identifier, nullable=False),
    Column("due_at", Instant, comment="not later than the first due delivery; null without one"),
    Column("leased_until", Instant),
    Column("lease", Identifier, comment="of the worker that is sending; null if not leased"),
    Column("succeeded_at", Instant, comment="when an attempt last succeeded"),
    PrimaryKeyConstraint("workspace_id", "webhook_id"),
    ForeignKeyConstraint(
        ["workspace_id", "webhook_id"],
        ["webhook_endpoints.workspace_id", "webhook_endpoints.id"],
        ondelete="CASCADE",
    ),
    CheckConstraint("(lease IS NULL) = (leased_until IS NULL)", name="lease"),
    _partial("webhook_queues_due", "due_at IS NOT NULL", "due_at"),
    **_CLUSTERED,
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("workspace_id", Identifier, nullable=False),
    Column("id", Identifier, nullable=False),
    Column("webhook_id", Identifier, nullable=False),
    Column("event_sequence", Count, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant, nullable=False, comment="the beginning of its present schedule"),
    Column("step", Integer, nullable=False, comment="attempts made of the present schedule"),
    Column("attempts", Integer, nullable=False, comment="attempts made in all"),
    Column("next_attempt_at", Instant, comment="null unless pending"),
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
    **_CLUSTERED,
)

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    Column("workspace_id", Identifier, nullable=False),
    Column("delivery_id", Identifier, nullable=False),
    Column("number", Integer, nullable=False),
    Column("at", Instant, nullable=False),
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
    **_CLUSTERED,
)

key_lifecycle_marks = Table(
    "key_lifecycle_marks",
    metadata,
    Column("workspace_id", Identifier, nullable=False),
    Column("key_id", Identifier, nullable=False),
    Column("kind", Text, nullable=False, comment="expired, expiring, unused, refused"),
    Column("mark", Text, nullable=False, comment="the last reported, to report it only once"),
    Column("at", Instant, nullable=False),
    PrimaryKeyConstraint("workspace_id", "key_id", "kind"),
    ForeignKeyConstraint(["workspace_id", "key_id"], ["api_keys.workspace_id", "api_keys.id"]),
    **_CLUSTERED,
)

key_rates = Table(
    "key_rates",
    metadata,
    Column("workspace_id", Identifier, nullable=False),
    Column("key_id", Identifier, nullable=False),
    Column("per_minute", Count, nullable=False, comment="instead of the plan's"),
    PrimaryKeyConstraint("workspace_id", "key_id"),
    ForeignKeyConstraint(["workspace_id", "key_id"], ["api_keys.workspace_id", "api_keys.id"]),
    **_CLUSTERED,
)

watermarks = Table(
    "watermarks",
    metadata,
    Column("name", Identifier, primary_key=True),
    Column("mark", Identifier, nullable=False, comment="how far a search has come"),
    Column("moved_at", Instant, nullable=False),
    **_CLUSTERED,
)

moves = Table(
    "moves",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("state", Text, nullable=False, comment="arriving: still being copied; left: moved away"),
    Column("place", Text, nullable=False, comment="the other database, without its login"),
    Column("at", Instant, nullable=False),
    CheckConstraint("state IN ('arriving', 'left')", name="state"),
    **_CLUSTERED,
)
"""At most one row. No server uses a database that has one: see `storage.moving.marks`."""

notification_digests = Table(
    "notification_digests",
    metadata,
    Column("workspace_id", Identifier, ForeignKey("workspaces.id"), primary_key=True),
    Column("newest", Count, nullable=False, comment="the last event to be reported"),
    Column("reported_through", Count, nullable=False, server_default="0"),
    Column("due_at", Instant, comment="null if there is nothing to report"),
    Column("sent_at", Instant),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("leased_until", Instant),
    Column("lease", Identifier, comment="of the worker that is sending; null if not leased"),
    CheckConstraint("(lease IS NULL) = (leased_until IS NULL)", name="lease"),
    _partial("notification_digests_due", "due_at IS NOT NULL", "due_at"),
    **_CLUSTERED,
)

digest_emails = Table(
    "digest_emails",
    metadata,
    Column("workspace_id", Identifier, nullable=False),
    Column("user_id", Identifier, nullable=False),
    Column("through", Count, nullable=False, comment="the last event reported to the member"),
    PrimaryKeyConstraint("workspace_id", "user_id"),
    ForeignKeyConstraint(
        ["workspace_id", "user_id"], ["members.workspace_id", "members.user_id"], ondelete="CASCADE"
    ),
    **_CLUSTERED,
)

notification_preferences = Table(
    "notification_preferences",
    metadata,
    Column("workspace_id", Identifier, nullable=False),
    Column("user_id", Identifier, nullable=False),
    Column("topics", Text, nullable=False, comment="separated by spaces"),
    PrimaryKeyConstraint("workspace_id", "user_id"),
    ForeignKeyConstraint(
        ["workspace_id", "user_id"], ["members.workspace_id", "members.user_id"], ondelete="CASCADE"
    ),
    **_CLUSTERED,
)

"""The first schema: tenants, keys and their use, events, documents, sign-in; and the plans to begin with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

TEXT = sa.Text()
NUMBER = sa.Integer()
BYTES = sa.LargeBinary()
IDENTIFIER = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
WORDS = sa.Text().with_variant(postgresql.TSVECTOR(), "postgresql")

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

SEARCH_ON_SQLITE = (
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


def upgrade() -> None:
    _create_tenants()
    _create_keys()
    _create_events()
    _create_documents()
    _create_sessions()
    _create_sign_in()
    _create_credentials()
    plans = sa.table("plans", *map(sa.column, PLAN_COLUMNS))
    rows = [dict(zip(PLAN_COLUMNS, plan, strict=True)) for plan in PLANS]
    op.bulk_insert(plans, rows)


def _create_tenants() -> None:
    op.create_table(
        "plans",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("position", NUMBER, nullable=False),
        sa.Column("api_keys", COUNT),
        sa.Column("collections", COUNT),
        sa.Column("documents", COUNT),
        sa.Column("webhooks", COUNT),
        sa.Column("members", COUNT),
        sa.PrimaryKeyConstraint("id", name="plans_pk"),
        sqlite_strict=True,
    )
    op.create_table(
        "workspaces",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("plan_id", IDENTIFIER, nullable=False),
        sa.Column("limit_overrides", TEXT, server_default="{}", nullable=False),
        sa.Column("created_at", COUNT, nullable=False),
        sa.Column("suspended_at", COUNT),
        sa.Column("last_event", COUNT, server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name="workspaces_plan_id_fk"),
        sa.PrimaryKeyConstraint("id", name="workspaces_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "users",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("email", TEXT),
        sa.Column("created_at", COUNT, nullable=False),
        sa.Column(
            "sign_in_email",
            IDENTIFIER,
            comment="the address in one case; null if it cannot sign in",
        ),
        sa.Column("password_hash", TEXT),
        sa.Column("password_set_at", COUNT),
        sa.Column("time_zone", TEXT),
        sa.Column("portal_workspace_id", IDENTIFIER),
        sa.Column("portal_user_id", IDENTIFIER, comment="the product's own id of the user"),
        sa.CheckConstraint(
            "(portal_workspace_id IS NULL) = (portal_user_id IS NULL)", name="users_portal_check"
        ),
        sa.CheckConstraint(
            "portal_workspace_id IS NULL OR (sign_in_email IS NULL AND password_hash IS NULL)",
            name="users_portal_only_check",
        ),
        sa.ForeignKeyConstraint(
            ["portal_workspace_id"], ["workspaces.id"], name="users_portal_workspace_id_fk"
        ),
        sa.PrimaryKeyConstraint("id", name="users_pk"),
        sa.UniqueConstraint(
            "portal_workspace_id",
            "portal_user_id",
            name="users_portal_workspace_id_portal_user_id_key",
        ),
        sa.UniqueConstraint("sign_in_email", name="users_sign_in_email_key"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "members",
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("user_id", IDENTIFIER, nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("joined_at", COUNT, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="members_user_id_fk"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name="members_workspace_id_fk"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "user_id", name="members_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("members_by_user", "members", ["user_id"])


def _create_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column(
            "folded_description", IDENTIFIER, nullable=False, comment="for search in any case"
        ),
        sa.Column("hint", TEXT, nullable=False),
        sa.Column("pepper_id", TEXT, nullable=False),
        sa.Column("digest", BYTES, nullable=False),
        sa.Column("scopes", TEXT, nullable=False),
        sa.Column("created_at", COUNT, nullable=False),
        sa.Column("created_by_kind", TEXT, nullable=False),
        sa.Column("created_by_id", TEXT, nullable=False),
        sa.Column("created_by_name", TEXT, nullable=False),
        sa.Column("expires_at", COUNT),
        sa.Column("revoked_at", COUNT),
        sa.Column("rotated_to", IDENTIFIER),
        sa.CheckConstraint("length(digest) = 32", name="api_keys_digest_length_check"),
        sa.ForeignKeyConstraint(
            ["workspace_id", "rotated_to"],
            ["api_keys.workspace_id", "api_keys.id"],
            name="api_keys_workspace_id_rotated_to_fk",
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name="api_keys_workspace_id_fk"
        ),
        sa.PrimaryKeyConstraint("id", name="api_keys_pk"),
        sa.UniqueConstraint("workspace_id", "id", name="api_keys_workspace_id_id_key"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("api_keys_by_pepper", "api_keys", ["pepper_id"])
    if op.get_bind().dialect.name == "postgresql":
        op.create_index(
            "api_keys_by_age", "api_keys", ["workspace_id", sa.text('id COLLATE "POSIX"')]
        )
    op.create_index(
        "api_keys_live",
        "api_keys",
        ["workspace_id", "rotated_to", "expires_at", "revoked_at"],
        sqlite_where=sa.text("revoked_at IS NULL"),
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.create_index(
        "api_keys_predecessor",
        "api_keys",
        ["workspace_id", "rotated_to"],
        sqlite_where=sa.text("rotated_to IS NOT NULL"),
        postgresql_where=sa.text("rotated_to IS NOT NULL"),
    )
    op.create_table(
        "key_use",
        sa.Column("key_id", IDENTIFIER, nullable=False),
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("last_used_at", COUNT, nullable=False),
        sa.Column("last_used_ip", TEXT),
        sa.Column("last_used_agent", TEXT),
        sa.ForeignKeyConstraint(
            ["workspace_id", "key_id"],
            ["api_keys.workspace_id", "api_keys.id"],
            name="key_use_workspace_id_key_id_fk",
        ),
        sa.PrimaryKeyConstraint("key_id", name="key_use_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "key_use_days",
        sa.Column("key_id", IDENTIFIER, nullable=False),
        sa.Column("day", NUMBER, nullable=False, comment="days since 1970-01-01, UTC"),
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("uses", COUNT, nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "key_id"],
            ["api_keys.workspace_id", "api_keys.id"],
            name="key_use_days_workspace_id_key_id_fk",
        ),
        sa.PrimaryKeyConstraint("key_id", "day", name="key_use_days_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "key_callers",
        sa.Column("key_id", IDENTIFIER, nullable=False),
        sa.Column(
            "reason", TEXT, nullable=False, comment="why it was refused; empty if it was not"
        ),
        sa.Column("address", TEXT, nullable=False),
        sa.Column("agent", TEXT, nullable=False),
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("last_at", COUNT, nullable=False),
        sa.Column("times", COUNT, nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id", "key_id"],
            ["api_keys.workspace_id", "api_keys.id"],
            name="key_callers_workspace_id_key_id_fk",
        ),
        sa.PrimaryKeyConstraint("key_id", "reason", "address", "agent", name="key_callers_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("caller", IDENTIFIER, nullable=False),
        sa.Column("key", IDENTIFIER, nullable=False),
        sa.Column("fingerprint", BYTES, nullable=False),
        sa.Column("claim", IDENTIFIER, nullable=False),
        sa.Column("claimed_at", COUNT, nullable=False),
        sa.Column("resource_id", IDENTIFIER, comment="null while the request is in progress"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name="idempotency_keys_workspace_id_fk"
        ),
        sa.PrimaryKeyConstraint("workspace_id", "caller", "key", name="idempotency_keys_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("sequence", COUNT, nullable=False),
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("type", IDENTIFIER, nullable=False),
        sa.Column("occurred_at", COUNT, nullable=False),
        sa.Column("actor_kind", TEXT, nullable=False),
        sa.Column("actor_id", TEXT, nullable=False),
        sa.Column("actor_name", TEXT, nullable=False),
        sa.Column("target_type", TEXT, nullable=False),
        sa.Column("target_id", IDENTIFIER, nullable=False),
        sa.Column("address", TEXT),
        sa.Column("request_id", TEXT),
        sa.Column("data", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name="events_workspace_id_fk"),
        sa.PrimaryKeyConstraint("workspace_id", "sequence", name="events_pk"),
        sa.UniqueConstraint("workspace_id", "id", name="events_workspace_id_id_key"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("events_by_type", "events", ["workspace_id", "type", "sequence"])
    op.create_index("events_by_target", "events", ["workspace_id", "target_id", "sequence"])


def _create_documents() -> None:
    op.create_table(
        "collections",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("name", IDENTIFIER, comment="null once deleted, until its last document is gone"),
        sa.Column("title", TEXT, nullable=False),
        sa.Column("documents", COUNT, server_default="0", nullable=False),
        sa.Column("last_number", COUNT, server_default="0", nullable=False),
        sa.Column("created_at", COUNT, nullable=False),
        sa.Column("updated_at", COUNT, nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name="collections_workspace_id_fk"
        ),
        sa.PrimaryKeyConstraint("id", name="collections_pk"),
        sa.UniqueConstraint("workspace_id", "id", name="collections_workspace_id_id_key"),
        sa.UniqueConstraint("workspace_id", "name", name="collections_workspace_id_name_key"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "documents",
        sa.Column("serial", COUNT, sa.Identity(always=True), nullable=False),
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("collection_id", IDENTIFIER, nullable=False),
        sa.Column("number", COUNT, nullable=False, comment="counts within the collection"),
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("title", TEXT, nullable=False),
        sa.Column("url", TEXT),
        sa.Column("attributes", TEXT, nullable=False),
        sa.Column("digest", BYTES, nullable=False),
        sa.Column("created_at", COUNT, nullable=False),
        sa.Column("updated_at", COUNT, nullable=False),
        sa.Column("text", TEXT, nullable=False),
        sa.Column("words", WORDS, nullable=False, comment="what search looks into"),
        sa.ForeignKeyConstraint(
            ["workspace_id", "collection_id"],
            ["collections.workspace_id", "collections.id"],
            name="documents_workspace_id_collection_id_fk",
        ),
        sa.PrimaryKeyConstraint("serial", name="documents_pk"),
        sa.UniqueConstraint(
            "workspace_id",
            "collection_id",
            "id",
            name="documents_workspace_id_collection_id_id_key",
        ),
        sa.UniqueConstraint(
            "workspace_id",
            "collection_id",
            "number",
            name="documents_workspace_id_collection_id_number_key",
        ),
        sqlite_strict=True,
    )
    if op.get_bind().dialect.name == "postgresql":
        op.create_index(
            "documents_by_word",
            "documents",
            ["words"],
            postgresql_using="gin",
            postgresql_with={"gin_pending_list_limit": 1024},
        )
    if op.get_bind().dialect.name == "sqlite":
        for statement in SEARCH_ON_SQLITE:
            op.execute(statement)


def _create_sessions() -> None:
    op.create_table(
        "sign_in_links",
        sa.Column("digest", BYTES, nullable=False),
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("user_id", IDENTIFIER, nullable=False),
        sa.Column("created_at", COUNT, nullable=False),
        sa.Column("expires_at", COUNT, nullable=False),
        sa.Column("purpose", TEXT, nullable=False),
        sa.Column("return_url", TEXT),
        sa.Column("used_at", COUNT),
        sa.ForeignKeyConstraint(
            ["workspace_id", "user_id"],
            ["members.workspace_id", "members.user_id"],
            name="sign_in_links_workspace_id_user_id_fk",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("digest", name="sign_in_links_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("sign_in_links_by_member", "sign_in_links", ["workspace_id", "user_id"])
    op.create_table(
        "sessions",
        sa.Column("digest", BYTES, nullable=False),
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("user_id", IDENTIFIER, nullable=False),
        sa.Column("created_at", COUNT, nullable=False),
        sa.Column("signed_in_at", COUNT, nullable=False, comment="the last proof of identity"),
        sa.Column("seen_at", COUNT, nullable=False),
        sa.Column("ended_at", COUNT),
        sa.Column("address", TEXT),
        sa.Column("agent", TEXT),
        sa.Column("proven_by", TEXT, nullable=False),
        sa.Column("return_url", TEXT),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="sessions_user_id_fk", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("digest", name="sessions_pk"),
        sa.UniqueConstraint("id", name="sessions_id_key"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("sessions_by_user", "sessions", ["user_id"])


def _create_sign_in() -> None:
    op.create_table(
        "known_devices",
        sa.Column("digest", BYTES, nullable=False),
        sa.Column("user_id", IDENTIFIER, nullable=False),
        sa.Column("created_at", COUNT, nullable=False),
        sa.Column("used_at", COUNT, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="known_devices_user_id_fk", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("digest", name="known_devices_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("known_devices_by_user", "known_devices", ["user_id"])
    op.create_table(
        "throttles",
        sa.Column("subject", IDENTIFIER, nullable=False),
        sa.Column("failures", COUNT, nullable=False),
        sa.Column("last_at", COUNT, nullable=False),
        sa.PrimaryKeyConstraint("subject", name="throttles_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("throttles_by_age", "throttles", ["last_at"])
    op.create_table(
        "invitations",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("workspace_id", IDENTIFIER, nullable=False),
        sa.Column("digest", BYTES, nullable=False),
        sa.Column("email", TEXT, nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("invited_by_kind", TEXT, nullable=False),
        sa.Column("invited_by_id", TEXT, nullable=False),
        sa.Column("invited_by_name", TEXT, nullable=False),
        sa.Column("created_at", COUNT, nullable=False),
        sa.Column("expires_at", COUNT, nullable=False),
        sa.Column("accepted_at", COUNT),
        sa.Column("accepted_by", IDENTIFIER),
        sa.Column("revoked_at", COUNT),
        sa.ForeignKeyConstraint(["accepted_by"], ["users.id"], name="invitations_accepted_by_fk"),
        sa.ForeignKeyConstraint(
            ["workspace_id"], ["workspaces.id"], name="invitations_workspace_id_fk"
        ),
        sa.PrimaryKeyConstraint("id", name="invitations_pk"),
        sa.UniqueConstraint("digest", name="invitations_digest_key"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("invitations_by_workspace", "invitations", ["workspace_id", "id"])


def _create_credentials() -> None:
    op.create_table(
        "credentials",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("hint", TEXT, nullable=False),
        sa.Column("pepper_id", TEXT, nullable=False),
        sa.Column("digest", BYTES, nullable=False),
        sa.Column("created_at", COUNT, nullable=False),
        sa.Column("created_by_kind", TEXT, nullable=False),
        sa.Column("created_by_id", TEXT, nullable=False),
        sa.Column("created_by_name", TEXT, nullable=False),
        sa.Column("revoked_at", COUNT),
        sa.Column("revoked_by", TEXT),
        sa.CheckConstraint("length(digest) = 32", name="credentials_digest_length_check"),
        sa.PrimaryKeyConstraint("id", name="credentials_pk"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )

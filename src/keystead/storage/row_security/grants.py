"""The grants and policies of PostgreSQL's roles: a second line of defense behind the workspace in every WHERE.

The server's login has almost no privileges itself. Each transaction sets a role that is named after it:
`keystead_server` becomes `keystead_server_application` within one workspace, or `keystead_server_people` to
sign a user in. `diff` compares these declarations with a database, `apply` applies them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import TableClause

from keystead.domain.rate_limits import RATE_NAMES
from keystead.storage.engine.roles import APPLICATION, SETTING, Purpose
from keystead.storage.schema import tables as schema
from keystead.storage.schema.search import document_words

LOGIN: Final = ""
"""The login itself: the point reads of verification, and what a process checks at its start."""
VERSION_TABLE: Final = "alembic_version"

Columns = frozenset[str] | None
"""The columns of a grant; None: the whole table, with columns that are added later."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A privilege on one table: a verb of SQL, and its columns."""

    table: str
    verb: str
    columns: Columns = None


def _select(table: TableClause, *columns: str) -> Grant:
    return Grant(table.name, "SELECT", frozenset(columns) or None)


def _select_but(table: TableClause, *columns: str) -> Grant:
    return Grant(table.name, "SELECT", frozenset(table.c.keys()) - set(columns))


def _update(table: TableClause, *columns: str) -> Grant:
    return Grant(table.name, "UPDATE", frozenset(columns) or None)


def _insert(table: TableClause) -> Grant:
    return Grant(table.name, "INSERT")


def _delete(table: TableClause) -> Grant:
    return Grant(table.name, "DELETE")


def _all(*tables: TableClause) -> Iterable[Grant]:
    for table in tables:
        yield from (_select(table), _insert(table), _update(table), _delete(table))


_KEY_STATE: Final = (
    "description",
    "folded_description",
    "scopes",
    "expires_at",
    "revoked_at",
    "rotated_to",
    "version",
    "networks",
    "metadata",
    "renewable_until",
    "family",
    "replaces",
    "quiet_seconds",
    "has_extras",
    "stored_in",
)

_DIGEST: Final = (
    _select(schema.notification_digests, "workspace_id", "due_at", "sent_at", "newest"),
    _insert(schema.notification_digests),
    _update(schema.notification_digests, "due_at", "newest"),
)
"""To make a notification digest due."""

_APPENDS_EVENTS: Final = (
    _insert(schema.events),
    _update(schema.workspaces, "last_event"),
    _select(schema.webhook_endpoints, "workspace_id", "id", "status", "deleted_at", "event_types"),
    _select(schema.webhook_queues, "workspace_id", "webhook_id", "due_at"),
    _update(schema.webhook_queues, "due_at"),
    _insert(schema.deliveries),
    *_DIGEST,
)
"""To append an event with its sequence number, and a delivery for each endpoint that chose it."""

_PLACES_EVENTS: Final = (
    _update(schema.events, "position"),
    _update(schema.installation_events, "position"),
)
"""To give events their position in the feed, the only part of an event that is ever written again."""
_READS_POLICIES: Final = (
    _select(schema.plans, "id", "policy"),
    _select(
        schema.workspaces, "id", "plan_id", "operator_policy", "owner_policy", "policy_version"
    ),
)
"""To find the keys that a policy ends when they are not used."""

_COUNTS_ALL: Final = (_select(schema.workspaces, "deleted_at"), _select(schema.key_counts))
"""To count what the whole installation holds, for the gauges of the metrics."""

_APPLIES_RETENTION: Final = (
    _select(schema.workspaces, "id"),
    _delete(schema.deliveries),
    _delete(schema.events),
    _select(schema.key_use_days, "key_id", "day"),
    _delete(schema.key_use_days),
    _select(schema.key_use_hours, "key_id", "hour"),
    _delete(schema.key_use_hours),
    _select(schema.key_callers, "key_id", "reason", "address", "agent", "last_at"),
    _delete(schema.key_callers),
)
"""To delete what is past its retention period. No other role may delete events."""

_PURGES: Final = (
    *(
        grant
        for table in schema.metadata.sorted_tables
        if "workspace_id" in table.c
        for grant in (_select(table), _delete(table))
    ),
    _select(schema.workspaces, "id", "deleted_at"),
    _delete(schema.workspaces),
    _update(schema.api_keys, "rotated_to"),
    _update(schema.key_counts, "counted"),
    _update(schema.invitations, "accepted_by"),
    _select(schema.users, "id", "sign_in_email", "portal_workspace_id"),
    _delete(schema.users),
    _select(schema.sessions, "digest", "id", "user_id"),
    _delete(schema.sessions),
    _select(schema.known_devices, "digest", "user_id"),
    _select(schema.throttles, "subject"),
    _delete(schema.throttles),
    _select(document_words),
    _delete(document_words),
)
"""To delete every row of a workspace. No other role may delete keys, users or workspaces."""

GRANTS: Final[Mapping[str, tuple[Grant, ...]]] = {
    LOGIN: (
        Grant(VERSION_TABLE, "SELECT"),
        _select(
            schema.api_keys,
            "id",
            "workspace_id",
            "description",
            "pepper_id",
            "digest",
            "scopes",
            "created_at",
            "expires_at",
            "revoked_at",
            "networks",
            "metadata",
            "renewable_until",
            "replaces",
            "has_extras",
        ),
        _select(schema.workspaces, "id", "name", "plan_id", "suspended_at"),
        _select(schema.credentials, "id", "name", "pepper_id", "digest", "revoked_at"),
        _select(schema.webhook_endpoints, "pepper_id", "deleted_at"),
        _select(schema.moves),
    ),
    APPLICATION: (
        _select(schema.plans),
        _select(schema.watermarks, "name", "moved_at"),
        _select(schema.workspaces),
        _update(schema.workspaces, "name", "last_event", "version"),
        _update(schema.workspaces, "owner_policy", "policy_version"),
        _select_but(schema.users, "password_hash"),
        _insert(schema.users),
        _update(schema.users, "name", "email", "email_confirmed_at"),
        *_all(schema.members),
        _select_but(schema.api_keys, "digest", "pepper_id"),
        _insert(schema.api_keys),
        _update(schema.api_keys, *_KEY_STATE),
        _select(schema.key_use),
        _select(schema.key_use_days),
        _select(schema.key_use_hours),
        _select(schema.key_callers),
        *_all(schema.idempotency_keys),
        _select(schema.events),
        _insert(schema.events),
        *_all(schema.collections, schema.documents, document_words),
        _insert(schema.sign_in_links),
        _select(schema.device_logins, "digest", "workspace_id"),
        _delete(schema.device_logins),
        _select_but(schema.invitations, "digest"),
        _insert(schema.invitations),
        _update(schema.invitations, "revoked_at"),
        *_all(schema.key_counts),
        *_all(schema.webhook_endpoints, schema.webhook_queues),
        *_all(schema.deliveries, schema.delivery_attempts, schema.key_lifecycle_marks),
        *_all(schema.notification_digests, schema.notification_preferences),
        _select(schema.digest_emails),
        _select(schema.key_rates),
        _insert(schema.key_rates),
        _delete(schema.key_rates),
        _select(schema.credentials, "id", "revoked_at"),
    ),
    Purpose.PEOPLE: (
        _select(schema.plans),
        _select(schema.workspaces),
        _select(schema.users),
        _insert(schema.users),
        _update(schema.users),
        _select(schema.members),
        _insert(schema.members),
        *_all(schema.sessions, schema.sign_in_links, schema.known_devices, schema.throttles),
        *_all(schema.email_confirmations, schema.device_logins),
        _select(schema.invitations),
        _update(schema.invitations, "accepted_at", "accepted_by"),
        *_APPENDS_EVENTS,
    ),
    Purpose.USE: (
        _select(schema.key_use),
        _insert(schema.key_use),
        _update(schema.key_use, "last_used_at", "last_used_ip", "last_used_agent"),
        _select(schema.api_keys, "id"),
        _select(schema.key_use_days),
        _insert(schema.key_use_days),
        _update(schema.key_use_days, "uses", "refused"),
        _select(schema.key_use_hours),
        _insert(schema.key_use_hours),
        _update(schema.key_use_hours, "uses", "refused"),
        _select(schema.key_callers),
        _insert(schema.key_callers),
        _update(schema.key_callers, "last_at", "times"),
        _delete(schema.key_callers),
    ),
    Purpose.WORKER: (
        _select(schema.collections, "id", "workspace_id", "name"),
        _select(schema.sign_in_links, "digest", "expires_at"),
        _delete(schema.sign_in_links),
        _select(schema.sessions, "digest", "created_at"),
        _delete(schema.sessions),
        _select(schema.known_devices, "digest", "used_at"),
        _delete(schema.known_devices),
        _select(schema.throttles, "subject", "last_at"),
        _delete(schema.throttles),
        _select(schema.webhook_endpoints),
        _select(schema.webhook_queues),
        _update(schema.webhook_queues, "due_at", "leased_until", "lease", "succeeded_at"),
        _select(schema.deliveries),
        _update(schema.deliveries, "status", "started_at", "step", "attempts", "next_attempt_at"),
        _insert(schema.delivery_attempts),
        _select(schema.notification_digests),
        _update(
            schema.notification_digests,
            "reported_through",
            "due_at",
            "sent_at",
            "failures",
            "leased_until",
            "lease",
        ),
        *_all(schema.digest_emails),
        _select(schema.email_confirmations),
        _update(
            schema.email_confirmations,
            *("due_at", "failures", "leased_until", "lease", "digest", "expires_at"),
        ),
        _delete(schema.email_confirmations),
        _select(schema.events),
        _select(
            schema.api_keys,
            *("id", "workspace_id", "created_at", "expires_at", "revoked_at"),
            *("rotated_to", "quiet_seconds"),
        ),
        _select(schema.key_use, "key_id", "last_used_at"),
        _select(schema.key_callers, "workspace_id", "key_id", "reason", "address", "last_at"),
        _select(schema.key_lifecycle_marks, "workspace_id", "key_id", "kind", "mark"),
        _delete(schema.key_lifecycle_marks),
        *_READS_POLICIES,
        *_COUNTS_ALL,
        *_all(schema.watermarks),
        _select(schema.installation_events),
        *_PLACES_EVENTS,
        *_APPLIES_RETENTION,
    ),
    Purpose.OPERATOR: (
        *_all(schema.plans),
        _select(schema.workspaces),
        _insert(schema.workspaces),
        _update(
            schema.workspaces,
            *("name", "external_id", "plan_id", "limit_overrides"),
            *("suspended_at", "deleted_at", "version"),
            *RATE_NAMES,
        ),
        _update(schema.workspaces, "operator_policy", "policy_version"),
        _select_but(schema.users, "password_hash"),
        _insert(schema.users),
        _select(schema.members),
        _insert(schema.members),
        *_APPENDS_EVENTS,
        _select(schema.events),
        _select(schema.key_use_days),
        _select(schema.watermarks),
        _select(schema.credentials),
        _insert(schema.credentials),
        _update(schema.credentials, "revoked_at", "revoked_by"),
        _select(schema.installation_events),
        _insert(schema.installation_events),
        _select(schema.deleted_workspaces),
        _insert(schema.deleted_workspaces),
        _update(schema.webhook_endpoints, "sealed", "deleted_at"),
        _delete(schema.webhook_queues),
        _delete(schema.notification_digests),
    ),
    Purpose.DELETION: _PURGES,
}
"""For each role its grants. Several append events; none may update what they say."""


def _own(condition: str) -> str:
    """Return the condition with what the transaction named in the place of OWN; nothing is, unless it did."""
    return condition.replace("OWN", f"current_setting('{SETTING}'::text, true)")


_OWN_ROWS: Final = _own("(workspace_id = OWN)")
_OWN_USERS: Final = _own(
    "((portal_workspace_id = OWN) OR (EXISTS ( SELECT 1 FROM members"
    " WHERE ((members.workspace_id = OWN) AND (members.user_id = users.id)))))"
)
TENANT_ROWS: Final[Mapping[str, tuple[str, str]]] = {
    **{
        table.name: (_OWN_ROWS, _OWN_ROWS)
        for table in schema.metadata.sorted_tables
        if "workspace_id" in table.c
    },
    schema.workspaces.name: (_own("(id = OWN)"), _own("(id = OWN)")),
    schema.users.name: (_OWN_USERS, _own("(portal_workspace_id = OWN)")),
}
"""For each table the conditions of the rows that a workspace sees, and of those that it may write.

They are spelled as PostgreSQL prints them, so that `diff` can compare texts. A workspace sees the users who
are its members, but creates and changes only its own portal users.
"""

OPEN_TABLES: Final[Mapping[str, str]] = {
    VERSION_TABLE: "the schema's revision",
    schema.plans.name: "the installation's own, not secret",
    schema.sessions.name: "belongs to a user, who may be a member of many workspaces",
    schema.known_devices.name: "belongs to a user, who may be a member of many workspaces",
    schema.email_confirmations.name: "belongs to a user, who may be a member of many workspaces",
    schema.throttles.name: "counts by address and user before anyone is signed in; of workspaces, just a count",
    schema.credentials.name: "the installation's own",
    schema.installation_events.name: "the installation's own",
    schema.deleted_workspaces.name: "the installation's own: tombstones",
    schema.watermarks.name: "the positions of scans over all workspaces",
    schema.moves.name: "the installation's own: whether it was moved away",
    document_words.name: "an index: its terms are prefixed by collection, and lead to rows under row security",
}
"""The tables without row-level security, each with the reason. Only their grants protect them."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rows of a table that a role sees (`using`) and may write (`check`); `check` None: read only."""

    table: str
    name: str
    role: str
    using: str
    check: str | None


_OF_DELETED: Final = (
    "(EXISTS ( SELECT 1 FROM workspaces WHERE ((workspaces.id = TABLE.workspace_id)"
    " AND (workspaces.deleted_at IS NOT NULL))))"
)


def policies() -> list[Policy]:
    """Return all declared policies."""
    return [
        _policy(role, table)
        for role, grants in GRANTS.items()
        for table in sorted({grant.table for grant in grants} & TENANT_ROWS.keys())
    ]


def _policy(role: str, table: str) -> Policy:
    if role == LOGIN:
        return Policy(table, "server", role, "true", None)
    if role == APPLICATION:
        return Policy(table, role, role, *TENANT_ROWS[table])
    if role == Purpose.DELETION:
        condition = _purgeable_rows(table)
        return Policy(table, role, role, condition, condition)
    return Policy(table, role, role, "true", "true")


def _purgeable_rows(table: str) -> str:
    """Return the condition of the rows that a purge reaches: those of deleted workspaces.

    Who else's member a user is, and whose invitation they accepted, it has to see too.
    """
    if table == schema.workspaces.name:
        return "(deleted_at IS NOT NULL)"
    if table in {schema.members.name, schema.invitations.name, schema.users.name}:
        return "true"
    return _OF_DELETED.replace("TABLE", table)


def role_name(server: str, role: str) -> str:
    """Return the name of a role of the login `server`."""
    return f"{server}_{role}" if role else server

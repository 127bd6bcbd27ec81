"""Which role of PostgreSQL may do what, in one map: the second wall behind the workspace in every WHERE.

The server logs in as one role, which may next to nothing by itself. Each transaction puts on a role that is named after
it: `keystead_server` becomes `keystead_server_application` within one workspace, `keystead_server_people` to sign
somebody in. How the map gets into a database stands in `row_security`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import TableClause

from keystead.storage.engine.roles import APPLICATION, SETTING, Purpose
from keystead.storage.schema import tables as schema
from keystead.storage.schema.search import document_words

LOGIN: Final = ""
"""The login itself: the hot statement and those beside it, and what a process looks at before and beside its work."""
VERSION_TABLE: Final = "alembic_version"

Columns = frozenset[str] | None
"""The columns that a right is for; None: the whole table, with columns that come later."""


@dataclass(frozen=True, slots=True)
class Right:
    """What a role may do with one table: a verb of SQL and the columns that it is for."""

    table: str
    verb: str
    columns: Columns = None


def _select(table: TableClause, *columns: str) -> Right:
    return Right(table.name, "SELECT", frozenset(columns) or None)


def _select_but(table: TableClause, *columns: str) -> Right:
    return Right(table.name, "SELECT", frozenset(table.c.keys()) - set(columns))


def _update(table: TableClause, *columns: str) -> Right:
    return Right(table.name, "UPDATE", frozenset(columns) or None)


def _insert(table: TableClause) -> Right:
    return Right(table.name, "INSERT")


def _delete(table: TableClause) -> Right:
    return Right(table.name, "DELETE")


def _all(*tables: TableClause) -> Iterable[Right]:
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
)

_DIGEST: Final = (
    _select(schema.digests, "workspace_id", "due_at", "sent_at", "newest"),
    _insert(schema.digests),
    _update(schema.digests, "due_at", "newest"),
)
"""What it takes to have a workspace told of an event by e-mail."""

_TELLS: Final = (
    _insert(schema.events),
    _update(schema.workspaces, "last_event"),
    _select(schema.webhook_endpoints, "workspace_id", "id", "status", "deleted_at", "event_types"),
    _select(schema.webhook_queues, "workspace_id", "webhook_id", "due_at"),
    _update(schema.webhook_queues, "due_at"),
    _insert(schema.deliveries),
    *_DIGEST,
)
"""What it takes to record an event, with its number, and with a delivery for each endpoint that chose it."""

_FORGETS: Final = (
    _select(schema.workspaces, "id"),
    _delete(schema.deliveries),
    _delete(schema.events),
    _select(schema.key_use_days, "key_id", "day"),
    _delete(schema.key_use_days),
    _select(schema.key_callers, "key_id", "reason", "address", "agent", "last_at"),
    _delete(schema.key_callers),
)
"""What it takes to forget what is past its keeping time: the one hand that takes an event away."""

RIGHTS: Final[Mapping[str, tuple[Right, ...]]] = {
    LOGIN: (
        Right(VERSION_TABLE, "SELECT"),
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
        ),
        _select(schema.workspaces, "id", "name", "plan_id", "suspended_at"),
        _select(schema.credentials, "id", "name", "pepper_id", "digest", "revoked_at"),
        _select(schema.webhook_endpoints, "pepper_id", "deleted_at"),
    ),
    APPLICATION: (
        _select(schema.plans),
        _select(schema.workspaces),
        _update(schema.workspaces, "name", "last_event", "version"),
        _select_but(schema.users, "password_hash"),
        _insert(schema.users),
        _update(schema.users, "name", "email", "email_confirmed_at"),
        *_all(schema.members),
        _select_but(schema.api_keys, "digest", "pepper_id"),
        _insert(schema.api_keys),
        _update(schema.api_keys, *_KEY_STATE),
        _select(schema.key_use),
        _select(schema.key_use_days),
        _select(schema.key_callers),
        *_all(schema.idempotency_keys),
        _select(schema.events),
        _insert(schema.events),
        *_all(schema.collections, schema.documents, document_words),
        _insert(schema.sign_in_links),
        _select_but(schema.invitations, "digest"),
        _insert(schema.invitations),
        _update(schema.invitations, "revoked_at"),
        *_all(schema.key_counts),
        *_all(schema.webhook_endpoints, schema.webhook_queues),
        *_all(schema.deliveries, schema.delivery_attempts, schema.key_notices),
        *_all(schema.digests, schema.notice_choices),
        _select(schema.digest_letters),
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
        *_all(schema.email_confirmations),
        _select(schema.invitations),
        _update(schema.invitations, "accepted_at", "accepted_by"),
        *_TELLS,
    ),
    Purpose.USE: (
        _select(schema.key_use),
        _insert(schema.key_use),
        _update(schema.key_use, "last_used_at", "last_used_ip", "last_used_agent"),
        _select(schema.key_use_days),
        _insert(schema.key_use_days),
        _update(schema.key_use_days, "uses"),
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
        _select(schema.digests),
        _update(
            schema.digests, "told_through", "due_at", "sent_at", "failures", "leased_until", "lease"
        ),
        *_all(schema.digest_letters),
        _select(schema.email_confirmations),
        _update(
            schema.email_confirmations,
            *("due_at", "failures", "leased_until", "lease", "digest", "expires_at"),
        ),
        _delete(schema.email_confirmations),
        _select(schema.events),
        _select(schema.api_keys, "id", "workspace_id", "created_at", "expires_at", "revoked_at"),
        _select(schema.key_use, "key_id", "last_used_at"),
        _select(schema.key_callers, "workspace_id", "key_id", "reason", "last_at"),
        _select(schema.key_notices, "workspace_id", "key_id", "kind", "mark"),
        *_all(schema.watermarks),
        _select(schema.installation_events),
        *_FORGETS,
    ),
    Purpose.OPERATOR: (
        *_all(schema.plans),
        _select(schema.workspaces),
        _insert(schema.workspaces),
        _update(schema.workspaces, "plan_id", "limit_overrides", "suspended_at", "version"),
        _select_but(schema.users, "password_hash"),
        _insert(schema.users),
        _select(schema.members),
        _insert(schema.members),
        *_TELLS,
        _select(schema.credentials),
        _insert(schema.credentials),
        _update(schema.credentials, "revoked_at", "revoked_by"),
        _select(schema.installation_events),
        _insert(schema.installation_events),
    ),
}
"""Events are appended by everybody and changed by nobody."""


def _own(condition: str) -> str:
    """The condition with what the transaction named in the place of OWN; nothing is, unless it did."""
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
"""The rows of one workspace, by table: which the application sees, and which it may write.

As PostgreSQL itself tells them. A user is seen where they are a member; made and changed is a product's own user alone.
"""

OPEN_TABLES: Final[Mapping[str, str]] = {
    VERSION_TABLE: "the schema's revision",
    schema.plans.name: "the installation's, and no secret",
    schema.sessions.name: "a person's, who may be a member of many workspaces",
    schema.known_devices.name: "a person's, who may be a member of many workspaces",
    schema.email_confirmations.name: "a person's, who may be a member of many workspaces",
    schema.throttles.name: "of addresses and of people, before anybody knows who they are; of workspaces, just a count",
    schema.credentials.name: "the installation's own",
    schema.installation_events.name: "the installation's own",
    schema.watermarks.name: "how far a search over all workspaces has come",
    document_words.name: "an index: its terms bear their collection's mark, and lead to rows that are walled",
}
"""The tables without row security, each with the reason: what protects them is who has rights there at all."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Which rows of a table a role sees (`using`) and may write (`check`); `check` None: for reading alone."""

    table: str
    name: str
    role: str
    using: str
    check: str | None


def policies() -> list[Policy]:
    """Every policy that has to be there."""
    return [
        _policy(role, table)
        for role, rights in RIGHTS.items()
        for table in sorted({right.table for right in rights} & TENANT_ROWS.keys())
    ]


def _policy(role: str, table: str) -> Policy:
    if role == LOGIN:
        return Policy(table, "server", role, "true", None)
    if role == APPLICATION:
        return Policy(table, role, role, *TENANT_ROWS[table])
    return Policy(table, role, role, "true", "true")


def role_name(server: str, role: str) -> str:
    """The role that the login `server` puts on for that work."""
    return f"{server}_{role}" if role else server

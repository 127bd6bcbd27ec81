"""What each call reads and writes at the least, as SQL for a bare cursor of either engine.

`{age}` is the order of ids, `{matching}` the engine's search; values are `:name`. On PostgreSQL every call verifies
its key by a read, so `VERIFY` comes first there; on SQLite a verified key is in the cache.
"""

from __future__ import annotations

import re
from typing import Final

_KEYS: Final = """
    SELECT k.id, k.description, k.hint, k.scopes, k.created_at, k.created_by_kind, k.created_by_id, k.created_by_name,
        k.expires_at, k.revoked_at, k.rotated_to, k.version, u.last_used_at, u.last_used_ip, u.last_used_agent,
        m.user_id
    FROM api_keys k LEFT JOIN key_use u ON u.key_id = k.id
    LEFT JOIN members m ON m.workspace_id = k.workspace_id AND m.user_id = k.created_by_id
    WHERE k.workspace_id = :workspace
"""
_QUOTA: Final = """
    SELECT p.api_keys, w.limit_overrides, (SELECT counted FROM key_counts WHERE workspace_id = :workspace)
    FROM workspaces w JOIN plans p ON p.id = w.plan_id WHERE w.id = :workspace
"""
_COLLECTION: Final = (
    "SELECT id, name, title, documents, created_at, updated_at, version FROM collections"
    " WHERE workspace_id = :workspace AND name = :name"
)
_SUMMARY: Final = (
    "d.id, d.number, d.title, d.url, d.attributes, d.created_at, d.updated_at, d.version"
)
_WITHIN: Final = (
    "FROM documents d WHERE d.workspace_id = :workspace AND d.collection_id = :collection"
)
_EVENT: Final = (
    "UPDATE workspaces SET last_event = last_event + 1 WHERE id = :workspace",
    """
    INSERT INTO events (workspace_id, sequence, id, type, occurred_at, actor_kind, actor_id, actor_name,
        target_type, target_id, address, request_id, data)
    SELECT id, last_event, :fresh, :type, :now, 'key', :key, 'bench', :target, :id, '127.0.0.1', :fresh, '{}'
    FROM workspaces WHERE id = :workspace
    """,
)
VERIFY: Final = """
    SELECT k.id, k.workspace_id, k.pepper_id, k.digest, k.scopes, k.expires_at, k.revoked_at, w.suspended_at
    FROM api_keys k JOIN workspaces w ON w.id = k.workspace_id WHERE k.id = :key
"""

READS: Final[dict[str, tuple[str, ...]]] = {
    "whoami": (
        f"{_KEYS} AND k.id = :key",
        "SELECT w.id, w.name, p.id, p.name FROM workspaces w JOIN plans p ON p.id = w.plan_id WHERE w.id = :workspace",
    ),
    "plan": (
        """
        SELECT p.id, p.name, p.api_keys, p.collections, p.documents, p.webhooks, p.members, w.limit_overrides,
            (SELECT counted FROM key_counts WHERE workspace_id = w.id),
            (SELECT count(*) FROM collections WHERE workspace_id = w.id AND name IS NOT NULL),
            (SELECT sum(documents) FROM collections WHERE workspace_id = w.id AND name IS NOT NULL),
            (SELECT count(*) FROM webhook_endpoints WHERE workspace_id = w.id AND deleted_at IS NULL),
            (SELECT count(*) FROM members WHERE workspace_id = w.id)
        FROM workspaces w JOIN plans p ON p.id = w.plan_id WHERE w.id = :workspace
        """,
    ),
    "keys": (f"{_KEYS} ORDER BY {{age}} DESC LIMIT :limit", _QUOTA),
    "document": (_COLLECTION, f"SELECT {_SUMMARY}, d.text {_WITHIN} AND d.id = :document"),
    "documents": (
        _COLLECTION,
        f"SELECT {_SUMMARY} {_WITHIN} ORDER BY d.number DESC LIMIT :limit",
    ),
    "search": (_COLLECTION, f"SELECT {_SUMMARY} {_WITHIN} AND d.serial {{matching}}"),
    "events": (
        """
        SELECT sequence, id, type, occurred_at, actor_kind, actor_id, actor_name, target_type, target_id, address,
            request_id, data
        FROM events WHERE workspace_id = :workspace ORDER BY sequence DESC LIMIT :limit
        """,
    ),
}
WRITES: Final[dict[str, tuple[str, ...]]] = {
    "create": (
        """
        INSERT INTO api_keys (id, workspace_id, description, folded_description, hint, pepper_id, digest, scopes,
            created_at, created_by_kind, created_by_id, created_by_name)
        VALUES (:id, :workspace, 'bench', 'bench', 'ks_…0000', :pepper, :digest, '*', :now, 'key', :key, 'bench')
        """,
        *_EVENT,
    ),
    "put": (
        """
        UPDATE collections SET documents = documents + 1, last_number = last_number + 1, updated_at = :now
        WHERE workspace_id = :workspace AND id = :collection
        """,
        """
        INSERT INTO documents (workspace_id, collection_id, number, id, title, attributes, digest, created_at,
            updated_at, text, words)
        SELECT workspace_id, id, last_number, :id, :title, '{}', :digest, :now, :now, :text, {words}
        FROM collections WHERE workspace_id = :workspace AND id = :collection
        """,
        *_EVENT,
    ),
    "revoke": (
        """
        UPDATE api_keys SET revoked_at = :now
        WHERE workspace_id = :workspace AND id = :id AND revoked_at IS NULL
        """,
        *_EVENT,
    ),
}
_SQLITE: Final = {
    "{age}": "k.id",
    "{words}": ":words",
    "{matching}": (
        "IN (SELECT rowid FROM document_search WHERE document_search MATCH :match ORDER BY rowid DESC LIMIT :limit)"
    ),
}
_POSTGRESQL: Final = {
    "{age}": 'k.id COLLATE "POSIX"',
    "{words}": "CAST(:words AS tsvector)",
    "{matching}": (
        "= ANY (ARRAY(SELECT serial FROM document_words WHERE words @@ CAST(:match AS tsquery)"
        " ORDER BY serial DESC LIMIT :limit))"
    ),
}


def statements(name: str, engine: str) -> list[str]:
    """Return the statements of a call, as the engine's driver takes them."""
    on_sqlite = engine == "SQLite"
    found = list(READS.get(name) or WRITES[name])
    if not on_sqlite:
        found.insert(0, VERIFY)
    return [_written(text, on_sqlite) for text in found]


def _written(text: str, on_sqlite: bool) -> str:
    for mark, part in (_SQLITE if on_sqlite else _POSTGRESQL).items():
        text = text.replace(mark, part)
    return text if on_sqlite else re.sub(r":([a-z]+)", r"%(\1)s", text)

"""The revocation log: changes that revoked access, kept outside the database as lines of a file.

After a restore, they are repeated on the restored database.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from keystead.domain.events import Event, EventType, InstallationEventType
from keystead.domain.ids import WorkspaceId
from keystead.domain.instants import format_instant, parse_instant

CREDENTIAL_REVOKED: Final = InstallationEventType.CREDENTIAL_REVOKED
WORKSPACE_DELETED: Final = InstallationEventType.WORKSPACE_DELETED
"""With CREDENTIAL_REVOKED the only revoking changes that are not events of a workspace."""
_ALWAYS: Final[frozenset[str] | None] = None
_NEVER: Final[frozenset[str] | None] = frozenset()
REVOKING_CHANGES: Final[Mapping[EventType, frozenset[str] | None]] = {
    EventType.KEY_CREATED: _NEVER,
    EventType.KEY_UPDATED: frozenset({"scopes", "expires_at", "networks", "renewal"}),
    EventType.KEY_ROTATED: _ALWAYS,
    EventType.KEY_REVOKED: _ALWAYS,
    # Keys expire in a restored database too.
    EventType.KEY_EXPIRED: _NEVER,
    EventType.KEY_EXPIRING: _NEVER,
    EventType.KEY_UNUSED: _NEVER,
    EventType.KEY_REFUSED: _NEVER,
    EventType.KEY_REUSED: _NEVER,
    EventType.LIMIT_REACHED: _NEVER,
    # Restored content grants no access.
    EventType.COLLECTION_CREATED: _NEVER,
    EventType.COLLECTION_UPDATED: _NEVER,
    EventType.COLLECTION_DELETED: _NEVER,
    EventType.DOCUMENTS_PUSHED: _NEVER,
    EventType.DOCUMENTS_DELETED: _NEVER,
    EventType.WEBHOOK_CREATED: _NEVER,
    EventType.WEBHOOK_UPDATED: frozenset({"url", "events", "headers"}),
    EventType.WEBHOOK_DELETED: _ALWAYS,
    EventType.WEBHOOK_SECRET_ROTATED: _ALWAYS,
    EventType.WEBHOOK_ENABLED: _NEVER,
    EventType.WEBHOOK_DISABLED: _ALWAYS,
    EventType.WEBHOOK_RESENT: _NEVER,
    EventType.WEBHOOK_TEST: _NEVER,
    # Joining consumes an invitation; a restore revokes every open one.
    EventType.MEMBER_ADDED: _NEVER,
    EventType.MEMBER_INVITED: _NEVER,
    EventType.MEMBER_INVITATION_REVOKED: _ALWAYS,
    EventType.MEMBER_ROLE_CHANGED: _ALWAYS,
    EventType.MEMBER_REMOVED: _ALWAYS,
    # A restore ends every session.
    EventType.MEMBER_SIGNED_IN: _NEVER,
    EventType.MEMBER_SIGNED_OUT: _NEVER,
    EventType.MEMBER_PASSWORD_CHANGED: _ALWAYS,
    EventType.MEMBER_EMAIL_CHANGED: _ALWAYS,
    EventType.WORKSPACE_CREATED: _NEVER,
    EventType.WORKSPACE_UPDATED: _NEVER,
    EventType.WORKSPACE_SUSPENDED: _ALWAYS,
    # Resuming ends a suspension before it: both are repeated, in order.
    EventType.WORKSPACE_RESUMED: _ALWAYS,
    EventType.WORKSPACE_PLAN_CHANGED: _NEVER,
    EventType.WORKSPACE_EXPORTED: _NEVER,
    # It binds later acts; a key that it ends has an event of its own.
    EventType.WORKSPACE_POLICY_CHANGED: _NEVER,
}
"""The changed attributes that revoke access, by type of event: None for any, an empty set if no change does."""
_LINE: Final = re.compile(r"(\S+) ([a-z._]+) (\S+) (\d+) (\S+)(?: (\S+))? ;")


@dataclass(frozen=True, slots=True)
class RevocationEntry:
    """One entry: the type of change, its target, the workspace, and the sequence of its event.

    The sequence is 0 if it has no meaning in this database: for a credential or a deleted workspace, and for a change
    that an earlier restore repeated. `detail` is the new role after a change of role, and the successor whose first use
    ended a key that renewed itself.
    """

    at: datetime
    type: str
    workspace_id: WorkspaceId
    sequence: int
    target_id: str
    detail: str = ""


def entry_of(event: Event) -> RevocationEntry | None:
    """Return the entry of an event; None if it revoked nothing."""
    if event.data.get("renewed"):
        return None  # the first use of the successor ends the key, and has an entry of its own
    attributes = REVOKING_CHANGES[event.type]
    changed = event.data.get("changed", ())
    if attributes is not None and attributes.isdisjoint(changed):  # type: ignore[arg-type]
        return None
    named = "to" if event.type is EventType.MEMBER_ROLE_CHANGED else "successor_used"
    return RevocationEntry(
        event.occurred_at,
        event.type,
        event.workspace_id,
        event.sequence,
        event.target.id,
        str(event.data.get(named, "")),
    )


def format_entries(entries: Iterable[RevocationEntry]) -> bytes:
    """Return entries as lines of the log."""
    # Each line begins with a line break: a crash may have left half a line before it.
    lines = (
        f"\n{format_instant(entry.at)} {entry.type} {entry.workspace_id or '-'} {entry.sequence} {entry.target_id}"
        f"{' ' * bool(entry.detail)}{entry.detail} ;\n"
        for entry in entries
    )
    return "".join(lines).encode()


def parse_entries(log: bytes) -> list[RevocationEntry]:
    """Return the entries of a log."""
    # A line that a crash cut off is skipped: its change was never acknowledged.
    lines = map(_LINE.fullmatch, log.decode(errors="replace").splitlines())
    return [
        RevocationEntry(
            parse_instant(line[1]),
            type=line[2],
            workspace_id=WorkspaceId("" if line[3] == "-" else line[3]),
            sequence=int(line[4]),
            target_id=line[5],
            detail=line[6] or "",
        )
        for line in lines
        if line
    ]

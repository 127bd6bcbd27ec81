"""Endings: what is remembered, apart from the database, of acts that took authority away, as lines of a journal."""

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
"""The one ending that is an event of no workspace."""
_ALWAYS: Final[frozenset[str] | None] = None
_NEVER: Final[frozenset[str] | None] = frozenset()
REVOKING_CHANGES: Final[Mapping[EventType, frozenset[str] | None]] = {
    EventType.KEY_CREATED: _NEVER,
    EventType.KEY_UPDATED: frozenset({"scopes", "expires_at"}),
    EventType.KEY_ROTATED: _ALWAYS,
    EventType.KEY_REVOKED: _ALWAYS,
    # Time ends these keys, and does so in a restored database too.
    EventType.KEY_EXPIRED: _NEVER,
    EventType.KEY_EXPIRING: _NEVER,
    EventType.KEY_UNUSED: _NEVER,
    EventType.KEY_REFUSED: _NEVER,
    EventType.LIMIT_REACHED: _NEVER,
    # Content comes back as it was: it gives nobody access.
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
    EventType.WEBHOOK_TEST: _NEVER,
    # It uses up an invitation; every open one is revoked after a restore.
    EventType.MEMBER_ADDED: _NEVER,
    EventType.MEMBER_INVITED: _NEVER,
    EventType.MEMBER_INVITATION_REVOKED: _ALWAYS,
    EventType.MEMBER_ROLE_CHANGED: _ALWAYS,
    EventType.MEMBER_REMOVED: _ALWAYS,
    # Every session ends after a restore.
    EventType.MEMBER_SIGNED_IN: _NEVER,
    EventType.MEMBER_SIGNED_OUT: _NEVER,
    EventType.MEMBER_PASSWORD_CHANGED: _ALWAYS,
    EventType.MEMBER_EMAIL_CHANGED: _ALWAYS,
    EventType.WORKSPACE_CREATED: _NEVER,
    EventType.WORKSPACE_UPDATED: _NEVER,
    EventType.WORKSPACE_SUSPENDED: _ALWAYS,
    # It gives back what a suspension before it took away: both are done again, in order.
    EventType.WORKSPACE_RESUMED: _ALWAYS,
    EventType.WORKSPACE_PLAN_CHANGED: _NEVER,
}
"""For each type of event, which changed attributes take access away: None for any, an empty set for none."""
_LINE: Final = re.compile(r"(\S+) ([a-z._]+) (\S+) (\d+) (\S+)(?: (\S+))? ;")


@dataclass(frozen=True, slots=True)
class RevocationEntry:
    """One act: what kind, on what, in which workspace, under which number of that workspace's events.

    The number is 0 where it says nothing of this database: for a credential, and for what an earlier restore redid.
    `detail` is the new role after a change of one.
    """

    at: datetime
    type: str
    workspace_id: WorkspaceId
    sequence: int
    target_id: str
    detail: str = ""


def entry_of(event: Event) -> RevocationEntry | None:
    """The ending that an event tells of; None where it took nothing away."""
    attributes = REVOKING_CHANGES[event.type]
    changed = event.data.get("changed", ())
    if attributes is not None and attributes.isdisjoint(changed):  # type: ignore[arg-type]
        return None
    role = str(event.data["to"]) if event.type is EventType.MEMBER_ROLE_CHANGED else ""
    return RevocationEntry(
        event.occurred_at, event.type, event.workspace_id, event.sequence, event.target.id, role
    )


def format_entries(endings: Iterable[RevocationEntry]) -> bytes:
    """Lines of a journal. Each begins a line of its own, whatever a crash left of the one before."""
    lines = (
        f"\n{format_instant(one.at)} {one.type} {one.workspace_id or '-'} {one.sequence} {one.target_id}"
        f"{' ' * bool(one.detail)}{one.detail} ;\n"
        for one in endings
    )
    return "".join(lines).encode()


def parse_entries(journal: bytes) -> list[RevocationEntry]:
    """What a journal says. A line that a crash cut off is none: its act was not acknowledged."""
    found = map(_LINE.fullmatch, journal.decode(errors="replace").splitlines())
    return [
        RevocationEntry(
            parse_instant(line[1]),
            line[2],
            WorkspaceId("" if line[3] == "-" else line[3]),
            int(line[4]),
            line[5],
            line[6] or "",
        )
        for line in found
        if line
    ]

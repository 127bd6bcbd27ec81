"""Endings: what is remembered, apart from the database, of acts that took authority away, as lines of a journal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from keystead.domain.events import Event, EventType
from keystead.domain.ids import WorkspaceId
from keystead.domain.instants import format_instant, parse_instant

CREDENTIAL_REVOKED: Final = "credential.revoked"
"""The one ending that is no event of a workspace."""
_NARROWING: Final = frozenset({"scopes", "expires_at"})
_TYPES: Final = frozenset(
    {
        EventType.KEY_REVOKED,
        EventType.KEY_ROTATED,
        EventType.WORKSPACE_SUSPENDED,
        EventType.WORKSPACE_RESUMED,
        EventType.MEMBER_REMOVED,
        EventType.MEMBER_ROLE_CHANGED,
    }
)
_LINE: Final = re.compile(r"(\S+) ([a-z._]+) (\S+) (\d+) (\S+) ;")


@dataclass(frozen=True, slots=True)
class Ending:
    """One act: what kind, on what, in which workspace, under which number of that workspace's events.

    The number is 0 where it says nothing of this database: for a credential, and for what an earlier restore redid.
    """

    at: datetime
    type: str
    workspace_id: WorkspaceId
    sequence: int
    target_id: str


def ending_of(event: Event) -> Ending | None:
    """The ending that an event tells of; None where it took nothing away."""
    changed = event.data.get("changed", ())
    narrows = event.type is EventType.KEY_UPDATED and not _NARROWING.isdisjoint(changed)  # type: ignore[arg-type]
    if event.type not in _TYPES and not narrows:
        return None
    return Ending(
        event.occurred_at, event.type, event.workspace_id, event.sequence, event.target.id
    )


def write_endings(endings: Iterable[Ending]) -> bytes:
    """Lines of a journal. Each begins a line of its own, whatever a crash left of the one before."""
    lines = (
        f"\n{format_instant(one.at)} {one.type} {one.workspace_id or '-'} {one.sequence} {one.target_id} ;\n"
        for one in endings
    )
    return "".join(lines).encode()


def read_endings(journal: bytes) -> list[Ending]:
    """What a journal says. A line that a crash cut off is none: its act was not acknowledged."""
    found = map(_LINE.fullmatch, journal.decode(errors="replace").splitlines())
    return [
        Ending(
            parse_instant(line[1]),
            line[2],
            WorkspaceId("" if line[3] == "-" else line[3]),
            int(line[4]),
            line[5],
        )
        for line in found
        if line
    ]

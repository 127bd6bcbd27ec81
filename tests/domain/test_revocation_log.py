"""The revocation log: entries are read back as they were written, and revoking events have entries."""

from __future__ import annotations

import pytest

from keystead.domain.events import Event, EventType, Target
from keystead.domain.ids import EventId, WorkspaceId
from keystead.domain.principals import Actor, PrincipalKind
from keystead.domain.revocation_log import (
    CREDENTIAL_REVOKED,
    RevocationEntry,
    entry_of,
    format_entries,
    parse_entries,
)
from tests.support.clocks import NOON

WORKSPACE = WorkspaceId("ws_1")


def event(type: EventType, **data: object) -> Event:
    """Return an event of that type about a key."""
    actor = Actor(PrincipalKind.OPERATOR, "ada", "Ada")
    return Event(
        EventId("evt_1"), WORKSPACE, 7, type, NOON, actor, Target("key", "key_1"), data=data
    )


def test_what_is_written_is_read() -> None:
    """Every field of every line is read back, even if it belongs to no workspace."""
    endings = [
        RevocationEntry(NOON, EventType.KEY_REVOKED, WORKSPACE, 7, "key_1"),
        RevocationEntry(NOON, CREDENTIAL_REVOKED, WorkspaceId(""), 0, "op_1"),
    ]
    assert parse_entries(format_entries(endings)) == endings
    assert parse_entries(b"") == []


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_truncated_line_spoils_no_other(cut: int) -> None:
    """However much of a line is left by a crash, the lines before and after it are read."""
    whole = format_entries([RevocationEntry(NOON, EventType.KEY_REVOKED, WORKSPACE, 7, "key_1")])
    assert len(parse_entries(whole + whole[:-cut].rstrip(b";\n") + whole)) == 2


@pytest.mark.parametrize(
    ("told", "is_ending"),
    [
        (event(EventType.KEY_REVOKED), True),
        (event(EventType.KEY_ROTATED), True),
        (event(EventType.KEY_UPDATED, changed=["scopes"]), True),
        (event(EventType.KEY_UPDATED, changed=("description", "expires_at")), True),
        (event(EventType.KEY_UPDATED, changed=["description"]), False),
        (event(EventType.KEY_CREATED), False),
        (event(EventType.WORKSPACE_SUSPENDED), True),
        (event(EventType.MEMBER_REMOVED), True),
        (event(EventType.MEMBER_ADDED), False),
    ],
)
def test_a_revoking_event_has_an_entry(told: Event, is_ending: bool) -> None:
    """A revoking event keeps its time, number and target; other events write no line."""
    expected = RevocationEntry(NOON, told.type, WORKSPACE, 7, "key_1") if is_ending else None
    assert entry_of(told) == expected

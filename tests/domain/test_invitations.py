"""The states of an invitation."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from keystead.domain.errors import Invalid
from keystead.domain.ids import InvitationId, UserId, WorkspaceId
from keystead.domain.invitations import (
    INVITATION_LIFETIME,
    MAX_OPEN,
    Invitation,
    InvitationStatus,
    require_few_open,
)
from keystead.domain.principals import Actor, PrincipalKind
from keystead.domain.workspaces import Role
from tests.support.clocks import NOON

INVITATION = Invitation(
    InvitationId("inv_1"),
    WorkspaceId("ws_1"),
    "ada@example.com",
    Role.VIEWER,
    Actor(PrincipalKind.MEMBER, "usr_1", "Bo"),
    NOON,
    NOON + INVITATION_LIFETIME,
)
END = INVITATION.expires_at


def test_it_ends_at_its_end() -> None:
    """Open until the last microsecond before its expiry, expired from then on."""
    assert INVITATION.status(END - timedelta(microseconds=1)) is InvitationStatus.OPEN
    assert INVITATION.status(END) is InvitationStatus.EXPIRED


def test_accepted_or_revoked_is_final() -> None:
    """Accepted or revoked is final, whether expired or not."""
    accepted = replace(INVITATION, accepted_at=NOON, accepted_by=UserId("usr_2"))
    revoked = replace(INVITATION, revoked_at=NOON)
    assert accepted.status(END) is InvitationStatus.ACCEPTED
    assert revoked.status(END) is InvitationStatus.REVOKED


def test_so_many() -> None:
    """There may be a hundred and no more."""
    require_few_open(MAX_OPEN - 1)
    with pytest.raises(Invalid):
        require_few_open(MAX_OPEN)

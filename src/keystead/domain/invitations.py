"""Invitations: a one-time link for somebody who is to become a member, and when it still stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from keystead.domain.errors import Invalid
from keystead.domain.ids import InvitationId, UserId, WorkspaceId
from keystead.domain.principals import Actor
from keystead.domain.workspaces import Role

INVITATION_LIFETIME: Final = timedelta(days=7)
MAX_OPEN: Final = 100
"""Open invitations of one workspace at a time."""


class InvitationStatus(StrEnum):
    """Derived from the instant, never stored: accepted or revoked before expired before open."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Invitation:
    """Who is invited to a workspace, as what, by whom. The secret of its link is not part of it."""

    id: InvitationId
    workspace_id: WorkspaceId
    email: str
    role: Role
    invited_by: Actor
    created_at: datetime
    expires_at: datetime
    accepted_at: datetime | None = None
    accepted_by: UserId | None = None
    revoked_at: datetime | None = None

    def status(self, now: datetime) -> InvitationStatus:
        """What the invitation is at `now`; it has expired from `expires_at` on."""
        if self.accepted_at is not None:
            return InvitationStatus.ACCEPTED
        if self.revoked_at is not None:
            return InvitationStatus.REVOKED
        return InvitationStatus.EXPIRED if self.expires_at <= now else InvitationStatus.OPEN


def require_few_open(count: int) -> None:
    """Invalid where so many are open that another would be one too many."""
    if count >= MAX_OPEN:
        raise Invalid.field("/email", f"would be one too many: {MAX_OPEN} invitations are open")

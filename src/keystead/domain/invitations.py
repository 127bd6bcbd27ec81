"""Invitations: one-time links for future members."""

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
"""Open invitations of one workspace."""


class InvitationStatus(StrEnum):
    """The state at a given time, never stored. Accepted and revoked take precedence over expired."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Invitation:
    """An email's invitation to a workspace, with a role. It doesn't contain the secret of its link."""

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
        """Return the status at `now`; the invitation is expired from `expires_at` on."""
        if self.accepted_at is not None:
            return InvitationStatus.ACCEPTED
        if self.revoked_at is not None:
            return InvitationStatus.REVOKED
        return InvitationStatus.EXPIRED if self.expires_at <= now else InvitationStatus.OPEN


def require_few_open(count: int) -> None:
    """Raise Invalid if `count` invitations are open and another one would exceed the limit."""
    if count >= MAX_OPEN:
        raise Invalid.field("/email", f"exceeds the limit of {MAX_OPEN} open invitations")

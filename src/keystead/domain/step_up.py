"""Step-up authentication: the actions that need a recent sign-in (OWASP ASVS 5.0, 7.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from keystead.domain.roles import Permission, may
from keystead.domain.scopes import (
    COLLECTIONS_WRITE,
    DOCUMENTS_READ,
    DOCUMENTS_WRITE,
    EVENTS_READ,
    KEYS_WRITE,
    WEBHOOKS_WRITE,
    Scopes,
)
from keystead.domain.workspaces import Role


class SensitiveAction(StrEnum):
    """The actions that a stolen session must not be able to take."""

    GRANT_WIDE_KEY = "grant_wide_key"
    CHANGE_WEBHOOKS = "change_webhooks"
    APPOINT = "appoint"
    REMOVE_OWNER = "remove_owner"
    CHANGE_EMAIL = "change_email"
    CHANGE_PASSWORD = "change_password"


@dataclass(frozen=True, slots=True)
class StepUp:
    """A label for people, and the permission for the action; None for actions on a person's own account."""

    label: str
    permission: Permission | None = None


STEP_UP: Final[Mapping[SensitiveAction, StepUp]] = {
    SensitiveAction.GRANT_WIDE_KEY: StepUp(
        "Create, rotate or extend a key that can read all data, write all data, change keys or webhooks, or renew"
        " itself without end",
        Permission.MAKE_KEYS,
    ),
    SensitiveAction.CHANGE_WEBHOOKS: StepUp(
        "Create, change or delete a webhook, or rotate its secret", Permission.MANAGE_WEBHOOKS
    ),
    SensitiveAction.APPOINT: StepUp(
        "Invite or appoint a developer, admin or owner", Permission.MANAGE_MEMBERS
    ),
    SensitiveAction.REMOVE_OWNER: StepUp(
        "Remove an owner, or give an owner another role", Permission.MANAGE_OWNERS
    ),
    SensitiveAction.CHANGE_EMAIL: StepUp("Change your own email"),
    SensitiveAction.CHANGE_PASSWORD: StepUp("Change your own password"),
}
"""The actions that ask a person to sign in again after 15 minutes."""

_WIDE: Final = (
    Scopes([KEYS_WRITE]),
    Scopes([WEBHOOKS_WRITE]),
    Scopes([COLLECTIONS_WRITE, DOCUMENTS_WRITE]),
    # Documents are the data, and events report everything else.
    Scopes([DOCUMENTS_READ, EVENTS_READ]),
)


def is_wide(scopes: Scopes) -> bool:
    """Return whether a key with these scopes reads all data, writes all data, or takes a sensitive action itself."""
    return any(scopes.cover(everything) for everything in _WIDE)


def actions_for_role_change(before: Role | None, after: Role | None) -> list[SensitiveAction]:
    """Return the sensitive actions in a change of a member's role; None stands for no membership.

    Giving a role that may create keys is sensitive: the new member can create a wide key right after signing in.
    """
    actions = []
    if before is Role.OWNER and after is not Role.OWNER:
        actions.append(SensitiveAction.REMOVE_OWNER)
    if after is not None and after is not before and may(after, Permission.MAKE_KEYS):
        actions.append(SensitiveAction.APPOINT)
    return actions

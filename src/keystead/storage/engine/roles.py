"""Who works across workspaces, and why: on PostgreSQL each of these is a role with rights of its own."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Purpose(StrEnum):
    """What a transaction across workspaces is for. Work within one workspace needs none of these."""

    PEOPLE = "people"
    """Signing in: accounts, sessions, one-time links, invitations by their link, wrong passwords."""
    USE = "use"
    """Writing down which keys were used, by whom and how often."""
    WORKER = "worker"
    """What happens by itself: sweeping, finishing deletions, delivering."""
    OPERATOR = "operator"
    """Running the installation: workspaces, plans, the credentials of the product's own services."""
    SERVER = "server"
    """What a process needs to know before and beside its work: schema, peppers, clock. The login itself."""
    OWNER = "owner"
    """Changing the schema. The login itself, which is the owner's then."""


APPLICATION: Final = "application"
"""The role for work within one workspace, which is named in SETTING for the length of the transaction."""
SETTING: Final = "keystead.workspace"
PURPOSES: Final = (Purpose.PEOPLE, Purpose.USE, Purpose.WORKER, Purpose.OPERATOR)
"""Those with a role of their own; the others are the login's."""
ROLES: Final = (APPLICATION, *PURPOSES)

"""Who works across workspaces, and why: on PostgreSQL each of these is a role with rights of its own."""

from __future__ import annotations

from enum import StrEnum


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

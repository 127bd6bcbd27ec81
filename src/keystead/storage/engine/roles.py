"""The purposes of work across workspaces: on PostgreSQL each is a database role with grants of its own."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Purpose(StrEnum):
    """The purpose of a transaction across workspaces. Work within one workspace needs none."""

    PEOPLE = "people"
    """Signing in: accounts, sessions, one-time links, invitations by their link, wrong passwords."""
    USE = "use"
    """Recording which keys were used, by which callers and how often."""
    WORKER = "worker"
    """Background work: sweeping, finishing deletions, delivering."""
    OPERATOR = "operator"
    """Running the installation: workspaces, plans, the credentials of the product's own services."""
    DELETION = "deletion"
    """Purging deleted workspaces. No other role may delete keys, users or workspaces."""
    SERVER = "server"
    """What a process reads before and around its work: schema, peppers, clock. Runs as the login itself."""
    OWNER = "owner"
    """Changing the schema. Runs as the login itself, which is then the owner's."""


APPLICATION: Final = "application"
"""The role for work within one workspace, which the transaction names in SETTING."""
SETTING: Final = "keystead.workspace"
PURPOSES: Final = (
    Purpose.PEOPLE,
    Purpose.USE,
    Purpose.WORKER,
    Purpose.OPERATOR,
    Purpose.DELETION,
)
"""Those with a role of their own; the others run as the login."""
ROLES: Final = (APPLICATION, *PURPOSES)


class Opening(NamedTuple):
    """What a transaction sends before its first statement."""

    begin: bytes | None
    """None: the setting and one statement are a transaction of their own, which ends with them."""
    setting: str | None = None
    """A statement that sets the role and more, if there is one."""
    values: tuple[str, ...] = ()

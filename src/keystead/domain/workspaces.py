"""Workspaces (the tenants) and the people in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from keystead.domain.ids import UserId, WorkspaceId
from keystead.domain.sessions import Authentication
from keystead.domain.text import check_line

MAX_NAME = 100


class Role(StrEnum):
    """What a member is, from most rights to least; roles.py says which."""

    OWNER = "owner"
    ADMIN = "admin"
    DEVELOPER = "developer"
    VIEWER = "viewer"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A tenant. Suspended: its keys are refused until it is resumed."""

    id: WorkspaceId
    name: str
    plan_id: str
    created_at: datetime
    suspended_at: datetime | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class User:
    """A person who signs in; a member of any number of workspaces.

    A product's own user comes by portal links alone, and belongs to the one workspace `portal_workspace_id`.
    `time_zone` is a name of the IANA database, None being UTC. The password's hash is never part of this.
    """

    id: UserId
    name: str
    email: str | None
    created_at: datetime
    time_zone: str | None = None
    password_set_at: datetime | None = None
    portal_workspace_id: WorkspaceId | None = None
    email_confirmed_at: datetime | None = None

    @property
    def confirmed_email(self) -> str | None:
        """Where mail may be sent: the email, once somebody vouches for it or its link was opened."""
        return None if self.email_confirmed_at is None else self.email

    @property
    def is_of_portal(self) -> bool:
        """Whether the product vouches for this person, and they have no account of their own here."""
        return self.portal_workspace_id is not None


@dataclass(frozen=True, slots=True)
class Member:
    """A user in one workspace, with a role. `proof`: how and when they last proved who they are in a session."""

    workspace_id: WorkspaceId
    user: User
    role: Role
    joined_at: datetime | None = field(default=None, compare=False)
    authentication: Authentication | None = field(default=None, compare=False)
    version: int = field(default=1, compare=False)


def check_name(name: str, pointer: str = "/name") -> str:
    """A name for people: 1-100 characters on one line."""
    return check_line(name, pointer, MAX_NAME)

"""Workspaces (the tenants) and their members."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from keystead.domain.errors import Invalid
from keystead.domain.ids import UserId, WorkspaceId
from keystead.domain.sessions import Authentication
from keystead.domain.text import check_line

MAX_NAME: Final = 100
EXTERNAL_ID_PATTERN: Final = "[A-Za-z0-9][A-Za-z0-9._:-]{0,127}"
_EXTERNAL_ID: Final = re.compile(EXTERNAL_ID_PATTERN)


class Role(StrEnum):
    """The roles of members, from most permissions to least."""

    OWNER = "owner"
    ADMIN = "admin"
    DEVELOPER = "developer"
    VIEWER = "viewer"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A tenant. While it is suspended, its keys are refused. `external_id` is the product's own id."""

    id: WorkspaceId
    name: str
    plan_id: str
    created_at: datetime
    suspended_at: datetime | None = None
    version: int = 1
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class User:
    """A person who signs in, a member of any number of workspaces. It doesn't contain the password's hash.

    A product's own user signs in only by portal links, and belongs to one workspace, `portal_workspace_id`;
    `portal_user_id` is the product's own id of them.
    `time_zone` is a name of the IANA database; None means UTC.
    """

    id: UserId
    name: str
    email: str | None
    created_at: datetime
    time_zone: str | None = None
    password_set_at: datetime | None = None
    portal_workspace_id: WorkspaceId | None = None
    email_confirmed_at: datetime | None = None
    portal_user_id: str | None = None

    @property
    def confirmed_email(self) -> str | None:
        """Return the email if it was confirmed, by its link or by the product."""
        return None if self.email_confirmed_at is None else self.email

    @property
    def is_of_portal(self) -> bool:
        """Return whether this is a product's own user, without an account here."""
        return self.portal_workspace_id is not None


@dataclass(frozen=True, slots=True)
class Member:
    """A user in one workspace, with a role. `authentication`: when and how they last authenticated in a session."""

    workspace_id: WorkspaceId
    user: User
    role: Role
    joined_at: datetime | None = field(default=None, compare=False)
    authentication: Authentication | None = field(default=None, compare=False)
    version: int = field(default=1, compare=False)


def check_external_id(text: str, pointer: str = "/external_id") -> str:
    """Return `text`. Invalid unless it is 1-128 of `[A-Za-z0-9._:-]`, a letter or digit first."""
    if not _EXTERNAL_ID.fullmatch(text):
        raise Invalid.field(
            pointer, "must be 1-128 of A-Z, a-z, 0-9 and ._:-, a letter or digit first"
        )
    return text


def check_name(name: str, pointer: str = "/name") -> str:
    """Return `name`. Invalid unless it is 1-100 characters on one line."""
    return check_line(name, pointer, MAX_NAME)

"""Workspaces (the tenants) and the people in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from keystead.domain.ids import UserId, WorkspaceId
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


@dataclass(frozen=True, slots=True)
class User:
    """A person who signs in; a member of any number of workspaces."""

    id: UserId
    name: str
    email: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Member:
    """A user in one workspace, with a role."""

    workspace_id: WorkspaceId
    user: User
    role: Role


def check_name(name: str, pointer: str = "/name") -> str:
    """A name for people: 1-100 characters on one line."""
    return check_line(name, pointer, MAX_NAME)

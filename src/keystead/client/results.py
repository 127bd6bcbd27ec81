"""What calls answer, typed: values without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; `next_cursor` is None at the end."""

    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who made something: `type` is key, member, operator or system."""

    type: str
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Key:
    """A key's record; never its token."""

    id: str
    description: str
    hint: str
    scopes: tuple[str, ...]
    status: str
    created_at: datetime
    created_by: Actor
    expires_at: datetime | None
    last_used_at: datetime | None
    last_used_ip: str | None
    last_used_agent: str | None
    revoked_at: datetime | None
    rotated_to: str | None


@dataclass(frozen=True, slots=True)
class Whoami:
    """Whose key the client holds: the workspace's id, name and plan, and the key's record."""

    workspace_id: str
    workspace_name: str
    plan: str
    key: Key


@dataclass(frozen=True, slots=True)
class Document:
    """A document; lists leave its text out."""

    id: str
    title: str
    url: str | None
    attributes: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    text: str | None = None


@dataclass(frozen=True, slots=True)
class PushReport:
    """What became of a batch."""

    created: int
    updated: int
    unchanged: int
    deleted: int

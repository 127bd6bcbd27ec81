"""What calls answer, typed: frozen values. None of them shows a secret in its repr."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from keystead.domain.scopes import Scopes
from keystead.domain.token import Secret, Token

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """What can be changed on condition: `etag` is the version that an answer showed, None in lists."""

    etag: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; `next_cursor` is None at the end."""

    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something: `type` is key, member, operator or system."""

    type: str
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Quota:
    """One limit with its use; `limit` None is unlimited."""

    limit: int | None
    used: int


@dataclass(frozen=True, slots=True)
class Key(Tagged):
    """A key's record; never its token. `status` is active, expired or revoked, as of the answer."""

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
class CreatedKey(Key):
    """A new key and its token, which no later answer holds: `token.reveal()` is its text."""

    token: Token


@dataclass(frozen=True, slots=True)
class KeyPage(Page[Key]):
    """One page of keys, and how much of the plan's limit is used."""

    quota: Quota


@dataclass(frozen=True, slots=True)
class Workspace(Tagged):
    """The tenant that a key belongs to; `plan` is the id of its plan."""

    id: str
    name: str
    plan: str


@dataclass(frozen=True, slots=True)
class Whoami:
    """Whose key the client holds."""

    workspace: Workspace
    key: Key


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan by name."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class PlanUse:
    """The workspace's plan, and a quota for each limit: api_keys, collections, documents, webhooks, members."""

    plan: Plan
    quotas: Mapping[str, Quota]


@dataclass(frozen=True, slots=True)
class PlanWithLimits(Plan):
    """A plan that workspaces may be on, its limits and its rate limits by name; None is unlimited."""

    limits: Mapping[str, int | None]
    rate_limits: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class Collection(Tagged):
    """A named set of documents; `documents` is how many."""

    name: str
    title: str
    documents: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class DocumentSummary(Tagged):
    """A document without its text, as lists show it."""

    id: str
    title: str
    url: str | None
    attributes: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Document(DocumentSummary):
    """A whole document."""

    text: str


@dataclass(frozen=True, slots=True)
class PushReport:
    """What became of a batch."""

    created: int
    updated: int
    unchanged: int
    deleted: int


@dataclass(frozen=True, slots=True)
class Target:
    """What an event is about: the kind of thing and its id."""

    type: str
    id: str


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, to what, by whom. `type` is such as `key.revoked`; later versions know more of them."""

    id: str
    type: str
    occurred_at: datetime
    actor: Actor
    target: Target
    address: str | None
    request_id: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Webhook(Tagged):
    """Where events are sent. `disabled_for` is by_hand, failing or gone."""

    id: str
    name: str
    url: str
    events: tuple[str, ...]
    status: str
    created_at: datetime
    created_by: Actor
    header_names: tuple[str, ...]
    disabled_at: datetime | None
    disabled_for: str | None
    secret_overlap_until: datetime | None


@dataclass(frozen=True, slots=True)
class CreatedWebhook(Webhook):
    """A webhook with its signing secret, which no later answer holds: `secret.reveal()` is its text."""

    secret: Secret


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a delivery: the answer's status, if one came, and why it failed, if it did."""

    at: datetime
    status: int | None
    error: str | None
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one webhook; `status` is pending, delivered or failed."""

    id: str
    webhook_id: str
    event_id: str
    event_type: str
    status: str
    created_at: datetime
    attempts: tuple[Attempt, ...]
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True)
class SentDelivery(Delivery):
    """A delivery with the event that it tells of."""

    event: Event


@dataclass(frozen=True, slots=True)
class ManagedWorkspace(Workspace):
    """A workspace, as who runs the installation sees it; suspended, its keys are refused."""

    created_at: datetime
    suspended_at: datetime | None


@dataclass(frozen=True, slots=True)
class WorkspaceWithUse(ManagedWorkspace):
    """A workspace, the limits that it has of its own, and the use of every limit that holds."""

    overrides: Mapping[str, int | None]
    quotas: Mapping[str, Quota]


@dataclass(frozen=True, slots=True)
class PortalSession:
    """A link that signs a user in, once. Send their browser there; the URL is a secret, and in no repr."""

    url: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Introspection:
    """What a token is good for, now (RFC 7662). Not `active`: all else is empty, and it is never told why."""

    active: bool
    scopes: tuple[str, ...] = ()
    key_id: str | None = None
    workspace: Workspace | None = None
    expires_at: datetime | None = None
    issued_at: datetime | None = None

    def permits(self, scope: str) -> bool:
        """Whether the token is good for what needs `scope`: held by name, or by `*`, which never is `keys:write`."""
        return self.active and Scopes(self.scopes).permit(scope)

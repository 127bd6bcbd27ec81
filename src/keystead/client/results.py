"""The results of calls: frozen dataclasses. No repr of them contains a secret.

decoding.py reads them from JSON by their field types; a field with a default may be missing there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Generic, TypeVar

from keystead.domain.renewals import Renewal
from keystead.domain.scopes import Scopes
from keystead.domain.token import Secret, Token

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """A resource that can be changed conditionally. `etag` is its version, or None in lists."""

    etag: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a list. `next_cursor` is None on the last page."""

    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Actor:
    """The principal of an action. `type` is key, member, operator or system."""

    type: str
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit and its use. `limit` is None if it is unlimited."""

    limit: int | None
    used: int


@dataclass(frozen=True, slots=True)
class Key(Tagged):
    """An API key without its token. `status` is active, expired or revoked, at the time of the response."""

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
    networks: tuple[str, ...]
    metadata: Mapping[str, str] = field(hash=False)
    renewal: Renewal | None


@dataclass(frozen=True, slots=True)
class CreatedKey(Key):
    """A new key with its token, which no later response contains. `token.reveal()` returns its text."""

    token: Token


@dataclass(frozen=True, slots=True)
class KeyPage(Page[Key]):
    """A page of keys with the use of the plan's limit."""

    items: list[Key]
    quota: Quota


@dataclass(frozen=True, slots=True)
class Workspace(Tagged):
    """A workspace as its keys see it. `plan` is the id of its plan."""

    id: str
    name: str
    plan: str


@dataclass(frozen=True, slots=True)
class Whoami:
    """The key that the client uses, and its workspace."""

    workspace: Workspace
    key: Key


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan's id and name."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class PlanUse:
    """The workspace's plan with a quota for each limit: api_keys, collections, documents, webhooks, members."""

    plan: Plan
    quotas: Mapping[str, Quota]


@dataclass(frozen=True, slots=True)
class Policy:
    """What keys may be; None says nothing. `expiry_required`: keys must expire."""

    max_lifetime_days: int | None = None
    expiry_required: bool | None = None
    default_lifetime_days: int | None = None
    end_unused_days: int | None = None
    renewal_allowed: bool | None = None


@dataclass(frozen=True, slots=True)
class PolicyLayers(Tagged):
    """A workspace's policy: what holds, and the layers of which the strictest holds."""

    effective: Policy
    plan: Policy
    operator: Policy
    owner: Policy


@dataclass(frozen=True, slots=True)
class PlanWithLimits(Plan):
    """A plan with its limits and rate limits by name, where None is unlimited, and its layer of policy."""

    limits: Mapping[str, int | None]
    rate_limits: Mapping[str, int | None] = field(default_factory=dict)
    policy: Policy = Policy()


@dataclass(frozen=True, slots=True)
class PlanReport(Tagged):
    """What replacing all plans changed, or would change if it was not `applied`: one line for each plan."""

    items: list[PlanWithLimits]
    changes: tuple[str, ...]
    loosens: bool
    applied: bool


@dataclass(frozen=True, slots=True)
class Collection(Tagged):
    """A named set of documents. `documents` is their number."""

    name: str
    title: str
    documents: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class DocumentSummary(Tagged):
    """A document without its text, as in lists."""

    id: str
    title: str
    url: str | None
    attributes: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Document(DocumentSummary):
    """A document with its text."""

    text: str


@dataclass(frozen=True, slots=True)
class DocumentHit(DocumentSummary):
    """A document as a search returns it. `snippet` is a part of its text around the first match, on one line."""

    snippet: str


@dataclass(frozen=True, slots=True)
class SearchPage(Page[DocumentHit]):
    """A page of the results of a search. `total` counts all pages; unless `total_exact`, older documents may match."""

    items: list[DocumentHit]
    total: int
    total_exact: bool


@dataclass(frozen=True, slots=True)
class PushReport:
    """The number of documents that a push created, updated, left unchanged and deleted."""

    created: int
    updated: int
    unchanged: int
    deleted: int


@dataclass(frozen=True, slots=True)
class Target:
    """The object of an event: its type and id."""

    type: str
    id: str


@dataclass(frozen=True, slots=True)
class Event:
    """An event, such as `key.revoked`. Newer servers may send types that this version does not know."""

    id: str
    type: str
    occurred_at: datetime
    actor: Actor
    target: Target
    address: str | None
    request_id: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FeedEvent(Event):
    """An event in the feed of all workspaces. `workspace` None: an event of the installation itself."""

    workspace: str | None


@dataclass(frozen=True, slots=True)
class Feed:
    """A part of the feed, oldest event first. Store `next_after`: it is the `after` of the next call."""

    items: list[FeedEvent]
    next_after: str


@dataclass(frozen=True, slots=True)
class DayUsage:
    """The accepted requests of one day (UTC), and the refused ones of genuine tokens."""

    day: date
    requests: int
    refused: int


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """The accepted requests of one key, and the refused ones. `key` is its id."""

    key: str
    requests: int
    refused: int


@dataclass(frozen=True, slots=True)
class WorkspaceUsage:
    """The accepted requests of one workspace on one day (UTC), and the refused ones. `workspace` is its id."""

    workspace: str
    day: date
    requests: int
    refused: int


@dataclass(frozen=True, slots=True)
class Webhook(Tagged):
    """A webhook endpoint. `disabled_for` is by_hand, failing or gone."""

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
    """A webhook with its signing secret, which no later response contains. `secret.reveal()` returns its text."""

    secret: Secret


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt at a delivery. `status` is None without a response, `error` is None after a success."""

    at: datetime
    status: int | None
    error: str | None
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery of an event to a webhook. `status` is pending, delivered or failed."""

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
    """A delivery with its event."""

    event: Event


@dataclass(frozen=True, slots=True)
class ManagedWorkspace(Workspace):
    """A workspace as operators see it. The keys of a suspended workspace are refused. `external_id` is your own id."""

    external_id: str | None
    created_at: datetime
    suspended_at: datetime | None


@dataclass(frozen=True, slots=True)
class WorkspaceWithUse(ManagedWorkspace):
    """A workspace with its own limits (`overrides`) and the use of every effective limit."""

    overrides: Mapping[str, int | None]
    quotas: Mapping[str, Quota]


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential of a service or an operator. `kind` is service or operator."""

    id: str
    kind: str
    name: str
    hint: str
    created_at: datetime
    created_by: Actor
    revoked_at: datetime | None
    revoked_by: str | None


@dataclass(frozen=True, slots=True)
class CreatedCredential(Credential):
    """A new credential with its token, which no later response contains. `token.reveal()` returns its text."""

    token: Token


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Requests a minute of a workspace and of each of its keys; None is unlimited."""

    workspace_per_minute: int | None
    key_per_minute: int | None


@dataclass(frozen=True, slots=True)
class OwnRateLimits(Tagged):
    """A workspace's own rate limits, where None is the plan's, and the `effective` ones."""

    workspace_per_minute: int | None
    key_per_minute: int | None
    effective: RateLimits


@dataclass(frozen=True, slots=True)
class KeyRateLimits(Tagged):
    """A key's own rate limit, if it has one, and the `effective` ones."""

    per_minute: int | None
    effective: RateLimits


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """A key and its workspace, found by the key's token."""

    workspace: ManagedWorkspace
    key: Key


@dataclass(frozen=True, slots=True)
class ManagedMember(Tagged):
    """A person of a workspace. `external_id` is your product's own id; None: they have an account at the server."""

    id: str
    external_id: str | None
    name: str
    email: str | None
    role: str
    joined_at: datetime | None


@dataclass(frozen=True, slots=True)
class PortalSession:
    """A link that signs a user in, once. Redirect their browser there; the URL is a secret."""

    url: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """A started sign-in at a terminal (RFC 8628 section 3.2). Show the user code and one of the addresses.

    Both codes expire after `expires_in` seconds; `interval` is the least number of seconds between two polls.
    """

    device_code: Secret
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


@dataclass(frozen=True, slots=True)
class DeviceToken:
    """The token that a terminal gets (RFC 6749 section 5.1). `expires_in` None: its key never expires."""

    access_token: Token
    scope: str
    expires_in: int | None = None


@dataclass(frozen=True, slots=True)
class Introspection:
    """The state of a token (RFC 7662). If it is not `active`, the other fields are empty."""

    active: bool
    scopes: tuple[str, ...] = ()
    key_id: str | None = None
    workspace: Workspace | None = None
    expires_at: datetime | None = None
    issued_at: datetime | None = None
    networks: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    renewal: Renewal | None = None

    def permits(self, scope: str) -> bool:
        """Return whether an active token grants `scope`. `*` grants every scope except `keys:write`."""
        return self.active and Scopes(self.scopes).permit(scope)

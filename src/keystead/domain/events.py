"""Events: what happened, to what, by whom. One table serves as audit log and as webhook outbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from keystead.domain.ids import EventId, WorkspaceId
from keystead.domain.principals import Actor


class EventType(StrEnum):
    """Every type of event; the part before the dot is the noun."""

    KEY_CREATED = "key.created"
    KEY_UPDATED = "key.updated"
    KEY_ROTATED = "key.rotated"
    KEY_REVOKED = "key.revoked"
    KEY_EXPIRED = "key.expired"
    KEY_EXPIRING = "key.expiring"
    KEY_UNUSED = "key.unused"
    KEY_REFUSED = "key.refused"
    LIMIT_REACHED = "limit.reached"
    COLLECTION_CREATED = "collection.created"
    COLLECTION_UPDATED = "collection.updated"
    COLLECTION_DELETED = "collection.deleted"
    DOCUMENTS_PUSHED = "documents.pushed"
    DOCUMENTS_DELETED = "documents.deleted"
    WEBHOOK_CREATED = "webhook.created"
    WEBHOOK_UPDATED = "webhook.updated"
    WEBHOOK_DELETED = "webhook.deleted"
    WEBHOOK_SECRET_ROTATED = "webhook.secret_rotated"
    WEBHOOK_ENABLED = "webhook.enabled"
    WEBHOOK_DISABLED = "webhook.disabled"
    WEBHOOK_TEST = "webhook.test"
    MEMBER_ADDED = "member.added"
    MEMBER_INVITED = "member.invited"
    MEMBER_INVITATION_REVOKED = "member.invitation_revoked"
    MEMBER_ROLE_CHANGED = "member.role_changed"
    MEMBER_REMOVED = "member.removed"
    MEMBER_SIGNED_IN = "member.signed_in"
    MEMBER_SIGNED_OUT = "member.signed_out"
    MEMBER_PASSWORD_CHANGED = "member.password_changed"
    MEMBER_EMAIL_CHANGED = "member.email_changed"
    WORKSPACE_CREATED = "workspace.created"
    WORKSPACE_UPDATED = "workspace.updated"
    WORKSPACE_SUSPENDED = "workspace.suspended"
    WORKSPACE_RESUMED = "workspace.resumed"
    WORKSPACE_PLAN_CHANGED = "workspace.plan_changed"


class InstallationEventType(StrEnum):
    """Every type of event that belongs to no workspace."""

    CREDENTIAL_CREATED = "credential.created"
    CREDENTIAL_REVOKED = "credential.revoked"


@dataclass(frozen=True, slots=True)
class Target:
    """What an event is about: the kind of thing and its id."""

    type: str
    id: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from; recorded with what it changed."""

    address: str | None = None
    request_id: str | None = None


NO_ORIGIN = Origin()


@dataclass(frozen=True, slots=True)
class Act:
    """One act, as its event tells it: who, when, from where."""

    actor: Actor
    at: datetime
    origin: Origin = NO_ORIGIN


@dataclass(frozen=True, slots=True)
class Event:
    """What happened. `sequence` orders a workspace's events without gaps; `data` is plain JSON, never a secret."""

    id: EventId
    workspace_id: WorkspaceId
    sequence: int
    type: EventType
    occurred_at: datetime
    actor: Actor
    target: Target
    origin: Origin = NO_ORIGIN
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InstallationEvent:
    """What happened to the installation itself. Ids rise with time; `data` is plain JSON, never a secret.

    `type`: an InstallationEventType, or the name of one that a later version wrote.
    """

    id: EventId
    type: str
    occurred_at: datetime
    actor: Actor
    target: Target
    data: Mapping[str, object] = field(default_factory=dict)

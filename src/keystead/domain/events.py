"""Events (what happened, to what, by whom), the audit log and webhook outbox; and how long records are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from keystead.domain.ids import EventId, WorkspaceId
from keystead.domain.principals import Actor


class EventType(StrEnum):
    """The types of events; the part before the dot is the resource."""

    KEY_CREATED = "key.created"
    KEY_UPDATED = "key.updated"
    KEY_ROTATED = "key.rotated"
    KEY_REVOKED = "key.revoked"
    KEY_EXPIRED = "key.expired"
    KEY_EXPIRING = "key.expiring"
    KEY_UNUSED = "key.unused"
    KEY_REFUSED = "key.refused"
    KEY_REUSED = "key.reused"
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
    WEBHOOK_RESENT = "webhook.resent"
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
    WORKSPACE_EXPORTED = "workspace.exported"
    WORKSPACE_POLICY_CHANGED = "workspace.policy_changed"


def event_types(*, has_documents: bool) -> list[EventType]:
    """Return the types of events that can happen, with or without the document store."""
    return [
        type
        for type in EventType
        if has_documents or not type.startswith(("collection.", "documents."))
    ]


class InstallationEventType(StrEnum):
    """The types of events of the installation, outside any workspace."""

    CREDENTIAL_CREATED = "credential.created"
    CREDENTIAL_REVOKED = "credential.revoked"
    PLANS_CHANGED = "plans.changed"
    WORKSPACE_DELETED = "workspace.deleted"


@dataclass(frozen=True, slots=True)
class Target:
    """The resource that an event is about: its type and id."""

    type: str
    id: str


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of a request, recorded with its changes."""

    address: str | None = None
    request_id: str | None = None


NO_ORIGIN = Origin()


@dataclass(frozen=True, slots=True)
class Act:
    """The part that all events of one change share: who, when, from where."""

    actor: Actor
    at: datetime
    origin: Origin = NO_ORIGIN


@dataclass(frozen=True, slots=True)
class Event:
    """What happened in a workspace. `sequence` orders its events without gaps; `data` is JSON without secrets."""

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
    """What happened to the installation itself. Ids rise with time; `data` is JSON without secrets.

    `type`: an InstallationEventType, or a name that a later version of the server wrote.
    """

    id: EventId
    type: str
    occurred_at: datetime
    actor: Actor
    target: Target
    data: Mapping[str, object] = field(default_factory=dict)


MIN_RETENTION: Final = timedelta(days=31)
"""The pages show the last 30 days."""


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How long each kind of record is kept; None keeps it for ever. Keys are always kept."""

    events: timedelta | None = timedelta(days=400)
    deliveries: timedelta | None = timedelta(days=90)
    use: timedelta | None = timedelta(days=400)
    callers: timedelta | None = timedelta(days=90)


def retention_cutoff(period: timedelta | None, now: datetime) -> datetime | None:
    """Return the time before which records are deleted at `now`; None if all are kept."""
    return None if period is None else now - period

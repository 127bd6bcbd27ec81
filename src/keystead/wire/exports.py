"""The lines of an export: each value in the shape that the API shows it in, with its type."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Self, assert_never

from keystead.domain import invitations
from keystead.domain.documents import Collection
from keystead.domain.events import Event
from keystead.domain.invitations import Invitation, InvitationStatus
from keystead.domain.keys import ApiKey
from keystead.domain.webhooks import WebhookEndpoint
from keystead.domain.workspaces import Member, Role
from keystead.services.exports import Exported, ExportedDocument, ExportedUse
from keystead.wire import resources
from keystead.wire.operator import ManagedMember
from keystead.wire.schema import AsText, Instant, Resource
from keystead.wire.usage import DayUsage
from keystead.wire.webhooks import Webhook


class ExportLine(Resource):
    """One resource of the workspace: its type, and the members of its shape."""

    type: str
    data: Any


class ExportEnd(Resource):
    """The last line, with the number of lines before it."""

    type: str
    lines: int


class ExportedInvitation(Resource):
    """An invitation, without its link."""

    id: str
    email: str
    role: Annotated[Role, AsText]
    status: Annotated[InvitationStatus, AsText]
    invited_by: resources.Actor
    created_at: Instant
    expires_at: Instant
    accepted_at: Instant | None
    revoked_at: Instant | None

    @classmethod
    def of(cls, invitation: invitations.Invitation, now: datetime) -> Self:
        """Return the shape of the domain's value, with its status as of `now`."""
        return cls(
            id=invitation.id,
            email=invitation.email,
            role=invitation.role,
            status=invitation.status(now),
            invited_by=resources.Actor.of(invitation.invited_by),
            created_at=invitation.created_at,
            expires_at=invitation.expires_at,
            accepted_at=invitation.accepted_at,
            revoked_at=invitation.revoked_at,
        )


class KeyDayUsage(DayUsage):
    """The requests of one key on one day."""

    key: str


class CollectedDocument(resources.Document):
    """A document with the name of its collection."""

    collection: str


def text_of(lines: Sequence[Resource]) -> bytes:
    """Return the lines as text, each with its line break."""
    return b"".join(line.to_json() + b"\n" for line in lines)


def line_of(exported: Exported, now: datetime) -> ExportLine:
    """Return the line of a value."""
    type, data = _described(exported, now)
    return ExportLine(type=type, data=data)


def _described(exported: Exported, now: datetime) -> tuple[str, Resource]:
    described: tuple[str, Resource]
    match exported:
        case Member():
            described = "member", ManagedMember.of(exported)
        case Invitation():
            described = "invitation", ExportedInvitation.of(exported, now)
        case ApiKey():
            described = "key", resources.Key.of(exported, now)
        case ExportedUse(key_id=key, day=day, use=use):
            requests, refused = use.requests, use.refused
            described = "usage", KeyDayUsage(key=key, day=day, requests=requests, refused=refused)
        case Collection():
            described = "collection", resources.Collection.of(exported)
        case ExportedDocument(collection=name, document=document):
            data = CollectedDocument.of(document, text=document.text, collection=name)
            described = "document", data
        case WebhookEndpoint():
            described = "webhook", Webhook.of(exported)
        case Event():
            described = "event", resources.Event.of(exported)
        case _:
            assert_never(exported)
    return described

"""The resources of the Workspace API, and its problems."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from keystead.domain import documents as texts
from keystead.domain import events, plans, principals, renewals, workspaces
from keystead.domain.events import EventType
from keystead.domain.keys import ApiKey, KeyStatus
from keystead.domain.principals import PrincipalKind
from keystead.wire.schema import AsText, Instant, NextCursor, Resource, member


class Actor(Resource):
    """The principal that acted: a key, a member, an operator or the system."""

    type: Annotated[PrincipalKind, AsText]
    id: str
    name: str

    @classmethod
    def of(cls, actor: principals.Actor) -> Self:
        """Return the shape of the domain's value."""
        return cls(type=actor.kind, id=actor.id, name=actor.name)


class Quota(Resource):
    """A limit and its use."""

    limit: Annotated[int | None, member("Null: unlimited.")]
    used: int

    @classmethod
    def of(cls, quota: plans.Quota) -> Self:
        """Return the shape of the domain's value."""
        return cls(limit=quota.limit, used=quota.used)


class Renewal(Resource):
    """The permission of a key to renew itself."""

    until: Annotated[Instant | None, member("Null: without end.")]

    @classmethod
    def of(cls, renewal: renewals.Renewal) -> Self:
        """Return the shape of the domain's value."""
        return cls(until=renewal.until)


class Key(Resource):
    """An API key, without its token."""

    id: Annotated[str, member("The key's permanent id.", "key_02tcRIyrxLXTR81B3dqdOx")]
    description: Annotated[str, member("What the key is for.", "data-warehouse sync")]
    hint: Annotated[str, member("Prefix and last four characters of the token.", "ks_…laf3")]
    scopes: Annotated[list[str], member("In alphabetical order.", ["documents:write"])]
    status: Annotated[
        KeyStatus, AsText, member("As of this response. Expired and revoked are final.")
    ]
    created_at: Instant
    created_by: Actor
    expires_at: Annotated[Instant | None, member("Null: never.")]
    last_used_at: Annotated[
        Instant | None,
        member("The last accepted request, with a delay of a few seconds. Null: never used."),
    ]
    last_used_ip: str | None
    last_used_agent: str | None
    revoked_at: Instant | None
    rotated_to: Annotated[
        str | None, member("The id of the successor. Null: the key was not rotated.")
    ]
    networks: Annotated[
        list[str],
        member("The CIDR blocks that the key works from. Empty: anywhere.", ["203.0.113.0/24"]),
    ]
    metadata: Annotated[
        Mapping[str, str],
        member("Labels for the product. No access depends on them.", {"customer": "42"}),
    ]
    renewal: Annotated[Renewal | None, member("Null: the key can't renew itself.")]

    @classmethod
    def of(cls, key: ApiKey, now: datetime, **more: Any) -> Self:
        """Return the shape of the domain's value, with its status as of `now`."""
        use = key.last_use
        return cls(
            id=key.id,
            description=key.description,
            hint=key.hint,
            scopes=list(key.scopes),
            status=key.status(now),
            created_at=key.created_at,
            created_by=Actor.of(key.created_by),
            expires_at=key.expires_at,
            last_used_at=use.at if use else None,
            last_used_ip=use.address if use else None,
            last_used_agent=use.agent if use else None,
            revoked_at=key.revoked_at,
            rotated_to=key.rotated_to,
            networks=list(key.networks),
            metadata=key.metadata,
            renewal=Renewal.of(key.renewal) if key.renewal else None,
            **more,
        )


class CreatedKey(Key):
    """A new key with its token, which is shown only once."""

    token: Annotated[
        str | None,
        member(
            "The whole token. Null if this Idempotency-Key was used before: the token is not stored."
        ),
    ]


class KeyList(Resource):
    """A page of keys, newest first, and how much of the plan's limit they use."""

    items: list[Key]
    next_cursor: NextCursor
    quota: Quota


class Workspace(Resource):
    """The tenant that a key belongs to."""

    id: Annotated[str, member("The workspace's id.", "ws_02tcRIyrxLXTR81B3dqdOx")]
    name: str
    plan: Annotated[str, member("The plan's id.", "free")]

    @classmethod
    def of(cls, workspace: workspaces.Workspace) -> Self:
        """Return the shape of the domain's value."""
        return cls(id=workspace.id, name=workspace.name, plan=workspace.plan_id)


class Whoami(Resource):
    """The calling key and its workspace."""

    workspace: Workspace
    key: Key


class Plan(Resource):
    """A plan's id and name."""

    id: Annotated[str, member("The plan's id.", "free")]
    name: Annotated[str, member("The name to display.", "Free")]


OfDocuments = Annotated[
    Quota | SkipJsonSchema[None],
    Field(
        exclude_if=lambda quota: quota is None,
        json_schema_extra=lambda schema: schema.pop("default"),
    ),
]
"""A quota of the document store: absent if the installation does without it."""


class Quotas(Resource):
    """A quota for each limit of a plan. Without the document store, its two are absent."""

    api_keys: Quota
    collections: OfDocuments = None
    documents: OfDocuments = None
    webhooks: Quota
    members: Quota

    @classmethod
    def of(cls, quotas: Mapping[str, plans.Quota]) -> Self:
        """Return the shapes of the domain's values, by name."""
        return cls(**{name: Quota.of(quota) for name, quota in quotas.items()})


class PlanUse(Resource):
    """The workspace's plan, its limits and their use."""

    plan: Plan
    quotas: Quotas

    @classmethod
    def of(cls, use: plans.PlanUse) -> Self:
        """Return the shape of the domain's value."""
        return cls(plan=Plan(id=use.plan.id, name=use.plan.name), quotas=Quotas.of(use.quotas))


class Collection(Resource):
    """A named set of documents."""

    name: Annotated[str, member("The collection's name in URLs.", "handbook")]
    title: Annotated[str, member("The title to display.", "Product handbook")]
    documents: Annotated[int, member("The number of documents in the collection.")]
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, collection: texts.Collection) -> Self:
        """Return the shape of the domain's value."""
        return cls(
            name=collection.name,
            title=collection.title,
            documents=collection.documents,
            created_at=collection.created_at,
            updated_at=collection.updated_at,
        )


class CollectionList(Resource):
    """A page of collections, newest first."""

    items: list[Collection]
    next_cursor: NextCursor


class DocumentSummary(Resource):
    """A document without its text, as in lists."""

    id: Annotated[str, member("The document's id in its collection.", "passwords")]
    title: Annotated[str, member("Empty: no title.", "Lost passwords")]
    url: str | None
    attributes: Mapping[str, Any]
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, document: texts.DocumentSummary, **more: Any) -> Self:
        """Return the shape of the domain's value."""
        return cls(
            id=document.id,
            title=document.title,
            url=document.url,
            attributes=document.attributes,
            created_at=document.created_at,
            updated_at=document.updated_at,
            **more,
        )


class Document(DocumentSummary):
    """A document."""

    text: str

    @classmethod
    def whole(cls, document: texts.Document) -> Self:
        """Return the shape of a document with its text."""
        return cls.of(document, text=document.text)


class DocumentHit(DocumentSummary):
    """A document as a search returns it, without its text."""

    snippet: Annotated[str, member("A part of the text around the first match, on one line.")]

    @classmethod
    def found(cls, hit: texts.Hit) -> Self:
        """Return the shape of a result."""
        return cls.of(hit, snippet=hit.snippet)


class DocumentList(Resource):
    """A page of documents, newest first."""

    items: list[DocumentSummary]
    next_cursor: NextCursor


class SearchResults(Resource):
    """A page of the results of a search, best first."""

    items: list[DocumentHit]
    next_cursor: NextCursor
    total: Annotated[int, member("The number of results on all pages.")]
    total_exact: Annotated[bool, member("False: older documents may match too.")]


class PushReport(Resource):
    """The numbers of documents that a batch changed."""

    created: int
    updated: int
    unchanged: Annotated[int, member("Documents that were already as sent.")]
    deleted: Annotated[int, member("Ids to delete that existed.")]

    @classmethod
    def of(cls, report: texts.PushReport) -> Self:
        """Return the shape of the domain's value."""
        return cls(
            created=report.created,
            updated=report.updated,
            unchanged=report.unchanged,
            deleted=report.deleted,
        )


class Target(Resource):
    """The subject of an event."""

    type: Annotated[str, member("The kind of resource.", "key")]
    id: Annotated[
        str, member("The resource's id, or a collection's name.", "key_02tcRIyrxLXTR81B3dqdOx")
    ]


class Event(Resource):
    """An audit record: what happened, to which resource, and by which principal."""

    id: Annotated[str, member("The event's id.", "evt_02tcRIyrxLXTR81B3dqdOx")]
    type: Annotated[EventType, AsText]
    occurred_at: Instant
    actor: Actor
    target: Target
    address: Annotated[str | None, member("The IP address of the request.")]
    request_id: Annotated[str | None, member("The `X-Request-Id` of the response to that request.")]
    data: Annotated[
        Mapping[str, Any], member("Further details, depending on the type. Never a secret.")
    ]

    @classmethod
    def of(cls, event: events.Event) -> Self:
        """Return the shape of the domain's value."""
        return cls(
            id=event.id,
            type=event.type,
            occurred_at=event.occurred_at,
            actor=Actor.of(event.actor),
            target=Target(type=event.target.type, id=event.target.id),
            address=event.origin.address,
            request_id=event.origin.request_id,
            data=event.data,
        )


class EventList(Resource):
    """A page of events, newest first."""

    items: list[Event]
    next_cursor: NextCursor


class PortalSession(Resource):
    """A single-use link that signs a user in."""

    url: Annotated[str, member("Where to send the user's browser. It is a secret: never log it.")]
    expires_at: Annotated[Instant, member("Five minutes from the call.")]


class FieldError(Resource):
    """A refused value and the reason."""

    pointer: Annotated[
        str,
        member(
            "A JSON pointer into the body (RFC 6901), `query:<name>` or `path:<name>`.",
            "/expires_at",
        ),
    ]
    detail: Annotated[str, member("What is wrong with the value.", "must be later than now")]
    id: Annotated[str, member("In a batch of documents: the document's id.", "guides--cli.md")] = ""


class Problem(BaseModel):
    """An error (RFC 9457). Some codes have further members, which the page at `type` describes."""

    type: Annotated[
        str,
        Field(json_schema_extra={"format": "uri"}),
        member("The documentation page of this problem."),
    ]
    title: str
    status: int
    detail: Annotated[str, member("An explanation for people.")]
    code: Annotated[str, member("A stable code for programs.")]
    errors: Annotated[
        list[FieldError], member("One entry per refused value; only with status 422.")
    ] = []

"""What calls answer: every member is present, null where there is nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from keystead.domain import documents as texts
from keystead.domain import events, plans, principals, workspaces
from keystead.domain.events import EventType
from keystead.domain.instants import format_instant
from keystead.domain.keys import ApiKey, KeyStatus
from keystead.domain.principals import PrincipalKind
from keystead.wire.schema import INSTANT_SCHEMA, member

Instant = Annotated[
    datetime, PlainSerializer(format_instant, return_type=str), WithJsonSchema(INSTANT_SCHEMA)
]
NextCursor = Annotated[str | None, member("The `cursor` of the next page; null at the end.")]


class Resource(BaseModel):
    """The base of all answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Actor(Resource):
    """Who did something: a key, a member, an operator or the system."""

    type: PrincipalKind
    id: str
    name: str

    @classmethod
    def of(cls, actor: principals.Actor) -> Self:
        """From the domain's value."""
        return cls(type=actor.kind, id=actor.id, name=actor.name)


class Quota(Resource):
    """One limit with its use."""

    limit: Annotated[int | None, member("Null: unlimited.")]
    used: int

    @classmethod
    def of(cls, quota: plans.Quota) -> Self:
        """From the domain's value."""
        return cls(limit=quota.limit, used=quota.used)


class Key(Resource):
    """An API key, without its token."""

    id: Annotated[str, member("Its public name, for good.", "key_02tcRIyrxLXTR81B3dqdOx")]
    description: Annotated[str, member("What it is for.", "data-warehouse sync")]
    hint: Annotated[str, member("Prefix and last four characters of the token.", "ks_…laf3")]
    scopes: Annotated[list[str], member("In alphabetical order.", ["documents:write"])]
    status: Annotated[KeyStatus, member("As of this answer. Expired and revoked are final.")]
    created_at: Instant
    created_by: Actor
    expires_at: Annotated[Instant | None, member("Null: never.")]
    last_used_at: Annotated[
        Instant | None, member("The last good request; it shows within seconds. Null: never used.")
    ]
    last_used_ip: str | None
    last_used_agent: str | None
    revoked_at: Instant | None
    rotated_to: Annotated[str | None, member("The id of the key that succeeds it.")]

    @classmethod
    def of(cls, key: ApiKey, now: datetime, **more: Any) -> Self:
        """From the domain's value; the status is told as of `now`."""
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
            last_used_at=use and use.at,
            last_used_ip=use and use.address,
            last_used_agent=use and use.agent,
            revoked_at=key.revoked_at,
            rotated_to=key.rotated_to,
            **more,
        )


class CreatedKey(Key):
    """A new key with its token, which is shown this once."""

    token: Annotated[
        str | None,
        member(
            "The whole token. Null where this Idempotency-Key was answered before: it is stored nowhere."
        ),
    ]


class KeyList(Resource):
    """One page of keys, newest first, and how much of the plan's limit is used."""

    items: list[Key]
    next_cursor: NextCursor
    quota: Quota


class Workspace(Resource):
    """The tenant that a key belongs to."""

    id: Annotated[str, member("Its public name.", "ws_02tcRIyrxLXTR81B3dqdOx")]
    name: str
    plan: Annotated[str, member("The id of its plan.", "free")]

    @classmethod
    def of(cls, workspace: workspaces.Workspace) -> Self:
        """From the domain's value."""
        return cls(id=workspace.id, name=workspace.name, plan=workspace.plan_id)


class Whoami(Resource):
    """Who calls: the key, and the workspace that it acts in."""

    workspace: Workspace
    key: Key


class Plan(Resource):
    """A plan by name."""

    id: Annotated[str, member("Its id.", "free")]
    name: Annotated[str, member("For people.", "Free")]


class Quotas(Resource):
    """A quota for each limit of a plan."""

    api_keys: Quota
    collections: Quota
    documents: Quota
    webhooks: Quota
    members: Quota

    @classmethod
    def of(cls, quotas: Mapping[str, plans.Quota]) -> Self:
        """From the domain's values, by name."""
        return cls(**{name: Quota.of(quota) for name, quota in quotas.items()})


class PlanUse(Resource):
    """The workspace's plan, its limits, and how much of each is used."""

    plan: Plan
    quotas: Quotas

    @classmethod
    def of(cls, use: plans.PlanUse) -> Self:
        """From the domain's value."""
        plan = Plan(id=use.plan.id, name=use.plan.name)
        return cls(plan=plan, quotas=Quotas.of(use.quotas))


class Collection(Resource):
    """A named set of documents."""

    name: Annotated[str, member("Its name in URLs.", "handbook")]
    title: Annotated[str, member("For people.", "Product handbook")]
    documents: Annotated[int, member("How many it holds.")]
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, collection: texts.Collection) -> Self:
        """From the domain's value."""
        return cls(
            name=collection.name,
            title=collection.title,
            documents=collection.documents,
            created_at=collection.created_at,
            updated_at=collection.updated_at,
        )


class CollectionList(Resource):
    """One page of collections, newest first."""

    items: list[Collection]
    next_cursor: NextCursor


class DocumentSummary(Resource):
    """A document without its text, as lists show it."""

    id: Annotated[str, member("Its id in the collection.", "passwords")]
    title: Annotated[str, member("Empty: none.", "Lost passwords")]
    url: str | None
    attributes: dict[str, Any]
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, document: texts.DocumentSummary, **more: Any) -> Self:
        """From the domain's value."""
        return cls(
            id=document.id,
            title=document.title,
            url=document.url,
            attributes=dict(document.attributes),
            created_at=document.created_at,
            updated_at=document.updated_at,
            **more,
        )


class Document(DocumentSummary):
    """A document."""

    text: str

    @classmethod
    def whole(cls, document: texts.Document) -> Self:
        """From the domain's value."""
        return cls.of(document, text=document.text)


class DocumentList(Resource):
    """One page of documents, newest first; or what a search found, best first, without a next page."""

    items: list[DocumentSummary]
    next_cursor: NextCursor


class PushReport(Resource):
    """What a batch did."""

    created: int
    updated: int
    unchanged: Annotated[int, member("Documents that were already as they were sent.")]
    deleted: Annotated[int, member("Ids that named a document.")]

    @classmethod
    def of(cls, report: texts.PushReport) -> Self:
        """From the domain's value."""
        return cls(
            created=report.created,
            updated=report.updated,
            unchanged=report.unchanged,
            deleted=report.deleted,
        )


class Target(Resource):
    """What an event is about."""

    type: Annotated[str, member("The kind of thing.", "key")]
    id: Annotated[str, member("Its id, or a collection's name.", "key_02tcRIyrxLXTR81B3dqdOx")]


class Event(Resource):
    """What happened, to what, by whom."""

    id: Annotated[str, member("Its public name.", "evt_02tcRIyrxLXTR81B3dqdOx")]
    type: EventType
    occurred_at: Instant
    actor: Actor
    target: Target
    address: Annotated[str | None, member("The address that the request came from.")]
    request_id: Annotated[str | None, member("The `X-Request-Id` of that request's answer.")]
    data: Annotated[dict[str, Any], member("More, by type; never a secret.")]

    @classmethod
    def of(cls, event: events.Event) -> Self:
        """From the domain's value."""
        return cls(
            id=event.id,
            type=event.type,
            occurred_at=event.occurred_at,
            actor=Actor.of(event.actor),
            target=Target(type=event.target.type, id=event.target.id),
            address=event.origin.address,
            request_id=event.origin.request_id,
            data=dict(event.data),
        )


class EventList(Resource):
    """One page of events, newest first."""

    items: list[Event]
    next_cursor: NextCursor


class PortalSession(Resource):
    """A link that signs a user in, once."""

    url: Annotated[str, member("Where to send the user's browser. It is a secret: log it nowhere.")]
    expires_at: Annotated[Instant, member("Five minutes from the call.")]


class FieldError(Resource):
    """One refused value."""

    pointer: Annotated[
        str,
        member(
            "A JSON pointer into the body (RFC 6901), `query:<name>` or `path:<name>`.",
            "/expires_at",
        ),
    ]
    detail: Annotated[str, member("What is wrong with it.", "must be later than now")]
    id: Annotated[str, member("In a batch of documents: the document's id.", "guides--cli.md")] = ""


class Problem(BaseModel):
    """A refusal (RFC 9457). Some codes have further members; the page at `type` tells of them."""

    type: Annotated[str, Field(json_schema_extra={"format": "uri"}), member("The problem's page.")]
    title: str
    status: int
    detail: Annotated[str, member("For a person.")]
    code: Annotated[str, member("For a program: stable.")]
    errors: Annotated[
        list[FieldError], member("One entry per refused value; with status 422.")
    ] = []

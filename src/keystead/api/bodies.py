"""What calls take. The rules about the values stand in the domain, which alone refuses them.

What a schema says here beyond a member's type (lengths, patterns) tells readers and generators of the domain's rule.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema

from keystead.domain import destinations, documents, webhooks
from keystead.domain.documents import CollectionDraft, CollectionPatch, DocumentDraft, Push
from keystead.domain.events import EventType
from keystead.domain.ids import WorkspaceId
from keystead.domain.instants import format_instant, parse_instant
from keystead.domain.keys import (
    MAX_DESCRIPTION,
    MAX_OVERLAP,
    MAX_SCOPES,
    UNSET,
    KeyDraft,
    KeyPatch,
)
from keystead.domain.plans import LARGEST_LIMIT, LIMIT_NAMES
from keystead.domain.portal import MAX_URL, MAX_USER_ID, PortalRequest, PortalUser
from keystead.domain.webhooks import (
    MAX_HEADERS,
    WebhookDraft,
    WebhookPatch,
    WebhookStatus,
)
from keystead.domain.workspaces import MAX_NAME, Role
from keystead.wire.schema import INSTANT_SCHEMA, member


def _without_defaults(schema: dict[str, Any]) -> None:
    for described in schema["properties"].values():
        described.pop("default", None)


class Body(BaseModel):
    """Strict types, no unknown members. What it means to omit a member, the member's description says."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        json_schema_extra=_without_defaults,
    )

    def sent(self, name: str) -> Any:
        """The member of that name, or UNSET where it was not sent."""
        return getattr(self, name) if name in self.model_fields_set else UNSET


def _read_instant(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be an RFC 3339 instant, written as a string")  # noqa: TRY004 - what pydantic catches
    return parse_instant(value)


_Instant = Annotated[
    datetime,
    PlainValidator(_read_instant),
    PlainSerializer(format_instant, return_type=str),
    WithJsonSchema(INSTANT_SCHEMA),
]
_EXPIRY = (
    "When the key expires: RFC 3339 with an offset, later than now. Fractions of a second are"
    " cut off. Null: never."
)

_Description = Annotated[
    str,
    member(
        f"What the key is for: 1-{MAX_DESCRIPTION} characters on one line.",
        "data-warehouse sync",
        minLength=1,
        maxLength=MAX_DESCRIPTION,
    ),
]
_SCOPES = "`resource:action` each; `*` is all of the workspace's data, but never `keys:write`."


def _expiry(description: str) -> Any:
    return member(description, *INSTANT_SCHEMA["examples"])


def _scopes(description: str) -> Any:
    return member(
        description, ["collections:read", "documents:write"], minItems=1, maxItems=MAX_SCOPES
    )


class NewKey(Body):
    """A key as it is asked for."""

    description: _Description
    expires_at: Annotated[_Instant | None, _expiry(f"{_EXPIRY} Omitted: as the caller.")] = None
    scopes: Annotated[
        list[str], _scopes(f"{_SCOPES} Omitted: the caller's, without `keys:write`.")
    ] = []

    def draft(self) -> KeyDraft:
        """What the rules are asked about."""
        return KeyDraft(self.description, self.sent("expires_at"), self.sent("scopes"))


class KeyChange(Body):
    """What is to change of a key; what is omitted stays."""

    description: _Description = ""
    expires_at: Annotated[_Instant | None, _expiry(_EXPIRY)] = None
    scopes: Annotated[list[str], _scopes(f"What remains: scopes only shrink. {_SCOPES}")] = []

    def patch(self) -> KeyPatch:
        """What the rules are asked about."""
        return KeyPatch(self.sent("description"), self.sent("expires_at"), self.sent("scopes"))


class NewRotation(Body):
    """How a key is to be succeeded."""

    overlap_seconds: Annotated[
        int,
        Field(
            description="How long the old key lives on. 0, or omitted: it is revoked at once.",
            ge=0,
            le=MAX_OVERLAP // timedelta(seconds=1),
        ),
    ] = 0
    expires_at: Annotated[
        _Instant | None, _expiry(f"{_EXPIRY} Omitted: the old key's lifetime, counted from now.")
    ] = None

    @property
    def overlap(self) -> timedelta:
        """The overlap as a duration."""
        return timedelta(seconds=self.overlap_seconds)


def _collection_title(description: str) -> Any:
    maximum = documents.MAX_TITLE
    return member(description, "Product handbook", minLength=1, maxLength=maximum)


class NewCollection(Body):
    """A collection as it is asked for."""

    name: Annotated[
        str,
        member(
            "Its name in URLs: unique in the workspace, and for good.",
            "handbook",
            pattern=f"^{documents.NAME_PATTERN}$",
        ),
    ]
    title: Annotated[
        str | None, _collection_title("For people, on one line. Omitted or null: the name.")
    ] = None

    def draft(self) -> CollectionDraft:
        """What the rules are asked about."""
        return CollectionDraft(self.name, self.title)


class CollectionChange(Body):
    """What is to change of a collection; what is omitted stays."""

    title: Annotated[str, _collection_title("For people, on one line.")] = ""

    def patch(self) -> CollectionPatch:
        """What the rules are asked about."""
        return CollectionPatch(self.sent("title"))


class NewDocument(Body):
    """A document's content, the whole of it."""

    title: Annotated[
        str, member("Omitted: none.", "Lost passwords", maxLength=documents.MAX_TITLE)
    ] = ""
    text: Annotated[str, member("At most 256 KiB in UTF-8.", "Ask the help desk for a new one.")]
    url: Annotated[
        str | None,
        member(
            "Where it stands: http or https. Omitted or null: nowhere.",
            "https://example.com/handbook/passwords",
            maxLength=documents.MAX_URL,
        ),
    ] = None
    attributes: Annotated[
        dict[str, Any],
        member("Anything else: at most 16 KiB as JSON, 8 deep. Omitted: none.", {"team": "it"}),
    ] = {}

    def draft(self, id: str) -> DocumentDraft:
        """What the rules are asked about."""
        return DocumentDraft(id, self.text, self.title, self.url, self.attributes)


class BatchDocument(NewDocument):
    """A document of a batch."""

    id: Annotated[
        str,
        member("Its id in the collection.", "passwords", pattern=f"^{documents.ID_PATTERN}$"),
    ]


class Batch(Body):
    """Documents to put and ids to delete: together at most 1,000, each id once, all or nothing."""

    upsert: Annotated[
        list[BatchDocument],
        Field(description="Documents to put. Omitted: none.", max_length=documents.MAX_PUSH),
    ] = []
    delete: Annotated[
        list[str],
        Field(
            description="Ids of documents to delete; an absent one counts nothing. Omitted: none.",
            examples=[["old-passwords"]],
            max_length=documents.MAX_PUSH,
        ),
    ] = []

    def push(self) -> Push:
        """What the rules are asked about."""
        return Push([each.draft(each.id) for each in self.upsert], self.delete)


class NewPortalUser(Body):
    """A user of the product."""

    id: Annotated[
        str,
        member(
            "The product's own id of the user.", "user-4711", minLength=1, maxLength=MAX_USER_ID
        ),
    ]
    name: Annotated[str, member("What to show.", "Ada", minLength=1, maxLength=MAX_NAME)]
    email: Annotated[
        str | None, member("What to show; it signs nobody in. Omitted or null: none.")
    ] = None


class NewPortalSession(Body):
    """Whom the product vouches for, where, and as what."""

    workspace_id: Annotated[str, member("The workspace of the user.", "ws_02tcRIyrxLXTR81B3dqdOx")]
    user: Annotated[NewPortalUser, member("The user, as the product knows them.")]
    role: Annotated[
        Literal["admin", "developer", "viewer"],
        member("What the user may do; owners are made by owners."),
    ]
    return_url: Annotated[
        str | None,
        member(
            "Where the user goes back to, and proves anew who they are: of an origin that is configured here."
            " Omitted or null: nowhere.",
            "https://app.example.com/settings",
            maxLength=MAX_URL,
        ),
    ] = None

    def request(self) -> PortalRequest:
        """What the rules are asked about."""
        user = PortalUser(self.user.id, self.user.name, self.user.email)
        workspace_id = WorkspaceId(self.workspace_id)
        return PortalRequest(workspace_id, user, Role(self.role), self.return_url)


_TYPES = ", ".join(f"`{type}`" for type in EventType)
_EVENTS = f"Types of events, or `*` alone for all, later types included: {_TYPES}."
_HEADERS = (
    f"Headers of the receiver's own, such as its credentials: at most {MAX_HEADERS}, sent with every delivery."
    " Their values are never shown again."
)

_WebhookName = Annotated[
    str,
    member(
        f"For people: 1-{webhooks.MAX_NAME} characters on one line.",
        "CRM",
        minLength=1,
        maxLength=webhooks.MAX_NAME,
    ),
]
_Url = Annotated[
    str,
    member(
        "Where to send: https, a host on the internet, port 443 or 8443.",
        "https://example.com/hooks/keystead",
        maxLength=destinations.MAX_URL,
    ),
]


def _events(description: str) -> Any:
    return member(description, ["key.created", "key.revoked"], minItems=1)


def _headers(description: str) -> Any:
    return member(description, {"X-Source": "keystead"}, maxProperties=MAX_HEADERS)


class NewWebhook(Body):
    """A webhook as it is asked for."""

    name: _WebhookName
    url: _Url
    events: Annotated[list[str], _events(_EVENTS)]
    headers: Annotated[dict[str, str], _headers(f"{_HEADERS} Omitted: none.")] = {}

    def draft(self) -> WebhookDraft:
        """What the rules are asked about."""
        return WebhookDraft(self.name, self.url, self.events, self.headers)


class WebhookChange(Body):
    """What is to change of a webhook; what is omitted stays."""

    name: _WebhookName = ""
    url: _Url = ""
    events: Annotated[list[str], _events(_EVENTS)] = []
    headers: Annotated[dict[str, str], _headers(f"{_HEADERS} They replace all there were.")] = {}
    status: Annotated[
        Literal["active", "disabled"],
        member("`disabled`: nothing is sent, deliveries wait. `active`: they are sent."),
    ] = "active"

    def patch(self) -> WebhookPatch:
        """What the rules are asked about."""
        sent = self.sent("status")
        return WebhookPatch(
            self.sent("name"),
            self.sent("url"),
            self.sent("events"),
            self.sent("headers"),
            sent if sent is UNSET else WebhookStatus(sent),
        )


class NewOwner(Body):
    """The person who owns a new workspace."""

    name: Annotated[str, member("What to show.", "Ann", minLength=1, maxLength=MAX_NAME)]
    email: Annotated[
        str | None,
        member(
            "Their address, which signs in one person. Omitted or null: none.", "ann@example.com"
        ),
    ] = None


class NewWorkspace(Body):
    """A workspace as it is asked for."""

    name: Annotated[
        str,
        member("For people; it need not be unique.", "Acme", minLength=1, maxLength=MAX_NAME),
    ]
    plan: Annotated[
        str | None, member("The id of its plan. Omitted or null: the smallest.", "team")
    ] = None
    owner: Annotated[
        NewOwner | None, member("Who owns it, and may sign in. Omitted or null: nobody yet.")
    ] = None


class WorkspaceChange(Body):
    """What is to change of a workspace; what is omitted stays."""

    name: Annotated[str, member("For people.", "Acme", minLength=1, maxLength=MAX_NAME)] = ""


class PlanAssignment(Body):
    """The plan that a workspace is to be on, and the limits that it is to have of its own."""

    plan: Annotated[str, member("The plan's id.", "team")]
    overrides: Annotated[
        dict[str, int | None],
        member(
            "Limits that hold instead of the plan's; null is unlimited. Omitted: none, whatever was there before.",
            {"api_keys": 20},
            propertyNames={"enum": list(LIMIT_NAMES)},
            additionalProperties={
                "anyOf": [
                    {"type": "integer", "minimum": 0, "maximum": LARGEST_LIMIT},
                    {"type": "null"},
                ]
            },
        ),
    ] = Field(default_factory=dict)

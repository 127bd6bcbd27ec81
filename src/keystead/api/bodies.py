"""The request bodies. The domain checks the values; the schemas here only describe its rules (lengths, patterns)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator

from keystead.domain import destinations, documents, webhooks
from keystead.domain.credentials import MAX_NAME as MAX_CREDENTIAL_NAME
from keystead.domain.documents import CollectionDraft, CollectionPatch, DocumentDraft, Push
from keystead.domain.errors import Invalid
from keystead.domain.events import EventType
from keystead.domain.ids import WorkspaceId
from keystead.domain.instants import format_instant, parse_instant
from keystead.domain.key_metadata import MAX_BYTES, MAX_MEMBERS, NAME_PATTERN
from keystead.domain.keys import (
    MAX_DESCRIPTION,
    MAX_SCOPES,
    UNSET,
    KeyDraft,
    KeyPatch,
    Unset,
)
from keystead.domain.networks import MAX_NETWORKS
from keystead.domain.plans import LIMIT_NAMES, MAX_LIMIT, PLAN_ID_PATTERN, Limits, Plan
from keystead.domain.policies import Policy
from keystead.domain.portal import MAX_URL, MAX_USER_ID, PortalRequest, PortalUser
from keystead.domain.rate_limits import MAX_RATE, RateLimits
from keystead.domain.renewals import Renewal
from keystead.domain.rotations import MAX_OVERLAP, MIN_QUIET
from keystead.domain.webhooks import MAX_HEADERS, WebhookDraft, WebhookPatch, WebhookStatus
from keystead.domain.workspaces import EXTERNAL_ID_PATTERN, MAX_NAME, Role
from keystead.wire.policies import (
    DEFAULT_LIFETIME,
    END_UNUSED,
    EXPIRY_REQUIRED,
    MAX_LIFETIME,
    RENEWAL_ALLOWED,
)
from keystead.wire.schema import INSTANT_SCHEMA, Instant, member


def _without_defaults(schema: dict[str, Any]) -> None:
    for described in schema["properties"].values():
        described.pop("default", None)


class Body(BaseModel):
    """A request body of strict types without unknown members. Descriptions say what an omitted member means."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        hide_input_in_errors=True,
        json_schema_extra=_without_defaults,
    )

    def sent(self, name: str) -> Any:
        """Return the member's value, or UNSET if it was omitted."""
        return getattr(self, name) if name in self.model_fields_set else UNSET


def _read_instant(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("must be an RFC 3339 time, as a string")  # noqa: TRY004 - what pydantic catches
    return parse_instant(value)


_SentInstant = Annotated[
    Instant, PlainValidator(_read_instant), PlainSerializer(format_instant, return_type=str)
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
_SCOPES = "Each is `resource:action`; `*` is all data of the workspace, but never `keys:write`."


def _expiry(description: str) -> Any:
    return member(description, *INSTANT_SCHEMA["examples"])


def _scopes(description: str) -> Any:
    return member(
        description, ["collections:read", "documents:write"], minItems=1, maxItems=MAX_SCOPES
    )


_BLOCKS = "IPv4 and IPv6 CIDR blocks or single addresses that the key works from."
_LABELS = (
    f"Labels for the product: at most {MAX_MEMBERS} members and {MAX_BYTES:,} bytes as JSON, values on one line."
    " No access depends on them."
)
_NAMES = {"propertyNames": {"pattern": f"^{NAME_PATTERN}$"}, "maxProperties": MAX_MEMBERS}
_RENEWAL = "Permits the key to renew itself. A key can grant only a renewal that it has itself, ending no later."


def _networks(description: str) -> Any:
    return member(description, ["203.0.113.0/24", "2001:db8::/32"], maxItems=MAX_NETWORKS)


class KeyRenewal(Body):
    """The permission of a key to renew itself."""

    until: Annotated[_SentInstant | None, _expiry("The end of the permission. Null: without end.")]

    def value(self) -> Renewal:
        """Return the domain's value."""
        return Renewal(self.until)


class NewKey(Body):
    """A key to create."""

    description: _Description
    expires_at: Annotated[
        _SentInstant | None,
        _expiry(f"{_EXPIRY} Omitted: when the calling key expires, or earlier by the policy."),
    ] = None
    scopes: Annotated[
        list[str], _scopes(f"{_SCOPES} Omitted: the calling key's, without `keys:write`.")
    ] = []
    networks: Annotated[
        list[str], _networks(f"{_BLOCKS} Empty: anywhere. Omitted: the calling key's.")
    ] = []
    metadata: Annotated[
        dict[str, str], member(f"{_LABELS} Omitted: none.", {"customer": "42"}, **_NAMES)
    ] = {}
    renewal: Annotated[KeyRenewal | None, member(f"{_RENEWAL} Null or omitted: none.")] = None

    def draft(self) -> KeyDraft:
        """Return the domain's value."""
        return KeyDraft(
            self.description,
            self.sent("expires_at"),
            self.sent("scopes"),
            self.sent("networks"),
            self.sent("metadata"),
            _renewal_of(self.sent("renewal")),
        )


class KeyChange(Body):
    """Changes to a key. Omitted members stay as they are."""

    description: _Description = ""
    expires_at: Annotated[_SentInstant | None, _expiry(_EXPIRY)] = None
    scopes: Annotated[list[str], _scopes(f"The scopes to keep: none can be added. {_SCOPES}")] = []
    networks: Annotated[list[str], _networks(f"{_BLOCKS} Empty: anywhere.")] = []
    metadata: Annotated[
        dict[str, str | None],
        member(
            f"{_LABELS} Omitted members stay, null removes one.",
            {"customer": "42", "team": None},
            **_NAMES,
        ),
    ] = {}
    renewal: Annotated[KeyRenewal | None, member(f"{_RENEWAL} Null: none.")] = None

    def patch(self) -> KeyPatch:
        """Return the domain's value."""
        return KeyPatch(
            self.sent("description"),
            self.sent("expires_at"),
            self.sent("scopes"),
            self.sent("networks"),
            self.sent("metadata"),
            _renewal_of(self.sent("renewal")),
        )


def _renewal_of(sent: KeyRenewal | None | Unset) -> Renewal | None | Unset:
    return sent.value() if isinstance(sent, KeyRenewal) else sent


class NewRenewal(Body):
    """A renewal, about which there is nothing to choose."""


class NewRotation(Body):
    """How to replace a key by a successor."""

    overlap_seconds: Annotated[
        int,
        Field(
            description="How long the old key keeps working. 0, or omitted: it is revoked immediately.",
            ge=0,
            le=MAX_OVERLAP // timedelta(seconds=1),
        ),
    ] = 0
    expires_at: Annotated[
        _SentInstant | None,
        _expiry(
            f"{_EXPIRY} Omitted: the old key's lifetime, counted from now, or less by the policy."
        ),
    ] = None

    end_when_quiet_seconds: Annotated[
        int | None,
        Field(
            description="End the old key earlier, once the successor was used and the old key was silent for so long."
            " Less than the overlap.",
            ge=MIN_QUIET // timedelta(seconds=1),
            lt=MAX_OVERLAP // timedelta(seconds=1),
        ),
    ] = None

    @property
    def quiet(self) -> timedelta | None:
        """The silence as a duration."""
        seconds = self.end_when_quiet_seconds
        return None if seconds is None else timedelta(seconds=seconds)

    @property
    def overlap(self) -> timedelta:
        """The overlap as a duration."""
        return timedelta(seconds=self.overlap_seconds)


def _collection_title(description: str) -> Any:
    maximum = documents.MAX_TITLE
    return member(description, "Product handbook", minLength=1, maxLength=maximum)


class NewCollection(Body):
    """A collection to create."""

    name: Annotated[
        str,
        member(
            "The name in URLs: unique in the workspace, and permanent.",
            "handbook",
            pattern=f"^{documents.NAME_PATTERN}$",
        ),
    ]
    title: Annotated[
        str | None,
        _collection_title("The title to display, on one line. Omitted or null: the name."),
    ] = None

    def draft(self) -> CollectionDraft:
        """Return the domain's value."""
        return CollectionDraft(self.name, self.title)


class CollectionChange(Body):
    """Changes to a collection. Omitted members stay as they are."""

    title: Annotated[str, _collection_title("The title to display, on one line.")] = ""

    def patch(self) -> CollectionPatch:
        """Return the domain's value."""
        return CollectionPatch(self.sent("title"))


class NewDocument(Body):
    """The whole content of a document."""

    title: Annotated[
        str, member("Omitted: no title.", "Lost passwords", maxLength=documents.MAX_TITLE)
    ] = ""
    text: Annotated[
        str, member("At most 256 KiB in UTF-8.", "Ask your administrator for a new one.")
    ]
    url: Annotated[
        str | None,
        member(
            "Where the document is published: http or https. Omitted or null: no URL.",
            "https://example.com/handbook/passwords",
            maxLength=documents.MAX_URL,
        ),
    ] = None
    attributes: Annotated[
        dict[str, Any],
        member(
            "Any further data: at most 16 KiB as JSON, nested 8 deep. Omitted: none.",
            {"team": "it"},
        ),
    ] = {}

    def draft(self, id: str) -> DocumentDraft:
        """Return the domain's value."""
        return DocumentDraft(id, self.text, self.title, self.url, self.attributes)


class BatchDocument(NewDocument):
    """A document of a batch."""

    id: Annotated[
        str,
        member(
            "The document's id in the collection.", "passwords", pattern=f"^{documents.ID_PATTERN}$"
        ),
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
            description="Ids of documents to delete. Ids without a document are ignored. Omitted: none.",
            examples=[["old-passwords"]],
            max_length=documents.MAX_PUSH,
        ),
    ] = []

    def push(self) -> Push:
        """Return the domain's value."""
        return Push([document.draft(document.id) for document in self.upsert], self.delete)


_EVENTS = (
    "Types of events, or `*` alone for all, later types included: "
    f"{', '.join(f'`{type}`' for type in EventType)}."
)
_HEADERS = (
    f"Custom headers, such as the receiver's credentials: at most {MAX_HEADERS}, sent with every delivery."
    " Their values are never shown again."
)
_WebhookName = Annotated[
    str,
    member(
        f"The name to display: 1-{webhooks.MAX_NAME} characters on one line.",
        "CRM",
        minLength=1,
        maxLength=webhooks.MAX_NAME,
    ),
]
_WebhookUrl = Annotated[
    str,
    member(
        "Where to send the events: https, a host on the internet, port 443 or 8443.",
        "https://example.com/hooks/keystead",
        maxLength=destinations.MAX_URL,
    ),
]


def _events(description: str) -> Any:
    return member(description, ["key.created", "key.revoked"], minItems=1)


def _headers(description: str) -> Any:
    return member(description, {"X-Source": "keystead"}, maxProperties=MAX_HEADERS)


class NewWebhook(Body):
    """A webhook to create."""

    name: _WebhookName
    url: _WebhookUrl
    events: Annotated[list[str], _events(_EVENTS)]
    headers: Annotated[dict[str, str], _headers(f"{_HEADERS} Omitted: none.")] = {}

    def draft(self) -> WebhookDraft:
        """Return the domain's value."""
        return WebhookDraft(self.name, self.url, self.events, self.headers)


class WebhookChange(Body):
    """Changes to a webhook. Omitted members stay as they are."""

    name: _WebhookName = ""
    url: _WebhookUrl = ""
    events: Annotated[list[str], _events(_EVENTS)] = []
    headers: Annotated[
        dict[str, str], _headers(f"{_HEADERS} They replace all previous custom headers.")
    ] = {}
    status: Annotated[
        Literal["active", "disabled"],
        member("`disabled`: deliveries wait and nothing is sent. `active`: deliveries are sent."),
    ] = "active"

    def patch(self) -> WebhookPatch:
        """Return the domain's value."""
        status = self.sent("status")
        return WebhookPatch(
            self.sent("name"),
            self.sent("url"),
            self.sent("events"),
            self.sent("headers"),
            status if status is UNSET else WebhookStatus(status),
        )


def _name(description: str, example: str) -> Any:
    return member(description, example, minLength=1, maxLength=MAX_NAME)


class NewOwner(Body):
    """The owner of a new workspace."""

    name: Annotated[str, _name("The name to display.", "Ann")]
    email: Annotated[
        str | None,
        member(
            "The address that the owner signs in with. Omitted or null: none.", "ann@example.com"
        ),
    ] = None


class NewWorkspace(Body):
    """A workspace to create."""

    name: Annotated[str, _name("The name to display. It need not be unique.", "Acme")]
    plan: Annotated[
        str | None, member("The plan's id. Omitted or null: the smallest plan.", "team")
    ] = None
    owner: Annotated[
        NewOwner | None,
        member("The person who owns the workspace and may sign in. Omitted or null: no owner yet."),
    ] = None


class PutWorkspace(Body):
    """The name and the plan of the workspace with an id of the product's own."""

    name: Annotated[str, _name("The name to display. It need not be unique.", "Acme")]
    plan: Annotated[
        str | None,
        member(
            "The plan's id. Omitted or null: the smallest plan for a new workspace, else unchanged.",
            "team",
        ),
    ] = None


class WorkspaceChange(Body):
    """Changes to a workspace. Omitted members stay as they are."""

    name: Annotated[str, _name("The name to display.", "Acme")] = ""
    external_id: Annotated[
        str,
        member(
            "The product's own id of the workspace, unique in the installation.",
            "customer-0815",
            pattern=f"^{EXTERNAL_ID_PATTERN}$",
        ),
    ] = ""


class NewPolicy(Body):
    """A whole layer of a policy. Omitted or null: the layer says nothing about it."""

    max_lifetime_days: Annotated[int | None, MAX_LIFETIME] = None
    expiry_required: Annotated[bool | None, EXPIRY_REQUIRED] = None
    default_lifetime_days: Annotated[int | None, DEFAULT_LIFETIME] = None
    end_unused_days: Annotated[int | None, END_UNUSED] = None
    renewal_allowed: Annotated[bool | None, RENEWAL_ALLOWED] = None

    def policy(self) -> Policy:
        """Return the domain's value. Raises Invalid for days out of bounds."""
        return Policy.of(self.model_dump())


_Limit = Annotated[
    int | None, member("Omitted or null: unlimited.", 5, minimum=0, maximum=MAX_LIMIT)
]
_PlanRate = Annotated[
    int | None, member(f"Requests a minute: 1-{MAX_RATE}. Omitted or null: unlimited.", 600)
]


class PlanLimits(Body):
    """The numbers that a workspace may have of each resource."""

    api_keys: _Limit = None
    collections: _Limit = None
    documents: _Limit = None
    webhooks: _Limit = None
    members: _Limit = None


class PlanRates(Body):
    """Requests per minute of a workspace and of each of its keys."""

    workspace_per_minute: _PlanRate = None
    key_per_minute: _PlanRate = None


class PutPlan(Body):
    """A plan."""

    id: Annotated[str, member("The plan's id.", "team", pattern=f"^{PLAN_ID_PATTERN}$")]
    name: Annotated[str, _name("The name to display.", "Team")]
    limits: Annotated[PlanLimits, member("Omitted: all unlimited.")] = PlanLimits()
    rate_limits: Annotated[PlanRates, member("Omitted: both unlimited.")] = PlanRates()
    policy: Annotated[NewPolicy, member("Omitted: it says nothing.")] = NewPolicy()

    def plan(self, position: int) -> Plan:
        """Return the domain's value. Raises Invalid for days of the policy out of bounds."""
        limits = Limits(**self.limits.model_dump())
        rates = RateLimits(**self.rate_limits.model_dump())
        try:
            policy = self.policy.policy()
        except Invalid as error:
            root = f"/plans/{position}/policy"
            places = [replace(each, pointer=f"{root}{each.pointer}") for each in error.errors]
            raise Invalid(places) from None
        return Plan(self.id, self.name, limits, position, rates, policy)


class PutPlans(Body):
    """All plans of the installation, from small to large."""

    plans: Annotated[list[PutPlan], member("As `GET` returns them.", minItems=1)]

    def all(self) -> list[Plan]:
        """Return the domain's values."""
        return [plan.plan(position) for position, plan in enumerate(self.plans)]


_Rate = Annotated[
    int | None,
    member(f"Requests a minute: 1-{MAX_RATE}. Omitted or null: the plan's applies.", 600),
]


class WorkspaceRateChange(Body):
    """The rate limits that a workspace has of its own."""

    workspace_per_minute: _Rate = None
    key_per_minute: _Rate = None

    def rates(self) -> RateLimits:
        """Return the domain's value."""
        return RateLimits(self.workspace_per_minute, self.key_per_minute)


class KeyRateChange(Body):
    """The rate limit that a key has of its own."""

    per_minute: _Rate = None


class NewCredential(Body):
    """A credential to create."""

    name: Annotated[
        str,
        member(
            f"What will use it: 1-{MAX_CREDENTIAL_NAME} characters on one line.",
            "billing backend",
            minLength=1,
            maxLength=MAX_CREDENTIAL_NAME,
        ),
    ]
    kind: Annotated[
        Literal["service", "operator"],
        member("`service`: it can only introspect tokens. `operator`: also all calls as this one."),
    ]


class KeyLookup(Body):
    """A token to look up."""

    token: Annotated[str, member("The whole token of a workspace's key.")]


class PlanAssignment(Body):
    """The plan to put a workspace on, with limits of its own."""

    plan: Annotated[str, member("The plan's id.", "team")]
    overrides: Annotated[
        dict[str, int | None],
        member(
            "Limits that replace the plan's. Null: unlimited. Omitted: none, and previous ones are removed.",
            {"api_keys": 20},
            propertyNames={"enum": list(LIMIT_NAMES)},
            additionalProperties={
                "anyOf": [
                    {"type": "integer", "minimum": 0, "maximum": MAX_LIMIT},
                    {"type": "null"},
                ]
            },
        ),
    ] = Field(default_factory=dict)


_Role = Literal["owner", "admin", "developer", "viewer"]


class PutMember(Body):
    """A user of the product as a member."""

    name: Annotated[str, _name("The name to display.", "Ada")]
    email: Annotated[
        str | None,
        member(
            "The address to display and to send notices to, not to sign in with. Omitted or null: none.",
            "ada@example.com",
        ),
    ] = None
    role: Annotated[_Role, member("The role. Only here the product can make an owner.")]


class MemberChange(Body):
    """Changes to a member. Omitted members stay as they are."""

    role: Annotated[_Role, member("The role.")] = "viewer"


class NewPortalUser(Body):
    """A user of the product."""

    id: Annotated[
        str,
        member(
            "The product's own id for the user.", "user-4711", minLength=1, maxLength=MAX_USER_ID
        ),
    ]
    name: Annotated[str, _name("The name to display.", "Ada")]
    email: Annotated[
        str | None, member("The address to display, not to sign in with. Omitted or null: none.")
    ] = None


class NewPortalSession(Body):
    """A user that the product vouches for, with a workspace and a role."""

    workspace_id: Annotated[str, member("The user's workspace.", "ws_02tcRIyrxLXTR81B3dqdOx")]
    user: Annotated[NewPortalUser, member("The user, as the product knows them.")]
    role: Annotated[
        Literal["admin", "developer", "viewer"],
        member("The user's role. Only an owner can make another owner."),
    ]
    return_url: Annotated[
        str | None,
        member(
            "The page to return to, also to prove the user's identity again. Its origin must be one of the"
            " configured origins. Omitted or null: no page.",
            "https://app.example.com/settings",
            maxLength=MAX_URL,
        ),
    ] = None

    def request(self) -> PortalRequest:
        """Return the domain's value."""
        user = PortalUser(self.user.id, self.user.name, self.user.email)
        workspace_id = WorkspaceId(self.workspace_id)
        return PortalRequest(workspace_id, user, Role(self.role), self.return_url)

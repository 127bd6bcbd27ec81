"""Webhooks: endpoints, what may be asked of one, deliveries of events to them, and what follows on an attempt.

Standard Webhooks 1.0: the schedule of attempts, what is success, what ends an endpoint, what is sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

from keystead.domain.destinations import Destinations, origin_of
from keystead.domain.errors import FieldError, Invalid
from keystead.domain.events import Event, EventType
from keystead.domain.ids import DeliveryId, EventId, WebhookId, WorkspaceId
from keystead.domain.instants import format_instant
from keystead.domain.keys import UNSET, Unset
from keystead.domain.principals import Actor
from keystead.domain.text import check_line

ALL_EVENTS: Final = "*"
MAX_NAME: Final = 100
MAX_HEADERS: Final = 10
MAX_HEADER_NAME: Final = 64
MAX_HEADER_VALUE: Final = 1024
MAX_PAYLOAD: Final = 20_000
SECRET_OVERLAP: Final = timedelta(hours=24)
MAX_RETRY_DELAY: Final = timedelta(hours=24)
"""However long a receiver asks to be left alone."""
JITTER: Final = 0.2
RETRY_DELAYS: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Between one attempt and the next; the first is made at once, and the last one fails for good."""

_SECONDS = re.compile(r"[0-9]+")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")
_OURS = frozenset(
    {
        *("host", "content-length", "content-type", "content-encoding", "transfer-encoding"),
        *("connection", "keep-alive", "upgrade", "te", "trailer", "expect", "via", "date"),
        *("cookie", "cookie2", "set-cookie", "user-agent", "accept-encoding", "http2-settings"),
    }
)
_OUR_FAMILIES = ("webhook-", "proxy-", "sec-")


class WebhookStatus(StrEnum):
    """Whether an endpoint is sent to."""

    ACTIVE = "active"
    DISABLED = "disabled"


class DisabledReason(StrEnum):
    """Why an endpoint is disabled: by somebody, because the whole schedule failed, because it said 410 Gone."""

    BY_HAND = "by_hand"
    FAILING = "failing"
    GONE = "gone"


class DeliveryStatus(StrEnum):
    """How a delivery stands. A pending one waits for its next attempt, or for its endpoint to be enabled again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class AttemptError(StrEnum):
    """Why an attempt failed."""

    STATUS = "status"
    REDIRECT = "redirect"
    UNRESOLVED = "unresolved"
    FORBIDDEN_ADDRESS = "forbidden_address"
    FORBIDDEN_URL = "forbidden_url"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    TIMEOUT = "timeout"
    BAD_ANSWER = "bad_answer"


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Where events are sent. Its secrets and the values of its own headers are no part of it."""

    id: WebhookId
    workspace_id: WorkspaceId
    name: str
    url: str
    events: tuple[str, ...]
    created_at: datetime
    created_by: Actor
    header_names: tuple[str, ...] = ()
    disabled_at: datetime | None = None
    disabled_for: DisabledReason | None = None
    secret_overlap_until: datetime | None = None
    version: int = 1

    @property
    def status(self) -> WebhookStatus:
        """Whether it is sent to."""
        return WebhookStatus.ACTIVE if self.disabled_at is None else WebhookStatus.DISABLED


@dataclass(frozen=True, slots=True)
class WebhookDraft:
    """What is asked of a new endpoint. Headers (name -> value) are its receiver's own, credentials perhaps."""

    name: str
    url: str
    events: Sequence[str]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class WebhookPatch:
    """What is to change; `UNSET` stays as it is. `headers` are all that there shall be: of one, UNSET is its value."""

    name: str | Unset = UNSET
    url: str | Unset = UNSET
    events: Sequence[str] | Unset = UNSET
    headers: Mapping[str, str | Unset] | Unset = field(default=UNSET, repr=False)
    status: WebhookStatus | Unset = UNSET


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try: when, the status of the answer (None: none came), why it failed (None: it did not), how long it took."""

    at: datetime
    status: int | None
    error: AttemptError | None
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one endpoint. `step` counts the attempts of its present schedule, which began at `started_at`."""

    id: DeliveryId
    workspace_id: WorkspaceId
    webhook_id: WebhookId
    event_id: EventId
    event_sequence: int
    event_type: EventType
    status: DeliveryStatus
    created_at: datetime
    started_at: datetime
    step: int = 0
    attempted: int = 0
    next_attempt_at: datetime | None = None
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt; `retry_after` is how long the receiver asks to be left alone."""

    attempt: Attempt
    retry_after: timedelta | None = None

    @property
    def succeeded(self) -> bool:
        """Only a 2xx is success."""
        return self.attempt.error is None


@dataclass(frozen=True, slots=True)
class Step:
    """What follows on an attempt: the delivery as it stands now, and why its endpoint is to be disabled, if it is."""

    delivery: Delivery
    disable: DisabledReason | None = None


def next_step(
    delivery: Delivery,
    outcome: Outcome,
    *,
    jitter: float,
    succeeded_at: datetime | None = None,
) -> Step:
    """What follows on an attempt at a pending delivery. `jitter`: at random, from 0 to 1.

    `succeeded_at`: when the endpoint last took anything. One that took others while this delivery's schedule ran is
    not disabled for this one.
    """
    at = outcome.attempt.at
    tried = replace(
        delivery,
        step=delivery.step + 1,
        attempted=delivery.attempted + 1,
        next_attempt_at=None,
        attempts=(*delivery.attempts, outcome.attempt),
    )
    if outcome.succeeded:
        return Step(replace(tried, status=DeliveryStatus.DELIVERED))
    if outcome.attempt.status == 410:
        return Step(replace(tried, status=DeliveryStatus.FAILED), DisabledReason.GONE)
    if tried.step > len(RETRY_DELAYS):
        takes_others = succeeded_at is not None and succeeded_at >= delivery.started_at
        failing = None if takes_others else DisabledReason.FAILING
        return Step(replace(tried, status=DeliveryStatus.FAILED), failing)
    return Step(replace(tried, next_attempt_at=at + _wait(tried.step, outcome, jitter)))


def _wait(step: int, outcome: Outcome, jitter: float) -> timedelta:
    planned = RETRY_DELAYS[step - 1] * (1 - JITTER / 2 + JITTER * jitter)
    asked = min(outcome.retry_after or timedelta(), MAX_RETRY_DELAY)
    return max(planned, asked)


def restart_schedule(delivery: Delivery, now: datetime) -> Delivery:
    """The delivery with a new schedule, which begins now."""
    return replace(
        delivery, status=DeliveryStatus.PENDING, started_at=now, step=0, next_attempt_at=now
    )


def error_for_status(status: int) -> AttemptError | None:
    """Why an answer of that status is a failure; None for a 2xx."""
    if 200 <= status < 300:
        return None
    return AttemptError.REDIRECT if 300 <= status < 400 else AttemptError.STATUS


def parse_retry_after(text: str, now: datetime) -> timedelta | None:
    """How long a Retry-After field asks to wait (RFC 9110 section 10.2.3); None where it says nothing."""
    if _SECONDS.fullmatch(text):
        return timedelta(seconds=min(int(text[:12]), MAX_RETRY_DELAY // timedelta(seconds=1)))
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(until - now, timedelta())


def check_draft(draft: WebhookDraft, destinations: Destinations) -> WebhookDraft:
    """The draft with its events in order. Invalid with one entry per refused field."""
    refused: list[FieldError] = []
    refused += _refused_name(draft.name)
    refused += _refused_url(draft.url, destinations)
    refused += _refused_events(draft.events)
    refused += _refused_headers(draft.headers)
    if refused:
        raise Invalid(refused)
    return replace(draft, events=_ordered(draft.events), headers=dict(draft.headers))


def check_patch(patch: WebhookPatch, destinations: Destinations) -> WebhookPatch:
    """The patch with its events in order. Invalid with one entry per refused field."""
    refused: list[FieldError] = []
    if not isinstance(patch.name, Unset):
        refused += _refused_name(patch.name)
    if not isinstance(patch.url, Unset):
        refused += _refused_url(patch.url, destinations)
    if not isinstance(patch.events, Unset):
        refused += _refused_events(patch.events)
    if not isinstance(patch.headers, Unset):
        refused += _refused_headers(patch.headers)
    if refused:
        raise Invalid(refused)
    return (
        patch if isinstance(patch.events, Unset) else replace(patch, events=_ordered(patch.events))
    )


def apply_patch(endpoint: WebhookEndpoint, patch: WebhookPatch, now: datetime) -> WebhookEndpoint:
    """The endpoint after a patch that was checked; headers, whose values it does not hold, apart.

    Invalid if headers stay whose values would then go to another origin: whoever changes a URL need not know them.
    """
    _require_headers_for_origin(endpoint, patch)
    changed = replace(
        endpoint,
        name=endpoint.name if isinstance(patch.name, Unset) else patch.name,
        url=endpoint.url if isinstance(patch.url, Unset) else patch.url,
        events=endpoint.events if isinstance(patch.events, Unset) else tuple(patch.events),
    )
    if patch.status is WebhookStatus.ACTIVE:
        return replace(changed, disabled_at=None, disabled_for=None)
    if patch.status is WebhookStatus.DISABLED and endpoint.status is WebhookStatus.ACTIVE:
        return replace(changed, disabled_at=now, disabled_for=DisabledReason.BY_HAND)
    return changed


def _require_headers_for_origin(endpoint: WebhookEndpoint, patch: WebhookPatch) -> None:
    if isinstance(patch.url, Unset) or origin_of(patch.url) == origin_of(endpoint.url):
        return
    if isinstance(patch.headers, Unset):
        kept = list(endpoint.header_names)
    else:
        kept = [name for name, value in patch.headers.items() if value is UNSET]
    if kept:
        why = (
            f"must be given again or removed, as the URL leads elsewhere: {', '.join(sorted(kept))}"
        )
        raise Invalid([FieldError("/headers", why)])


def payload_of(event: Event) -> bytes:
    """The body that tells of an event: the same bytes at every attempt, at most 20 kB.

    `data` holds the event as the API shows it. What an event tells by type is left out where it would not fit.
    """
    shown = wire_event(event)
    body = {"type": event.type, "timestamp": shown["occurred_at"], "data": shown}
    written = _written(body)
    return (
        written
        if len(written) <= MAX_PAYLOAD
        else _written({**body, "data": {**shown, "data": {}}})
    )


def wire_event(event: Event) -> dict[str, object]:
    """An event as the API shows it."""
    actor, target, origin = event.actor, event.target, event.origin
    return {
        "id": event.id,
        "type": event.type,
        "occurred_at": format_instant(event.occurred_at),
        "actor": {"type": actor.kind, "id": actor.id, "name": actor.name},
        "target": {"type": target.type, "id": target.id},
        "address": origin.address,
        "request_id": origin.request_id,
        "data": dict(event.data),
    }


def _written(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _ordered(events: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(events)))


def _refused_name(name: str) -> Sequence[FieldError]:
    try:
        check_line(name, "/name", MAX_NAME)
    except Invalid as refused:
        return refused.errors
    return ()


def _refused_url(url: str, destinations: Destinations) -> Sequence[FieldError]:
    try:
        destinations.read(url)
    except ValueError as refused:
        return (FieldError("/url", str(refused)),)
    return ()


def _refused_events(events: Sequence[str]) -> Sequence[FieldError]:
    if not events:
        return (FieldError("/events", "must name at least one type of event, or *"),)
    if ALL_EVENTS in events and len(events) > 1:
        return (FieldError("/events", "must hold * alone, or types of events"),)
    known = {ALL_EVENTS, *EventType}
    return [
        FieldError(f"/events/{place}", "is not a type of event")
        for place, type in enumerate(events)
        if type not in known
    ]


def merge_headers(before: Mapping[str, str], asked: Mapping[str, str | Unset]) -> Mapping[str, str]:
    """The headers after a patch that was checked. Invalid where one shall stay that is not there any more."""
    gone = [name for name, value in asked.items() if value is UNSET and name not in before]
    if gone:
        raise Invalid([FieldError("/headers", f"is not there any more: {gone[0]}")])
    return {
        name: before[name] if isinstance(value, Unset) else value for name, value in asked.items()
    }


def _refused_headers(headers: Mapping[str, str | Unset]) -> Sequence[FieldError]:
    if len({name.lower() for name in headers}) < len(headers):
        return (FieldError("/headers", "must name each header once, in whatever case"),)
    if len(headers) > MAX_HEADERS:
        return (FieldError("/headers", f"must hold at most {MAX_HEADERS} headers"),)
    return [
        FieldError(f"/headers/{_pointed(name)}", why)
        for name, value in headers.items()
        if (why := _refused_header(name, value))
    ]


def _refused_header(name: str, value: str | Unset) -> str | None:
    low = name.lower()
    if len(name) > MAX_HEADER_NAME or not _HEADER_NAME.fullmatch(name):
        return f"must be a header's name of at most {MAX_HEADER_NAME} characters"
    if low in _OURS or low.startswith(_OUR_FAMILIES):
        return "is set by Keystead itself, or by nobody"
    if isinstance(value, Unset):
        return None
    if len(value) > MAX_HEADER_VALUE or not _HEADER_VALUE.fullmatch(value):
        return f"must be 1-{MAX_HEADER_VALUE} printable ASCII characters"
    return None


def _pointed(name: str) -> str:
    """A name as a part of a JSON pointer (RFC 6901 section 3)."""
    return name.replace("~", "~0").replace("/", "~1")

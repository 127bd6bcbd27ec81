"""Webhooks: endpoints and their rules, deliveries, the schedule of attempts, and payloads (Standard Webhooks 1.0)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from keystead.domain.destinations import Destinations, origin_of
from keystead.domain.errors import FieldError, Invalid
from keystead.domain.events import EventType
from keystead.domain.ids import DeliveryId, EventId, WebhookId, WorkspaceId
from keystead.domain.keys import UNSET, Unset
from keystead.domain.principals import Actor
from keystead.domain.text import check_line

ALL_EVENTS: Final = "*"
MAX_NAME: Final = 100
MAX_HEADERS: Final = 10
MAX_HEADER_NAME: Final = 64
MAX_HEADER_VALUE: Final = 1024
SECRET_OVERLAP: Final = timedelta(hours=24)
MAX_RETRY_DELAY: Final = timedelta(hours=24)
"""The longest Retry-After that is followed."""
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
"""Delays between attempts. The first attempt is immediate; after the last one the delivery has failed."""

_SECONDS = re.compile(r"[0-9]+")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")
_RESERVED = frozenset(
    {
        *("host", "content-length", "content-type", "content-encoding", "transfer-encoding"),
        *("connection", "keep-alive", "upgrade", "te", "trailer", "expect", "via", "date"),
        *("cookie", "cookie2", "set-cookie", "user-agent", "accept-encoding", "http2-settings"),
    }
)
_RESERVED_PREFIXES = ("webhook-", "proxy-", "sec-")


class WebhookStatus(StrEnum):
    """The states of an endpoint."""

    ACTIVE = "active"
    DISABLED = "disabled"


class DisabledReason(StrEnum):
    """Why an endpoint is disabled: by a user, after a whole schedule failed, or because it answered 410 Gone."""

    BY_HAND = "by_hand"
    FAILING = "failing"
    GONE = "gone"


class DeliveryStatus(StrEnum):
    """The states of a delivery. A pending one waits for its next attempt, or for its endpoint to be enabled."""

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
    """The destination of events. It contains neither its secrets nor the values of its custom headers."""

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
        """Return whether the endpoint is active."""
        return WebhookStatus.ACTIVE if self.disabled_at is None else WebhookStatus.DISABLED


@dataclass(frozen=True, slots=True)
class WebhookDraft:
    """The request for a new endpoint. Its custom headers (name -> value) may be credentials."""

    name: str
    url: str
    events: Sequence[str]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class WebhookPatch:
    """The requested changes; `UNSET` leaves a field as it is. `headers` replaces all; UNSET keeps a header's value."""

    name: str | Unset = UNSET
    url: str | Unset = UNSET
    events: Sequence[str] | Unset = UNSET
    headers: Mapping[str, str | Unset] | Unset = field(default=UNSET, repr=False)
    status: WebhookStatus | Unset = UNSET


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt. `status` is None without an answer; `error` is None after a success."""

    at: datetime
    status: int | None
    error: AttemptError | None
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one endpoint. `step` counts the attempts of the current schedule, which started at `started_at`."""

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
    """The outcome of an attempt, with the receiver's Retry-After."""

    attempt: Attempt
    retry_after: timedelta | None = None

    @property
    def succeeded(self) -> bool:
        """Return whether the receiver answered 2xx."""
        return self.attempt.error is None


@dataclass(frozen=True, slots=True)
class Step:
    """The result of an attempt: the updated delivery, and why to disable its endpoint, if it should be."""

    delivery: Delivery
    disable: DisabledReason | None = None


def next_step(
    delivery: Delivery,
    outcome: Outcome,
    *,
    jitter: float,
    succeeded_at: datetime | None = None,
) -> Step:
    """Return the next step of a pending delivery after an attempt. `jitter` is random, from 0 to 1.

    `succeeded_at`: when a delivery to the endpoint last succeeded. If one did during this schedule, the endpoint works
    and stays enabled.
    """
    at = outcome.attempt.at
    attempted = replace(
        delivery,
        step=delivery.step + 1,
        attempted=delivery.attempted + 1,
        next_attempt_at=None,
        attempts=(*delivery.attempts, outcome.attempt),
    )
    if outcome.succeeded:
        return Step(replace(attempted, status=DeliveryStatus.DELIVERED))
    if outcome.attempt.status == 410:
        return Step(replace(attempted, status=DeliveryStatus.FAILED), DisabledReason.GONE)
    if attempted.step > len(RETRY_DELAYS):
        takes_others = succeeded_at is not None and succeeded_at >= delivery.started_at
        failing = None if takes_others else DisabledReason.FAILING
        return Step(replace(attempted, status=DeliveryStatus.FAILED), failing)
    return Step(replace(attempted, next_attempt_at=at + _delay(attempted.step, outcome, jitter)))


def _delay(step: int, outcome: Outcome, jitter: float) -> timedelta:
    planned = RETRY_DELAYS[step - 1] * (1 - JITTER / 2 + JITTER * jitter)
    return max(planned, min(outcome.retry_after or timedelta(), MAX_RETRY_DELAY))


def restart_schedule(delivery: Delivery, now: datetime) -> Delivery:
    """Return the delivery with a new schedule that starts now."""
    return replace(
        delivery, status=DeliveryStatus.PENDING, started_at=now, step=0, next_attempt_at=now
    )


def error_for_status(status: int) -> AttemptError | None:
    """Return the error of an answer with that status; None for 2xx."""
    if 200 <= status < 300:
        return None
    return AttemptError.REDIRECT if 300 <= status < 400 else AttemptError.STATUS


def parse_retry_after(text: str, now: datetime) -> timedelta | None:
    """Return the delay of a Retry-After field (RFC 9110 section 10.2.3); None if it is malformed."""
    if _SECONDS.fullmatch(text):
        return timedelta(seconds=min(int(text[:12]), MAX_RETRY_DELAY // timedelta(seconds=1)))
    from email.utils import parsedate_to_datetime  # slow to import, and seldom needed

    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(until - now, timedelta())


def check_draft(draft: WebhookDraft, destinations: Destinations) -> WebhookDraft:
    """Return the draft with its events in order. Invalid with one entry per refused field."""
    _check(draft, destinations)
    return replace(draft, events=_ordered(draft.events), headers=dict(draft.headers))


def check_patch(patch: WebhookPatch, destinations: Destinations) -> WebhookPatch:
    """Return the patch with its events in order. Invalid with one entry per refused field."""
    _check(patch, destinations)
    events = patch.events
    return patch if isinstance(events, Unset) else replace(patch, events=_ordered(events))


def _check(values: WebhookDraft | WebhookPatch, destinations: Destinations) -> None:
    errors: list[FieldError] = []
    if not isinstance(values.name, Unset):
        errors += _name_errors(values.name)
    if not isinstance(values.url, Unset):
        errors += _url_errors(values.url, destinations)
    if not isinstance(values.events, Unset):
        errors += _event_errors(values.events)
    if not isinstance(values.headers, Unset):
        errors += _header_errors(values.headers)
    if errors:
        raise Invalid(errors)


def apply_patch(endpoint: WebhookEndpoint, patch: WebhookPatch, now: datetime) -> WebhookEndpoint:
    """Return the endpoint after a checked patch, except for the values of its headers.

    Raises Invalid if a new URL has another origin and headers keep their values: otherwise a user who may change the
    URL but never saw the values could send them to a server of their own.
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
        unchanged = list(endpoint.header_names)
    else:
        unchanged = [name for name, value in patch.headers.items() if value is UNSET]
    if unchanged:
        names = ", ".join(sorted(unchanged))
        raise Invalid.field(
            "/headers",
            f"must be entered again or removed, because the URL has another origin: {names}",
        )


def _ordered(events: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(events)))


def _name_errors(name: str) -> Sequence[FieldError]:
    try:
        check_line(name, "/name", MAX_NAME)
    except Invalid as refused:
        return refused.errors
    return ()


def _url_errors(url: str, destinations: Destinations) -> Sequence[FieldError]:
    try:
        destinations.read(url)
    except ValueError as refused:
        return (FieldError("/url", str(refused)),)
    return ()


def _event_errors(events: Sequence[str]) -> Sequence[FieldError]:
    if not events:
        return (FieldError("/events", "must have at least one type of event, or *"),)
    if ALL_EVENTS in events and len(events) > 1:
        return (FieldError("/events", "must have either * or types of events"),)
    known = {ALL_EVENTS, *EventType}
    return [
        FieldError(f"/events/{index}", "is not a known type of event")
        for index, type in enumerate(events)
        if type not in known
    ]


def merge_headers(before: Mapping[str, str], patch: Mapping[str, str | Unset]) -> Mapping[str, str]:
    """Return the headers after a checked patch. Invalid if it keeps the value of a header that no longer exists."""
    missing = [name for name, value in patch.items() if value is UNSET and name not in before]
    if missing:
        raise Invalid.field("/headers", f"no longer has the header {missing[0]}")
    return {
        name: before[name] if isinstance(value, Unset) else value for name, value in patch.items()
    }


def _header_errors(headers: Mapping[str, str | Unset]) -> Sequence[FieldError]:
    # A name that is too long is not quoted: it may be a secret in the wrong place.
    if len({name.lower() for name in headers}) < len(headers):
        return (FieldError("/headers", "must have each header once, regardless of case"),)
    if len(headers) > MAX_HEADERS:
        return (FieldError("/headers", f"must have at most {MAX_HEADERS} headers"),)
    return [
        FieldError(f"/headers/{_escape(name)}" if len(name) <= MAX_HEADER_NAME else "/headers", why)
        for name, value in headers.items()
        if (why := _header_fault(name, value))
    ]


def _header_fault(name: str, value: str | Unset) -> str | None:
    low = name.lower()
    if len(name) > MAX_HEADER_NAME or not _HEADER_NAME.fullmatch(name):
        return f"must be a header name of at most {MAX_HEADER_NAME} characters"
    if low in _RESERVED or low.startswith(_RESERVED_PREFIXES):
        return "is reserved"
    if isinstance(value, Unset):
        return None
    if len(value) > MAX_HEADER_VALUE or not _HEADER_VALUE.fullmatch(value):
        return f"must be 1-{MAX_HEADER_VALUE} printable ASCII characters"
    return None


def _escape(name: str) -> str:
    """Return a name as a part of a JSON pointer (RFC 6901 section 3)."""
    return name.replace("~", "~0").replace("/", "~1")

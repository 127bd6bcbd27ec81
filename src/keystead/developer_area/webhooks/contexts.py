"""Contexts of the pages of webhooks and deliveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from keystead.developer_area.web.contexts import (
    Choice,
    Difference,
    FramedPage,
    Pager,
    QuotaLine,
    Timestamp,
)


@dataclass(frozen=True, slots=True)
class SuccessBar:
    """How many of a webhook's latest deliveries succeeded, in words and as a bar. `rest`: what became of the others."""

    id: str
    text: str
    rest: str
    delivered: int
    attempted: int


@dataclass(frozen=True, slots=True)
class EventTypeChoice:
    """A type of event as an option, with a sample of its payload."""

    type: str
    sample: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class EventTypeGroup:
    """The types of events about one noun."""

    name: str
    choices: Sequence[EventTypeChoice]


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """A webhook for display. `state` says why it is paused, `events` which events it gets."""

    name: str
    url: str
    status: str
    state: str
    events: str
    destination: str
    success: SuccessBar
    created: Timestamp


@dataclass(frozen=True, slots=True)
class WebhooksPage(FramedPage):
    """The webhooks of a workspace."""

    template: ClassVar[str] = "webhooks.html"
    quota: QuotaLine
    new_url: str | None
    rows: Sequence[WebhookRow]
    pages: Pager


@dataclass(frozen=True, slots=True)
class WebhookFormPage(FramedPage):
    """The form of a webhook. `problems` maps field names to sentences. `once` is the nonce of a new one.

    `existing_headers` can be chosen for removal; `differences` says what changed since an outdated form was rendered.
    """

    template: ClassVar[str] = "webhook_form.html"
    is_new: bool
    once: str
    version: int | None
    differences: Sequence[Difference] | None
    is_full: bool
    url: str
    back_url: str
    problems: Mapping[str, str]
    name: str
    destination: str
    ranges: Sequence[Choice]
    groups: Sequence[EventTypeGroup]
    existing_headers: Sequence[Choice]
    headers: str


@dataclass(frozen=True, slots=True)
class WebhookSecretPage(FramedPage):
    """The only page that shows a signing secret. `overlap`: until when the previous one signs too."""

    template: ClassVar[str] = "webhook_secret.html"
    name: str
    secret: str
    overlap: Timestamp | None
    verify: str
    webhook_url: str


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """An attempt of a delivery, with its outcome as text."""

    at: Timestamp
    outcome: str
    took: str


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery for display. `next_attempt` says when it is, empty if there is none."""

    url: str
    type: str
    state: str
    attempts: str
    last: str
    at: Timestamp
    next_attempt: str


@dataclass(frozen=True, slots=True)
class WebhookPage(FramedPage):
    """A webhook with a page of its deliveries. `statuses` filters them.

    `resend_periods`: the periods of which all failed ones can be resent; empty without a failed one, or the right to.
    """

    template: ClassVar[str] = "webhook.html"
    id: str
    name: str
    status: str
    is_active: bool
    why_disabled: str
    destination: str
    success: SuccessBar
    events: Sequence[str]
    header_names: Sequence[str]
    created: Timestamp
    created_by: str
    overlap: Timestamp | None
    list_url: str
    here: str
    may_change: bool
    statuses: Sequence[Choice]
    is_filtered: bool
    resend_periods: Sequence[Choice]
    rows: Sequence[DeliveryRow]
    pages: Pager


@dataclass(frozen=True, slots=True)
class DeliveryPage(FramedPage):
    """A delivery: its payload, attempts and next attempt. Without `resend_url`, `resend_hint` may say why."""

    template: ClassVar[str] = "delivery.html"
    id: str
    type: str
    state: str
    created: Timestamp
    next_attempt: str
    attempts: Sequence[AttemptRow]
    older: str
    body: str | None
    webhook: str
    webhook_url: str
    resend_url: str | None
    resend_hint: str

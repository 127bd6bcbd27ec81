"""Contexts of the pages of webhooks and deliveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from keystead.developer_area.web.contexts import (
    Choice,
    ChoiceGroup,
    Difference,
    FramedPage,
    Pager,
    QuotaLine,
    Timestamp,
)


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """A webhook for display. `state` says why it is paused, `events` which events it gets."""

    name: str
    url: str
    status: str
    state: str
    events: str
    destination: str
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
    """The form of a webhook. `problems` maps field names to sentences.

    `existing_headers` can be chosen for removal; `differences` says what changed since an outdated form was rendered.
    """

    template: ClassVar[str] = "webhook_form.html"
    is_new: bool
    version: int | None
    differences: Sequence[Difference] | None
    is_full: bool
    url: str
    back_url: str
    problems: Mapping[str, str]
    name: str
    destination: str
    ranges: Sequence[Choice]
    groups: Sequence[ChoiceGroup]
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
    """A delivery for display."""

    url: str
    type: str
    status: str
    attempts: str
    last: str
    at: Timestamp
    next_attempt: Timestamp | None


@dataclass(frozen=True, slots=True)
class WebhookPage(FramedPage):
    """A webhook with a page of its deliveries. `statuses` filters them."""

    template: ClassVar[str] = "webhook.html"
    id: str
    name: str
    status: str
    why_disabled: str
    destination: str
    events: Sequence[str]
    header_names: Sequence[str]
    created: Timestamp
    created_by: str
    overlap: Timestamp | None
    list_url: str
    here: str
    may_change: bool
    statuses: Sequence[Choice]
    rows: Sequence[DeliveryRow]
    pages: Pager


@dataclass(frozen=True, slots=True)
class DeliveryPage(FramedPage):
    """A delivery: its payload, attempts and next attempt. Without `resend_url`, `resend_hint` may say why."""

    template: ClassVar[str] = "delivery.html"
    id: str
    type: str
    status: str
    created: Timestamp
    next_attempt: Timestamp | None
    attempts: Sequence[AttemptRow]
    older: str
    body: str | None
    webhook: str
    webhook_url: str
    resend_url: str | None
    resend_hint: str

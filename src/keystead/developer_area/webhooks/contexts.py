"""What the templates of webhooks, deliveries and notices are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from keystead.developer_area.web.contexts import Choice, Difference, Frame, Moment, QuotaLine
from keystead.developer_area.workspace.contexts import Group


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """A webhook as the list shows it. `state` in words; `told` is what it is told of."""

    name: str
    url: str
    status: str
    state: str
    told: str
    destination: str
    created: Moment


@dataclass(frozen=True, slots=True)
class WebhooksPage:
    """The webhooks of a workspace. `message` says what has just happened."""

    template: ClassVar[str] = "webhooks.html"
    frame: Frame
    message: str
    quota: QuotaLine
    plans_url: str | None
    new_url: str | None
    rows: Sequence[WebhookRow]
    first_url: str | None
    next_url: str | None


@dataclass(frozen=True, slots=True)
class WebhookFormPage:
    """The form of a webhook, a new one (`is_new`) or one that is changed. `problems`: a sentence a refused field.

    `kept`: the headers that are there, of which the chosen ones are to go. `differences`: those from the current
    version, if the form was made from an older one.
    """

    template: ClassVar[str] = "webhook_form.html"
    frame: Frame
    is_new: bool
    version: int | None
    differences: Sequence[Difference] | None
    is_full: bool
    plans_url: str | None
    url: str
    back_url: str
    problems: Mapping[str, str]
    name: str
    destination: str
    ranges: Sequence[Choice]
    groups: Sequence[Group]
    kept: Sequence[Choice]
    headers: str


@dataclass(frozen=True, slots=True)
class WebhookSecretPage:
    """A secret, this once. `overlap`: how long the one before signs too, where there was one."""

    template: ClassVar[str] = "webhook_secret.html"
    frame: Frame
    name: str
    secret: str
    overlap: Moment | None
    verify: str
    webhook_url: str


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One try: when, what came of it in words, and how long it took."""

    at: Moment
    outcome: str
    took: str


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery as the list shows it."""

    url: str
    type: str
    status: str
    attempts: str
    last: str
    at: Moment
    following: Moment | None


@dataclass(frozen=True, slots=True)
class WebhookPage:
    """One webhook and a page of its deliveries. Addresses of acts are None for who may not do them."""

    template: ClassVar[str] = "webhook.html"
    frame: Frame
    message: str
    id: str
    name: str
    status: str
    why_disabled: str
    destination: str
    told: Sequence[str]
    header_names: Sequence[str]
    created: Moment
    created_by: str
    overlap: Moment | None
    list_url: str
    here: str
    may_change: bool
    shown: Sequence[Choice]
    rows: Sequence[DeliveryRow]
    first_url: str | None
    next_url: str | None


@dataclass(frozen=True, slots=True)
class WebhookQuestionPage:
    """The question before a webhook is deleted, or gets another secret."""

    template: ClassVar[str] = "webhook_question.html"
    frame: Frame
    title: str
    text: str
    button: str
    is_danger: bool
    url: str
    back_url: str


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """One delivery: what is sent, every attempt, and what follows. `body` is None for who may not read events."""

    template: ClassVar[str] = "delivery.html"
    frame: Frame
    message: str
    id: str
    type: str
    status: str
    created: Moment
    following: Moment | None
    attempts: Sequence[AttemptRow]
    older: str
    body: str | None
    webhook: str
    webhook_url: str
    again_url: str | None
    why_not: str

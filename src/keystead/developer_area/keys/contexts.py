"""Contexts of the pages of API keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from keystead.developer_area.web.contexts import (
    Choice,
    Difference,
    FramedPage,
    Link,
    Pager,
    QuotaLine,
    Timestamp,
)


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key for display. `status` is `active`, `expired` or `revoked`; action URLs are None without permission.

    `rotation` and `successor` describe a rotated key: `ends in 23 hours, rotated to`, and the key it was rotated to.
    """

    id: str
    url: str
    description: str
    hint: str
    status: str
    access: Sequence[Choice]
    created: Timestamp
    created_by: str
    creator_left: bool
    last_used: Timestamp | None
    last_used_by: str
    expires: Timestamp | None
    revoked: Timestamp | None
    rotation: str
    successor: Link | None
    rotate_url: str | None
    edit_url: str | None
    revoke_url: str | None


@dataclass(frozen=True, slots=True)
class LimitNotice:
    """The explanation of a full limit, with the keys that are safest to revoke."""

    reason: str
    candidates: Sequence[KeyRow]


@dataclass(frozen=True, slots=True)
class HygieneLine:
    """A hygiene finding: a link to the keys with their number, what to do, and why."""

    link: Link
    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class KeysPage(FramedPage):
    """The table of keys. `finding` is the hygiene finding that the table is filtered by."""

    template: ClassVar[str] = "keys.html"
    quota: QuotaLine
    limit: LimitNotice | None
    may_create: bool
    findings: Sequence[HygieneLine]
    finding: HygieneLine | None
    shows: Sequence[Link]
    show: str
    query: str
    rows: Sequence[KeyRow]
    pages: Pager


@dataclass(frozen=True, slots=True)
class KeyFormPage(FramedPage):
    """Fields of the forms of a key. `problems` maps field names to sentences.

    The times of `expiries` are counted from `shown_at`.
    """

    problems: Mapping[str, str]
    description: str
    expiries: Sequence[Choice]
    shown_at: str
    expires_on: str
    earliest: str
    accesses: Sequence[Choice]
    scopes: Sequence[Choice]


@dataclass(frozen=True, slots=True)
class NewKeyPage(KeyFormPage):
    """The form of a new key."""

    template: ClassVar[str] = "new_key.html"
    quota: QuotaLine
    limit: LimitNotice | None
    once: str


@dataclass(frozen=True, slots=True)
class EditKeyPage(KeyFormPage):
    """The form that changes a key. An expired key has no `expiries`.

    `refusal` says why nothing was saved, `differences` what changed since an outdated form was rendered.
    """

    template: ClassVar[str] = "edit_key.html"
    key: KeyRow
    version: int
    differences: Sequence[Difference] | None
    refusal: str


@dataclass(frozen=True, slots=True)
class KeyCreatedPage(FramedPage):
    """The only page that shows a token. `replaced` says what happens to the rotated key."""

    template: ClassVar[str] = "key_created.html"
    key: KeyRow
    token: str
    curl: str
    replaced: str


@dataclass(frozen=True, slots=True)
class KeyCreatedBeforePage(FramedPage):
    """The response to a form that arrives again: its key exists and its token was shown."""

    template: ClassVar[str] = "key_created_before.html"
    key: KeyRow


@dataclass(frozen=True, slots=True)
class RevokeKeyPage(FramedPage):
    """The question before a key is revoked. `confirmation` holds the characters to type, if any."""

    template: ClassVar[str] = "revoke_key.html"
    key: KeyRow
    consequence: str
    confirmation: str
    problem: str


@dataclass(frozen=True, slots=True)
class RotateKeyPage(FramedPage):
    """The choice of an overlap. `refusal` says why the key wasn't rotated or, without `overlaps`, why it can't be."""

    template: ClassVar[str] = "rotate_key.html"
    key: KeyRow
    refusal: str
    problem: str
    once: str
    overlaps: Sequence[Choice]
    successor_expires: Timestamp | None


@dataclass(frozen=True, slots=True)
class Day:
    """The requests of one day (UTC)."""

    iso: str
    text: str
    uses: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a chart, in units of its view box."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Requests per day: `bars` in a view box of `width` by `height`, and the same as text, newest first.

    `scale` labels the lines from the top down.
    """

    width: int
    height: int
    bars: Sequence[Bar]
    scale: Sequence[str]
    first: str
    last: str
    summary: str
    days: Sequence[Day]


@dataclass(frozen=True, slots=True)
class CallerRow:
    """A caller of a key. `reason` says why it was refused, if it was."""

    address: str
    agent: str
    times: str
    last: Timestamp
    reason: str


@dataclass(frozen=True, slots=True)
class KeyEventRow:
    """An event of a key. `link` leads to the key it was rotated to."""

    text: str
    link: Link | None
    by: str
    address: str
    at: Timestamp


@dataclass(frozen=True, slots=True)
class KeyPage(FramedPage):
    """A key with its use and history. `refused` lists callers that were refused, `predecessor` the rotated key."""

    template: ClassVar[str] = "key.html"
    key: KeyRow
    predecessor: Link | None
    is_over: bool
    chart: Chart
    callers: Sequence[CallerRow]
    refused: Sequence[CallerRow]
    events: Sequence[KeyEventRow]
    more_events: bool

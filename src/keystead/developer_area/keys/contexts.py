"""What the templates of the pages of API keys are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from keystead.developer_area.web.contexts import Choice, Difference, Frame, Link, Moment, QuotaLine


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as a list shows it. `status` is `active`, `expired` or `revoked`; a `..._url` to act only for who may.

    `access`: every scope of it with its words. `ending` and `successor` tell of a rotation: `ends in 23 hours, rotated
    to`, and the key it was rotated to.
    """

    id: str
    url: str
    description: str
    hint: str
    status: str
    access: Sequence[Choice]
    created: Moment
    created_by: str
    creator_left: bool
    last_used: Moment | None
    last_used_by: str
    expires: Moment | None
    revoked: Moment | None
    ending: str
    successor: Link | None
    rotate_url: str | None
    edit_url: str | None
    revoke_url: str | None


@dataclass(frozen=True, slots=True)
class LimitNotice:
    """The limit is full: why nothing can be created, and the keys that cost least to revoke."""

    reason: str
    candidates: Sequence[KeyRow]
    plans_url: str | None


@dataclass(frozen=True, slots=True)
class HabitLine:
    """What is to be said of some keys: the link to them with their number, what to do about them, and why."""

    link: Link
    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class KeysPage:
    """The table of keys. `message` says what has just happened; `habit`: only the keys that it speaks of are shown."""

    template: ClassVar[str] = "keys.html"
    frame: Frame
    message: str
    quota: QuotaLine
    limit: LimitNotice | None
    may_create: bool
    new_url: str
    keys_url: str
    habits: Sequence[HabitLine]
    habit: HabitLine | None
    shows: Sequence[Link]
    show: str
    query: str
    rows: Sequence[KeyRow]
    first_url: str | None
    next_url: str | None


@dataclass(frozen=True, slots=True)
class NewKeyPage:
    """The form for a new key. `problems` holds a sentence for each field that was refused, by its name.

    The times of `expiries` are counted from `shown_at`.
    """

    template: ClassVar[str] = "new_key.html"
    frame: Frame
    quota: QuotaLine
    limit: LimitNotice | None
    keys_url: str
    once: str
    problems: Mapping[str, str]
    description: str
    expiries: Sequence[Choice]
    shown_at: str
    expires_on: str
    earliest: str
    accesses: Sequence[Choice]
    scopes: Sequence[Choice]


@dataclass(frozen=True, slots=True)
class KeyCreatedPage:
    """The one page that shows a token. `replaced` says what becomes of the key that it was rotated from."""

    template: ClassVar[str] = "key_created.html"
    frame: Frame
    key: KeyRow
    token: str
    curl: str
    replaced: str
    keys_url: str


@dataclass(frozen=True, slots=True)
class KeyCreatedBeforePage:
    """The same form arrived again: its key exists, and the token was shown."""

    template: ClassVar[str] = "key_created_before.html"
    frame: Frame
    key: KeyRow
    keys_url: str
    new_url: str


@dataclass(frozen=True, slots=True)
class RevokeKeyPage:
    """The question before a key is revoked. `consequence` says what stops.

    `confirmation`: the characters to be typed first, empty where none need be; `problem`: why they were refused.
    """

    template: ClassVar[str] = "revoke_key.html"
    frame: Frame
    key: KeyRow
    consequence: str
    confirmation: str
    problem: str
    keys_url: str


@dataclass(frozen=True, slots=True)
class RotateKeyPage:
    """When the old key is to end. `refusal`: why the key was not rotated; without `overlaps`, why it cannot be."""

    template: ClassVar[str] = "rotate_key.html"
    frame: Frame
    key: KeyRow
    refusal: str
    problem: str
    once: str
    overlaps: Sequence[Choice]
    successor_expires: Moment | None
    keys_url: str


@dataclass(frozen=True, slots=True)
class EditKeyPage:
    """A key's attributes, to be changed. `refusal`: why nothing was; an expired key has no `expiries`.

    `differences`: those from the current version, if the form was made from an older one.
    """

    template: ClassVar[str] = "edit_key.html"
    frame: Frame
    key: KeyRow
    version: int
    differences: Sequence[Difference] | None
    refusal: str
    problems: Mapping[str, str]
    description: str
    expiries: Sequence[Choice]
    shown_at: str
    expires_on: str
    earliest: str
    accesses: Sequence[Choice]
    scopes: Sequence[Choice]


@dataclass(frozen=True, slots=True)
class Day:
    """The uses of one day (UTC)."""

    iso: str
    text: str
    uses: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart, in the units of its view box."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Uses per day: `bars` in a view box of `width` by `height`; `days` and `summary` say the same, newest first.

    `scale`: what the lines stand for, from the top down.
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
    """Who called with a key. `reason` in words where the call was refused, else empty."""

    address: str
    agent: str
    times: str
    last: Moment
    reason: str


@dataclass(frozen=True, slots=True)
class KeyEventRow:
    """One thing that happened to a key, in words; `link` is the other key that it is about."""

    text: str
    link: Link | None
    by: str
    address: str
    at: Moment


@dataclass(frozen=True, slots=True)
class KeyPage:
    """All about one key. `after_end`: `refused` tells who still calls with a key that has ended.

    `predecessor` is the key that was rotated to this one.
    """

    template: ClassVar[str] = "key.html"
    frame: Frame
    message: str
    keys_url: str
    key: KeyRow
    predecessor: Link | None
    after_end: bool
    chart: Chart
    callers: Sequence[CallerRow]
    refused: Sequence[CallerRow]
    events: Sequence[KeyEventRow]
    more_events: bool

"""Context of the page of one key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from keystead.developer_area.keys.access import Access
from keystead.developer_area.keys.contexts import KeyRow
from keystead.developer_area.web.contexts import FramedPage, Link, Timestamp


@dataclass(frozen=True, slots=True)
class Card:
    """A figure with its name, and what it is about."""

    name: str
    figure: str
    about: str


@dataclass(frozen=True, slots=True)
class Bar:
    """The part of a column, from the top, in units of its view box."""

    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """The requests of an hour or a day: its bars, and the same in words and as cells of the table."""

    text: str
    iso: str
    accepted: str
    refused: str
    words: str
    accepted_bar: Bar
    refused_bar: Bar


@dataclass(frozen=True, slots=True)
class Chart:
    """Accepted and refused requests, oldest first. `scale` labels the lines from the top down.

    `unit` is the head of the table's first column. Without any request only the summary is shown.
    """

    title: str
    unit: str
    summary: str
    columns: Sequence[Column]
    scale: Sequence[str]
    is_empty: bool


@dataclass(frozen=True, slots=True)
class CallerRow:
    """A caller of a key. `outcome` says why it was refused, if it was."""

    address: str
    agent: str
    outcome: str
    is_refused: bool
    times: str
    last: Timestamp


@dataclass(frozen=True, slots=True)
class Callers:
    """The recent callers, of one outcome or all; `filters` link to the others. `note` says what the owner must know."""

    rows: Sequence[CallerRow]
    filters: Sequence[Link]
    nothing: str
    note: str


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
    """A key with its use and history. `predecessor` is the key that was rotated to this one.

    `first_use` is what a page that waits for the first request shows then. `duplicate_url` and `family_url` are None
    without permission; the family are the keys that renewed themselves to this one, or from it.
    """

    template: ClassVar[str] = "key.html"
    list_url: str
    key: KeyRow
    predecessor: KeyRow | None
    duplicate_url: str | None
    family_url: str | None
    first_use: str
    is_over: bool
    access: Access
    cards: Sequence[Card]
    periods: Sequence[Link]
    chart: Chart
    callers: Callers
    events: Sequence[KeyEventRow]
    more_events: bool

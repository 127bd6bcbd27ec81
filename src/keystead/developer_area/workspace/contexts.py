"""What the templates of the workspace's pages are given: plan, activity, collections, quick start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from keystead.developer_area.web.contexts import Choice, Frame, Link, Moment, QuotaLine


@dataclass(frozen=True, slots=True)
class LimitUse:
    """One limit with its use. `state` is empty, `near` or `full`, which `text` and `note` say in words."""

    id: str
    name: str
    text: str
    note: str
    used: int
    limit: int | None
    state: str
    advice: Link | None


@dataclass(frozen=True, slots=True)
class PlanColumn:
    """One plan beside the others; `amounts` in the order of the page's `rows`."""

    name: str
    current: bool
    amounts: Sequence[str]


@dataclass(frozen=True, slots=True)
class PlansPage:
    """What the workspace may have, what it uses, and what other plans unlock."""

    template: ClassVar[str] = "plans.html"
    frame: Frame
    plan: str
    has_own_limits: bool
    uses: Sequence[LimitUse]
    rows: Sequence[str]
    plans: Sequence[PlanColumn]
    may_choose: bool
    plans_url: str | None


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event as a sentence: `who` `did` `what` `more`; `kind` says what `who` is, if not a person."""

    id: str
    type: str
    who: str
    kind: str
    did: str
    what: str
    what_url: str | None
    more: str
    at: Moment
    address: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Group:
    """Choices that belong together."""

    name: str
    choices: Sequence[Choice]


@dataclass(frozen=True, slots=True)
class ActivityPage:
    """What happened in the workspace, newest first."""

    template: ClassVar[str] = "activity.html"
    frame: Frame
    url: str
    everything: bool
    groups: Sequence[Group]
    rows: Sequence[EventRow]
    csv_url: str
    json_url: str
    first_url: str | None
    next_url: str | None


@dataclass(frozen=True, slots=True)
class CodeTab:
    """Lines of code in one language."""

    id: str
    name: str
    code: str


@dataclass(frozen=True, slots=True)
class CollectionRow:
    """A collection as the list shows it."""

    name: str
    title: str
    url: str
    documents: str
    created: Moment
    updated: Moment


@dataclass(frozen=True, slots=True)
class CollectionsPage:
    """The collections of a workspace. `message` says what has just happened."""

    template: ClassVar[str] = "collections.html"
    frame: Frame
    message: str
    quota: QuotaLine
    plans_url: str | None
    may_write: bool
    new_url: str
    rows: Sequence[CollectionRow]
    first_url: str | None
    next_url: str | None


@dataclass(frozen=True, slots=True)
class NewCollectionPage:
    """The form for a new collection. `problems` holds a sentence for each field that was refused, by its name."""

    template: ClassVar[str] = "new_collection.html"
    frame: Frame
    url: str
    quota: QuotaLine
    plans_url: str | None
    problems: Mapping[str, str]
    name: str
    title: str
    max_title: int


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document as the list shows it. `link` is where it came from, an http or https URL."""

    id: str
    title: str
    url: str
    link: str | None
    updated: Moment


@dataclass(frozen=True, slots=True)
class CollectionPage:
    """One collection and a page of its documents, or what a search found. `problem`: why it found nothing."""

    template: ClassVar[str] = "collection.html"
    frame: Frame
    name: str
    title: str
    documents: str
    created: Moment
    updated: Moment
    url: str
    list_url: str
    delete_url: str | None
    query: str
    problem: str
    rows: Sequence[DocumentRow]
    is_empty: bool
    lines: Sequence[CodeTab]
    first_url: str | None
    next_url: str | None


@dataclass(frozen=True, slots=True)
class DeleteCollectionPage:
    """The question before a collection is deleted. `documents` is empty where it holds none."""

    template: ClassVar[str] = "delete_collection.html"
    frame: Frame
    name: str
    title: str
    documents: str
    url: str
    back_url: str
    problem: str


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """One document. `text` is cut where it is long; `attributes` is JSON, empty where there are none."""

    template: ClassVar[str] = "document.html"
    frame: Frame
    id: str
    title: str
    link: str | None
    attributes: str
    text: str
    is_cut: bool
    text_url: str
    created: Moment
    updated: Moment
    collection: str
    collection_url: str


@dataclass(frozen=True, slots=True)
class QuickStartPage:
    """The first three steps. `is_new`: the collection of the lines is made by them."""

    template: ClassVar[str] = "quick_start.html"
    frame: Frame
    keys: str
    has_keys: bool
    keys_url: str
    new_key_url: str
    may_create: bool
    whoami: str
    collection: str
    is_new: bool
    collection_url: str
    push: Sequence[CodeTab]
    query: Sequence[CodeTab]
    activity_url: str


@dataclass(frozen=True, slots=True)
class NoticesPage:
    """What the person is told by e-mail in this workspace. `email` is empty if they have none."""

    template: ClassVar[str] = "notices.html"
    frame: Frame
    message: str
    url: str
    email: str
    confirmed: bool
    topics: Sequence[Choice]
    account_url: str

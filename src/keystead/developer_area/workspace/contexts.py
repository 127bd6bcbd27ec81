"""Contexts of the pages of plan, activity, collections, notifications and quick start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from keystead.developer_area.web.contexts import (
    Choice,
    ChoiceGroup,
    FramedPage,
    Link,
    Pager,
    QuotaLine,
    Timestamp,
)


@dataclass(frozen=True, slots=True)
class LimitUse:
    """A limit and its use. `state` is empty, `near` or `full`; `text` and `note` say the same."""

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
    """A plan in the comparison; `amounts` are in the order of the page's `rows`."""

    name: str
    current: bool
    amounts: Sequence[str]


@dataclass(frozen=True, slots=True)
class PolicyNumber:
    """A field of the policy that counts days. `value` is empty if the layer says nothing."""

    name: str
    label: str
    help: str
    value: str
    least: int
    largest: int


@dataclass(frozen=True, slots=True)
class PolicyCard:
    """The policy of keys. `holds` are its phrases; `is_bounded`: the plan or the operator says something too."""

    url: str
    holds: Sequence[str]
    may_set: bool
    is_bounded: bool
    numbers: Sequence[PolicyNumber]
    flags: Sequence[Choice]
    problems: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PlansPage(FramedPage):
    """The workspace's usage, the policy of its keys, and the plans side by side."""

    template: ClassVar[str] = "plans.html"
    plan: str
    has_own_limits: bool
    uses: Sequence[LimitUse]
    rows: Sequence[str]
    plans: Sequence[PlanColumn]
    policy: PolicyCard


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event as a sentence: `actor` `action` `object` `details`. `actor_kind` is empty for a member."""

    id: str
    type: str
    actor: str
    actor_kind: str
    action: str
    object: str
    object_url: str | None
    details: str
    at: Timestamp
    address: str
    request_id: str


@dataclass(frozen=True, slots=True)
class ActivityPage(FramedPage):
    """The audit log, newest first."""

    template: ClassVar[str] = "activity.html"
    url: str
    everything: bool
    groups: Sequence[ChoiceGroup]
    rows: Sequence[EventRow]
    csv_url: str
    json_url: str
    pages: Pager


@dataclass(frozen=True, slots=True)
class CodeTab:
    """A code sample in one language."""

    id: str
    name: str
    code: str


@dataclass(frozen=True, slots=True)
class CollectionRow:
    """A collection for display."""

    name: str
    title: str
    url: str
    documents: str
    created: Timestamp
    updated: Timestamp


@dataclass(frozen=True, slots=True)
class CollectionsPage(FramedPage):
    """The collections of a workspace."""

    template: ClassVar[str] = "collections.html"
    quota: QuotaLine
    may_write: bool
    rows: Sequence[CollectionRow]
    pages: Pager


@dataclass(frozen=True, slots=True)
class NewCollectionPage(FramedPage):
    """The form of a new collection. `problems` maps field names to sentences."""

    template: ClassVar[str] = "new_collection.html"
    url: str
    quota: QuotaLine
    problems: Mapping[str, str]
    name: str
    title: str
    max_title: int


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document for display. `link` is the http(s) URL of its source, `snippet` a part of its text after a search."""

    id: str
    title: str
    url: str
    link: str | None
    updated: Timestamp
    snippet: str = ""


@dataclass(frozen=True, slots=True)
class CollectionPage(FramedPage):
    """A collection with a page of its documents or the results of a search.

    `total` says how many results a search has, `problem` why it failed.
    """

    template: ClassVar[str] = "collection.html"
    name: str
    title: str
    documents: str
    created: Timestamp
    updated: Timestamp
    url: str
    list_url: str
    delete_url: str | None
    query: str
    problem: str
    total: str
    rows: Sequence[DocumentRow]
    is_empty: bool
    lines: Sequence[CodeTab]
    pages: Pager


@dataclass(frozen=True, slots=True)
class DeleteCollectionPage(FramedPage):
    """The question before a collection is deleted. `documents` is empty for an empty one."""

    template: ClassVar[str] = "delete_collection.html"
    name: str
    title: str
    documents: str
    url: str
    back_url: str
    problem: str


@dataclass(frozen=True, slots=True)
class DocumentPage(FramedPage):
    """A document. `text` may be cut; `attributes` is JSON, or empty."""

    template: ClassVar[str] = "document.html"
    id: str
    title: str
    link: str | None
    attributes: str
    text: str
    is_cut: bool
    text_url: str
    created: Timestamp
    updated: Timestamp
    collection: str
    collection_url: str


@dataclass(frozen=True, slots=True)
class QuickStartPage(FramedPage):
    """The first steps: one without the document store, three with it. `is_new`: the samples create the collection."""

    template: ClassVar[str] = "quick_start.html"
    keys: str
    has_keys: bool
    may_create: bool
    has_documents: bool
    whoami: str
    collection: str
    is_new: bool
    collection_url: str
    push: Sequence[CodeTab]
    query: Sequence[CodeTab]

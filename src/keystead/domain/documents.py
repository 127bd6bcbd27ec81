"""Collections and documents, the limits of a push, and what a push changes."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple, NewType

from keystead.domain.errors import FieldError, Invalid
from keystead.domain.ids import WorkspaceId
from keystead.domain.keys import UNSET, Unset
from keystead.domain.text import UNSTORABLE, is_one_line, is_storable, is_visible

CollectionId = NewType("CollectionId", str)

NAME_PATTERN: Final = r"[a-z0-9][a-z0-9_-]{0,63}"
ID_PATTERN: Final = r"[A-Za-z0-9._-]{1,128}"
MAX_TITLE: Final = 300
MAX_TEXT_BYTES: Final = 256 * 1024
MAX_URL: Final = 2_048
MAX_PUSH: Final = 1_000
MAX_REFUSALS: Final = 100
MAX_ATTRIBUTES_BYTES: Final = 16 * 1024
MAX_ATTRIBUTES_DEPTH: Final = 8

_INTEGERS = range(-(2**63), 2**63)
_NAME = re.compile(NAME_PATTERN)
_ID = re.compile(ID_PATTERN)
_DOTS = frozenset({".", ".."})
_URL = re.compile(r"https?://[^\s\x00-\x1f\x7f/?#][^\s\x00-\x1f\x7f]*", re.IGNORECASE)
_NAME_RULE = "must be 1-64 of a-z, 0-9, hyphens and underscores, a letter or digit first"
_ID_RULE = "must be 1-128 of A-Z, a-z, 0-9, dots, underscores and hyphens, and not . or .."


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of documents. `id` is internal; `updated_at` follows the title and every changed document."""

    id: CollectionId
    workspace_id: WorkspaceId
    name: str
    title: str
    documents: int
    created_at: datetime
    updated_at: datetime
    version: int = 1


@dataclass(frozen=True, slots=True)
class CollectionDraft:
    """The request for a new collection. Its title defaults to its name."""

    name: str
    title: str | None = None


@dataclass(frozen=True, slots=True)
class CollectionPatch:
    """The requested changes of a collection. Its name never changes."""

    title: str | Unset = UNSET


@dataclass(frozen=True, slots=True)
class DocumentSummary:
    """A document as lists show it. `number` is internal and orders a collection's documents by creation."""

    id: str
    number: int
    title: str
    url: str | None
    attributes: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class Document(DocumentSummary):
    """A whole document."""

    text: str


@dataclass(frozen=True, slots=True)
class Hit(DocumentSummary):
    """A document as a search shows it: `snippet` is a part of its text, on one line."""

    snippet: str


@dataclass(frozen=True, slots=True)
class DocumentDraft:
    """A document in a request. It replaces the one with the same id."""

    id: str
    text: str
    title: str = ""
    url: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Push:
    """Documents to put and ids to delete, all or nothing."""

    upsert: Sequence[DocumentDraft] = ()
    delete: Sequence[str] = ()


class Incoming(NamedTuple):
    """A checked document with the digest of its content."""

    draft: DocumentDraft
    digest: bytes


class Stored(NamedTuple):
    """What remains of a document that is replaced, and the digest that says whether it is."""

    digest: bytes
    number: int
    created_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class PushReport:
    """The result of a push, in numbers."""

    created: int
    updated: int
    unchanged: int
    deleted: int


@dataclass(frozen=True, slots=True)
class PushPlan:
    """What a push changes in a collection; `updated` is by the documents' numbers."""

    created: tuple[Incoming, ...]
    updated: Mapping[int, Incoming]
    unchanged: int
    deleted: tuple[str, ...]

    @property
    def added(self) -> int:
        """Return by how many documents the collection grows; negative if it shrinks."""
        return len(self.created) - len(self.deleted)

    @property
    def changes_nothing(self) -> bool:
        """Return whether the collection already is as the push requests."""
        return not (self.created or self.updated or self.deleted)

    @property
    def report(self) -> PushReport:
        """Return the plan as a report."""
        return PushReport(len(self.created), len(self.updated), self.unchanged, len(self.deleted))


def is_collection_name(text: str) -> bool:
    """Return whether `text` is a name: 1-64 of a-z, 0-9, hyphens and underscores, a letter or digit first."""
    return _NAME.fullmatch(text) is not None


def is_document_id(text: str) -> bool:
    """Return whether `text` may be a document's id: 1-128 of A-Z, a-z, 0-9, `.`, `_` and `-`.

    `.` and `..` may not, because a URL can't contain them (RFC 3986 section 5.2.4 removes such segments).
    """
    return _ID.fullmatch(text) is not None and text not in _DOTS


def check_collection(draft: CollectionDraft) -> CollectionDraft:
    """Return the draft with its title. Invalid with one entry per refused field."""
    title = draft.name if draft.title is None else draft.title
    name_fault = None if is_collection_name(draft.name) else _NAME_RULE
    title_fault = None if draft.title is None else _heading_fault(title)
    _refuse(_field_errors("", {"name": name_fault, "title": title_fault}))
    return CollectionDraft(draft.name, title)


def check_collection_patch(patch: CollectionPatch) -> None:
    """Raise Invalid unless the title is 1-300 characters on one line."""
    title_fault = None if patch.title is UNSET else _heading_fault(patch.title)
    _refuse(_field_errors("", {"title": title_fault}))


def apply_collection_patch(collection: Collection, patch: CollectionPatch) -> Collection:
    """Return the collection after a checked patch, equal if nothing changes."""
    return collection if patch.title is UNSET else replace(collection, title=patch.title)


def check_document(draft: DocumentDraft) -> Incoming:
    """Return the draft with its digest. Invalid with one entry per refused field."""
    _refuse(_document_faults(draft, ""))
    return _incoming(draft)


def check_push(push: Push) -> list[Incoming]:
    """Return the documents of a push with their digests.

    Raises:
        Invalid: There are more than 1,000 entries, an id is repeated (in one list or both), or fields are refused. Each
            of the first 100 has a pointer (`/upsert/3/text`) and the document's id; the rest are counted.
    """
    if len(push.upsert) + len(push.delete) > MAX_PUSH:
        raise Invalid.field(
            "", f"must have at most {MAX_PUSH:,} documents to put and ids to delete"
        )
    _refuse(_push_faults(push))
    return list(map(_incoming, push.upsert))


def content_digest(draft: DocumentDraft) -> bytes:
    """Return SHA-256 of a document's content. The order of names in its attributes doesn't matter."""
    content = [draft.title, draft.text, draft.url, draft.attributes]
    return hashlib.sha256(_compact(content)).digest()


def diff(
    existing: Mapping[str, Stored], incoming: Sequence[Incoming], deletes: Iterable[str] = ()
) -> PushPlan:
    """Return what a push changes, given the existing documents by id. Absent deletes are ignored."""
    created = tuple(item for item in incoming if item.draft.id not in existing)
    known = [(existing[item.draft.id], item) for item in incoming if item.draft.id in existing]
    updated = {stored.number: item for stored, item in known if stored.digest != item.digest}
    deleted = tuple(id for id in deletes if id in existing)
    return PushPlan(created, updated, len(known) - len(updated), deleted)


def _incoming(draft: DocumentDraft) -> Incoming:
    """Return a checked draft with its digest. An invisible title is stored as an empty one."""
    is_blank = draft.title and not is_visible(draft.title)
    stored = replace(draft, title="") if is_blank else draft
    return Incoming(stored, content_digest(stored))


def _refuse(faults: Iterable[FieldError]) -> None:
    every = iter(faults)
    refused = Invalid(list(islice(every, MAX_REFUSALS)))
    if not refused.errors:
        return
    more = sum(1 for _ in every)
    raise Invalid(refused.errors, f"{refused.detail}; and {more:,} more") if more else refused


def _push_faults(push: Push) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, draft in enumerate(push.upsert):
        yield from _with_id(draft.id, _document_faults(draft, f"/upsert/{index}"))
        yield from _with_id(draft.id, _repetition(draft.id, seen, f"/upsert/{index}/id"))
    for index, id in enumerate(push.delete):
        yield from _field_errors("/delete", {str(index): _id_fault(id)})
        yield from _with_id(id, _repetition(id, seen, f"/delete/{index}"))


def _with_id(id: str, faults: Iterable[FieldError]) -> Iterator[FieldError]:
    """Return the faults with the id of their document, unless it is malformed: an answer never quotes such a value."""
    known = id if is_document_id(id) else None
    return (replace(fault, id=known) for fault in faults)


def _repetition(id: str, seen: set[str], pointer: str) -> Iterator[FieldError]:
    if id in seen:
        yield FieldError(pointer, "is repeated in this batch")
    seen.add(id)


def _document_faults(draft: DocumentDraft, pointer: str) -> Iterator[FieldError]:
    faults = {
        "id": _id_fault(draft.id),
        "title": _title_fault(draft.title),
        "text": _text_fault(draft.text),
        "url": _url_fault(draft.url),
        "attributes": attributes_fault(draft.attributes),
    }
    return _field_errors(pointer, faults)


def _field_errors(pointer: str, faults: Mapping[str, str | None]) -> Iterator[FieldError]:
    return (FieldError(f"{pointer}/{name}", fault) for name, fault in faults.items() if fault)


def _id_fault(id: str) -> str | None:
    return None if is_document_id(id) else _ID_RULE


def _heading_fault(title: str) -> str | None:
    fits = is_visible(title) and len(title) <= MAX_TITLE and is_one_line(title)
    return None if fits else f"must be 1-{MAX_TITLE} characters on one line"


def _title_fault(title: str) -> str | None:
    if len(title) > MAX_TITLE:
        return f"must be at most {MAX_TITLE} characters"
    return None if is_storable(title) else UNSTORABLE


def _text_fault(text: str) -> str | None:
    if not is_storable(text):
        return UNSTORABLE
    if len(text.encode()) > MAX_TEXT_BYTES:
        return f"must be at most {MAX_TEXT_BYTES:,} bytes in UTF-8"
    return None


def _url_fault(url: str | None) -> str | None:
    if url is None:
        return None
    if len(url) > MAX_URL or not _URL.fullmatch(url):
        return f"must be an absolute http or https URL of at most {MAX_URL:,} characters"
    return None if is_storable(url) else UNSTORABLE


def attributes_fault(attributes: Mapping[str, Any]) -> str | None:
    """Return what is wrong with `attributes`, or None.

    Attributes are an object of at most 16 KiB (compact JSON in UTF-8) with at most 8 levels of objects and arrays.
    """
    if not isinstance(attributes, dict):
        return "must be an object"
    if not attributes:
        return None
    # Level by level, without recursion: nesting of any depth can't exhaust the stack.
    level: list[dict[str, Any] | list[Any]] = [attributes]
    for _ in range(MAX_ATTRIBUTES_DEPTH):
        values = [value for container in level for value in _members(container)]
        fault = next((fault for value in values if (fault := _value_fault(value))), None)
        if fault:
            return fault
        level = [value for value in values if isinstance(value, dict | list)]
    if level:
        return f"must nest objects and arrays at most {MAX_ATTRIBUTES_DEPTH} deep"
    if len(_compact(attributes)) > MAX_ATTRIBUTES_BYTES:
        return f"must be at most {MAX_ATTRIBUTES_BYTES:,} bytes of compact JSON in UTF-8"
    return None


def _members(container: dict[str, Any] | list[Any]) -> Iterator[Any]:
    if isinstance(container, dict):
        yield from container
        yield from container.values()
    else:
        yield from container


def _value_fault(value: object) -> str | None:
    match value:
        case str():
            return None if is_storable(value) else UNSTORABLE
        case bool() | None | dict() | list():
            return None
        case int():
            return None if value in _INTEGERS else "must not contain an integer beyond 64 bits"
        case float():
            return None if math.isfinite(value) else "must contain finite numbers only"
    return "must be JSON"


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


def _compact(value: object) -> bytes:
    return _encode(value).encode()

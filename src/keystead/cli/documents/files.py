"""Documents made of files: one of each Markdown or text file, one of each line of JSON lines, in the wire shape.

What can't be pushed is refused, file by file and line by line.
"""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final, NoReturn
from urllib.parse import quote

from keystead.cli.document_names import front_matter, id_of, title_of
from keystead.cli.documents.found import LINES, MARKDOWN, Found, Refused
from keystead.client.requests import document_body
from keystead.domain.documents import MAX_TEXT_BYTES, DocumentDraft, check_document
from keystead.domain.errors import Invalid
from keystead.domain.instants import format_instant

LONGEST_LINE: Final = 2 * 1024 * 1024
"""A document's JSON at its largest, every character written as an escape."""
UTF_8: Final = "utf-8"
WIDEST: Final = 4
"""Bytes of a character in any encoding, at most."""

_MEMBERS: Final = frozenset({"id", "text", "title", "url", "attributes"})
_IGNORED: Final = frozenset({"created_at", "updated_at"})
"""What the server says of a document and does not take back."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A document, where it comes from, and its size in bytes as it is sent."""

    draft: DocumentDraft
    source: str
    size: int

    @property
    def id(self) -> str:
        """The document's id."""
        return self.draft.id


@dataclass(frozen=True, slots=True)
class Shaping:
    """How files become documents: the URL before their paths, and whether their time of change is an attribute.

    `encoding` is for Markdown and text; JSON lines are UTF-8 (RFC 8259 section 8.1).
    """

    link: str | None = None
    modified: bool = False
    encoding: str = UTF_8

    @property
    def is_utf_8(self) -> bool:
        """Return whether the encoding is UTF-8, under whatever name."""
        return codecs.lookup(self.encoding).name == UTF_8


def read_documents(file: Found, shaping: Shaping) -> Iterator[Ready | Refused]:
    """Yield the documents of one file, each checked as the server will check it."""
    try:
        with file.path.open("rb") as opened:
            if file.path.suffix.lower() in LINES:
                yield from _lines(opened, str(file.path))
            else:
                yield _whole(opened, file, shaping)
    except OSError as error:
        yield Refused(str(file.path), f"cannot be read: {error.strerror}")


def _whole(opened: BinaryIO, file: Found, shaping: Shaping) -> Ready | Refused:
    source = str(file.path)
    most = MAX_TEXT_BYTES if shaping.is_utf_8 else MAX_TEXT_BYTES * WIDEST
    data = opened.read(most + WIDEST)
    if len(data.removeprefix(codecs.BOM_UTF8)) > most:
        size = f"{file.size / 1024:,.0f} KiB"
        return Refused(
            source, f"is too large: {size}; a document holds {MAX_TEXT_BYTES // 1024} KiB"
        )
    try:
        text = data.decode(shaping.encoding).removeprefix("\ufeff")
    except UnicodeError:
        said = "UTF-8" if shaping.is_utf_8 else shaping.encoding
        return Refused(source, f"is not {said} text: name its --encoding, or --exclude it")
    if "\0" in text:
        return Refused(source, "is binary")
    return _ready(_draft_of(file, text, shaping), source)


def _draft_of(file: Found, text: str, shaping: Shaping) -> DocumentDraft:
    name = os.fsencode(file.name).decode("utf-8", "replace")
    markdown = file.path.suffix.lower() in MARKDOWN
    members = front_matter(text.split("\n"))[0] if markdown else {}
    attributes: dict[str, Any] = {key: value for key, value in members.items() if key != "title"}
    attributes["path"] = name
    if shaping.modified:
        changed = datetime.fromtimestamp(int(file.path.stat().st_mtime), UTC)
        attributes["modified"] = format_instant(changed)
    url = None if shaping.link is None else f"{shaping.link.rstrip('/')}/{quote(name)}"
    return DocumentDraft(id_of(file.name), text, title_of(text, name, markdown), url, attributes)


def _lines(opened: BinaryIO, path: str) -> Iterator[Ready | Refused]:
    number = 0
    while line := opened.readline(LONGEST_LINE + 1):
        number += 1
        source = f"{path}:{number}"
        if len(line) > LONGEST_LINE:
            _skip_line(opened, line)
            yield Refused(source, f"is too large: over {LONGEST_LINE // 1024**2} MiB in one line")
        elif line.strip():
            yield _of_line(line, source)


def _skip_line(opened: BinaryIO, part: bytes) -> None:
    while part and not part.endswith(b"\n"):
        part = opened.readline(LONGEST_LINE)


def _of_line(line: bytes, source: str) -> Ready | Refused:
    try:
        members = json.loads(
            line.decode("utf-8-sig"), object_pairs_hook=_members_once, parse_constant=_not_json
        )
    except UnicodeDecodeError:
        return Refused(source, "is not UTF-8 text")
    except (ValueError, RecursionError) as error:
        detail = str(error) if isinstance(error, _Unfit) else "is not JSON"
        return Refused(source, detail)
    fault = _shape_fault(members)
    if fault:
        return Refused(source, fault)
    taken = {name: value for name, value in members.items() if name in _MEMBERS}
    return _ready(DocumentDraft(**taken), source)


class _Unfit(ValueError):
    """JSON that does not mean the same everywhere."""


def _members_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Unfit("holds a name twice in one object")
    return members


def _not_json(constant: str) -> NoReturn:
    raise _Unfit(f"holds {constant}, which is not JSON")


def _shape_fault(members: Any) -> str | None:
    if not isinstance(members, dict):
        return "is not an object"
    unknown = set(members) - _MEMBERS - _IGNORED
    if unknown:
        return f"holds {min(unknown)}, which no document has"
    for name in ("id", "text"):
        if name not in members:
            return f"lacks {name}"
    for name in ("id", "text", "title"):
        if not isinstance(members.get(name, ""), str):
            return f"{name} must be a string"
    if not isinstance(members.get("url"), str | None):
        return "url must be a string or null"
    return None


def _ready(draft: DocumentDraft, source: str) -> Ready | Refused:
    try:
        check_document(draft)
    except Invalid as error:
        return Refused(source, "; ".join(f"{e.pointer[1:]} {e.detail}" for e in error.errors))
    return Ready(draft, source, len(document_body(draft)))

"""Documents from files: one per Markdown or text file, one per line of JSON lines, with their ids and titles.

Files and lines that can't be pushed are refused one by one.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final, NoReturn
from urllib.parse import quote

from keystead.client.folders.found import LINES, MARKDOWN, Found, RefusedFile
from keystead.client.requests import document_body
from keystead.domain.documents import MAX_TEXT_BYTES, MAX_TITLE, DocumentDraft, check_document
from keystead.domain.errors import Invalid
from keystead.domain.instants import format_instant
from keystead.domain.text import is_visible

LONGEST_LINE: Final = 2 * 1024 * 1024
"""The largest JSON of a document, with every character escaped."""
UTF_8: Final = "utf-8"
WIDEST: Final = 4
"""The most bytes of a character in any encoding."""

_MEMBERS: Final = frozenset({"id", "text", "title", "url", "attributes"})
_IGNORED: Final = frozenset({"created_at", "updated_at"})
"""Members that the server returns but does not accept."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A document to send, its source, and its size in bytes."""

    draft: DocumentDraft
    source: str
    size: int

    @property
    def id(self) -> str:
        """The document's id."""
        return self.draft.id


@dataclass(frozen=True, slots=True)
class Shaping:
    """How files become documents: the URL before their paths, and whether to add their time of change.

    `encoding` applies to Markdown and text; JSON lines are UTF-8 (RFC 8259 section 8.1).
    """

    link: str | None = None
    modified: bool = False
    encoding: str = UTF_8

    @property
    def is_utf_8(self) -> bool:
        """Whether the encoding is UTF-8, by any of its names."""
        return codecs.lookup(self.encoding).name == UTF_8


def read_documents(file: Found, shaping: Shaping) -> Iterator[Ready | RefusedFile]:
    """Yield the documents of a file, checked by the server's rules."""
    try:
        with file.path.open("rb") as opened:
            if file.path.suffix.lower() in LINES:
                yield from _lines(opened, str(file.path))
            else:
                yield _whole(opened, file, shaping)
    except OSError as error:
        yield RefusedFile(str(file.path), f"can't be read: {error.strerror}")


def _whole(opened: BinaryIO, file: Found, shaping: Shaping) -> Ready | RefusedFile:
    source = str(file.path)
    most = MAX_TEXT_BYTES if shaping.is_utf_8 else MAX_TEXT_BYTES * WIDEST
    data = opened.read(most + WIDEST)
    if len(data.removeprefix(codecs.BOM_UTF8)) > most:
        size = f"{file.size / 1024:,.0f} KiB"
        return RefusedFile(
            source, f"is too large: {size}; a document can have {MAX_TEXT_BYTES // 1024} KiB"
        )
    try:
        text = data.decode(shaping.encoding).removeprefix("\ufeff")
    except UnicodeError:
        encoding = "UTF-8" if shaping.is_utf_8 else shaping.encoding
        return RefusedFile(source, f"is not {encoding} text: set its --encoding, or --exclude it")
    if "\0" in text:
        return RefusedFile(source, "is binary")
    return _ready(draft_of(file, text, shaping), source)


def draft_of(file: Found, text: str, shaping: Shaping) -> DocumentDraft:
    """Return the document of a Markdown or text file with that text."""
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


def _lines(opened: BinaryIO, path: str) -> Iterator[Ready | RefusedFile]:
    number = 0
    while line := opened.readline(LONGEST_LINE + 1):
        number += 1
        source = f"{path}:{number}"
        if len(line) > LONGEST_LINE:
            _skip_line(opened, line)
            yield RefusedFile(
                source, f"is too large: over {LONGEST_LINE // 1024**2} MiB in one line"
            )
        elif line.strip():
            yield _of_line(line, source)


def _skip_line(opened: BinaryIO, part: bytes) -> None:
    while part and not part.endswith(b"\n"):
        part = opened.readline(LONGEST_LINE)


def _of_line(line: bytes, source: str) -> Ready | RefusedFile:
    try:
        members = json.loads(
            line.decode("utf-8-sig"), object_pairs_hook=_members_once, parse_constant=_not_json
        )
    except UnicodeDecodeError:
        return RefusedFile(source, "is not UTF-8 text")
    except (ValueError, RecursionError) as error:
        detail = str(error) if isinstance(error, _Unfit) else "is not JSON"
        return RefusedFile(source, detail)
    fault = _shape_fault(members)
    if fault:
        return RefusedFile(source, fault)
    accepted = {name: value for name, value in members.items() if name in _MEMBERS}
    return _ready(DocumentDraft(**accepted), source)


class _Unfit(ValueError):
    """JSON that parsers read differently."""


def _members_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Unfit("repeats a name in an object")
    return members


def _not_json(constant: str) -> NoReturn:
    raise _Unfit(f"contains {constant}, which is not JSON")


def _shape_fault(members: Any) -> str | None:
    if not isinstance(members, dict):
        return "is not an object"
    unknown = set(members) - _MEMBERS - _IGNORED
    if unknown:
        return f"unknown field: {min(unknown)}"
    for name in ("id", "text"):
        if name not in members:
            return f"is missing {name}"
    for name in ("id", "text", "title"):
        if not isinstance(members.get(name, ""), str):
            return f"{name} must be a string"
    if not isinstance(members.get("url"), str | None):
        return "url must be a string or null"
    return None


def _ready(draft: DocumentDraft, source: str) -> Ready | RefusedFile:
    try:
        check_document(draft)
    except Invalid as error:
        return RefusedFile(source, "; ".join(f"{e.pointer[1:]} {e.detail}" for e in error.errors))
    return Ready(draft, source, len(document_body(draft)))


_HASH: Final = 16
_LONGEST_ID: Final = 128
_UNFIT: Final = re.compile(r"[^A-Za-z0-9._-]+")
_FENCE: Final = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_HASHES: Final = re.compile(r" {0,3}#{1,6}(?=[ \t]|$)")
_UNDERLINE: Final = re.compile(r" {0,3}(?:=+|-+)[ \t]*")
_BREAK: Final = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})")
_BLOCK: Final = re.compile(r" {0,3}(?:>|<|[-+*](?=[ \t]|$)|\d{1,9}[.)](?=[ \t]|$)|\[[^\]]+\]:)")
"""The start of a quotation, HTML, a list item or a link definition: not a paragraph that could be underlined."""
_MEMBER: Final = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)[ \t]*:(?=[ \t]|$)")
_ITEM: Final = re.compile(r"[ \t]*-[ \t]+(?=[^ \t])")
_DOUBLE_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_QUOTED: Final = re.compile(r"'((?:[^']|'')*)'")
_COMMENT: Final = re.compile(r"[ \t]#")
_NOT_PLAIN: Final = frozenset("|>&*!%@`[{")
"""The start of YAML values other than plain or quoted text on one line."""
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})


def id_of(name: str) -> str:
    """Return the document id of a relative path: unique to the path, and the same on every machine.

    `guides/deploy.md` is `guides--deploy.md`. If characters are lost, or another path could have the same id, a part
    of the path's SHA-256 follows.
    """
    composed = unicodedata.normalize("NFC", name)
    fit = composed.replace("/", "--")
    if "--" not in composed and not _UNFIT.search(fit) and _fits(composed, fit):
        return fit
    digest = hashlib.sha256(composed.encode("utf-8", "surrogateescape")).hexdigest()[:_HASH]
    plain = unicodedata.normalize("NFKD", fit).encode("ascii", "ignore").decode()
    head = _UNFIT.sub("-", plain).strip("-")[: _LONGEST_ID - _HASH - 1]
    return f"{head}-{digest}".lstrip("-")


def title_of(text: str, name: str, markdown: bool) -> str:
    """Return the title of a file's text: at most 300 characters on one line.

    Markdown: the `title` of its front matter, else its first heading, `# ...` or underlined. Else the file's name.
    """
    candidates = _titles(text) if markdown else iter(())
    stem = PurePosixPath(name).stem
    return next((line for title in candidates if (line := _one_line(title))), _one_line(stem))


def front_matter(lines: Sequence[str]) -> tuple[Mapping[str, str | list[str]], int]:
    """Return the front matter's members, and the number of the first line after it.

    Only plain and quoted text on one line (YAML 1.2 section 7.3) and lists of it are read; everything else is ignored.
    """
    if lines[0].rstrip() != "---":
        return {}, 0
    ends = (n for n, line in enumerate(lines[1:], 1) if line.rstrip() in {"---", "..."})
    if (end := next(ends, None)) is None:
        return {}, 0
    members: list[tuple[str, str, list[str]]] = []
    for line in lines[1:end]:
        if match := _MEMBER.match(line):
            members.append((match[1], line[match.end() :].strip(), []))
        elif members and line.strip() and line.lstrip()[0] != "#":
            members[-1][2].append(line)
    values = {name: _value(text, below) for name, text, below in members}
    return {name: value for name, value in values.items() if value is not None}, end + 1


def _value(text: str, below: Sequence[str]) -> str | list[str] | None:
    """Return a member's text or list of texts, from its own line and those below; None for anything else."""
    if text[:1] == "[":
        items = text[1:-1].rstrip(" ,").split(",") if text[-1] == "]" else [text]
        return _texts(_scalar(item.strip()) for item in items)
    if text and text[0] != "#":
        return _scalar(text)
    return _texts(map(_item, below)) if below else None


def _item(line: str) -> str | None:
    """Return the text of a line `- text`; None for any other line, or if it begins a mapping."""
    marker = _ITEM.match(line)
    text = line[marker.end() :].strip() if marker else ""
    return None if _MEMBER.match(text) else _scalar(text)


def _texts(items: Iterable[str | None]) -> list[str] | None:
    """Return the items if all of them are text."""
    listed = list(items)
    texts = [item for item in listed if item is not None]
    return texts if len(texts) == len(listed) else None


def _fits(composed: str, fit: str) -> bool:
    """Return whether the id is short enough and its folders' borders are unambiguous."""
    edges = any(part.startswith("-") or part.endswith("-") for part in composed.split("/"))
    return len(fit) <= _LONGEST_ID and not edges


def _one_line(title: str) -> str:
    """Return the title without controls and repeated blanks, at its maximum length; empty if nothing is visible."""
    printable = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in title)
    return " ".join(printable.split())[:MAX_TITLE] if is_visible(printable) else ""


def _titles(text: str) -> Iterator[str]:
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    members, start = front_matter(lines)
    if isinstance(title := members.get("title"), str):
        yield title
    yield from _headings(_outside_code(lines[start:]))


def _scalar(text: str) -> str | None:
    """Return a plain or quoted YAML text; None for an empty or any other value."""
    if text[:1] == '"':
        inside = _DOUBLE_QUOTED.match(text)
        return _unescaped(inside[0]) if inside else None
    if text[:1] == "'":
        inside = _QUOTED.match(text)
        return inside[1].replace("''", "'") if inside else None
    plain = _COMMENT.split(text, maxsplit=1)[0].strip()
    return None if plain in _NULLS or plain[0] in _NOT_PLAIN or plain[0] == "#" else plain


def _unescaped(quoted: str) -> str | None:
    """Return the content of a text in double quotes; None if it has YAML escapes that JSON lacks."""
    try:
        return str(json.loads(quoted, strict=False))
    except ValueError:
        return None


def _outside_code(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines, with those in code fences and comments blanked (CommonMark 0.31 sections 4.5 and 4.6)."""
    fence = ""
    comment = False
    for line in lines:
        marker = _FENCE.match(line)
        if comment:
            comment = "-->" not in line
            yield ""
        elif fence:
            closes = marker and marker[1].startswith(fence) and not line[marker.end() :].strip()
            fence = "" if closes else fence
            yield ""
        elif marker:
            fence = marker[1]
            yield ""
        else:
            opens = line.lstrip().startswith("<!--")
            comment = opens and "-->" not in line
            yield "" if opens else line


def _headings(lines: Iterable[str]) -> Iterator[str]:
    """Yield the headings: after `#`, or over a line of `=` or `-` (sections 4.2 and 4.3)."""
    paragraph: list[str] = []
    in_block = False
    for line in lines:
        if hashes := _HASHES.match(line):
            yield _without_closing(line[hashes.end() :])
        elif paragraph and _UNDERLINE.fullmatch(line):
            yield " ".join(paragraph)
        elif line.strip() and not _BREAK.fullmatch(line):
            if not in_block and _BLOCK.match(line):
                paragraph, in_block = [], True
            is_code = not paragraph and line.startswith(("    ", "\t"))
            if not (in_block or is_code):
                paragraph.append(line.strip())
            continue
        paragraph, in_block = [], False


def _without_closing(text: str) -> str:
    """Return a heading's text without its closing `#`."""
    heading = text.strip(" \t")
    opened = heading.rstrip("#")
    return opened.rstrip(" \t") if not opened or opened[-1] in " \t" else heading

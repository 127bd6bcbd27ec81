"""The id and the title of a document that is a file."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from keystead.domain.documents import MAX_TITLE
from keystead.domain.text import is_visible

_HASH: Final = 16
_LONGEST_ID: Final = 128
_UNFIT: Final = re.compile(r"[^A-Za-z0-9._-]+")
_FENCE: Final = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_HASHES: Final = re.compile(r" {0,3}#{1,6}(?=[ \t]|$)")
_UNDERLINE: Final = re.compile(r" {0,3}(?:=+|-+)[ \t]*")
_BREAK: Final = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})")
_BLOCK: Final = re.compile(r" {0,3}(?:>|<|[-+*](?=[ \t]|$)|\d{1,9}[.)](?=[ \t]|$)|\[[^\]]+\]:)")
"""What begins a quotation, HTML, an item of a list or a link's definition: no paragraph that could be underlined."""
_MEMBER: Final = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)[ \t]*:(?=[ \t]|$)")
_ITEM: Final = re.compile(r"[ \t]*-[ \t]+(?=[^ \t])")
_DOUBLE_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_QUOTED: Final = re.compile(r"'((?:[^']|'')*)'")
_COMMENT: Final = re.compile(r"[ \t]#")
_NOT_PLAIN: Final = frozenset("|>&*!%@`[{")
"""How YAML begins what is no plain or quoted text on one line."""
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})


def id_of(name: str) -> str:
    """The document id of a relative path: the same on every machine, whatever lies beside it; another for every path.

    `guides/deploy.md` is `guides--deploy.md`. Where characters are lost, or two paths could meet, part of the path's
    SHA-256 follows.
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
    named = PurePosixPath(name).stem
    return next((line for title in candidates if (line := _one_line(title))), _one_line(named))


def front_matter(lines: Sequence[str]) -> tuple[Mapping[str, str | list[str]], int]:
    """Return the members of the front matter between two lines of `---`, and the number of the first line after it.

    Only plain and quoted texts on one line (YAML 1.2 section 7.3) and lists of them are read; all else is left out.
    """
    if lines[0].rstrip() != "---":
        return {}, 0
    ends = (n for n, line in enumerate(lines[1:], 1) if line.rstrip() in {"---", "..."})
    end = next(ends, None)
    if end is None:
        return {}, 0
    members: list[tuple[str, str, list[str]]] = []
    for line in lines[1:end]:
        if found := _MEMBER.match(line):
            members.append((found[1], line[found.end() :].strip(), []))
        elif members and line.strip() and line.lstrip()[0] != "#":
            members[-1][2].append(line)
    values = {name: _value(text, below) for name, text, below in members}
    return {name: value for name, value in values.items() if value is not None}, end + 1


def _value(text: str, below: Sequence[str]) -> str | list[str] | None:
    """Return a member's text or list of texts, from its own line and those below; None for all that is neither."""
    if text[:1] == "[":
        items = text[1:-1].rstrip(" ,").split(",") if text[-1] == "]" else [text]
        return _texts(_scalar(item.strip()) for item in items)
    if text and text[0] != "#":
        return _scalar(text)
    return _texts(map(_item, below)) if below else None


def _item(line: str) -> str | None:
    """Return the text of a line `- text`; None for any other, and for one that begins a mapping."""
    marker = _ITEM.match(line)
    text = line[marker.end() :].strip() if marker else ""
    return None if _MEMBER.match(text) else _scalar(text)


def _texts(items: Iterable[str | None]) -> list[str] | None:
    """Return the items when every one of them is a text."""
    listed = list(items)
    texts = [item for item in listed if item is not None]
    return texts if len(texts) == len(listed) else None


def _fits(composed: str, fit: str) -> bool:
    """Whether the id is short enough, and no folder's edge could be read in another place."""
    edges = any(part.startswith("-") or part.endswith("-") for part in composed.split("/"))
    return len(fit) <= _LONGEST_ID and not edges


def _one_line(title: str) -> str:
    """Return the title without controls and runs of blanks, within its bound; empty when nothing of it is seen."""
    printable = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in title)
    return " ".join(printable.split())[:MAX_TITLE] if is_visible(printable) else ""


def _titles(text: str) -> Iterator[str]:
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    members, start = front_matter(lines)
    if isinstance(title := members.get("title"), str):
        yield title
    yield from _headings(_outside_code(lines[start:]))


def _scalar(text: str) -> str | None:
    """Return a plain or quoted text of YAML; None for nothing, and for all that is more than one."""
    if text[:1] == '"':
        inside = _DOUBLE_QUOTED.match(text)
        return _unescaped(inside[0]) if inside else None
    if text[:1] == "'":
        inside = _QUOTED.match(text)
        return inside[1].replace("''", "'") if inside else None
    plain = _COMMENT.split(text, maxsplit=1)[0].strip()
    return None if plain in _NULLS or plain[0] in _NOT_PLAIN or plain[0] == "#" else plain


def _unescaped(quoted: str) -> str | None:
    """Return what a text in double quotes says; None for escapes of YAML that JSON does not share."""
    try:
        return str(json.loads(quoted, strict=False))
    except ValueError:
        return None


def _outside_code(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines outside fences and comments (CommonMark 0.31 sections 4.5 and 4.6), blank ones in their place."""
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
    """Yield the headings in their order: after `#`, or over a line of `=` or `-` (sections 4.2 and 4.3)."""
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
    """Return a heading's text without the `#` that may close it."""
    heading = text.strip(" \t")
    opened = heading.rstrip("#")
    return opened.rstrip(" \t") if not opened or opened[-1] in " \t" else heading

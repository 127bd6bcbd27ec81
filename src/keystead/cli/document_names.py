"""The id and the title of a document that is a file."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

from keystead.domain.documents import MAX_TITLE

_HASH: Final = 16
_LONGEST_ID: Final = 128
_UNFIT: Final = re.compile(r"[^A-Za-z0-9._-]+")
_HEADING: Final = re.compile(r" {0,3}#{1,6}[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*")
_FENCE: Final = re.compile(r" {0,3}(```|~~~)")


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
    """The first heading of Markdown; the file's name where there is none, and for plain text."""
    heading = _first_heading(text) if markdown else None
    title = heading or PurePosixPath(name).stem
    printable = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in title)
    return " ".join(printable.split())[:MAX_TITLE]


def _fits(composed: str, fit: str) -> bool:
    """Whether the id is short enough, and no folder's edge could be read in another place."""
    edges = any(part.startswith("-") or part.endswith("-") for part in composed.split("/"))
    return len(fit) <= _LONGEST_ID and not edges


def _first_heading(text: str) -> str | None:
    """The first ATX heading outside fences and front matter (CommonMark 0.31 sections 4.2 and 4.5)."""
    lines = text.split("\n")
    start = _after_front_matter(lines)
    fence = ""
    for line in lines[start:]:
        if marker := _FENCE.match(line):
            fence = "" if fence == marker[1] else fence or marker[1]
        elif not fence and (heading := _HEADING.fullmatch(line.rstrip("\r"))):
            return heading[1]
    return None


def _after_front_matter(lines: Sequence[str]) -> int:
    if lines[0].rstrip() != "---":
        return 0
    ends = (n for n, line in enumerate(lines[1:], 2) if line.rstrip() in {"---", "..."})
    return next(ends, 0)

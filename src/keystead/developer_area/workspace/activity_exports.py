"""Events as files: CSV without spreadsheet formulas, and JSON lines."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

from keystead.developer_area.workspace.event_sentences import sentence
from keystead.domain.events import Event
from keystead.domain.instants import format_instant
from keystead.domain.text import is_invisible
from keystead.wire import resources

COLUMNS: Final = (
    "occurred_at",
    "type",
    "summary",
    "actor_type",
    "actor_id",
    "actor_name",
    "target_type",
    "target_id",
    "address",
    "request_id",
    "event_id",
    "data",
)
_FORMULA: Final = frozenset("=+-@")
"""Characters that begin a formula in a spreadsheet (OWASP, CSV injection), full-width forms included."""
_CONTROLS: Final = ("\t", "\r", "\n", "\0")
_SEPARATORS: Final = re.compile(r"([;\t\r\n])")
"""Separators that begin another cell or row in a spreadsheet that doesn't split at commas."""
_BOM: Final = "\ufeff"
"""Byte order mark: without it Excel reads UTF-8 in the machine's code page."""


def csv_lines(events: Iterable[Event]) -> Iterator[str]:
    """Yield a byte order mark with the header, and a line for each event (RFC 4180), every field quoted."""
    yield _BOM + _line(COLUMNS)
    for event in events:
        yield _line(_cells(event))


def json_lines(events: Iterable[Event]) -> Iterator[str]:
    """Yield a JSON object on a line for each event, with the members of the API."""
    for event in events:
        yield (json.dumps(resources.Event.of(event).to_members(), separators=(",", ":")) + "\n")


def neutralize(text: str) -> str:
    """Return `text` with an apostrophe before everything that could begin a formula."""
    # Not only at the beginning of the cell: a spreadsheet that splits at semicolons or tabs ignores our quotes,
    # so that whatever follows a separator begins a cell too.
    pieces = [f"'{piece}" if _begins_formula(piece) else piece for piece in _SEPARATORS.split(text)]
    neutralized = "".join(pieces)
    if neutralized.lstrip(" ").startswith(_CONTROLS):
        return f"'{neutralized}"
    return neutralized


def _begins_formula(piece: str) -> bool:
    """Return whether a formula begins after quotes, white space and invisible characters."""
    first = next((c for c in piece if c != '"' and not is_invisible(c)), "")
    return unicodedata.normalize("NFKC", first) in _FORMULA


def _line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(map(neutralize, cells))
    return line.getvalue().replace("\0", "\ufffd")


def _cells(event: Event) -> tuple[str, ...]:
    return (
        format_instant(event.occurred_at),
        event.type,
        sentence(event).of(event.actor.name),
        event.actor.kind,
        event.actor.id,
        event.actor.name,
        event.target.type,
        event.target.id,
        event.origin.address or "",
        event.origin.request_id or "",
        event.id,
        json.dumps(dict(event.data), ensure_ascii=False).replace(";", "\\u003b"),
    )

"""Events as files: CSV that no spreadsheet takes for formulas, and JSON lines."""

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
"""What a spreadsheet begins a formula with (OWASP, CSV injection), in its other widths too."""
_CONTROLS: Final = ("\t", "\r", "\n", "\0")
_SEPARATORS: Final = re.compile(r"([;\t\r\n])")
"""Where a spreadsheet that does not part by commas begins another cell, or another row."""
_BOM: Final = "\ufeff"
"""Byte order mark: without it Excel reads a file of UTF-8 in the code page of its machine."""


def csv_lines(events: Iterable[Event]) -> Iterator[str]:
    """Yield a head and a line for each event (RFC 4180), every field quoted, after a byte order mark."""
    yield _BOM + _line(COLUMNS)
    for event in events:
        yield _line(_cells(event))


def json_lines(events: Iterable[Event]) -> Iterator[str]:
    """A JSON object on a line for each event, with the members that the API gives it."""
    for event in events:
        yield (
            json.dumps(resources.Event.of(event).model_dump(mode="json"), separators=(",", ":"))
            + "\n"
        )


def neutral(text: str) -> str:
    """Return `text` for a cell: an apostrophe stands before whatever could begin a formula.

    That is the beginning of the cell, and whatever follows a separator in it: a spreadsheet that parts by semicolons
    or tabs does not mind our quotes.
    """
    pieces = [f"'{piece}" if _begins_formula(piece) else piece for piece in _SEPARATORS.split(text)]
    neutralised = "".join(pieces)
    if neutralised.lstrip(" ").startswith(_CONTROLS):
        return f"'{neutralised}"
    return neutralised


def _begins_formula(piece: str) -> bool:
    """Return whether a spreadsheet could read a formula, past quotes, white space and invisible characters."""
    first = next((c for c in piece if c != '"' and not is_invisible(c)), "")
    return unicodedata.normalize("NFKC", first) in _FORMULA


def _line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(map(neutral, cells))
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

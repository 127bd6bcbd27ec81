"""Events as files: CSV that no spreadsheet takes for formulas, and JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Final

from keystead.developer_area.event_sentences import sentence
from keystead.domain.events import Event
from keystead.domain.instants import format_instant

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
_DANGEROUS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")
"""What a spreadsheet begins a formula with, or looks past (OWASP, CSV injection)."""


def csv_lines(events: Iterable[Event]) -> Iterator[str]:
    """A head and a line for each event (RFC 4180), every field quoted."""
    yield _line(COLUMNS)
    for event in events:
        yield _line(_cells(event))


def json_lines(events: Iterable[Event]) -> Iterator[str]:
    """A JSON object on a line for each event, with the members that the API gives it."""
    for event in events:
        yield json.dumps(_wire(event), separators=(",", ":")) + "\n"


def neutral(text: str) -> str:
    """`text` for a cell: where it could begin a formula, an apostrophe stands before it."""
    return f"'{text}" if text.lstrip(" ").startswith(_DANGEROUS) else text


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
        json.dumps(dict(event.data), ensure_ascii=False),
    )


def _wire(event: Event) -> dict[str, object]:
    actor, target = event.actor, event.target
    return {
        "id": event.id,
        "type": event.type,
        "occurred_at": format_instant(event.occurred_at),
        "actor": {"type": actor.kind, "id": actor.id, "name": actor.name},
        "target": {"type": target.type, "id": target.id},
        "address": event.origin.address,
        "request_id": event.origin.request_id,
        "data": dict(event.data),
    }

"""What commands print: tables for people, aligned text for pipes, JSON for programs; foreign text is made inert first.

Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final, TextIO

NOTHING: Final = "-"
_ID: Final = re.compile(r"(?<![a-z])[a-z]+_[0-9A-Za-z]{22}")
"""A word that holds an id, which people copy: it is never folded."""
_SHORT: Final = 16
"""Words up to this length are not folded either: hints, dates, states."""
_JOINERS: Final = "\u200c\u200d"
"""Format characters that scripts and emoji are written with; they move nothing on a terminal."""
_HARMFUL: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Controls, invisible formatting (text direction too), lone surrogates, and the two other line breaks of Unicode."""


def inert(text: str) -> str:
    """`text` with every character escaped that a terminal would obey, or that would break the line."""
    return text if text.isascii() and text.isprintable() else "".join(map(_shown, text))


def print_json(value: object) -> None:
    """One JSON document on stdout, in ASCII: nothing in it moves a terminal."""
    text = json.dumps(value, indent=2, ensure_ascii=True).replace("\x7f", "\\u007f")
    _write(sys.stdout, text)


def print_line(text: str) -> None:
    """One line of the result."""
    _write(sys.stdout, inert(text))


def note(text: str) -> None:
    """One line about the result, on stderr."""
    _write(sys.stderr, inert(text))


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return `1 file` or `2,000 files`; `plural` is for nouns whose plural is not an s more."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on a terminal; aligned columns, two spaces apart, in a pipe or a file."""
    safe = [[inert(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich_table(headings, safe)
        return
    for line in _aligned([headings, *safe]):
        _write(sys.stdout, line)


def print_fields(fields: Mapping[str, str]) -> None:
    """Names and values, one pair a line."""
    width = max(map(len, fields)) + 2
    for name, value in fields.items():
        _write(sys.stdout, f"{name:<{width}}{inert(value)}")


def confirmed(question: str) -> bool:
    """Whether the person at the terminal says yes; anything else is no."""
    sys.stderr.write(f"{inert(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def has_person() -> bool:
    """Whether somebody is there to be asked: input and messages are both a terminal's."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def flush() -> None:
    """Hands the result over now. OSError where it cannot be."""
    sys.stdout.flush()


@contextmanager
def progress(title: str, total: int, *, silent: bool = False) -> Iterator[Callable[[int], None]]:
    """A bar on stderr while something is done; it is given the steps. Only where stderr is a terminal."""
    if silent or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda steps: bar.advance(task, steps)


def at(instant: datetime | None, otherwise: str = "never") -> str:
    """An instant for people, to the minute, in UTC."""
    return otherwise if instant is None else f"{instant:%Y-%m-%d %H:%M} UTC"


def away(instant: datetime, now: datetime) -> str:
    """How far off an instant is, roughly: `in 90 days`, `3 minutes ago`."""
    seconds = int((instant - now).total_seconds())
    amount = _amount(abs(seconds))
    return f"in {amount}" if seconds > 0 else f"{amount} ago"


def _amount(seconds: int) -> str:
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = seconds // length
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than a minute"


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _HARMFUL or character in _JOINERS:
        return character
    return character.encode("unicode_escape").decode("ascii")


def _write(stream: TextIO, line: str) -> None:
    """One line, whatever the stream's encoding lacks being escaped."""
    encoding = stream.encoding or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _print_rich_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    room = Console(file=sys.stdout).width
    columns = [_Column(heading, cells) for heading, *cells in zip(headings, *rows, strict=True)]
    left_out = _fit(columns, room)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column.heading, overflow="fold", width=column.width)
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, row))
    # An id that is wider than the terminal is wrapped by it, and can still be selected as one word.
    Console(file=sys.stdout, width=max(room, _width(columns))).print(table)
    if left_out:
        names = ", ".join(reversed(left_out))
        note(f"Left out, as the terminal is too narrow: {names}. --json shows everything.")


class _Column:
    """A column of a table: as wide as its widest cell at first, and never narrower than what must stand whole."""

    def __init__(self, heading: str, cells: Sequence[str]) -> None:
        from rich.cells import cell_len

        self.heading, self.cells = heading, cells
        self.is_id = heading == "ID"
        self.width = max(map(cell_len, (heading, *cells)))
        words = (word for cell in (heading, *cells) for word in cell.split())
        whole = (cell_len(word) for word in words if len(word) <= _SHORT or _ID.search(word))
        self.narrowest = self.width if self.is_id else min(self.width, max(whole, default=1))


def _fit(columns: list[_Column], room: int) -> list[str]:
    """Leave columns out from the right until the others fit, then narrow the widest. Returns the headings left out.

    Columns of ids stay, and stay whole.
    """
    left_out = []
    while _width(columns, narrowest=True) > room:
        others = [column for column in columns[1:] if not column.is_id]
        if not others:
            break
        columns.remove(others[-1])
        left_out.append(others[-1].heading)
    while _width(columns) > room:
        loose = [column for column in columns if column.width > column.narrowest]
        if not loose:
            break
        max(loose, key=lambda column: column.width).width -= 1
    return left_out


def _width(columns: Sequence[_Column], *, narrowest: bool = False) -> int:
    """Return how wide the table is: three cells between two columns, and one at each edge."""
    widths = [column.narrowest if narrowest else column.width for column in columns]
    return sum(widths) + 3 * (len(columns) - 1) + 2

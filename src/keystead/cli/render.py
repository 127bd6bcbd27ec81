"""What commands print: tables for people, aligned text for pipes, JSON for programs; foreign text is made inert first.

Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final, TextIO

NOTHING: Final = "-"
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

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(file=sys.stdout).print(table)

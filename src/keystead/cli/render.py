"""Output of commands: tables for people, aligned text for pipes, JSON for programs. Untrusted text is escaped.

Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any, Final, TextIO

from keystead.cli.outcome import Exit, Failure
from keystead.domain.instants import format_instant
from keystead.domain.token import Secret, Token

NOTHING: Final = "-"
_ID: Final = re.compile(r"(?<![a-z])[a-z]+_[0-9A-Za-z]{22}")
"""A word with an id, which people copy: it is never folded."""
_SHORT: Final = 16
"""The longest words that are never folded: hints, dates, states."""
_JOINERS: Final = "\u200c\u200d"
"""Format characters that some scripts and emoji need. They are harmless in a terminal."""
_HARMFUL: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Controls, invisible formatting (including text direction), lone surrogates, and Unicode's other line breaks."""


def inert(text: str) -> str:
    """Return `text` with every character escaped that a terminal would execute, or that would break the line."""
    return text if text.isascii() and text.isprintable() else "".join(map(_escaped, text))


def plain(result: Any) -> Any:
    """Return a value of the SDK as the API's JSON has it, without its secrets. An ETag is a header field, no member."""
    if is_dataclass(result):
        members = ((each.name, getattr(result, each.name)) for each in fields(result))
        return {
            name: plain(value)
            for name, value in members
            if name != "etag" and not isinstance(value, Secret | Token)
        }
    if isinstance(result, Mapping):
        return {name: plain(value) for name, value in result.items()}
    if isinstance(result, list | tuple):
        return [plain(value) for value in result]
    return format_instant(result) if isinstance(result, datetime) else result


def print_json(value: object) -> None:
    """Print a JSON document, also of the SDK's values, in ASCII, which is harmless in a terminal."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=True).replace("\x7f", "\\u007f")
    _write(sys.stdout, text)


def print_json_list(items: Sequence[Any], next_cursor: str | None, **more: object) -> None:
    """Print a list as the API answers it; `next_cursor` is what `--cursor` continues after, None at the end."""
    print_json({"items": items, "next_cursor": next_cursor, **more})


def print_line(text: str) -> None:
    """Print a line of the result."""
    _write(sys.stdout, inert(text))


def note(text: str) -> None:
    """Print a line about the result on stderr."""
    _write(sys.stderr, inert(text))


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return `1 file` or `2,000 files`; `plural` is for irregular nouns."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on a terminal, or aligned columns, two spaces apart, into a pipe or a file."""
    safe = [[inert(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich_table(headings, safe)
        return
    for line in _aligned([headings, *safe]):
        _write(sys.stdout, line)


def print_fields(fields: Mapping[str, str]) -> None:
    """Print names and values, one pair per line."""
    width = max(map(len, fields)) + 2
    for name, value in fields.items():
        _write(sys.stdout, f"{name:<{width}}{inert(value)}")


def require_confirmation(question: str, warning: str, declined: str) -> None:
    """Ask the user. Failure with `declined` unless they agree, with `warning` if there is no terminal to ask at."""
    if not is_interactive():
        raise Failure(f"{warning} Pass --yes to confirm.", Exit.USAGE)
    if not confirmed(question):
        raise Failure(declined)


def confirmed(question: str) -> bool:
    """Return whether the user types yes."""
    sys.stderr.write(f"{inert(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def is_interactive() -> bool:
    """Return whether a user can answer a question: input and messages are both at a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def print_secret(
    resource: object, name: str, secret: Secret | Token, as_json: bool, *, recovery: str, about: str
) -> None:
    """Print a secret, which can't be shown again: alone, or as the member `name` of its resource.

    Failure with `recovery` if it can't be printed; else `about` follows on stderr.
    """
    try:
        if as_json:
            print_json({**plain(resource), name: secret.reveal()})
        else:
            print_line(secret.reveal())
        sys.stdout.flush()
    except OSError:
        raise Failure(f"The {name} couldn't be written and is lost: {recovery}.") from None
    if not as_json:
        note(about)
        note(f"This {name} is shown only once. Store it where you keep secrets.")


@contextmanager
def progress(title: str, total: int, *, silent: bool = False) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr if that is a terminal. Call the yielded function with the steps done."""
    if silent or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda steps: bar.advance(task, steps)


def at(instant: datetime | None, otherwise: str = "never") -> str:
    """Return a time for people, to the minute, in UTC."""
    return otherwise if instant is None else f"{instant:%Y-%m-%d %H:%M} UTC"


def away(instant: datetime, now: datetime) -> str:
    """Return about how far off a time is: `in 90 days`, `3 minutes ago`."""
    seconds = int((instant - now).total_seconds())
    amount = _amount(abs(seconds))
    return f"in {amount}" if seconds > 0 else f"{amount} ago"


def _amount(seconds: int) -> str:
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            return counted(seconds // length, unit)
    return "less than a minute"


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _HARMFUL or character in _JOINERS:
        return character
    return character.encode("unicode_escape").decode("ascii")


def _write(stream: TextIO, line: str) -> None:
    """Write a line; characters that the stream's encoding lacks are escaped."""
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
    omitted = _fit(columns, room)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column.heading, overflow="fold", width=column.width)
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, row))
    # The terminal itself wraps an id that is too wide, so that it can still be selected as one word.
    Console(file=sys.stdout, width=max(room, _width(columns))).print(table)
    if omitted:
        names = ", ".join(reversed(omitted))
        note(f"The terminal is too narrow for {names}. Use --json to see everything.")


class _Column:
    """A column of a table. It starts as wide as its widest cell, and never folds ids and short words."""

    def __init__(self, heading: str, cells: Sequence[str]) -> None:
        from rich.cells import cell_len

        self.heading, self.cells = heading, cells
        self.is_id = heading == "ID"
        self.width = max(map(cell_len, (heading, *cells)))
        words = (word for cell in (heading, *cells) for word in cell.split())
        whole = (cell_len(word) for word in words if len(word) <= _SHORT or _ID.search(word))
        self.narrowest = self.width if self.is_id else min(self.width, max(whole, default=1))


def _fit(columns: list[_Column], room: int) -> list[str]:
    """Omit columns from the right until the others fit, then narrow the widest. Return the omitted headings.

    Columns of ids are never omitted or narrowed.
    """
    omitted = []
    while _width(columns, narrowest=True) > room:
        others = [column for column in columns[1:] if not column.is_id]
        if not others:
            break
        columns.remove(others[-1])
        omitted.append(others[-1].heading)
    while _width(columns) > room:
        loose = [column for column in columns if column.width > column.narrowest]
        if not loose:
            break
        max(loose, key=lambda column: column.width).width -= 1
    return omitted


def _width(columns: Sequence[_Column], *, narrowest: bool = False) -> int:
    """Return the table's width: three cells between columns, and one at each edge."""
    widths = [column.narrowest if narrowest else column.width for column in columns]
    return sum(widths) + 3 * (len(columns) - 1) + 2

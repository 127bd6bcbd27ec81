"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypeVar

from cyclopts import Parameter
from cyclopts.validators import Number

Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print one JSON document.")]


Data = Annotated[
    Path | None, Parameter(help="Folder of the embedded database and the pepper (./data).")
]
Database = Annotated[
    str | None, Parameter(help="Database URL; with a password in it, use KEYSTEAD_DATABASE.")
]


@Parameter(name="*", group="Installation")
@dataclass(frozen=True)
class Place:
    """Which installation a command works on."""

    data: Data = None
    database: Database = None


@Parameter(name="*", group="Where")
@dataclass(frozen=True)
class Where:
    """This machine's own installation, or a server; only --url makes it a server."""

    data: Data = None
    database: Database = None
    url: Annotated[
        str | None,
        Parameter(help="A server, in place of this machine's own database; it takes a token."),
    ] = None
    token_file: Annotated[
        Path | None,
        Parameter(help="With --url: file (mode 0600) with the token, if not as `login` keeps it."),
    ] = None

    @property
    def place(self) -> Place:
        """The installation on this machine."""
        return Place(self.data, self.database)


T = TypeVar("T")
C = TypeVar("C")

PAGE: Final = 200

Limit = Annotated[int | None, Parameter(validator=Number(gte=1), help="At most so many.")]
Cursor = Annotated[
    str | None, Parameter(help="Continue after this: the `next_cursor` of the list before.")
]


def gather(
    fetch: Callable[[int, C | None], tuple[list[T], C | None]], limit: int | None, cursor: C | None
) -> tuple[list[T], C | None]:
    """At most `limit` items (None: all) from pages of them, and where to continue; None at the end."""
    found: list[T] = []
    while True:
        size = PAGE if limit is None else min(PAGE, limit - len(found))
        items, cursor = fetch(size, cursor)
        found += items
        if cursor is None or len(found) == limit:
            return found, cursor

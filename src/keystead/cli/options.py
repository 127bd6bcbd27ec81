"""Options that several commands share, and lists in pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypeVar

from cyclopts import Parameter
from cyclopts.validators import Number

T = TypeVar("T")

PAGE: Final = 200

Flag = Annotated[bool, Parameter(negative=())]
Texts = Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=False)]
"""A repeatable option."""
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print one JSON document.")]
Yes = Annotated[
    bool,
    Parameter(name=["--yes", "-y"], negative=(), help="Don't ask for confirmation, for scripts."),
]
Limit = Annotated[
    int | None, Parameter(validator=Number(gte=1), help="The largest number of items to list.")
]
Cursor = Annotated[
    str | None, Parameter(help="Continue a list: the `next_cursor` of its previous part.")
]
Data = Annotated[
    Path | None, Parameter(help="Folder of the embedded database and the pepper. Default: ./data.")
]
Database = Annotated[
    str | None, Parameter(help="Database URL. If it has a password, use KEYSTEAD_DATABASE.")
]


@Parameter(name="*", group="Installation")
@dataclass(frozen=True)
class Place:
    """The installation on this machine that a command works on."""

    data: Data = None
    database: Database = None


@Parameter(name="*", group="Where")
@dataclass(frozen=True)
class Where:
    """An installation on this machine or, with --url, a server."""

    data: Data = None
    database: Database = None
    url: Annotated[
        str | None,
        Parameter(help="Use a server instead of this machine's database. It needs a token."),
    ] = None
    token_file: Annotated[
        Path | None,
        Parameter(
            help="With --url: a file (mode 0600) with the token. Default: the token of `login`."
        ),
    ] = None

    @property
    def place(self) -> Place:
        """The installation on this machine."""
        return Place(self.data, self.database)


HERE: Final = Place()
ANYWHERE: Final = Where()
"""Defaults without any option."""


def gather(
    fetch: Callable[[int, str | None], tuple[list[T], str | None]],
    limit: int | None,
    cursor: str | None,
) -> tuple[list[T], str | None]:
    """Return at most `limit` items (None: all) from their pages, and where to continue; None at the end."""
    items: list[T] = []
    while True:
        size = PAGE if limit is None else min(PAGE, limit - len(items))
        page, cursor = fetch(size, cursor)
        items += page
        if cursor is None or len(items) == limit:
            return items, cursor

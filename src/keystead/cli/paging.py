"""Lists of any length from pages of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, TypeVar

from cyclopts import Parameter
from cyclopts.validators import Number

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

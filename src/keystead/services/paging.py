"""Pages of lists: what every `list` of the services returns.

A list is read in the order of a unique position, its id or sequence, and continues after the last position that was
returned (keyset paging): rows that are inserted or deleted meanwhile never make an item appear twice or be skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from keystead.domain.plans import Quota

T = TypeVar("T")
N = TypeVar("N")


@dataclass(frozen=True, slots=True)
class Page(Generic[T, N]):
    """Items, and the position `next` to continue after: None at the end."""

    items: list[T]
    next: N | None

    def with_quota(self, quota: Quota) -> QuotaPage[T, N]:
        """Return the page with the use of its limit."""
        return QuotaPage(self.items, self.next, quota)


@dataclass(frozen=True, slots=True)
class QuotaPage(Page[T, N]):
    """A page of things that a plan limits."""

    quota: Quota


def page_of(rows: Sequence[T], limit: int, position: Callable[[T], N]) -> Page[T, N]:
    """Return the first `limit` of the rows as a page. One row more than that says that the list continues."""
    items = list(rows[:limit])
    return Page(items, position(items[-1]) if len(rows) > limit else None)

"""Work on items of many workspaces, so that an item that fails costs only itself.

An item that fails is postponed for longer each time and given up
after five failures; then it is tried once a day. Failures are kept in memory: a restart tries everything again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from keystead.domain.errors import NotFound, StorageError
from keystead.storage.clock import Clock

GIVEN_UP_AFTER: Final = 5
"""Failures, after which an item is tried once a day only."""
FIRST_PAUSE: Final = timedelta(seconds=30)
"""Doubled with each further failure: four retries fall within eight minutes."""
LONG_PAUSE: Final = timedelta(days=1)
AWAY_AFTER: Final = 3
"""Items in a row that the store refuses, after which the store is at fault and the run ends."""
TOO_MANY: Final = 20
MOST_REMEMBERED: Final = 10_000

T = TypeVar("T", bound=Hashable)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure of one item; `item` is an id or a kind, never a secret."""

    task: str
    item: str
    failures: int
    is_given_up: bool
    error: Exception


OnFailure = Callable[[Failure], None]


@dataclass(frozen=True, slots=True)
class _Setback:
    failures: int
    until: datetime
    is_given_up: bool


class Isolation(Generic[T]):
    """The items of one task that failed lately."""

    def __init__(
        self,
        task: str,
        clock: Clock,
        on_failure: OnFailure | None = None,
        *,
        name: Callable[[T], str] = str,
    ) -> None:
        """`name` returns an item's name for the log; `on_failure` is called with each failure."""
        self._task = task
        self._clock = clock
        self._on_failure = on_failure or (lambda _: None)
        self._name = name
        self._lock = threading.Lock()
        self._setbacks: dict[T, _Setback] = {}

    def each(self, items: Iterable[T], work: Callable[[T], R]) -> list[R]:
        """Do the work on each item that isn't held back. Return the results of those that succeeded.

        Raises:
            StorageError: The store refused some; raised when the others are done, or after three in a row.
        """
        results: list[R] = []
        refused: StorageError | None = None
        in_a_row = 0
        for item in items:
            if self.holds(item):
                continue
            try:
                results.append(work(item))
            except NotFound:
                self.forgive([item])  # it is gone, mostly with its whole workspace
            except StorageError as error:
                # One busy or slow workspace must not stop the others; a dead database must.
                self.fail(item, error)
                refused, in_a_row = error, in_a_row + 1
                if in_a_row == AWAY_AFTER:
                    raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the next item may be fine
                self.fail(item, error)
            else:
                in_a_row = 0
                self.forgive([item])
        if refused is not None:
            raise refused
        return results

    def together(self, items: Sequence[T], work: Callable[[Sequence[T]], object]) -> list[T]:
        """Do the work on all items that aren't held back, in as few calls as possible. Return those given up now.

        If a call fails, its items are halved until the ones that fail stand alone.

        Raises:
            StorageError: The store refused; the items of earlier calls are done.
            Exception: The last of many failures, if nothing succeeded at all.
        """
        given_up: list[T] = []
        alone = 0
        waiting = [[item for item in items if not self.holds(item)]]
        any_done = False
        while waiting:
            part = waiting.pop()
            if not part:
                continue
            try:
                work(part)
            except StorageError:
                raise
            except Exception as error:
                middle = len(part) // 2
                if middle:
                    waiting += [part[middle:], part[:middle]]
                    continue
                alone += 1
                if self.fail(part[0], error).is_given_up:
                    given_up.append(part[0])
                if alone == TOO_MANY and not any_done:
                    raise  # all of them fail: no item is at fault
            else:
                any_done = True
                self.forgive(part)
        return given_up

    def holds(self, item: T) -> bool:
        """Return whether the item failed and its pause isn't over."""
        setback = self._setbacks.get(item)
        return setback is not None and self._clock.now() < setback.until

    def held_back(self) -> list[T]:
        """Return the items whose pause isn't over."""
        now = self._clock.now()
        with self._lock:
            return [item for item, setback in self._setbacks.items() if now < setback.until]

    def due(self) -> list[T]:
        """Return the items that failed and may be tried again."""
        now = self._clock.now()
        with self._lock:
            return [item for item, setback in self._setbacks.items() if now >= setback.until]

    def fail(self, item: T, error: Exception) -> Failure:
        """Note and report one more failure of an item."""
        now = self._clock.now()
        with self._lock:
            before = self._setbacks.pop(item, None)
            failures = (before.failures if before else 0) + 1
            pause, is_given_up = _after(failures, error)
            if len(self._setbacks) >= MOST_REMEMBERED:
                del self._setbacks[next(iter(self._setbacks))]
            self._setbacks[item] = _Setback(failures, now + pause, is_given_up)
        failure = Failure(self._task, self._name(item), failures, is_given_up, error)
        self._on_failure(failure)
        return failure

    def forgive(self, items: Iterable[T]) -> None:
        """Forget the failures of items that succeeded."""
        if self._setbacks:
            with self._lock:
                for item in items:
                    self._setbacks.pop(item, None)


def run_all(*parts: Callable[[], int]) -> int:
    """Run every part, even if others fail. Returns the sum, or raises the first error when all have run."""
    total, first = 0, None
    for part in parts:
        try:
            total += part()
        except Exception as error:  # noqa: BLE001 - raised below: the task counts as failed
            first = first or error
    if first is not None:
        raise first
    return total


def _after(failures: int, error: Exception) -> tuple[timedelta, bool]:
    """Return the pause after so many failures, and whether the item is given up.

    The store's own failures never give an item up, and the first of them costs no pause: mostly the store was away.
    """
    if isinstance(error, StorageError):
        count = min(failures, GIVEN_UP_AFTER) - 1
        return (FIRST_PAUSE * 2 ** (count - 1) if count else timedelta()), False
    if failures >= GIVEN_UP_AFTER:
        return LONG_PAUSE, True
    return FIRST_PAUSE * 2 ** (failures - 1), False

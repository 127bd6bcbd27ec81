"""Isolation: a failing item is found in few calls; an unavailable store or a general failure gives no item up."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from keystead.domain.errors import Unavailable
from keystead.services.isolation import (
    AWAY_AFTER,
    GIVEN_UP_AFTER,
    LONG_PAUSE,
    MOST_REMEMBERED,
    TOO_MANY,
    Failure,
    Isolation,
    run_all,
)
from tests.support.clocks import ManualClock


class Bench:
    """An isolation of numbers, and its reports."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.reported: list[Failure] = []
        self.isolation = Isolation[int]("count", self.clock, self.reported.append)
        self.calls: list[list[int]] = []

    def work_but(self, *poisoned: int, error: Exception | None = None) -> None:
        """Return work on a thousand numbers together, of which some fail."""

        def work(part: Sequence[int]) -> None:
            self.calls.append(list(part))
            if set(part) & set(poisoned):
                raise error or ValueError

        self.isolation.together(range(1000), work)

    def done(self) -> set[int]:
        """Return the numbers of the calls that succeeded."""
        failed = {failure.item for failure in self.reported}
        return {n for call in self.calls for n in call if str(n) not in failed}


def test_few_calls_find_the_one_at_fault() -> None:
    """Two of a thousand fail: the others are done, in some forty calls; held back, they cost the next run nothing."""
    bench = Bench()
    bench.work_but(3, 700)
    assert {failure.item for failure in bench.reported} == {"3", "700"}
    assert bench.done() == set(range(1000)) - {3, 700}
    assert len(bench.calls) < 45
    bench.calls.clear()
    bench.work_but(3, 700)
    assert [len(call) for call in bench.calls] == [998]


def test_an_item_is_given_up_after_five_failures_and_tried_once_a_day() -> None:
    """Its pauses grow; when it succeeds, everything is forgotten."""
    bench = Bench()
    for _ in range(GIVEN_UP_AFTER):
        bench.work_but(3)
        bench.clock.advance(hours=1)
    assert [failure.is_given_up for failure in bench.reported] == [False] * 4 + [True]
    assert bench.isolation.held_back() == [3]
    bench.clock.advance(LONG_PAUSE)
    assert bench.isolation.due() == [3]
    bench.work_but()
    assert bench.isolation.due() == []
    bench.work_but(3)
    assert bench.reported[-1].failures == 1


def test_where_everything_fails_no_item_is_at_fault() -> None:
    """A missing right or a fault of the program ends the run as the task's own failure, after some twenty items."""
    bench = Bench()
    with pytest.raises(ValueError, match="everything"):
        bench.work_but(*range(1000), error=ValueError("everything"))
    assert len(bench.reported) == TOO_MANY


def test_a_store_that_is_away_ends_the_run() -> None:
    """Three in a row are enough; a single one costs only itself and no pause, and the run is reported as failed."""
    bench = Bench()
    seen: list[int] = []

    def work(number: int) -> None:
        seen.append(number)
        if number in refused:
            raise Unavailable("busy")

    refused = {2, 4}
    for _ in range(2):
        with pytest.raises(Unavailable):
            bench.isolation.each(range(6), work)
    assert seen == [0, 1, 2, 3, 4, 5] * 2
    assert not any(failure.is_given_up for failure in bench.reported)
    refused = set(range(100, 200))
    seen.clear()
    with pytest.raises(Unavailable):
        bench.isolation.each(range(100, 200), work)
    assert len(seen) == AWAY_AFTER
    with pytest.raises(Unavailable):
        bench.work_but(7, error=Unavailable("away"))


def test_memory_is_bounded() -> None:
    """However many fail, a bounded number is remembered: the latest."""
    bench = Bench()
    for number in range(MOST_REMEMBERED + 5):
        bench.isolation.fail(number, ValueError())
    assert len(bench.isolation.held_back()) == MOST_REMEMBERED
    assert not bench.isolation.holds(4)
    assert bench.isolation.holds(5)


def test_all_parts_run_before_the_first_error_is_raised() -> None:
    """One search that fails does not prevent the others."""
    ran: list[int] = []

    def part(number: int) -> int:
        ran.append(number)
        if number == 1:
            raise ValueError("one")
        return number

    with pytest.raises(ValueError, match="one"):
        run_all(*(lambda number=number: part(number) for number in range(4)))
    assert ran == [0, 1, 2, 3]
    assert run_all(lambda: 2, lambda: 3) == 5

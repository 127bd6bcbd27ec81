"""Counting wrong passwords before they are looked at, and acts that are held to a pace: on however many servers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from keystead.domain.errors import RateLimited
from keystead.domain.throttle import (
    BackoffPolicy,
    Subject,
    ThrottleDecision,
    ThrottleState,
    WindowLimit,
    count_failure,
    count_in_window,
    decide,
)
from keystead.storage.clock import Clock
from keystead.storage.database import Database
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import anew
from keystead.storage.tables import throttles as rows

CLOSED_SECONDS: Final = 3600


class Throttle:
    """What the allowances say, kept in the database: a failure is written before the password is looked at."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @contextmanager
    def attempt(
        self, allowances: Mapping[Subject, BackoffPolicy]
    ) -> Iterator[Mapping[Subject, ThrottleState]]:
        """Counts a failure of each subject for the work inside, which is told how many there were before.

        RateLimited, without a write, where one has to wait; what ends in it inside is not counted.
        """
        self._judge_unlocked(allowances)
        before = self._count(allowances)
        try:
            yield before
        except RateLimited:
            self._take_back(allowances)
            raise

    @anew
    def keep_pace(self, subject: Subject, pace: WindowLimit, what: str) -> None:
        """Counts an act, which is called `what`. RateLimited, without a write, where there were too many."""
        with self._database.read_across(Purpose.PEOPLE) as tx:
            seen = rows.find_failures(tx, [subject])[subject]
            _step(seen, pace, self._clock, what)
        with self._database.write_across(Purpose.PEOPLE) as tx:
            seen = rows.lock_failures(tx, [subject], self._clock.now())[subject]
            rows.set_failures(tx, subject, _step(seen, pace, self._clock, what))

    @anew
    def _judge_unlocked(self, allowances: Mapping[Subject, BackoffPolicy]) -> None:
        """A flood costs one read each."""
        with self._database.read_across(Purpose.PEOPLE) as tx:
            _require(rows.find_failures(tx, allowances), allowances, self._clock)

    @anew
    def _count(self, allowances: Mapping[Subject, BackoffPolicy]) -> dict[Subject, ThrottleState]:
        with self._database.write_across(Purpose.PEOPLE) as tx:
            now = self._clock.now()
            before = rows.lock_failures(tx, allowances, now)
            _require(before, allowances, self._clock)
            for subject, allowance in allowances.items():
                rows.set_failures(tx, subject, count_failure(before[subject], allowance, now))
        return before

    @anew
    def _take_back(self, allowances: Mapping[Subject, BackoffPolicy]) -> None:
        with self._database.write_across(Purpose.PEOPLE) as tx:
            for subject in sorted(allowances):
                rows.take_back_failure(tx, subject)


def _require(
    found: Mapping[Subject, ThrottleState],
    allowances: Mapping[Subject, BackoffPolicy],
    clock: Clock,
) -> None:
    now = clock.now()
    verdicts = [decide(found[subject], allowances[subject], now) for subject in allowances]
    refused = [verdict for verdict in verdicts if not verdict.allowed]
    if refused:
        raise _refusal(refused)


def _step(seen: ThrottleState, pace: WindowLimit, clock: Clock, what: str) -> ThrottleState:
    step = count_in_window(seen, pace, clock.now())
    if not isinstance(step, timedelta):
        return step
    seconds = max(1, math.ceil(step.total_seconds()))
    window = int(pace.window.total_seconds())
    allowed = f"There may be {pace.most} {what} in {window} seconds"
    raise RateLimited(seconds, f"{allowed}: wait {seconds} seconds.")


def _refusal(verdicts: list[ThrottleDecision]) -> RateLimited:
    waits = [verdict.wait for verdict in verdicts if verdict.wait is not None]
    if len(waits) < len(verdicts):
        return RateLimited(
            CLOSED_SECONDS,
            "There were too many wrong passwords: use a one-time link, or a device that you signed in on before.",
        )
    seconds = math.ceil(max(waits).total_seconds())
    return RateLimited(
        seconds,
        f"There were too many wrong passwords: wait {seconds} seconds, or use a one-time link.",
    )

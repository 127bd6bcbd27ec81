"""Throttling in the database, shared by all servers: wrong passwords with growing waits, and rates of other acts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
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
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import throttles as rows

CLOSED_SECONDS: Final = 3600


class Throttle:
    """Allowances and rates, counted in the database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @contextmanager
    def attempt(
        self, allowances: Mapping[Subject, BackoffPolicy]
    ) -> Iterator[Mapping[Subject, ThrottleState]]:
        """Count a failure of each subject for the attempt inside, and yield the earlier ones.

        A right password is forgiven afterwards, by the caller. Raises RateLimited, without a write, if the caller has
        to wait; RateLimited from inside takes the failure back.
        """
        # A flood costs one read each: judged without a lock first, and again under it.
        self._judge_unlocked(allowances)
        # Counted before the attempt: of many concurrent ones, each sees those that started before it.
        before = self._count(allowances)
        try:
            yield before
        except RateLimited:
            self.take_back(allowances)
            raise

    @retry_on_conflict
    def take_back(self, subjects: Iterable[Subject]) -> None:
        """Subtract the failure that `attempt` counted: the attempt was a right one, or was refused."""
        with self._database.write_across(Purpose.PEOPLE, keeps_access=True) as tx:
            for subject in sorted(subjects):
                rows.take_back_failure(tx, subject)

    @retry_on_conflict
    def require_rate(self, subject: Subject, rate: WindowLimit, what: str) -> None:
        """Count an act, called `what` in messages. Raises RateLimited, without a write, if there were too many."""
        with self._database.read_across(Purpose.PEOPLE) as tx:
            seen = rows.find_failures(tx, [subject])[subject]
            _count_act(seen, rate, self._clock, what)
        with self._database.write_across(Purpose.PEOPLE, keeps_access=True) as tx:
            seen = rows.lock_failures(tx, [subject], self._clock.now())[subject]
            rows.set_failures(tx, subject, _count_act(seen, rate, self._clock, what))

    @retry_on_conflict
    def _judge_unlocked(self, allowances: Mapping[Subject, BackoffPolicy]) -> None:
        with self._database.read_across(Purpose.PEOPLE) as tx:
            _require(rows.find_failures(tx, allowances), allowances, self._clock)

    @retry_on_conflict
    def _count(self, allowances: Mapping[Subject, BackoffPolicy]) -> dict[Subject, ThrottleState]:
        with self._database.write_across(Purpose.PEOPLE, keeps_access=True) as tx:
            now = self._clock.now()
            before = rows.lock_failures(tx, allowances, now)
            _require(before, allowances, self._clock)
            for subject, allowance in allowances.items():
                rows.set_failures(tx, subject, count_failure(before[subject], allowance, now))
        return before


def _require(
    failures: Mapping[Subject, ThrottleState],
    allowances: Mapping[Subject, BackoffPolicy],
    clock: Clock,
) -> None:
    now = clock.now()
    verdicts = [decide(failures[subject], allowances[subject], now) for subject in allowances]
    refused = [verdict for verdict in verdicts if not verdict.allowed]
    if refused:
        raise _refusal(refused)


def _count_act(seen: ThrottleState, rate: WindowLimit, clock: Clock, what: str) -> ThrottleState:
    counted = count_in_window(seen, rate, clock.now())
    if not isinstance(counted, timedelta):
        return counted
    seconds = max(1, math.ceil(counted.total_seconds()))
    window = int(rate.window.total_seconds())
    allowed = f"There may be {rate.most} {what} in {window} seconds"
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

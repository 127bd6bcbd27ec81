"""What one server process counts. The processes share files, which the listener adds up."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from keystead.operation.metrics import definitions
from keystead.operation.metrics.definitions import Definition

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OUTCOMES: Final = {True: "given_up", False: "postponed"}
"""What becomes of an item that failed, by whether it is given up."""


class Metrics:
    """The counters of one server process."""

    def __init__(self) -> None:
        registry = CollectorRegistry()

        def counter(definition: Definition) -> Counter:
            return Counter(definition.name, definition.text, definition.labels, registry=registry)

        def gauge(definition: Definition, mode: str) -> Gauge:
            return Gauge(
                definition.name,
                definition.text,
                definition.labels,
                registry=registry,
                multiprocess_mode=mode,  # type: ignore[arg-type]
            )

        self._requests = counter(definitions.REQUESTS)
        self._seconds = Histogram(
            definitions.SECONDS.name,
            definitions.SECONDS.text,
            definitions.SECONDS.labels,
            buckets=BUCKETS,
            registry=registry,
        )
        self._verifications = counter(definitions.VERIFICATIONS)
        self._attempts = counter(definitions.ATTEMPTS)
        self._failures = counter(definitions.TASK_FAILURES)
        self._items = counter(definitions.ITEM_FAILURES)
        self._done_at = gauge(definitions.TASK_DONE, "livemin")
        # Every process counts the same database: the latest count is the server's.
        self._keys = gauge(definitions.ACTIVE_KEYS, "livemostrecent")
        self._workspaces = gauge(definitions.WORKSPACES, "livemostrecent")
        self._waiting = gauge(definitions.WAITING, "livemostrecent")
        self._overdue = gauge(definitions.OVERDUE, "livemostrecent")

    def on_start(self, periodic: Iterable[str], others: Iterable[str]) -> None:
        """Create the series of these tasks, since Prometheus misses the first increase of one that appears with it."""
        periodic = tuple(periodic)
        for task in periodic:
            self._done_at.labels(task).set(time.time())
            self._failures.labels(task)
        for task in (*periodic, *others):
            for outcome in OUTCOMES.values():
                self._items.labels(task, outcome)

    def on_response(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a response; `route` is the path template."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def on_verdict(self, verdict: str) -> None:
        """Count a verification: `verified`, `unavailable`, or the reason for the denial."""
        self._verifications.labels(verdict).inc()

    def on_attempt(self, outcome: str) -> None:
        """Count an attempt to deliver: `delivered`, or the reason for its failure."""
        self._attempts.labels(outcome).inc()

    def on_task(self, task: str, done: bool) -> None:
        """Note the end of a periodic task's run; `done`: it succeeded."""
        if done:
            self._done_at.labels(task).set(time.time())
        else:
            self._failures.labels(task).inc()

    def on_item(self, task: str, *, given_up: bool) -> None:
        """Count an item of a background task that failed."""
        self._items.labels(task, OUTCOMES[given_up]).inc()

    def on_counts(self, *, keys: int, workspaces: int, waiting: int, overdue: float) -> None:
        """Note what the database holds; `overdue` is in seconds."""
        self._keys.set(keys)
        self._workspaces.set(workspaces)
        self._waiting.set(waiting)
        self._overdue.set(overdue)

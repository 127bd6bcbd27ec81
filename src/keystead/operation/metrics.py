"""What the server counts, and the listener that tells Prometheus. No label names a workspace, a key or an address.

The server's processes count in files that they share with the parent, which adds them up when it is asked
(the multi-process mode of prometheus_client: its folder must be in the environment before this is imported).
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from keystead import __version__
from keystead.operation.faults import ConfigurationError

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The counters of one of the server's processes."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._requests = Counter(
            "keystead_requests",
            "Requests answered",
            ["method", "route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "keystead_request_duration_seconds",
            "Time from a request's head to the end of its answer",
            ["method", "route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._verifications = Counter(
            "keystead_verifications", "Tokens judged", ["verdict"], registry=registry
        )
        self._attempts = Counter(
            "keystead_webhook_attempts",
            "Attempts at deliveries of webhooks",
            ["outcome"],
            registry=registry,
        )
        self._failures = Counter(
            "keystead_task_failures",
            "Runs of a periodic task that failed",
            ["task"],
            registry=registry,
        )
        self._items = Counter(
            "keystead_task_item_failures",
            "Items of background tasks that failed and were postponed or given up",
            ["task", "outcome"],
            registry=registry,
        )
        self._done_at = Gauge(
            "keystead_task_done_timestamp_seconds",
            "When the process that is furthest behind last ended a periodic task well",
            ["task"],
            registry=registry,
            multiprocess_mode="livemin",
        )

    def on_response(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request was answered; `route` is its template."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def on_verdict(self, verdict: str) -> None:
        """One token was judged: `verified`, `unavailable`, or the reason of the denial."""
        self._verifications.labels(verdict).inc()

    def on_attempt(self, outcome: str) -> None:
        """One attempt at a delivery has ended: `delivered`, or why it failed."""
        self._attempts.labels(outcome).inc()

    def on_task(self, task: str, done: bool) -> None:
        """One run of a periodic task has ended, well or not."""
        if done:
            self._done_at.labels(task).set(time.time())
        else:
            self._failures.labels(task).inc()

    def on_item(self, task: str, *, given_up: bool) -> None:
        """One item of a background task has failed."""
        self._items.labels(task, "given_up" if given_up else "postponed").inc()


class Listener:
    """Answers Prometheus on an address of its own, from the parent of the server's processes."""

    def __init__(self, host: str, port: int, *, database: str) -> None:
        """Takes the address, `port` 0 any free one; ConfigurationError where it cannot be taken."""
        registry = CollectorRegistry()
        registry.register(_Build(database))
        registry.register(_Shared(Path(os.environ[FOLDER])))
        try:
            self._server = make_server(
                host, port, make_wsgi_app(registry), ThreadingWSGIServer, _Silent
            )
        except OSError as error:
            raise ConfigurationError(
                f"The metrics' address {host}:{port} cannot be taken: {error.strerror}."
            ) from None
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.server_port

    def start(self) -> None:
        """Begins to answer, on a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Stops listening."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Silent(WSGIRequestHandler):
    """Nobody needs a line for each time that Prometheus asks."""

    def log_message(self, *_: Any) -> None:
        """Nothing."""


class _Build(Collector):
    """Which build runs."""

    def __init__(self, database: str) -> None:
        self._labels = {
            "version": __version__,
            "python": platform.python_version(),
            "database": database,
        }

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("keystead_build", "The build that runs", self._labels)


class _Shared(Collector):
    """What the server's processes counted; a gauge of one that has ended is dropped first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all = MultiProcessCollector(None, str(folder))  # type: ignore[no-untyped-call]

    def collect(self) -> Iterator[Metric]:
        for file in self._folder.glob("gauge_live*.db"):
            process = int(file.stem.rpartition("_")[2])
            if not _is_alive(process):
                mark_process_dead(process, str(self._folder))  # type: ignore[no-untyped-call]
        yield from self._all.collect()  # type: ignore[no-untyped-call]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True

"""The cost of events and deliveries to the change that caused them; how many are delivered, and how soon."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, Final

import httpx2

from bench.figures import (
    ROUNDS,
    Figure,
    Sample,
    at_least,
    at_most,
    compared,
    durations,
    goal,
    side_by_side,
)
from keystead.bootstrap import Installation
from keystead.domain.ids import KeyId
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal, operator
from keystead.storage.tables import events as event_rows
from keystead.worker.deliver import ATTEMPTS_PER_ENDPOINT, POLL_SECONDS, DeliveryWorker
from tests.support.receivers import (
    Received,
    Receiver,
    create_webhook,
    open_webhook_installation,
    sender,
)

CALLS: Final = 60
DELIVERIES: Final = 1_000
RECEIVERS: Final = 4
SINGLE: Final = 100


def figures(quick: bool) -> Iterator[Figure]:
    """Measure on SQLite, in one process with its receivers: the cost of a second process is not measured."""
    small = 10 if quick else 1
    with _installation() as installation:
        yield from _costs(installation, CALLS // small)
        yield from _rate(installation, DELIVERIES // small)
        yield from _delays(installation, SINGLE // small)


def _costs(installation: Installation, calls: int) -> Iterator[Figure]:
    """Measure a change with its event against one without; and with a webhook against without."""
    plain, heard = _tenant(installation), _tenant(installation)
    create_webhook(installation, heard, "http://127.0.0.1:9/")
    for name, act in (("created", _create), ("revoked", _revoke)):
        ours, floor = side_by_side(
            act(installation, plain, calls), _without_event(act(installation, plain, calls)), calls
        )
        yield from durations(f"key {name} with its event, vs. without", ours, floor)
        ours, floor = side_by_side(
            act(installation, heard, calls), act(installation, plain, calls), calls
        )
        yield from durations(f"key {name} with a webhook, vs. without", ours, floor)


def _rate(installation: Installation, number: int) -> Iterator[Figure]:
    """Measure deliveries a second of a backlog, against the same requests sent bare, at the same concurrency."""
    tenant = _tenant(installation)
    with Receiver() as receiver:
        for _ in range(RECEIVERS):
            create_webhook(installation, tenant, receiver.url, "key.created")
        for _ in range(number // RECEIVERS):
            installation.services.keys.create(tenant, KeyDraft("x"))
        started = time.perf_counter()
        with _worker(installation):
            receiver.wait_for(number, 300)
        ours = number / (time.perf_counter() - started)
        bare = _bare_rate(receiver.received[0], receiver.url, number)
    yield compared("deliveries a second, vs. bare requests", ours, "/s", bare)
    yield goal("deliveries a second", ours, "/s", at_least(600))


def _delays(installation: Installation, number: int) -> Iterator[Figure]:
    """Measure from the commit of an event to its arrival on loopback, against the worker's poll interval."""
    tenant, arrived = _tenant(installation), list[float]()

    def accept(_: Received) -> tuple[int, Mapping[str, str]]:
        arrived.append(time.perf_counter())
        return 204, {}

    with Receiver(accept) as receiver, _worker(installation):
        create_webhook(installation, tenant, receiver.url, "key.created")
        delays = []
        for n in range(number):
            installation.services.keys.create(tenant, KeyDraft("x"))
            committed = time.perf_counter()
            receiver.wait_for(n + 1)
            delays.append((arrived[-1] - committed) * 1e6)
            time.sleep(0.003 * (n % 70))
    look, taken = Sample((POLL_SECONDS * 1e6,) * 2), Sample(tuple(delays))
    yield from durations("event to receiver, vs. the worker's poll", taken, look)
    yield goal("event to receiver, median", taken.median / 1000, "ms", at_most(60))


def _create(installation: Installation, tenant: Principal, _: int) -> Callable[[], object]:
    return lambda: installation.services.keys.create(tenant, KeyDraft("bench"))


def _revoke(installation: Installation, tenant: Principal, calls: int) -> Callable[[], object]:
    """Yield keys made beforehand, as many as all rounds take."""
    keys = installation.services.keys
    total = max(1, calls // 10) + calls * ROUNDS
    ids: Iterator[KeyId] = iter([keys.create(tenant, KeyDraft("x")).key.id for _ in range(total)])
    return lambda: keys.revoke(tenant, next(ids))


def _without_event(act: Callable[[], object]) -> Callable[[], object]:
    """Make the same change without its event."""
    events: Any = event_rows
    append_event = events.append_event

    def silent() -> object:
        events.append_event = lambda *_, **__: None
        try:
            return act()
        finally:
            events.append_event = append_event

    return silent


def _bare_rate(sample: Received, url: str, number: int) -> float:
    """Return requests a second with the same body, on as many connections as the worker has."""
    numbers, lanes = itertools.count(), ATTEMPTS_PER_ENDPOINT * RECEIVERS

    def send() -> None:
        with httpx2.Client(trust_env=False) as client:
            while next(numbers) < number:
                client.post(url, content=sample.body, headers={"webhook-id": "bare"})

    threads = [Thread(target=send) for _ in range(lanes)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return number / (time.perf_counter() - started)


@contextmanager
def _installation() -> Iterator[Installation]:
    with (
        TemporaryDirectory(prefix="keystead-bench-") as folder,
        open_webhook_installation(f"sqlite:///{Path(folder) / 'keystead.db'}") as installation,
    ):
        yield installation


@contextmanager
def _worker(installation: Installation) -> Iterator[None]:
    """Start a worker as a server does."""
    worker = DeliveryWorker(installation.services.deliveries, sender())
    worker.start()
    try:
        yield
    finally:
        worker.stop()


def _tenant(installation: Installation) -> Principal:
    return operator("bench", installation.services.workspaces.create("W", plan_id="scale").id)

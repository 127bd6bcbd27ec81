"""What events and deliveries cost the change that caused them; how many are delivered, and how soon."""

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

from bench.figures import ROUNDS, Figure, Sample, compared, durations, side_by_side
from keystead.bootstrap import Installation
from keystead.domain.ids import KeyId
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal, operator
from keystead.storage.tables import events as event_rows
from keystead.worker.deliver import ATTEMPTS_PER_ENDPOINT, POLL_SECONDS, DeliveryWorker
from tests.support.receivers import Received, Receiver, hook, open_office, sender

CALLS: Final = 60
DELIVERIES: Final = 1_000
RECEIVERS: Final = 4
SINGLE: Final = 100


def figures(quick: bool) -> Iterator[Figure]:
    """Measure on SQLite, in one process with its receivers: the cost of a second process is not measured."""
    small = 10 if quick else 1
    with _office() as office:
        yield from _costs(office, CALLS // small)
        yield _rate(office, DELIVERIES // small)
        yield from _delays(office, SINGLE // small)


def _costs(office: Installation, calls: int) -> Iterator[Figure]:
    """Measure a change with its event against one without; and with a webhook against without."""
    plain, heard = _tenant(office), _tenant(office)
    hook(office, heard, "http://127.0.0.1:9/")
    for name, act in (("created", _create), ("revoked", _revoke)):
        ours, floor = side_by_side(
            act(office, plain, calls), _untold(act(office, plain, calls)), calls
        )
        yield from durations(f"key {name} with its event, vs. without", ours, floor)
        ours, floor = side_by_side(act(office, heard, calls), act(office, plain, calls), calls)
        yield from durations(f"key {name} with a webhook, vs. without", ours, floor)


def _rate(office: Installation, number: int) -> Figure:
    """Return deliveries a second of a backlog, against the same requests sent bare, at the same concurrency."""
    tenant = _tenant(office)
    with Receiver() as receiver:
        for _ in range(RECEIVERS):
            hook(office, tenant, receiver.url, "key.created")
        for _ in range(number // RECEIVERS):
            office.services.keys.create(tenant, KeyDraft("x"))
        begun = time.perf_counter()
        with _worker(office):
            receiver.wait_for(number, 300)
        ours = number / (time.perf_counter() - begun)
        bare = _bare_rate(receiver.received[0], receiver.url, number)
    return compared("deliveries a second, vs. bare requests", ours, "/s", bare)


def _delays(office: Installation, number: int) -> Iterator[Figure]:
    """Measure from the commit of an event to its arrival on loopback, against the worker's poll interval."""
    tenant, arrived = _tenant(office), list[float]()

    def taken(_: Received) -> tuple[int, Mapping[str, str]]:
        arrived.append(time.perf_counter())
        return 204, {}

    with Receiver(taken) as receiver, _worker(office):
        hook(office, tenant, receiver.url, "key.created")
        waited = []
        for n in range(number):
            office.services.keys.create(tenant, KeyDraft("x"))
            committed = time.perf_counter()
            receiver.wait_for(n + 1)
            waited.append((arrived[-1] - committed) * 1e6)
            time.sleep(0.003 * (n % 70))
    look = Sample((POLL_SECONDS * 1e6,) * 2)
    yield from durations("event to receiver, vs. the worker's poll", Sample(tuple(waited)), look)


def _create(office: Installation, tenant: Principal, _: int) -> Callable[[], object]:
    return lambda: office.services.keys.create(tenant, KeyDraft("bench"))


def _revoke(office: Installation, tenant: Principal, calls: int) -> Callable[[], object]:
    """Yield keys made beforehand, as many as all rounds take."""
    keys = office.services.keys
    total = max(1, calls // 10) + calls * ROUNDS
    ids: Iterator[KeyId] = iter([keys.create(tenant, KeyDraft("x")).key.id for _ in range(total)])
    return lambda: keys.revoke(tenant, next(ids))


def _untold(act: Callable[[], object]) -> Callable[[], object]:
    """Make the same change without its event."""
    events: Any = event_rows
    tell = events.append_event

    def silent() -> object:
        events.append_event = lambda *_, **__: None
        try:
            return act()
        finally:
            events.append_event = tell

    return silent


def _bare_rate(sample: Received, url: str, number: int) -> float:
    """Return requests a second with the same body, each on a connection of its own."""
    numbers, lanes = itertools.count(), ATTEMPTS_PER_ENDPOINT * RECEIVERS

    def send() -> None:
        while next(numbers) < number:
            with httpx2.Client(trust_env=False) as client:
                client.post(url, content=sample.body, headers={"webhook-id": "bare"})

    threads = [Thread(target=send) for _ in range(lanes)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return number / (time.perf_counter() - begun)


@contextmanager
def _office() -> Iterator[Installation]:
    with (
        TemporaryDirectory(prefix="keystead-bench-") as folder,
        open_office(f"sqlite:///{Path(folder) / 'keystead.db'}") as office,
    ):
        yield office


@contextmanager
def _worker(office: Installation) -> Iterator[None]:
    """Start a worker as a server does."""
    worker = DeliveryWorker(office.services.deliveries, sender())
    worker.start()
    try:
        yield
    finally:
        worker.stop()


def _tenant(office: Installation) -> Principal:
    return operator("bench", office.services.workspaces.create("W", plan_id="scale").id)

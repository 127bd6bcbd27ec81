"""No committed event is lost, whatever is killed: each reaches its receivers, under one id."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

import httpx2
import pytest

from keystead.bootstrap import Installation, open_safely
from keystead.domain.principals import Principal, system
from keystead.domain.webhooks import DeliveryStatus
from keystead.services.webhooks import CreatedWebhook
from keystead.settings import Settings
from tests.support.postgres import PrivatePostgres
from tests.support.processes import KEYSTEAD
from tests.support.receivers import (
    LOOPBACK,
    SETTINGS,
    Receiver,
    create_webhook,
    delivered_event_ids,
)
from tests.support.row_security import installed_database, server_url
from tests.support.server_process import ServerProcess, serving

EVENTS = 300
MANY_EVENTS = 1000
CLIENTS = 4
DRAIN_SECONDS = 100


@dataclass
class Flow:
    """A continuous creation of keys by clients that go on after every failure."""

    server: ServerProcess
    token: str
    wanted: int
    acknowledged: set[str] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _over: bool = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Create keys until as many as wanted are acknowledged."""
        threads = [threading.Thread(target=self._create) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
            self.wait_for(self.wanted)
        finally:
            self._over = True
            for thread in threads:
                thread.join()

    def wait_for(self, number: int) -> None:
        """Wait until that many are acknowledged."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.acknowledged) >= number, 100)

    def _create(self) -> None:
        bearer = {"authorization": f"Bearer {self.token}"}
        with httpx2.Client(base_url=self.server.base_url, trust_env=False, timeout=5) as client:
            while not self._over and len(self.acknowledged) < self.wanted:
                try:
                    answer = client.post("/v1/keys", json={"description": "x"}, headers=bearer)
                except httpx2.HTTPError:
                    time.sleep(0.02)
                    continue
                if answer.status_code == 201:
                    with self._changed:
                        self.acknowledged.add(answer.json()["id"])
                        self._changed.notify_all()


def environment(*receivers: Receiver) -> dict[str, str]:
    """Return settings by which a server sends to these receivers, and a dead worker is succeeded after a second."""
    return {
        "KEYSTEAD_WEBHOOK_PRIVATE_NETWORKS": ",".join(map(str, LOOPBACK)),
        "KEYSTEAD_WEBHOOK_ALLOW_HTTP": "true",
        "KEYSTEAD_WEBHOOK_PORTS": ",".join(str(receiver.port) for receiver in receivers),
        "KEYSTEAD_WEBHOOK_LEASE_SECONDS": "1",
    }


def open_here(server: ServerProcess) -> Installation:
    """Open the server's installation in this process."""
    settings = server.settings
    return open_safely(Settings(data=settings.data, database=settings.database, **SETTINGS))


def run(
    server: ServerProcess,
    receivers: tuple[Receiver, ...],
    disturb: Callable[[], None],
    *,
    times: int,
    events: int,
) -> None:
    """Let events flow to each receiver, disturb that many times, and check that none is lost or doubled."""
    server.put_on("scale")
    with closing(open_here(server)) as installation:
        tenant = system(installation.services.workspaces.first().workspace_id)
        webhooks = [
            create_webhook(installation, tenant, receiver.url, "key.created")
            for receiver in receivers
        ]
        flow = Flow(server, server.token(), events)
        with flow.running():
            for disturbance in range(1, times + 1):
                flow.wait_for(events * disturbance // (times + 1))
                disturb()
        for webhook, receiver in zip(webhooks, receivers, strict=True):
            _wait_until_all_is_sent(installation, tenant, webhook)
            _check(receiver, flow, delivered_event_ids(installation, webhook.endpoint, tenant))


def _wait_until_all_is_sent(
    installation: Installation, tenant: Principal, webhook: CreatedWebhook
) -> None:
    deadline = time.monotonic() + DRAIN_SECONDS
    waiting = True
    while waiting and time.monotonic() < deadline:
        time.sleep(0.1)
        page = installation.services.webhooks.deliveries(
            tenant, webhook.endpoint.id, status=DeliveryStatus.PENDING, limit=1
        )
        waiting = bool(page.items)
    assert not waiting


def _check(receiver: Receiver, flow: Flow, expected: set[str]) -> None:
    """Check that each receiver got every event, with every acknowledged key, and one event for each key."""
    ids = {received.id for received in receiver.received}
    assert ids == expected
    by_key: dict[str, set[str]] = {}
    for received in receiver.received:
        by_key.setdefault(json.loads(received.body)["data"]["target"]["id"], set()).add(received.id)
    assert flow.acknowledged <= by_key.keys()
    assert {len(ids) for ids in by_key.values()} == {1}


def _killing(server: ServerProcess) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return a function that kills server and worker with SIGKILL and restarts them, and one that ends the worker."""
    worker: list[Popen[bytes]] = [server.popen(KEYSTEAD, "worker")]

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.killpg(worker[-1].pid, signal.SIGKILL)
        worker.pop().wait(30)

    def disturb() -> None:
        server.kill()
        kill()
        worker.append(server.popen(KEYSTEAD, "worker"))
        server.start()

    return disturb, kill


@pytest.mark.slow
def test_what_is_killed_loses_nothing(database_url: str, tmp_path: Path) -> None:
    """SIGKILL to server and worker five times while 300 events flow: none is lost, duplicates share their id."""
    _survive(database_url, tmp_path, events=EVENTS)


@pytest.mark.prove
@pytest.mark.parametrize("turn", range(20))
def test_what_is_killed_a_hundred_times_loses_nothing(
    database_url: str, tmp_path: Path, turn: int
) -> None:
    """The guarantee holds for a hundred kills while 20,000 events flow: 20 rounds, each on a fresh database."""
    _survive(database_url, tmp_path, events=MANY_EVENTS)


def _survive(database_url: str, folder: Path, *, events: int) -> None:
    with Receiver() as first, Receiver() as second:
        receivers = (first, second)
        with serving(database_url, environment=environment(*receivers)) as server:
            disturb, end = _killing(server)
            try:
                run(server, receivers, disturb, times=5, events=events)
            finally:
                end()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_database_that_goes_away_loses_nothing(
    private_postgres: PrivatePostgres, how: str, tmp_path: Path
) -> None:
    """PostgreSQL restarted, or killed, under load: deliveries resume without help, and none is lost."""
    url = server_url(private_postgres, installed_database(private_postgres))

    def disturb() -> None:
        if how == "restart":
            private_postgres.restart()
        else:
            private_postgres.kill()
            private_postgres.start()

    with (
        Receiver() as receiver,
        serving(url, environment=environment(receiver), data=tmp_path) as server,
    ):
        run(server, (receiver,), disturb, times=2, events=100)

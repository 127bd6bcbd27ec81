"""Workers divide shared resources by workspace: three that want everything leave a fourth its service."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from sqlalchemy import func, select

from keystead.bootstrap import Installation
from keystead.domain.ids import WorkspaceId
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal, operator
from keystead.domain.scopes import Scopes
from keystead.domain.shares import FreePlaces
from keystead.domain.webhooks import WebhookDraft
from keystead.storage.schema import tables as schema
from keystead.worker.deliver import DeliveryWorker
from keystead.worker.safe_network import RESOLVERS, SystemResolver
from tests.support.administrator import read_behind
from tests.support.postgres import wait_until
from tests.support.receivers import HOST, Receiver, sender

HOSTILE: Final = 3
ENDPOINTS: Final = 50
LONGER_THAN_THE_TEST: Final = 600.0


@pytest.fixture
def hostile(installation: Installation) -> list[Principal]:
    """Three workspaces without limits."""
    return [tenant_of(installation) for _ in range(HOSTILE)]


def tenant_of(installation: Installation) -> Principal:
    """Return the owner of a new workspace without limits."""
    return operator("tests", installation.services.workspaces.create("W", plan_id="scale").id)


def listen(installation: Installation, tenant: Principal, url: str, endpoints: int) -> None:
    """Create that many endpoints for new keys in the workspace."""
    for number in range(endpoints):
        draft = WebhookDraft(f"e{number}", url, ["key.created"])
        installation.services.webhooks.create(tenant, draft)


def happen(installation: Installation, tenant: Principal) -> None:
    """Create a key: one delivery for each endpoint."""
    installation.services.keys.create(tenant, KeyDraft("k", None, Scopes(["documents:read"])))


@contextmanager
def tarpit() -> Iterator[str]:
    """Start a server that accepts any number of connections and does nothing with them. Returns its URL."""
    with socket.create_server((HOST, 0), backlog=1024) as listener:
        yield f"http://{HOST}:{listener.getsockname()[1]}/hooks"


def leased(installation: Installation) -> int:
    """Return how many queues a worker has leased."""
    queues = schema.webhook_queues
    with read_behind(installation.database) as tx:
        return tx.execute(select(func.count()).where(queues.c.lease.is_not(None))).scalar_one()


def is_settled(installation: Installation) -> bool:
    """Return whether the worker has claimed as much as it wants to, as far as one second can show."""
    before = leased(installation)
    time.sleep(1)
    return before == leased(installation) > 0


@pytest.mark.slow_on("postgresql")
def test_tarpits_leave_places_to_others(
    installation: Installation, hostile: list[Principal], tenant: Principal, receiver: Receiver
) -> None:
    """While the attempts at three workspaces' tarpits last, an event of a fourth is delivered."""
    with tarpit() as url:
        for each in hostile:
            listen(installation, each, url, ENDPOINTS)
        listen(installation, tenant, receiver.url, 1)
        for each in hostile:
            happen(installation, each)
        worker = DeliveryWorker(
            installation.services.deliveries, sender(seconds=LONGER_THAN_THE_TEST)
        )
        worker.start()
        try:
            wait_until(lambda: is_settled(installation), "the tarpits have all that they get")
            happen(installation, tenant)
            receiver.wait_for(1)
        finally:
            worker.stop()


@pytest.mark.slow_on("postgresql")
def test_a_batch_is_claimed_workspace_after_workspace(
    installation: Installation, hostile: list[Principal], tenant: Principal
) -> None:
    """However long others have been due, the first batch has one of each workspace, small queues first."""
    for each in hostile:
        listen(installation, each, "https://example.com/hooks", 6)
        happen(installation, each)
    listen(installation, tenant, "https://example.com/hooks", 2)
    happen(installation, tenant)
    claim = installation.services.deliveries.claim
    first = claim(endpoints=4, messages=1, places=FreePlaces(16, {}))
    everyone = {each.workspace_id for each in (*hostile, tenant)}
    assert {batch.endpoint.workspace_id for batch in first} == everyone
    waiting = {hostile[0].workspace_id: 5, hostile[1].workspace_id: 1, tenant.workspace_id: 1}
    second = claim(endpoints=4, messages=1, places=FreePlaces(5, waiting))
    owners = [hostile[2], hostile[1], hostile[2], tenant]
    assert [batch.endpoint.workspace_id for batch in second] == [o.workspace_id for o in owners]
    assert claim(endpoints=9, messages=1, places=FreePlaces(0, {})) == []


@pytest.mark.slow_on("postgresql")
def test_slow_names_leave_threads_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """While endless name lookups of three workspaces run, a name of a fourth is resolved."""
    answered, look_up = threading.Event(), socket.getaddrinfo
    lookups = threading.Semaphore(0)

    def slow(host: str, *more: Any, **keywords: Any) -> Any:
        if host.endswith(".slow.example"):
            lookups.release()
            assert answered.wait(LONGER_THAN_THE_TEST)
            raise socket.gaierror
        return look_up(host, *more, **keywords)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    asyncio.run(_look_up_among_slow(lookups, answered))


async def _look_up_among_slow(lookups: threading.Semaphore, answered: threading.Event) -> None:
    resolver = SystemResolver()
    try:
        slow = [
            asyncio.ensure_future(resolver(WorkspaceId(f"ws_{owner}"), "x.slow.example", 80))
            for _ in range(RESOLVERS)
            for owner in range(HOSTILE)
        ]
        for _ in range(HOSTILE * 10):
            await asyncio.to_thread(lookups.acquire)
        assert await asyncio.wait_for(resolver(WorkspaceId("ws_honest"), HOST, 80), 30)
        assert not any(each.done() for each in slow)
        for each in slow[::2]:  # lookups that are given up must not block a thread forever
            each.cancel()
    finally:
        answered.set()
    outcomes = await asyncio.gather(*slow, return_exceptions=True)
    assert all(isinstance(each, OSError | asyncio.CancelledError) for each in outcomes)
    assert await resolver(WorkspaceId("ws_0"), HOST, 80)
    resolver.close()

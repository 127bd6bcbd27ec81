"""Clients that create and revoke keys through any outage, and the changes that servers acknowledged."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection

import httpx2

from tests.support.postgres import wait_until
from tests.support.server_process import HOST, ServerProcess

LIVE, DEAD = 200, 401


@dataclass
class AcknowledgedChanges:
    """What was acknowledged: keys `created`, each with its token, and keys `revoked`. Others are `in_doubt`.

    `refusals`: the number of responses 503 by the problem's code; `slowest`: the longest such wait in seconds.
    """

    created: dict[str, str] = field(default_factory=dict, repr=False)
    revoked: set[str] = field(default_factory=set)
    in_doubt: set[str] = field(default_factory=set)
    refusals: dict[str, int] = field(default_factory=dict)
    slowest: float = 0.0

    def create(self, http: httpx2.Client) -> None:
        """Ask for a key, and record it if it was created."""
        if (
            answer := self._request(http, "POST", "/v1/keys", {"description": "acknowledged"})
        ) is not None:
            assert answer.status_code == 201
            self.created[answer.json()["id"]] = answer.json()["token"]

    def revoke(self, http: httpx2.Client) -> None:
        """Revoke a key; without a 204 the key is in doubt."""
        alive = [key for key in self.created if key not in self.revoked | self.in_doubt]
        if not alive:
            return
        key = random.choice(alive)
        self.in_doubt.add(key)
        if (answer := self._request(http, "DELETE", f"/v1/keys/{key}")) is not None:
            assert answer.status_code == 204
            self.in_doubt.discard(key)
            self.revoked.add(key)

    def _request(
        self, http: httpx2.Client, method: str, path: str, json: object = None
    ) -> httpx2.Response | None:
        """Return the response of a change that was made, or None if it was refused or its outcome is unknown."""
        started = time.monotonic()
        try:
            answer = http.request(method, path, json=json)
        except httpx2.TransportError:
            return None
        if answer.status_code not in {503, 507}:
            return answer
        self.slowest = max(self.slowest, time.monotonic() - started)
        code = str(answer.json()["code"])
        self.refusals[code] = self.refusals.get(code, 0) + 1
        time.sleep(0.02)
        return None

    def check(self, servers: Sequence[ServerProcess]) -> int:
        """Check that acknowledged changes hold and all servers agree. Returns how many promises were checked."""
        for key, token in self.created.items():
            statuses = {verify(server, token) for server in servers}
            assert len(statuses) == 1, "servers disagree"
            (status,) = statuses
            assert status in {LIVE, DEAD}
            if key not in self.in_doubt:
                assert status == (DEAD if key in self.revoked else LIVE), "a promise is broken"
        return len(self.created) + len(self.revoked)


def verify(server: ServerProcess, token: str) -> int:
    """Return the status of a request with this token, on a connection of its own."""
    connection = HTTPConnection(HOST, server.port, timeout=30)
    try:
        connection.request("GET", "/v1/whoami", headers={"authorization": f"Bearer {token}"})
        return connection.getresponse().status
    finally:
        connection.close()


@contextmanager
def at_work(
    servers: Sequence[ServerProcess], token: str, clients: int = 4
) -> Iterator[list[AcknowledgedChanges]]:
    """Run that many clients, spread over the servers, until the block ends. Yields the changes of each."""
    changes_by_client = [AcknowledgedChanges() for _ in range(clients)]
    stopping = threading.Event()
    threads = [
        threading.Thread(target=_work, args=(servers[n % len(servers)], token, changes, stopping))
        for n, changes in enumerate(changes_by_client)
    ]
    for thread in threads:
        thread.start()
    try:
        wait_until(
            lambda: all(changes.created for changes in changes_by_client), "all clients are at work"
        )
        yield changes_by_client
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def _work(
    server: ServerProcess, token: str, changes: AcknowledgedChanges, stopping: threading.Event
) -> None:
    bearer = {"authorization": f"Bearer {token}"}
    with httpx2.Client(
        base_url=server.base_url, headers=bearer, trust_env=False, timeout=40
    ) as http:
        while not stopping.is_set():
            changes.create(http)
            changes.revoke(http)

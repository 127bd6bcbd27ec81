"""kill -9 at random moments: what was acknowledged is there; what was not is complete or absent."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

import httpx2
import pytest
from sqlalchemy import text

from keystead.storage.database import Database
from tests.support.administrator import read_behind
from tests.support.postgres import wait_until
from tests.support.server_process import ServerProcess, serving

CLIENTS = 4
EVENTS = "SELECT target_id, type FROM events WHERE type IN ('key.created', 'key.revoked')"
_numbers = count(1)


@dataclass
class Client:
    """A client that creates and revokes keys while the server answers, and records the responses.

    Acknowledged: `created` (key to token) and `revoked`. Not answered: `asked` (the key to revoke)
    and `unanswered` (the description of the key to create).
    """

    base_url: str
    token: str = field(repr=False)
    created: dict[str, str] = field(default_factory=dict, repr=False)
    revoked: set[str] = field(default_factory=set)
    asked: str | None = None
    unanswered: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Create and revoke until the connection breaks."""
        bearer = {"authorization": f"Bearer {self.token}"}
        with (
            suppress(httpx2.TransportError),
            httpx2.Client(base_url=self.base_url, headers=bearer, trust_env=False) as http,
        ):
            while True:
                self._create(http)
                if len(self.created) % 2:
                    self._revoke(http)

    def _create(self, http: httpx2.Client) -> None:
        description = f"crash {next(_numbers)}"
        self.unanswered.add(description)
        response = http.post("/v1/keys", json={"description": description})
        assert response.status_code == 201
        self.unanswered.discard(description)
        self.created[response.json()["id"]] = response.json()["token"]

    def _revoke(self, http: httpx2.Client) -> None:
        self.asked = random.choice([key for key in self.created if key not in self.revoked])
        assert http.delete(f"/v1/keys/{self.asked}").status_code == 204
        self.revoked.add(self.asked)
        self.asked = None


def crash(server: ServerProcess, token: str, acknowledged: int) -> list[Client]:
    """Kill the whole server with SIGKILL once four clients have that many keys acknowledged, and restart it."""
    clients = [Client(server.base_url, token) for _ in range(CLIENTS)]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    wait_until(
        lambda: sum(len(client.created) for client in clients) >= acknowledged,
        f"{acknowledged} keys are created",
    )
    server.kill()
    for thread in threads:
        thread.join()
    server.start()
    return clients


def check_promises(server: ServerProcess, token: str, clients: list[Client]) -> int:
    """Check that acknowledged keys verify and revoked ones are refused. Returns the number of checked promises."""
    listed = {key["id"]: key for key in _all_keys(server, token)}
    with httpx2.Client(base_url=server.base_url, trust_env=False) as http:
        for client in clients:
            for key_id, secret in client.created.items():
                bearer = {"authorization": f"Bearer {secret}"}
                status = http.get("/v1/whoami", headers=bearer).status_code
                alive = listed[key_id]["status"] == "active"
                assert status == (200 if alive else 401)
                assert alive is (key_id not in client.revoked) or key_id == client.asked
    return sum(len(client.created) + len(client.revoked) for client in clients)


def _all_keys(server: ServerProcess, token: str) -> Iterator[dict[str, str]]:
    cursor = ""
    while True:
        page = server.call("GET", f"/v1/keys?limit=200{cursor}", token=token).json()
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        cursor = f"&cursor={page['next_cursor']}"


def check_wholeness(server: ServerProcess, clients: list[Client]) -> None:
    """Check that no change is half done: each key and each end has one event, and each unknown key was requested."""
    with _opened(server) as database, read_behind(database) as tx:
        events = Counter((row.target_id, row.type) for row in tx.execute(text(EVENTS)))
        keys = list(tx.execute(text("SELECT id, description, revoked_at FROM api_keys")))
        if database.is_sqlite:
            assert tx.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
    assert set(events.values()) == {1}
    assert {key.id for key in keys} == {id for id, type in events if type == "key.created"}
    assert {key.id for key in keys if key.revoked_at} == {
        id for id, type in events if type == "key.revoked"
    }
    acknowledged = {id for client in clients for id in client.created}
    unanswered = {description for client in clients for description in client.unanswered}
    made_unanswered = [
        k.description
        for k in keys
        if k.description.startswith("crash") and k.id not in acknowledged
    ]
    assert set(made_unanswered) <= unanswered
    assert len(made_unanswered) == len(set(made_unanswered))


@contextmanager
def _opened(server: ServerProcess) -> Iterator[Database]:
    database = Database(server.database_url)
    try:
        yield database
    finally:
        database.close()


def crash_often(database_url: str, times: int, most: int) -> int:
    """Crash one server that many times, each time after up to `most` created keys. Returns the kept promises."""
    with serving(database_url) as server:
        server.put_on("scale")
        token = server.token()
        clients: list[Client] = []
        promises = 0
        for _ in range(times):
            crashed = crash(server, token, random.randint(1, most))
            promises += check_promises(server, token, crashed)
            clients += crashed
        check_wholeness(server, clients)
    return promises


@pytest.mark.slow_on("postgresql")
def test_a_killed_server_has_kept_its_promises(database_url: str) -> None:
    """Five kills while four clients create and revoke: no acknowledged change is lost, and no change is half done."""
    assert crash_often(database_url, 5, 12) >= 5


@pytest.mark.prove
@pytest.mark.timeout(600)
def test_a_hundred_times_killed_server_has_kept_its_promises(database_url: str) -> None:
    """A hundred kills, each after up to 60 creations."""
    assert crash_often(database_url, 100, 60) >= 100

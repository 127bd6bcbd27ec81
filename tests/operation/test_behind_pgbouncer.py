"""Servers behind PgBouncer in transaction mode keep the guarantees that they keep without it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from keystead.storage.row_security.diff import SERVER_ROLE
from tests.support.pgbouncer import pgbouncer
from tests.support.postgres import DEADLINE_SECONDS, PostgresServer
from tests.support.row_security import installed_database, server_url
from tests.support.server_process import ServerProcess, serving

KEYS = 60


@pytest.fixture
def pair(postgres: PostgresServer) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Two servers over one database, to which two connections lead."""
    url = server_url(postgres, installed_database(postgres))
    with (
        pgbouncer(postgres, SERVER_ROLE) as pooler,
        serving(url, start=False) as one,
        serving(url, start=False, data=one.data) as other,
    ):
        one.database_url = other.database_url = pooler.url(url)
        one.start()
        other.start()
        yield one, other


def answered(
    server: ServerProcess, method: str, path: str, token: str, json: object = None
) -> httpx2.Response:
    """Repeat a call until it isn't refused with 503: two connections are few for ten callers on a busy machine."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        response = server.call(method, path, token=token, json=json)
        if response.status_code != 503 or time.monotonic() > deadline:
            return response


@pytest.mark.slow
def test_a_journey_through_the_pooler(pair: tuple[ServerProcess, ServerProcess]) -> None:
    """Ten threads create, use and revoke keys: what one server acknowledged holds on the other from then on."""
    one, other = pair
    token = one.token()
    one.put_on("scale")

    def journey(number: int) -> list[int]:
        response = answered(one, "POST", "/v1/keys", token, json={"description": f"key {number}"})
        key = response.json()
        used = answered(other, "GET", "/v1/whoami", key["token"])
        revoked = answered(one, "DELETE", f"/v1/keys/{key['id']}", token)
        after = [answered(server, "GET", "/v1/whoami", key["token"]) for server in (other, one)]
        return [answer.status_code for answer in (response, used, revoked, *after)]

    with ThreadPoolExecutor(10) as people:
        outcomes = list(people.map(journey, range(KEYS)))
    assert outcomes == [[201, 200, 204, 401, 401]] * KEYS

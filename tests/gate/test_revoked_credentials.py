"""A revoked credential is refused by every process of real servers from the response on, despite caches."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

import pytest

from keystead import bootstrap
from keystead.domain.credentials import CredentialKind
from keystead.domain.ids import CredentialId
from keystead.services import Services
from tests.support.gate import OPERATOR
from tests.support.postgres import PostgresServer, wait_until
from tests.support.raw_http import Connection, bearer, open_connection
from tests.support.row_security import installed_database, server_url
from tests.support.server_process import ServerProcess, serving

FORM = ("Content-Type", "application/x-www-form-urlencoded")
LINES = 6
MODES = [("sqlite", "stamp"), ("sqlite", "read"), ("postgresql", "read")]


@dataclass
class Place:
    """A server of two processes, and the services of a third one over the same database."""

    server: ServerProcess
    services: Services
    body: bytes

    def credential(self, kind: CredentialKind) -> tuple[CredentialId, str]:
        """Create a credential and return its ID and token."""
        created, token = self.services.credentials.create("search", OPERATOR, kind)
        return created.id, token.reveal()

    def introspect(self, connection: Connection, credential: str) -> int:
        """Return the status for a caller with that credential."""
        response = connection.ask(
            "/introspect", [bearer(credential), FORM], method="POST", body=self.body
        )
        assert (response.status == 200) is (b'"active":true' in response.body)
        return response.status

    def list_plans(self, connection: Connection, credential: str) -> int:
        """Return the status for an operator with that credential."""
        return connection.ask("/operator/v1/plans", [bearer(credential)]).status


@pytest.fixture(scope="module", params=MODES, ids="-".join)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """A server on each engine, in each mode."""
    engine, mode = request.param
    with ExitStack() as stack:
        if engine == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('place') / 'keystead.db'}"
        else:
            postgres: PostgresServer = request.getfixturevalue("postgres")
            name = installed_database(postgres)
            stack.callback(postgres.drop_database, name)
            url = server_url(postgres, name)
        server = stack.enter_context(
            serving(url, workers=2, environment={"KEYSTEAD_VERIFICATION": mode})
        )
        token = server.token("documents:read")
        third = stack.enter_context(closing(bootstrap.open_safely(server.settings)))
        yield Place(server, third.services, f"token={token}".encode())


@pytest.mark.slow
def test_refused_on_every_line(place: Place) -> None:
    """A service and an operator that were accepted on every open connection are refused on all of them."""
    with ExitStack() as stack:
        lines = [stack.enter_context(open_connection(place.server.port)) for _ in range(LINES)]
        for kind, ask in (
            (CredentialKind.SERVICE, place.introspect),
            (CredentialKind.OPERATOR, place.introspect),
            (CredentialKind.OPERATOR, place.list_plans),
        ):
            id, token = place.credential(kind)
            assert [ask(connection, token) for connection in lines * 3] == [200] * len(lines) * 3
            place.services.credentials.revoke(id, OPERATOR)
            assert [ask(connection, token) for connection in lines * 3] == [401] * len(lines) * 3


@dataclass
class Seen:
    """The results of one client: when its accepted requests began, and when the first was refused."""

    accepted: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)


def _hammer(place: Place, token: str, seen: Seen, ended: threading.Event) -> None:
    """Send requests until two have begun after the end."""
    late = 0
    with open_connection(place.server.port) as connection:
        while late < 2:
            late += ended.is_set()
            started = time.monotonic_ns()
            status = place.introspect(connection, token)
            if status == 200:
                seen.accepted.append(started)
            else:
                assert status == 401
                seen.refused.append(time.monotonic_ns())


def _wrongly_let_in(place: Place) -> int:
    """Count the requests that were wrongly accepted, with a credential that is revoked while clients use it."""
    id, token = place.credential(CredentialKind.SERVICE)
    ended, seen = threading.Event(), [Seen() for _ in range(LINES)]
    with ThreadPoolExecutor(LINES) as pool:
        asking = [pool.submit(_hammer, place, token, client, ended) for client in seen]
        try:
            wait_until(lambda: all(client.accepted for client in seen), "everybody is let in")
            place.services.credentials.revoke(id, OPERATOR)
            answered = time.monotonic_ns()
        finally:
            ended.set()
        for client in asking:
            client.result(60)
    assert all(len(client.refused) >= 2 for client in seen)
    end = min([answered, *(client.refused[0] for client in seen)])
    return sum(started > end for client in seen for started in client.accepted)


@pytest.mark.slow
def test_a_race_with_concurrent_requests(place: Place) -> None:
    """No request is accepted that began after the revocation's response, or after another refusal (R29, R30)."""
    assert sum(_wrongly_let_in(place) for _ in range(12)) == 0

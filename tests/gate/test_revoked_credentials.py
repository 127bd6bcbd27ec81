"""A revoked credential is refused by every process of real servers from the answer on, despite caches."""

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
        """Id and token of a new credential."""
        made, token = self.services.credentials.create("search", OPERATOR, kind)
        return made.id, token.reveal()

    def introspect(self, kept: Connection, credential: str) -> int:
        """Return the status for a caller with that credential."""
        asked = kept.ask("/introspect", [bearer(credential), FORM], method="POST", body=self.body)
        assert (asked.status == 200) is (b'"active":true' in asked.body)
        return asked.status

    def list_plans(self, kept: Connection, credential: str) -> int:
        """The status for an operator who has that credential."""
        return kept.ask("/operator/v1/plans", [bearer(credential)]).status


@pytest.fixture(scope="module", params=MODES, ids="-".join)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """The same on each engine, in each mode."""
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
    """A service and an operator who were let in on every open connection are refused on all of them from then on."""
    with ExitStack() as stack:
        lines = [stack.enter_context(open_connection(place.server.port)) for _ in range(LINES)]
        for kind, ask in (
            (CredentialKind.SERVICE, place.introspect),
            (CredentialKind.OPERATOR, place.introspect),
            (CredentialKind.OPERATOR, place.list_plans),
        ):
            id, token = place.credential(kind)
            assert [ask(kept, token) for kept in lines * 3] == [200] * len(lines) * 3
            place.services.credentials.revoke(id, OPERATOR)
            assert [ask(kept, token) for kept in lines * 3] == [401] * len(lines) * 3


@dataclass
class Seen:
    """What one caller saw: when questions that were answered well began, and when one was first refused."""

    accepted: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)


def _hammer(place: Place, token: str, seen: Seen, ended: threading.Event) -> None:
    """Asks until it has asked twice after the end."""
    late = 0
    with open_connection(place.server.port) as kept:
        while late < 2:
            late += ended.is_set()
            began = time.monotonic_ns()
            status = place.introspect(kept, token)
            if status == 200:
                seen.accepted.append(began)
            else:
                assert status == 401
                seen.refused.append(time.monotonic_ns())


def _wrongly_let_in(place: Place) -> int:
    """How many of those who ask all the time with a credential that is revoked meanwhile."""
    id, token = place.credential(CredentialKind.SERVICE)
    ended, seen = threading.Event(), [Seen() for _ in range(LINES)]
    with ThreadPoolExecutor(LINES) as pool:
        asking = [pool.submit(_hammer, place, token, one, ended) for one in seen]
        try:
            wait_until(lambda: all(one.accepted for one in seen), "everybody is let in")
            place.services.credentials.revoke(id, OPERATOR)
            answered = time.monotonic_ns()
        finally:
            ended.set()
        for one in asking:
            one.result(60)
    assert all(len(one.refused) >= 2 for one in seen)
    end = min([answered, *(one.refused[0] for one in seen)])
    return sum(began > end for one in seen for began in one.accepted)


@pytest.mark.slow
def test_a_race_with_those_who_ask(place: Place) -> None:
    """No request is accepted that began after the revocation's answer, or after another refusal (R29, R30)."""
    assert sum(_wrongly_let_in(place) for _ in range(12)) == 0

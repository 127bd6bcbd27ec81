"""A silent database while requests keep arriving: each is refused within two seconds (R36)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

import pytest

from keystead import bootstrap
from keystead.developer_area.sign_in.cookies import SESSION
from keystead.domain.credentials import CredentialKind
from keystead.domain.principals import Actor, PrincipalKind
from tests.support.acknowledged_changes import LIVE, verify
from tests.support.open_loop import Call, Response, arrive
from tests.support.outages import (
    RECOVERY_SECONDS,
    Outage,
    Taking,
    bound,
    connections_to,
    frozen,
    half_frozen,
    keys_of,
    silent,
    threads_of,
)
from tests.support.postgres import PrivatePostgres, wait_until
from tests.support.relay import relay_to
from tests.support.server_process import ServerProcess, serving

LEAD_SECONDS: Final = 0.5
MOST_THREADS: Final = 100
"""The bound on new threads: all pools of a process together have fewer, and one for each request would be more."""
MOST_CONNECTIONS: Final = 50
"""The bound on new connections to the database."""
FORM: Final = {"content-type": "application/x-www-form-urlencoded"}
JSON: Final = {"content-type": "application/json"}
CLI: Final = Actor(PrincipalKind.OPERATOR, "cli", "root")
WRONG: Final = {"live": {401, 403}, "dead": {200}, "unknown": {200}}
"""The answers that would be wrong for each kind of key, whatever happens to the database."""


def bearer(token: str) -> dict[str, str]:
    """Return the header field with that token."""
    return {"authorization": f"Bearer {token}"}


def calls_to(server: ServerProcess) -> list[Call]:
    """Return requests of all kinds that need the database: by keys, services, the product, and users."""
    tokens = keys_of(server)
    server.put_on("scale")
    calls = []
    for kind in ("live", "dead", "unknown"):
        calls.append(Call(f"whoami {kind}", "GET", "/v1/whoami", bearer(tokens[kind])))
        calls.append(Call(f"forward-auth {kind}", "GET", "/forward-auth/any", bearer(tokens[kind])))
    creator = bearer(tokens["create"])
    calls.append(Call("list", "GET", "/v1/keys", creator))
    calls.append(Call("create", "POST", "/v1/keys", creator | JSON, b'{"description": "away"}'))
    return calls + calls_without_a_key(server, tokens["live"])


def calls_without_a_key(server: ServerProcess, live: str) -> list[Call]:
    """Return requests that reach their own reads, because no verification of a key refuses them first."""
    installation = bootstrap.open_safely(server.settings)
    try:
        services = installation.services
        service, product = (
            services.credentials.create("tests", CLI, kind)[1].reveal()
            for kind in (CredentialKind.SERVICE, CredentialKind.OPERATOR)
        )
        first = services.workspaces.first().workspace_id
        link, _ = services.sign_in.make_link(services.workspaces.owner(first))
        cookie = f"{SESSION}={services.sign_in.redeem(link).secret.reveal()}"
    finally:
        installation.close()
    form = urlencode({"token": live}).encode()
    return [
        Call("introspect", "POST", "/introspect", bearer(service) | FORM, form),
        Call("operator", "GET", "/operator/v1/workspaces", bearer(product)),
        Call("page", "GET", f"/w/{first}/keys", {"cookie": cookie}),
        Call("ready", "GET", "/readyz"),
    ]


@dataclass
class Away:
    """A server, and when its database was cut off and restored (monotonic seconds)."""

    server: ServerProcess
    port: int
    outage: Outage
    began: float = 0.0
    ended: float = 0.0
    threads: list[int] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)

    def begin(self) -> None:
        """Cut the database off from now on."""
        self.began = time.monotonic()
        self.outage[0]()

    def look(self) -> None:
        """Record the server's number of threads, and of connections to the database."""
        self.threads.append(threads_of(self.server))
        self.connections.append(connections_to(self.port))

    def end(self) -> None:
        """Restore the database from now on."""
        self.ended = time.monotonic()
        self.outage[1]()


@contextmanager
def without(postgres: PrivatePostgres, taking: Taking) -> Iterator[Away]:
    """Start a server over PostgreSQL that can be cut off from it."""
    with relay_to(postgres.port) as relay:
        url = postgres.dsn().replace(str(postgres.port), str(relay.port))
        with serving(url) as server:
            yield Away(server, relay.port, taking(postgres, relay))


def endure(away: Away, rate: float, seconds: float, *, exactly: bool) -> list[Response]:
    """Run an outage of that length under that many requests a second; check the times. Returns the answers in it."""
    calls = calls_to(away.server)
    half = LEAD_SECONDS + seconds / 2
    over = LEAD_SECONDS + seconds
    acts: list[tuple[float, Callable[[], object]]] = [
        (LEAD_SECONDS, away.begin),
        (half, away.look),
        (over - 0.1, away.look),
        (over, away.end),
    ]
    responses = arrive(away.server.port, calls, rate, over + LEAD_SECONDS, acts)
    token = calls[0].headers["authorization"].partition(" ")[2]
    wait_until(lambda: verify(away.server, token) == LIVE, "the live key is good again")
    assert time.monotonic() - away.ended < RECOVERY_SECONDS + LEAD_SECONDS + responses.lag
    assert responses.longest(away.began, away.ended) < bound(responses.lag, exactly=exactly)
    for response in responses.responses:
        assert response.status not in WRONG.get(response.name.rpartition(" ")[2], set()), response
    assert max(away.threads) <= MOST_THREADS, "threads grow"
    assert max(away.connections) <= MOST_CONNECTIONS, "connections grow"
    return responses.within(away.began, away.ended)


def require_refusals(responses: list[Response]) -> None:
    """Check that each answer was 503 with Retry-After, for every caller and request."""
    assert responses
    assert [
        response for response in responses if response.status != 503 or not response.has_retry_after
    ] == []


@pytest.mark.slow
def test_requests_to_a_silent_database_are_refused_in_time(
    private_postgres: PrivatePostgres,
) -> None:
    """Verifications, reads and writes, by keys, services, the product and users: 503 within two seconds (R36).

    On a busy machine the bound is wider by the delay of a request that needs no database.
    """
    with without(private_postgres, silent) as away:
        require_refusals(endure(away, 80, 3.0, exactly=False))


@pytest.mark.prove
@pytest.mark.parametrize("taking", [silent, frozen])
def test_two_hundred_requests_a_second_for_half_a_minute(
    private_postgres: PrivatePostgres, taking: Taking
) -> None:
    """Exactly two seconds, from the first request on; neither threads nor connections grow."""
    with without(private_postgres, taking) as away:
        require_refusals(endure(away, 200, 30.0, exactly=True))


@pytest.mark.prove
def test_a_database_that_takes_no_new_connection(private_postgres: PrivatePostgres) -> None:
    """Old connections are answered: each answer is true, or 503, and within two seconds."""
    with without(private_postgres, half_frozen) as away:
        responses = endure(away, 100, 10.0, exactly=False)
    assert {response.status for response in responses if response.name == "forward-auth live"} <= {
        LIVE,
        503,
    }

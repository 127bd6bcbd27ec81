"""PostgreSQL dies, is cut off, fails over to its standby: what was acknowledged holds, on every server."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx2
import pytest

from tests.support.acknowledged_changes import DEAD, LIVE, at_work, verify
from tests.support.postgres import PrivatePostgres, wait_until
from tests.support.processes import run_apart
from tests.support.relay import relay_to
from tests.support.server_process import HOST, ServerProcess, serving
from tests.support.standby import StandbyPair, standby_of

UNKNOWN = (503, "outcome-unknown")


@contextmanager
def servers_on(url: str, number: int = 2) -> Iterator[list[ServerProcess]]:
    """Start that many servers of one installation over that database, its first workspace without limits."""
    with ExitStack() as stack:
        first = stack.enter_context(serving(url))
        first.put_on("scale")
        more = [stack.enter_context(serving(url, data=first.data)) for _ in range(number - 1)]
        yield [first, *more]


@contextmanager
def synchronous_pair(primary: PrivatePostgres) -> Iterator[tuple[StandbyPair, list[ServerProcess]]]:
    """Start two servers over a primary with a synchronous standby; they know the addresses of both."""
    with standby_of(primary) as pair:
        standby = pair.standby
        url = f"postgresql://postgres@{primary.host}:{primary.port},{standby.host}:{standby.port}/postgres"
        with servers_on(url) as servers:
            pair.make_synchronous()
            yield pair, servers


def are_ready(servers: Sequence[ServerProcess]) -> None:
    """Wait until every server's database answers."""
    wait_until(lambda: all(server.is_ready() for server in servers), "all servers are ready")


def ask(server: ServerProcess, token: str, method: str, path: str) -> httpx2.Response:
    """Send one change, and wait for it as long as it may take."""
    body = {"description": "asked"} if method == "POST" else None
    bearer = {"authorization": f"Bearer {token}"}
    with httpx2.Client(base_url=server.base_url, trust_env=False, timeout=60) as http:
        return http.request(method, path, json=body, headers=bearer)


def answered(pair: StandbyPair, waiting: Future[httpx2.Response]) -> bool:
    """Return whether the response has arrived; cancel all commits that wait for the standby."""
    pair.cancel()
    return waiting.done()


def status_and_code(answer: httpx2.Response) -> tuple[int, str]:
    """Return the status and the code of a refusal."""
    return answer.status_code, answer.json()["code"]


# --- the primary is killed, and comes back ---


def kill_the_database(postgres: PrivatePostgres, times: int) -> int:
    """Kill the database under load and start it, that many times. Returns the number of kept promises."""
    promises = 0
    with servers_on(postgres.dsn()) as servers:
        token = servers[0].token()
        for _ in range(times):
            with at_work(servers, token) as changes_by_client:
                time.sleep(random.uniform(0, 0.3))
                postgres.kill()
                postgres.start()
                are_ready(servers)
            promises += sum(changes.check(servers) for changes in changes_by_client)
    return promises


@pytest.mark.slow
def test_a_killed_primary_has_kept_what_was_acknowledged(private_postgres: PrivatePostgres) -> None:
    """PostgreSQL is killed under load and comes back: no acknowledged key is lost, and no revoked key is accepted."""
    assert kill_the_database(private_postgres, 1) > 10


@pytest.mark.prove
@pytest.mark.timeout(600)
def test_a_primary_killed_fifty_times(
    private_postgres: PrivatePostgres, record_property: Callable[[str, object], None]
) -> None:
    """Fifty kills."""
    promises = kill_the_database(private_postgres, 50)
    record_property("kept", promises)
    assert promises > 500


# --- the standby is promoted ---


def fail_over(primary: PrivatePostgres) -> tuple[int, float]:
    """Promote the standby once under load. Returns the number of kept promises and the seconds without an answer."""
    with synchronous_pair(primary) as (pair, servers):
        token = servers[0].token()
        with at_work(servers, token) as changes_by_client:
            time.sleep(random.uniform(0.2, 0.6))
            primary.kill()
            pair.promote()
            promoted = time.monotonic()
            are_ready(servers)
            away = time.monotonic() - promoted
            before = [len(changes.created) for changes in changes_by_client]
            wait_until(
                lambda: all(
                    len(now.created) > was
                    for now, was in zip(changes_by_client, before, strict=True)
                ),
                "keys are created on the new primary",
            )
        promises = sum(changes.check(servers) for changes in changes_by_client)
        primary.start()
        assert all(verify(server, token) == LIVE for server in servers)
        primary.kill()
    return promises, away


@pytest.mark.slow
def test_a_promoted_standby_has_all_that_was_acknowledged(
    private_postgres: PrivatePostgres,
) -> None:
    """The primary dies, its synchronous standby takes over, the servers follow: 0 lost, 0 revived (R35)."""
    promises, away = fail_over(private_postgres)
    assert promises > 5
    assert away < 10


@pytest.mark.prove
@pytest.mark.timeout(600)
@pytest.mark.parametrize("cycle", range(20))
def test_twenty_promotions(
    private_postgres: PrivatePostgres, cycle: int, record_property: Callable[[str, object], None]
) -> None:
    """Each of twenty promotions keeps every promise."""
    promises, away = fail_over(private_postgres)
    record_property("kept", promises)
    record_property("seconds away", f"{away:.2f}")
    assert promises > 5
    assert away < 10


@pytest.mark.prove
def test_a_primary_that_falls_silent_is_left(private_postgres: PrivatePostgres) -> None:
    """It closes no connection and answers nothing, like a frozen machine: servers find the promoted standby."""
    with standby_of(private_postgres) as pair, relay_to(private_postgres.port) as relay:
        url = f"postgresql://postgres@{HOST}:{relay.port},{HOST}:{pair.standby.port}/postgres"
        with servers_on(url) as servers:
            pair.make_synchronous()
            token = servers[0].token()
            key = ask(servers[0], token, "POST", "/v1/keys").json()
            relay.silence()
            pair.promote()
            are_ready(servers)
            for server in servers:
                wait_until(partial(lambda s: verify(s, token) == LIVE, server), "it verifies")
            revoked = ask(servers[0], token, "DELETE", f"/v1/keys/{key['id']}")
            assert revoked.status_code == 204
            assert [verify(server, key["token"]) for server in servers] == [DEAD, DEAD]


# --- a commit that PostgreSQL stops waiting for ---


def give_up_waiting(primary: PrivatePostgres, times: int) -> None:
    """Make that many changes that the standby does not confirm; then promote it, without any of them."""
    with synchronous_pair(primary) as (pair, servers):
        token, path = servers[0].token(), "/v1/keys/{id}"
        acknowledged, *keys = (
            ask(servers[0], token, "POST", "/v1/keys").json() for _ in range(times + 1)
        )
        assert ask(servers[1], token, "DELETE", path.format_map(acknowledged)).status_code == 204
        pair.pause()
        with ThreadPoolExecutor(1) as pool:
            for number, key in enumerate(keys):
                request = ("DELETE", path.format_map(key)) if number % 5 else ("POST", "/v1/keys")
                waiting = pool.submit(ask, servers[number % 2], token, *request)
                wait_until(partial(answered, pair, waiting), "PostgreSQL gives up waiting")
                assert status_and_code(waiting.result()) == UNKNOWN
        primary.kill()
        pair.promote()
        are_ready(servers)
        for server in servers:
            assert verify(server, acknowledged["token"]) == DEAD
            assert [verify(server, key["token"]) for key in keys] == [LIVE] * len(keys)


@pytest.mark.slow
def test_a_commit_that_no_standby_confirmed_is_not_acknowledged(
    private_postgres: PrivatePostgres,
) -> None:
    """The standby hangs and PostgreSQL gives up waiting: 503 outcome-unknown, never 2xx (R34).

    What was acknowledged before holds on the standby, once that is promoted.
    """
    give_up_waiting(private_postgres, 5)


@pytest.mark.prove
def test_twenty_commits_that_no_standby_confirmed(private_postgres: PrivatePostgres) -> None:
    """Twenty."""
    give_up_waiting(private_postgres, 20)


@pytest.mark.prove
def test_an_old_primary_acknowledges_nothing(private_postgres: PrivatePostgres) -> None:
    """Next to its promoted standby an unfenced primary goes on: its clients get "unknown"."""
    with standby_of(private_postgres) as pair, servers_on(private_postgres.dsn(), 1) as servers:
        token = servers[0].token()
        key = ask(servers[0], token, "POST", "/v1/keys").json()
        pair.make_synchronous()
        pair.promote()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(ask, servers[0], token, "DELETE", f"/v1/keys/{key['id']}")
            wait_until(partial(answered, pair, waiting), "PostgreSQL gives up waiting")
        assert status_and_code(waiting.result()) == UNKNOWN


# --- the connection to the primary is cut ---


@pytest.mark.slow
@pytest.mark.parametrize("swallow", [True, False], ids=["before", "after"])
def test_a_commit_whose_answer_is_lost_is_not_acknowledged(
    private_postgres: PrivatePostgres, swallow: bool
) -> None:
    """The connection breaks at COMMIT, before it arrives or after: 503 outcome-unknown; then all servers agree."""
    database = private_postgres.create_database()
    with (
        relay_to(private_postgres.port) as relay,
        servers_on(
            private_postgres.dsn(database).replace(str(private_postgres.port), str(relay.port))
        ) as servers,
        serving(private_postgres.dsn(database), data=servers[0].data) as apart,
    ):
        token = apart.token()
        key = ask(apart, token, "POST", "/v1/keys").json()
        relay.cut_at(b"COMMIT\0", after=b"UPDATE api_keys", swallow=swallow)
        answer = ask(servers[0], token, "DELETE", f"/v1/keys/{key['id']}")
        assert relay.sprung.wait(10)
        assert status_and_code(answer) == UNKNOWN
        assert verify(servers[1], key["token"]) == 503
        relay.restore()
        are_ready(servers)
        expected = LIVE if swallow else DEAD
        wait_until(lambda: verify(apart, key["token"]) == expected, "the primary has settled it")
        assert {verify(server, key["token"]) for server in [*servers, apart]} == {expected}


# --- a standby alone cannot serve ---


@pytest.mark.slow
def test_a_standby_alone_is_refused(private_postgres: PrivatePostgres, tmp_path: Path) -> None:
    """A server that is given only a standby does not start, and says why."""
    with standby_of(private_postgres) as pair:
        with serving(private_postgres.dsn(), start=False) as server:
            given = {**server._environment(), "KEYSTEAD_DATABASE": pair.standby.dsn()}
            ended = run_apart(("serve", "--port", "0"), given, server.data)
        assert ended.code == 69
        assert "The database is a standby" in ended.log

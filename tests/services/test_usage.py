"""The use of keys: noted without a write, flushed forward-only, and never lost by a failure."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keystead.domain.errors import InsufficientScope, NotFound, Unavailable
from keystead.domain.instants import from_microseconds, to_microseconds
from keystead.domain.keys import KeyUse
from keystead.domain.principals import Principal
from keystead.services.key_issuer import CreatedKey
from keystead.services.usage import MAX_RUNS
from keystead.storage.schema import tables as schema
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation, read_only, text_of

DAY = timedelta(days=1)
TODAY = NOON.date()


def _use(
    sandbox: SandboxInstallation, created: CreatedKey, times: int = 1, address: str = "192.0.2.1"
) -> None:
    for _ in range(times):
        sandbox.services.verifier.verify(text_of(created), address=address, agent="curl/8")


def _days(
    sandbox: SandboxInstallation, created: CreatedKey, since: date = date(2020, 1, 1)
) -> dict[date, int]:
    return sandbox.requests(sandbox.principal(created), created.key.id, since)


def test_uses_are_counted_per_day(sandbox: SandboxInstallation) -> None:
    """Every successful verification counts on its day (UTC), over flushes and servers; days before are left out."""
    tenant = sandbox.tenant()
    created, server = sandbox.key(tenant), sandbox.another()
    _use(sandbox, created, 3)
    sandbox.flush()
    _use(sandbox, created, 2)
    server.services.verifier.verify(text_of(created))
    server.services.usage.flush()
    sandbox.clock.advance(DAY)
    _use(sandbox, created)
    sandbox.flush()
    assert _days(sandbox, created) == {TODAY: 6, TODAY + DAY: 1}
    assert _days(sandbox, created, since=TODAY + DAY) == {TODAY + DAY: 1}


def test_the_last_use_only_moves_forward(sandbox: SandboxInstallation) -> None:
    """Whichever server writes last, the latest use stays, with its own address (R43)."""
    tenant = sandbox.tenant()
    created, server = sandbox.key(tenant), sandbox.another()
    server.services.verifier.verify(text_of(created), address="192.0.2.9")
    sandbox.clock.advance(seconds=10)
    _use(sandbox, created)
    sandbox.flush()
    server.services.usage.flush()
    used = sandbox.services.keys.get(tenant, created.key.id).last_use
    assert used == KeyUse(NOON + timedelta(seconds=10), "192.0.2.1", "curl/8")
    assert _days(sandbox, created)[TODAY] == 2


def test_refused_tokens_are_no_use(sandbox: SandboxInstallation) -> None:
    """A refused verification doesn't count as a use of the key: not as its last one, and not in its count (R43)."""
    tenant = sandbox.tenant()
    narrow, dead = sandbox.key(tenant, scopes=["documents:read"]), sandbox.key(tenant)
    sandbox.services.keys.revoke(tenant, dead.key.id)
    sandbox.services.verifier.verify(text_of(narrow), "documents:write", address="192.0.2.1")
    _use(sandbox, dead)
    sandbox.flush()
    assert [key.last_use for key in sandbox.keys(tenant)] == [None, None]
    assert sandbox.requests(tenant, narrow.key.id, date(2020, 1, 1)) == {}


def test_use_never_touches_the_key(sandbox: SandboxInstallation) -> None:
    """Flushing use writes no event and no row of a key; a key that was revoked meanwhile stays revoked."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    _use(sandbox, created)
    sandbox.services.keys.revoke(tenant, created.key.id)
    events = sandbox.events(tenant)
    sandbox.flush()
    assert sandbox.verdict(created) == "revoked"
    assert sandbox.events(tenant) == events


def test_nothing_to_flush(sandbox: SandboxInstallation) -> None:
    """A flush with nothing noted writes nothing; otherwise it returns how many keys were used."""
    sandbox.flush()
    assert sandbox.flush() == 0
    tenant = sandbox.tenant()
    for created in (sandbox.key(tenant), sandbox.key(tenant)):
        _use(sandbox, created, 3)
    assert sandbox.flush() == 2


def test_a_failed_flush_keeps_the_notes(own_sandbox: SandboxInstallation) -> None:
    """While the database takes no writes, verification goes on and uses gather; the next flush writes all, once."""
    tenant = own_sandbox.tenant()
    created, quiet = own_sandbox.key(tenant), own_sandbox.key(tenant)
    _use(own_sandbox, quiet)
    with read_only(own_sandbox.database):
        for _ in range(3):
            _use(own_sandbox, created, 2)
            own_sandbox.clock.advance(seconds=1)
            with pytest.raises(Unavailable):
                own_sandbox.flush()
    assert own_sandbox.flush() == 2
    assert own_sandbox.flush() == 0
    assert _days(own_sandbox, created)[TODAY] == 6
    assert _days(own_sandbox, quiet)[TODAY] == 1
    used = own_sandbox.services.keys.get(tenant, created.key.id).last_use
    assert used is not None
    assert used.at == NOON + timedelta(seconds=2)


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that switch as often as the interpreter can, so that a race is lost soon."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("hasty_threads")
def test_uses_during_flushes(sandbox: SandboxInstallation) -> None:
    """Of uses noted by eight threads while two others flush, none is lost and none counted twice."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    done = threading.Event()

    def keep_flushing() -> None:
        while not done.is_set():
            sandbox.flush()

    with ThreadPoolExecutor(10) as pool:
        flushers = [pool.submit(keep_flushing) for _ in range(2)]
        users = [pool.submit(_use, sandbox, created, 200) for _ in range(8)]
        for user in users:
            user.result()
        done.set()
        for flusher in flushers:
            flusher.result()
    sandbox.flush()
    assert sandbox.requests(tenant, created.key.id) == {TODAY: 1600}


def test_servers_flush_side_by_side(sandbox: SandboxInstallation) -> None:
    """Two servers that flush uses of the same keys concurrently, in any order, never deadlock."""
    tenant = sandbox.tenant()
    keys = [sandbox.key(tenant) for _ in range(60)]
    servers = (sandbox.services, sandbox.another().services)
    together = threading.Barrier(2)

    def use_and_flush(server: int) -> None:
        for _ in range(8):
            for created in keys if server else reversed(keys):
                servers[server].verifier.verify(text_of(created))
            together.wait(30)
            servers[server].usage.flush()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(use_and_flush, range(2)))
    for created in keys:
        assert sandbox.requests(tenant, created.key.id) == {TODAY: 16}


@pytest.mark.parametrize("agent", ["a\x00b", "\ud800", "x" * 5000, "\x1b[2J", "ü" * 300], ids=ascii)
def test_no_agent_holds_up_the_others(sandbox: SandboxInstallation, agent: str) -> None:
    """Any client name is accepted: its use is written, and so is that of the others."""
    tenant = sandbox.tenant()
    odd, plain = sandbox.key(tenant), sandbox.key(tenant)
    sandbox.flush()
    sandbox.services.verifier.verify(text_of(odd), address="192.0.2.1", agent=agent)
    _use(sandbox, plain)
    assert sandbox.flush() == 2
    used = [key.last_use for key in sandbox.keys(tenant)]
    assert all(
        use is not None and use.agent is not None and use.agent.isprintable() for use in used
    )


def test_use_is_the_workspaces_own(sandbox: SandboxInstallation) -> None:
    """Another workspace's key has no visible use, and no use is visible without `keys:read` (R49)."""
    tenant, other = sandbox.tenant(), sandbox.tenant()
    created = sandbox.key(tenant)
    _use(sandbox, created)
    sandbox.flush()
    with pytest.raises(NotFound):
        sandbox.requests(other, created.key.id)
    blind = sandbox.caller(tenant, "documents:read")
    with pytest.raises(InsufficientScope):
        sandbox.requests(blind, created.key.id)


def test_closing_flushes(own_sandbox: SandboxInstallation) -> None:
    """A server that is closed writes its notes."""
    created, server = own_sandbox.key(own_sandbox.tenant()), own_sandbox.another()
    server.services.verifier.verify(text_of(created))
    own_sandbox.more.remove(server)
    server.close()
    assert own_sandbox.count(schema.key_use) == 1


def test_ever_new_callers_fill_no_memory(sandbox: SandboxInstallation) -> None:
    """A key that calls under more names than are distinguished loses no use, neither the last one nor in the count."""
    created = sandbox.key(tenant := sandbox.tenant())
    user, usage = sandbox.principal(created), sandbox.services.usage
    at = to_microseconds(sandbox.clock.now())
    for number in range(MAX_RUNS + 5):
        usage.note(user, at + 2 * number, "192.0.2.1", f"agent {number}")
        usage.note(user, at + 2 * number + 1, "192.0.2.1", "curl/8")
    assert len(usage._runs) <= MAX_RUNS
    sandbox.flush()
    assert sandbox.requests(tenant, created.key.id) == {TODAY: 2 * (MAX_RUNS + 5) + 1}
    used = sandbox.services.keys.get(tenant, created.key.id).last_use
    assert used is not None
    assert (used.at, used.agent) == (from_microseconds(at + 2 * MAX_RUNS + 9), "curl/8")


@given(st.lists(st.tuples(st.integers(-3, 3), st.sampled_from("abc"), st.booleans())))
@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_noting_is_adding_up(
    sandbox: SandboxInstallation, uses: list[tuple[int, str, bool]]
) -> None:
    """In whatever order callers come, over midnight and by a clock set back, every use counts on its day."""
    created = sandbox.key(tenant := sandbox.tenant())
    usage, key = sandbox.services.usage, created.key
    user = Principal.of_key(key.id, "sync", key.workspace_id, key.scopes, None)
    midnight, expected, last = to_microseconds(NOON + DAY / 2), Counter[date](), 0
    for seconds, caller, flushed in uses:
        at = midnight + seconds * 1_000_000
        usage.note(user, at, "192.0.2.1", caller)
        expected[from_microseconds(at).date()] += 1
        last = max(last, at)
        if flushed:
            sandbox.flush()
    sandbox.flush()
    assert sandbox.requests(tenant, key.id) == expected
    assert {c.caller.agent: c.times for c in usage.callers(tenant, key.id)} == Counter(
        caller for _, caller, _ in uses
    )
    used = sandbox.services.keys.get(tenant, key.id).last_use
    assert (to_microseconds(used.at) if used else 0) == last

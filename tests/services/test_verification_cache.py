"""Verifying from the cache: the answers of a read, without its cost, and never after the row changed."""

from __future__ import annotations

import gc
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keystead.domain.errors import KeysteadError
from keystead.domain.keys import KeyPatch
from keystead.domain.principals import Principal
from keystead.domain.scopes import Scopes
from keystead.domain.verification import KeyRecord, Verified
from keystead.services.key_issuer import CreatedKey
from keystead.services.usage import Usage
from keystead.services.verification_cache import CAPACITY, MAX_AGE, VerificationCache
from keystead.services.verifier import KeyCache, Verifier
from keystead.storage.engine.connections import sqlite_driver
from keystead.storage.freshness.generation_file import GenerationFile
from keystead.storage.point_reads.by_id import Lookup
from keystead.storage.schema.verification_reads import KEY
from tests.support.clocks import NOON
from tests.support.installations import (
    PEPPERS,
    SandboxInstallation,
    fresh_sandbox,
    sqlite_file,
    text_of,
)
from tests.support.racing import Race, race

READ, WRITE = "documents:read", "documents:write"


class WatchedLookup:
    """The real lookup, with a count of its reads, and a hook that runs once a row has been read."""

    def __init__(self, lookup: Lookup[KeyRecord]) -> None:
        self.asked = 0
        self.then: Callable[[], object] = lambda: None
        self._lookup = lookup

    def find(self, key_id: str) -> KeyRecord | None:
        """Call the real one."""
        self.asked += 1
        record = self._lookup.find(key_id)
        then, self.then = self.then, lambda: None
        then()
        return record

    async def find_on_loop(self, key_id: str) -> KeyRecord | None:
        """Call the real one."""
        return self.find(key_id)


@pytest.fixture(scope="module")
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SandboxInstallation]:
    """An embedded installation for the file."""
    with fresh_sandbox(request, tmp_path_factory, "sqlite") as sandbox:
        generation_file_of(sandbox).open()
        yield sandbox


@pytest.fixture
def sandbox(shared: SandboxInstallation) -> SandboxInstallation:
    """The same installation, at noon."""
    shared.clock.set(NOON)
    return shared


def generation_file_of(sandbox: SandboxInstallation) -> GenerationFile:
    """Return the installation's own view."""
    assert sandbox.database.generation_file is not None
    return sandbox.database.generation_file


@pytest.fixture
def lookup(sandbox: SandboxInstallation) -> WatchedLookup:
    """A lookup that counts the verifier's reads."""
    return WatchedLookup(sandbox.installation.reads.lookup(KEY))


@pytest.fixture
def usage(sandbox: SandboxInstallation) -> Usage:
    """The use that these tests alone have noted."""
    return Usage(sandbox.database)


@pytest.fixture
def verifier(sandbox: SandboxInstallation, lookup: WatchedLookup, usage: Usage) -> Verifier:
    """A server with a cache."""
    return Verifier(
        lookup,
        PEPPERS,
        sandbox.clock,
        usage,
        sandbox.services.first_uses,
        VerificationCache(generation_file_of(sandbox)),
    )


def reader_of(sandbox: SandboxInstallation) -> Verifier:
    """Return a server without a cache."""
    return Verifier(
        sandbox.installation.reads.lookup(KEY),
        PEPPERS,
        sandbox.clock,
        Usage(sandbox.database),
        sandbox.services.first_uses,
    )


def test_the_second_answer_costs_no_read(
    sandbox: SandboxInstallation, lookup: WatchedLookup, verifier: Verifier
) -> None:
    """A verified key comes from the cache, for any scope; a refused one is read again each time."""
    tenant = sandbox.tenant()
    text = text_of(sandbox.key(tenant, scopes=[READ]))
    for scope in (READ, None, WRITE, "keys:write", READ):
        assert verifier.verify(text, scope) == reader_of(sandbox).verify(text, scope)
    assert lookup.asked == 1
    dead = sandbox.key(tenant)
    sandbox.services.keys.revoke(tenant, dead.key.id)
    for _ in range(3):
        assert not isinstance(verifier.verify(text_of(dead)), Verified)
    assert lookup.asked == 4


def test_every_use_is_noted(sandbox: SandboxInstallation, verifier: Verifier, usage: Usage) -> None:
    """Uses and refusals that were answered from the cache count as all others do."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant, scopes=[READ])
    for scope in (READ, READ, READ, WRITE, WRITE):
        verifier.verify(text_of(created), scope, address="192.0.2.1", agent="curl")
    usage.flush()
    assert sum(sandbox.requests(tenant, created.key.id).values()) == 3
    callers = usage.callers(tenant, created.key.id)
    assert sorted((str(c.caller.reason), c.times) for c in callers) == [
        ("None", 3),
        ("insufficient_scope", 2),
    ]


def _narrow(sandbox: SandboxInstallation, tenant: Principal, created: CreatedKey) -> object:
    return sandbox.services.keys.update(
        tenant, created.key.id, KeyPatch(scopes=Scopes(["keys:read"]))
    )


def _revoke(sandbox: SandboxInstallation, tenant: Principal, created: CreatedKey) -> object:
    return sandbox.services.keys.revoke(tenant, created.key.id)


def _rotate(sandbox: SandboxInstallation, tenant: Principal, created: CreatedKey) -> object:
    return sandbox.services.rotations.rotate(tenant, created.key.id)


def _suspend(sandbox: SandboxInstallation, tenant: Principal, _: CreatedKey) -> object:
    return sandbox.services.workspaces.suspend(tenant.workspace_id)


@pytest.mark.parametrize("act", [_revoke, _rotate, _narrow, _suspend])
def test_every_end_holds_immediately_on_every_server(
    sandbox: SandboxInstallation,
    act: Callable[[SandboxInstallation, Principal, CreatedKey], object],
) -> None:
    """A key that one server ends is refused by every server that has it in its cache (R29-R31)."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant, scopes=[READ, "keys:read"])
    servers = [sandbox.another(), sandbox.another()]
    for server in servers * 2:
        assert isinstance(server.services.verifier.verify(text_of(created), READ), Verified)
    act(sandbox, tenant, created)
    for server in servers * 2:
        assert not isinstance(server.services.verifier.verify(text_of(created), READ), Verified)


def test_a_read_that_a_revocation_overtook_is_not_cached(
    sandbox: SandboxInstallation, lookup: WatchedLookup, verifier: Verifier
) -> None:
    """A row read before the revocation, and answered after it, is not in the cache of a later verification (R32)."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    lookup.then = lambda: sandbox.services.keys.revoke(tenant, created.key.id)
    assert isinstance(verifier.verify(text_of(created)), Verified)
    assert not isinstance(verifier.verify(text_of(created)), Verified)


def test_while_invalid_nothing_is_cached(
    sandbox: SandboxInstallation, lookup: WatchedLookup, verifier: Verifier
) -> None:
    """While the generation is invalid every verification reads its row, and none is cached for later."""
    text = text_of(sandbox.key(sandbox.tenant()))
    generation_file_of(sandbox).invalidate()
    for _ in range(3):
        verifier.verify(text)
    assert lookup.asked == 3
    generation_file_of(sandbox).publish()
    for _ in range(3):
        verifier.verify(text)
    assert lookup.asked == 4


def test_a_hand_on_the_file(sandbox: SandboxInstallation, verifier: Verifier) -> None:
    """A change made without Keystead, as with sqlite3 by hand, is seen after a minute at the latest."""
    created = sandbox.key(sandbox.tenant())
    verifier.verify(text_of(created))
    with closing(sqlite_driver.connect(sqlite_file(sandbox), isolation_level=None)) as hand:
        hand.execute("UPDATE api_keys SET revoked_at = 1 WHERE id = ?", (created.key.id,))
    sandbox.clock.advance(timedelta(microseconds=MAX_AGE - 1))
    assert isinstance(verifier.verify(text_of(created)), Verified)
    sandbox.clock.advance(microseconds=1)
    assert not isinstance(verifier.verify(text_of(created)), Verified)


def test_expiry_to_the_microsecond(sandbox: SandboxInstallation, verifier: Verifier) -> None:
    """A cached key expires at its time and not later; a clock that was set back is not trusted with it."""
    created = sandbox.key(sandbox.tenant(), expires_at=NOON + timedelta(seconds=10))
    for after, verdict in ((0, "V"), (9_999_999, "V"), (10_000_000, "D"), (-1, "V"), (5, "V")):
        sandbox.clock.set(NOON + timedelta(microseconds=after))
        assert type(verifier.verify(text_of(created))).__name__[0] == verdict


def test_a_clock_set_back_uses_no_cache(
    sandbox: SandboxInstallation, lookup: WatchedLookup, verifier: Verifier
) -> None:
    """With a clock that was set back the row is read: the age of the entry is unknown."""
    text = text_of(sandbox.key(sandbox.tenant()))
    verifier.verify(text)
    sandbox.clock.set(NOON - timedelta(hours=1))
    verifier.verify(text)
    assert lookup.asked == 2


@pytest.mark.parametrize("text", ["", "x", "ks_\ud800", "ks_é", "k" * 100_000, "ks_\x00"])
def test_garbage(lookup: WatchedLookup, verifier: Verifier, text: str) -> None:
    """Any other text than a token is malformed, and costs no read."""
    assert repr(verifier.verify(text)).startswith("Denied(reason=<DenialReason.MALFORMED")
    assert lookup.asked == 0


def test_a_changed_character_is_another_token(
    sandbox: SandboxInstallation, verifier: Verifier
) -> None:
    """The cache is keyed by the whole text: no other text matches it."""
    text = text_of(sandbox.key(sandbox.tenant()))
    verifier.verify(text)
    for place in range(len(text)):
        other = text[:place] + ("a" if text[place] != "a" else "b") + text[place + 1 :]
        assert not isinstance(verifier.verify(other), Verified)


def test_so_many_and_no_more(
    sandbox: SandboxInstallation, lookup: WatchedLookup, usage: Usage
) -> None:
    """A full cache drops the least recently used; a key in use stays."""
    cache: KeyCache = VerificationCache(generation_file_of(sandbox), capacity=10)
    verifier = Verifier(lookup, PEPPERS, sandbox.clock, usage, sandbox.services.first_uses, cache)
    tenant = sandbox.tenant()
    often = text_of(sandbox.key(tenant))
    for _ in range(30):
        verifier.verify(text_of(sandbox.key(tenant)))
        verifier.verify(often)
        assert len(cache) <= 10
    assert lookup.asked == 31


def test_nothing_of_a_token_is_kept(sandbox: SandboxInstallation, verifier: Verifier) -> None:
    """The verifier refers neither to the token, nor to its secret, nor to the digest of the database."""
    created = sandbox.key(sandbox.tenant())
    text = text_of(created)
    verifier.verify(text)
    record = sandbox.installation.reads.lookup(KEY).find(created.key.id)
    assert record is not None
    ahead: list[object] = [verifier._cache]
    seen = set()
    while ahead:
        referrer = ahead.pop()
        if id(referrer) in seen or isinstance(referrer, type | type(sys)):
            continue
        seen.add(id(referrer))
        assert referrer != record.digest
        if isinstance(referrer, str):
            assert text[-40:-10] not in referrer
        if isinstance(referrer, bytes):
            assert text[-40:-10].encode() not in referrer
        ahead += gc.get_referents(referrer)


def test_what_an_entry_takes(sandbox: SandboxInstallation) -> None:
    """A cached key takes less than 1,600 bytes, so that a full cache takes less than 160 MB."""
    tenant = sandbox.tenant()
    texts = [text_of(sandbox.key(tenant, "a description of usual length")) for _ in range(150)]
    cache: KeyCache = VerificationCache(generation_file_of(sandbox))
    lookup, first_uses = sandbox.installation.reads.lookup(KEY), sandbox.services.first_uses
    verifier = Verifier(lookup, PEPPERS, sandbox.clock, _NoNotes(), first_uses, cache)
    for text in texts[:50]:
        verifier.verify(text)
    tracemalloc.start()
    for text in texts[50:]:
        verifier.verify(text)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(cache) == 150
    assert taken / 100 < 1_600
    assert CAPACITY == 100_000


def test_threads(sandbox: SandboxInstallation, verifier: Verifier) -> None:
    """Four threads of one server share one cache: none accepts what began after the revocation was acknowledged."""
    tenant = sandbox.tenant()
    for _ in range(4):
        created = sandbox.key(tenant)
        text = text_of(created)
        ended, go_on = threading.Event(), threading.Event()

        def hammer(text: str, ended: threading.Event, go_on: threading.Event) -> int:
            late = 0
            while not go_on.is_set():
                was_ended = ended.is_set()
                late += was_ended and isinstance(verifier.verify(text), Verified)
            return late

        with ThreadPoolExecutor(4) as pool:
            hammering = [pool.submit(hammer, text, ended, go_on) for _ in range(4)]
            sandbox.services.keys.revoke(tenant, created.key.id)
            ended.set()
            for _ in range(3):
                assert not isinstance(verifier.verify(text), Verified)
            go_on.set()
            assert sum(future.result() for future in hammering) == 0


# --- between processes ---


def _race(
    request: pytest.FixtureRequest, folders: pytest.TempPathFactory, keys: int, fault: str = ""
) -> int:
    """Return how many of that many keys were accepted after an acknowledged revocation."""
    with fresh_sandbox(request, folders, "sqlite") as sandbox:
        tenant = sandbox.tenant()
        created = [sandbox.key(tenant) for _ in range(keys)]
        tokens, ids = [text_of(key) for key in created], [key.key.id for key in created]
        wrong, seen = race(Race(sandbox.url, tenant.workspace_id, tokens, ids, fault), 4)
    assert sum(key.reads for key in seen) < sum(key.verifications for key in seen)
    return wrong


@pytest.mark.slow
def test_a_race_of_servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Four processes verify keys that two of them revoke: none is accepted after an acknowledged revocation (E1)."""
    assert _race(request, tmp_path_factory, 40) == 0


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["no invalidation", "a cache of 25 ms"])
def test_the_race_finds_what_is_planted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, fault: str
) -> None:
    """Without the generation, or with a cache that holds for a moment, the race sees keys accepted after their end."""
    assert _race(request, tmp_path_factory, 25, fault) > 0


@pytest.mark.prove
@pytest.mark.parametrize(
    ("fault", "keys", "wrong"),
    [("", 2_000, False), ("slow writers", 500, False), ("a cache of 1 ms", 500, True)],
)
def test_a_long_race_of_servers(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    fault: str,
    keys: int,
    wrong: bool,
) -> None:
    """The guarantee holds for thousands of keys, with delays between commit and publication, and a shorter cache."""
    assert (_race(request, tmp_path_factory, keys, fault) > 0) is wrong


# --- next to a server without a cache ---

STEPS = st.one_of(
    st.tuples(st.just("verify"), st.integers(0, 3), st.sampled_from([None, READ, WRITE])),
    st.tuples(st.just("verify"), st.integers(0, 3), st.sampled_from([None, READ, WRITE])),
    st.tuples(st.sampled_from(["revoke", "rotate", "narrow"]), st.integers(0, 3), st.none()),
    st.tuples(st.sampled_from(["suspend", "resume", "flush"]), st.none(), st.none()),
    st.tuples(st.just("wait"), st.sampled_from([-30, 1, 10, 59, 61]), st.none()),
    st.tuples(st.just("describe"), st.integers(0, 3), st.none()),
)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(STEPS, min_size=5, max_size=30))
def test_it_answers_as_one_that_reads(
    shared: SandboxInstallation, steps: list[tuple[str, int, str]]
) -> None:
    """Through any history of keys, scopes, ends and times, both give the same verdict, to the last field."""
    shared.clock.set(NOON)
    tenant = shared.tenant()
    ends = (None, NOON + timedelta(seconds=10), NOON + timedelta(seconds=60), None)
    created = [shared.key(tenant, scopes=[READ, WRITE], expires_at=end) for end in ends]
    remembering = Verifier(
        shared.installation.reads.lookup(KEY),
        PEPPERS,
        shared.clock,
        Usage(shared.database),
        shared.services.first_uses,
        VerificationCache(generation_file_of(shared)),
    )
    reading = reader_of(shared)
    for step, which, scope in steps:
        if step == "verify":
            text = text_of(created[which])
            assert remembering.verify(text, scope) == reading.verify(text, scope)
        else:
            _do(shared, tenant, step, which, created)


def _do(
    sandbox: SandboxInstallation,
    tenant: Principal,
    step: str,
    which: int,
    created: list[CreatedKey],
) -> None:
    if step == "wait":
        sandbox.clock.advance(seconds=which)
    elif step == "flush":
        sandbox.flush()
    elif step in ("suspend", "resume"):
        getattr(sandbox.services.workspaces, step)(tenant.workspace_id)
    else:
        with suppress(KeysteadError):
            _change(sandbox, tenant, step, which, created)


def _change(
    sandbox: SandboxInstallation,
    tenant: Principal,
    step: str,
    which: int,
    created: list[CreatedKey],
) -> None:
    keys, key_id = sandbox.services.keys, created[which].key.id
    match step:
        case "revoke":
            keys.revoke(tenant, key_id)
        case "rotate":
            created[which] = sandbox.services.rotations.rotate(tenant, key_id)
        case "narrow":
            keys.update(tenant, key_id, KeyPatch(scopes=Scopes([READ])))
        case "describe":
            keys.update(tenant, key_id, KeyPatch(description="other"))


class _NoNotes(Usage):
    """Notes that are discarded."""

    def __init__(self) -> None:
        pass

    def note(self, *_: object) -> None:
        """Discard the note."""

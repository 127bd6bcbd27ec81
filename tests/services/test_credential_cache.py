"""Credentials from the cache: the answers of a read, without its cost, and never after the row changed."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from keystead.domain.credentials import ActingCredential, CredentialKind, CredentialRecord
from keystead.domain.errors import InvalidToken
from keystead.domain.ids import CredentialId
from keystead.domain.principals import Actor, PrincipalKind
from keystead.services.verification_cache import MAX_AGE, VerificationCache
from keystead.services.verifier import CredentialCache, CredentialVerifier
from keystead.storage.engine.connections import sqlite_driver
from keystead.storage.freshness.generation_file import GenerationFile
from keystead.storage.point_reads.by_id import Lookup
from keystead.storage.schema.verification_reads import CREDENTIAL
from tests.support.clocks import NOON
from tests.support.installations import (
    PEPPERS,
    SandboxInstallation,
    calling,
    fresh_sandbox,
    sqlite_file,
)

OPERATOR, SERVICE = CredentialKind.OPERATOR, CredentialKind.SERVICE
BY = Actor(PrincipalKind.OPERATOR, "cli", "root")


class WatchedLookup:
    """The real lookup, with a count of its reads, and a hook that runs once a row has been read."""

    def __init__(self, lookup: Lookup[CredentialRecord]) -> None:
        self.asked = 0
        self.then: Callable[[], object] = lambda: None
        self._lookup = lookup

    def find(self, credential_id: str) -> CredentialRecord | None:
        """Call the real one."""
        return self._lookup.find(credential_id)

    async def find_on_loop(self, credential_id: str) -> CredentialRecord | None:
        """Call the real one."""
        self.asked += 1
        record = await self._lookup.find_on_loop(credential_id)
        then, self.then = self.then, lambda: None
        then()
        return record


@pytest.fixture(scope="module")
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SandboxInstallation]:
    """An embedded installation with a generation file."""
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
    return WatchedLookup(sandbox.installation.reads.lookup(CREDENTIAL))


@pytest.fixture
def cache(sandbox: SandboxInstallation) -> CredentialCache:
    """An empty cache."""
    return VerificationCache(generation_file_of(sandbox), capacity=10)


@pytest.fixture
def verifier(
    sandbox: SandboxInstallation, lookup: WatchedLookup, cache: CredentialCache
) -> CredentialVerifier:
    """A server with a cache."""
    return CredentialVerifier(lookup, PEPPERS, sandbox.clock, cache)


def made(sandbox: SandboxInstallation, kind: CredentialKind = SERVICE) -> tuple[CredentialId, str]:
    """Create a credential. Returns its id and token."""
    credential, token = sandbox.services.credentials.create("search", BY, kind)
    return credential.id, token.reveal()


def check(verifier: CredentialVerifier, text: str, *kinds: CredentialKind) -> ActingCredential:
    """Return the credential that calls with that token."""
    return asyncio.run(verifier.verify(text, *(kinds or CredentialKind)))


def refused(verifier: CredentialVerifier, text: str, *kinds: CredentialKind) -> bool:
    """Return whether the token is refused."""
    try:
        check(verifier, text, *kinds)
    except InvalidToken:
        return True
    return False


def test_the_second_check_costs_no_read(
    sandbox: SandboxInstallation, lookup: WatchedLookup, verifier: CredentialVerifier
) -> None:
    """A verified credential comes from the cache, with the same answer; a refused one is read again each time."""
    id, text = made(sandbox)
    assert [check(verifier, text) for _ in range(3)] == [(id, SERVICE, "search")] * 3
    assert lookup.asked == 1
    dead, token = made(sandbox)
    sandbox.services.credentials.revoke(dead, BY)
    assert [refused(verifier, token) for _ in range(3)] == [True] * 3
    assert lookup.asked == 4


def test_a_cached_credential_keeps_its_kind(
    sandbox: SandboxInstallation, lookup: WatchedLookup, verifier: CredentialVerifier
) -> None:
    """A cached service is still not an operator."""
    _, text = made(sandbox)
    for kinds, is_refused in (
        ((SERVICE,), False),
        ((OPERATOR,), True),
        (tuple(CredentialKind), False),
    ):
        assert refused(verifier, text, *kinds) is is_refused
    with pytest.raises(InvalidToken):
        asyncio.run(verifier.verify(text))
    assert lookup.asked == 1


def test_a_revocation_holds_immediately_on_every_server(sandbox: SandboxInstallation) -> None:
    """A credential that one server revokes is refused by every server that has it in its cache."""
    id, text = made(sandbox)
    servers = [sandbox.another(), sandbox.another(), sandbox.installation]
    for server in servers * 2:
        assert calling(server, text, SERVICE).id == id
    sandbox.services.credentials.revoke(id, BY)
    for server in servers * 2:
        with pytest.raises(InvalidToken):
            calling(server, text, SERVICE)


def test_a_read_that_a_revocation_overtook_is_not_cached(
    sandbox: SandboxInstallation, lookup: WatchedLookup, verifier: CredentialVerifier
) -> None:
    """A row read before the revocation, and answered after it, is not in the cache of a later check (R32)."""
    id, text = made(sandbox)
    lookup.then = lambda: sandbox.services.credentials.revoke(id, BY)
    assert check(verifier, text).id == id
    assert refused(verifier, text)


def test_while_invalid_nothing_is_cached(
    sandbox: SandboxInstallation, lookup: WatchedLookup, verifier: CredentialVerifier
) -> None:
    """While the generation is invalid every check reads its row, and none is cached for later."""
    _, text = made(sandbox)
    generation_file_of(sandbox).invalidate()
    for _ in range(3):
        check(verifier, text)
    assert lookup.asked == 3
    generation_file_of(sandbox).publish()
    for _ in range(3):
        check(verifier, text)
    assert lookup.asked == 4


def test_a_hand_on_the_file(sandbox: SandboxInstallation, verifier: CredentialVerifier) -> None:
    """A change made without Keystead, as with sqlite3 by hand, is seen after a minute at the latest."""
    id, text = made(sandbox)
    check(verifier, text)
    with closing(sqlite_driver.connect(sqlite_file(sandbox), isolation_level=None)) as hand:
        hand.execute("UPDATE credentials SET revoked_at = 1 WHERE id = ?", (id,))
    sandbox.clock.advance(timedelta(microseconds=MAX_AGE - 1))
    assert not refused(verifier, text)
    sandbox.clock.advance(microseconds=1)
    assert refused(verifier, text)


def test_a_clock_set_back_uses_no_cache(
    sandbox: SandboxInstallation, lookup: WatchedLookup, verifier: CredentialVerifier
) -> None:
    """With a clock that was set back the row is read: the age of the entry is unknown."""
    _, text = made(sandbox)
    check(verifier, text)
    sandbox.clock.set(NOON - timedelta(hours=1))
    check(verifier, text)
    assert lookup.asked == 2


def test_a_changed_character_is_another_token(
    sandbox: SandboxInstallation, verifier: CredentialVerifier
) -> None:
    """The cache is keyed by the whole text: no other text matches it."""
    _, text = made(sandbox)
    check(verifier, text)
    for place in range(len(text)):
        other = text[:place] + ("a" if text[place] != "a" else "b") + text[place + 1 :]
        assert refused(verifier, other)


def test_so_many_and_no_more(
    sandbox: SandboxInstallation,
    lookup: WatchedLookup,
    cache: CredentialCache,
    verifier: CredentialVerifier,
) -> None:
    """A full cache drops the least recently used; strangers' tokens take no space."""
    texts = [made(sandbox)[1] for _ in range(11)]
    for text in texts[:10]:
        check(verifier, text)
        assert refused(verifier, text[:-1])
    assert (len(cache), lookup.asked) == (10, 10)
    check(verifier, texts[10])
    assert (len(cache), lookup.asked) == (6, 11)


def test_nothing_of_a_token_is_kept(
    sandbox: SandboxInstallation,
    lookup: WatchedLookup,
    cache: CredentialCache,
    verifier: CredentialVerifier,
) -> None:
    """The cache refers neither to the token, nor to its secret, nor to the digest of the database."""
    own, text = made(sandbox)
    check(verifier, text)
    record = asyncio.run(lookup.find_on_loop(own))
    assert record is not None
    assert repr(record) == f"<CredentialRecord of {own}>"
    ahead: list[object] = [cache]
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
    assert len(cache) == 1


def test_a_server_that_reads_caches_nothing(
    sandbox: SandboxInstallation, lookup: WatchedLookup
) -> None:
    """`verification = "read"` disables this cache too."""
    _, text = made(sandbox)
    verifier = CredentialVerifier(lookup, PEPPERS, sandbox.clock)
    for _ in range(3):
        check(verifier, text)
    assert lookup.asked == 3

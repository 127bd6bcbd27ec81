"""Credentials from cache: the answers of a read, none of its costs, and nothing that outlives its row."""

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
from tests.clocks import NOON
from tests.installations import PEPPERS, Ground, calling, fresh_ground, sqlite_file

OPERATOR, SERVICE = CredentialKind.OPERATOR, CredentialKind.SERVICE
BY = Actor(PrincipalKind.OPERATOR, "cli", "root")


class WatchedLookup:
    """The real lookup, with a count of what it is asked, and something to do once a row has been read."""

    def __init__(self, lookup: Lookup[CredentialRecord]) -> None:
        self.asked = 0
        self.then: Callable[[], object] = lambda: None
        self._lookup = lookup

    def find(self, credential_id: str) -> CredentialRecord | None:
        """As the real one."""
        return self._lookup.find(credential_id)

    async def find_on_loop(self, credential_id: str) -> CredentialRecord | None:
        """As the real one."""
        self.asked += 1
        record = await self._lookup.find_on_loop(credential_id)
        then, self.then = self.then, lambda: None
        then()
        return record


@pytest.fixture(scope="module")
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    """An embedded installation with a generation file."""
    with fresh_ground(request, tmp_path_factory, "sqlite") as ground:
        generation_file_of(ground).open()
        yield ground


@pytest.fixture
def ground(shared: Ground) -> Ground:
    """The same, at noon."""
    shared.clock.set(NOON)
    return shared


def generation_file_of(ground: Ground) -> GenerationFile:
    """The installation's own view."""
    assert ground.database.generation_file is not None
    return ground.database.generation_file


@pytest.fixture
def lookup(ground: Ground) -> WatchedLookup:
    """Counts what the verifier asks the database."""
    return WatchedLookup(ground.installation.reads.lookup(CREDENTIAL))


@pytest.fixture
def cache(ground: Ground) -> CredentialCache:
    """Empty."""
    return VerificationCache(generation_file_of(ground), capacity=10)


@pytest.fixture
def verifier(ground: Ground, lookup: WatchedLookup, cache: CredentialCache) -> CredentialVerifier:
    """A server that remembers."""
    return CredentialVerifier(lookup, PEPPERS, ground.clock, cache)


def made(ground: Ground, kind: CredentialKind = SERVICE) -> tuple[CredentialId, str]:
    """Id and token of a new credential."""
    credential, token = ground.services.credentials.create("search", BY, kind)
    return credential.id, token.reveal()


def check(verifier: CredentialVerifier, text: str, *kinds: CredentialKind) -> ActingCredential:
    """Which credential calls with that token."""
    return asyncio.run(verifier.verify(text, *(kinds or CredentialKind)))


def refused(verifier: CredentialVerifier, text: str, *kinds: CredentialKind) -> bool:
    """Whether none does."""
    try:
        check(verifier, text, *kinds)
    except InvalidToken:
        return True
    return False


def test_the_second_check_costs_no_read(
    ground: Ground, lookup: WatchedLookup, verifier: CredentialVerifier
) -> None:
    """A verified credential comes from the cache, with the same answer; a refused one is read again each time."""
    id, text = made(ground)
    assert [check(verifier, text) for _ in range(3)] == [(id, SERVICE, "search")] * 3
    assert lookup.asked == 1
    dead, token = made(ground)
    ground.services.credentials.revoke(dead, BY)
    assert [refused(verifier, token) for _ in range(3)] == [True] * 3
    assert lookup.asked == 4


def test_who_is_remembered_is_still_of_one_kind(
    ground: Ground, lookup: WatchedLookup, verifier: CredentialVerifier
) -> None:
    """A cached service is still not an operator."""
    _, text = made(ground)
    for kinds, is_refused in (
        ((SERVICE,), False),
        ((OPERATOR,), True),
        (tuple(CredentialKind), False),
    ):
        assert refused(verifier, text, *kinds) is is_refused
    with pytest.raises(InvalidToken):
        asyncio.run(verifier.verify(text))
    assert lookup.asked == 1


def test_the_end_is_seen_at_once_by_every_server(ground: Ground) -> None:
    """What one server revokes is dead for every server that remembers it."""
    id, text = made(ground)
    servers = [ground.another(), ground.another(), ground.installation]
    for server in servers * 2:
        assert calling(server, text, SERVICE).id == id
    ground.services.credentials.revoke(id, BY)
    for server in servers * 2:
        with pytest.raises(InvalidToken):
            calling(server, text, SERVICE)


def test_a_read_that_the_end_overtook_is_not_remembered(
    ground: Ground, lookup: WatchedLookup, verifier: CredentialVerifier
) -> None:
    """A row read before the revocation, and answered after it, is not in the cache of a later check (R32)."""
    id, text = made(ground)
    lookup.then = lambda: ground.services.credentials.revoke(id, BY)
    assert check(verifier, text).id == id
    assert refused(verifier, text)


def test_while_invalid_nothing_is_remembered(
    ground: Ground, lookup: WatchedLookup, verifier: CredentialVerifier
) -> None:
    """While the mark stands every check reads its row, and none is kept for the time when it is gone."""
    _, text = made(ground)
    generation_file_of(ground).invalidate()
    for _ in range(3):
        check(verifier, text)
    assert lookup.asked == 3
    generation_file_of(ground).publish()
    for _ in range(3):
        check(verifier, text)
    assert lookup.asked == 4


def test_a_hand_on_the_file(ground: Ground, verifier: CredentialVerifier) -> None:
    """What is changed without Keystead, as with sqlite3 by hand, is seen after a minute at the latest."""
    id, text = made(ground)
    check(verifier, text)
    with closing(sqlite_driver.connect(sqlite_file(ground), isolation_level=None)) as hand:
        hand.execute("UPDATE credentials SET revoked_at = 1 WHERE id = ?", (id,))
    ground.clock.advance(timedelta(microseconds=MAX_AGE - 1))
    assert not refused(verifier, text)
    ground.clock.advance(microseconds=1)
    assert refused(verifier, text)


def test_before_it_was_read_nothing_is_remembered(
    ground: Ground, lookup: WatchedLookup, verifier: CredentialVerifier
) -> None:
    """With a clock that was set back the row is read: the age of the entry is unknown."""
    _, text = made(ground)
    check(verifier, text)
    ground.clock.set(NOON - timedelta(hours=1))
    check(verifier, text)
    assert lookup.asked == 2


def test_a_changed_character_is_another_token(ground: Ground, verifier: CredentialVerifier) -> None:
    """Nothing but the whole text is remembered: no other text passes for it."""
    _, text = made(ground)
    check(verifier, text)
    for place in range(len(text)):
        other = text[:place] + ("a" if text[place] != "a" else "b") + text[place + 1 :]
        assert refused(verifier, other)


def test_so_many_and_no_more(
    ground: Ground, lookup: WatchedLookup, cache: CredentialCache, verifier: CredentialVerifier
) -> None:
    """A full cache drops what was not used; strangers fill no part of it."""
    texts = [made(ground)[1] for _ in range(11)]
    for text in texts[:10]:
        check(verifier, text)
        assert refused(verifier, text[:-1])
    assert (len(cache), lookup.asked) == (10, 10)
    check(verifier, texts[10])
    assert (len(cache), lookup.asked) == (6, 11)


def test_nothing_of_a_token_is_kept(
    ground: Ground, lookup: WatchedLookup, cache: CredentialCache, verifier: CredentialVerifier
) -> None:
    """The cache refers neither to the token, nor to its secret, nor to the digest of the database."""
    own, text = made(ground)
    check(verifier, text)
    record = asyncio.run(lookup.find_on_loop(own))
    assert record is not None
    assert repr(record) == f"<CredentialRecord of {own}>"
    ahead: list[object] = [cache]
    seen = set()
    while ahead:
        found = ahead.pop()
        if id(found) in seen or isinstance(found, type | type(sys)):
            continue
        seen.add(id(found))
        assert found != record.digest
        if isinstance(found, str):
            assert text[-40:-10] not in found
        if isinstance(found, bytes):
            assert text[-40:-10].encode() not in found
        ahead += gc.get_referents(found)
    assert len(cache) == 1


def test_a_server_that_reads_remembers_nothing(ground: Ground, lookup: WatchedLookup) -> None:
    """`verification = "read"` is without this cache too."""
    _, text = made(ground)
    verifier = CredentialVerifier(lookup, PEPPERS, ground.clock)
    for _ in range(3):
        check(verifier, text)
    assert lookup.asked == 3

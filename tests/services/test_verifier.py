"""Verification: each token's verdict, its cost, and what happens when something is missing."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice

import pytest
from sqlalchemy import update

from keystead.domain.digest import Pepper, Peppers
from keystead.domain.errors import Unavailable
from keystead.domain.ids import ALPHABET
from keystead.domain.keys import KeyDraft, KeyPatch
from keystead.domain.principals import PrincipalKind
from keystead.domain.token import assemble, checksum, parse
from keystead.domain.verification import (
    MALFORMED,
    UNKNOWN,
    DenialReason,
    Denied,
    KeyRecord,
    Verified,
)
from keystead.services.usage import Usage
from keystead.services.verifier import Verifier
from keystead.storage.database import Database
from keystead.storage.engine.roles import Purpose
from keystead.storage.point_reads.by_id import Lookup
from keystead.storage.schema.tables import api_keys
from keystead.storage.schema.verification_reads import KEY
from tests.support.administrator import read_behind, write_behind
from tests.support.clocks import NOON
from tests.support.installations import PEPPERS, SandboxInstallation, text_of

HOUR = timedelta(hours=1)


class CountedLookup:
    """The real lookup, with a count of its reads."""

    def __init__(self, lookup: Lookup[KeyRecord]) -> None:
        self.asked = 0
        self._lookup = lookup

    def find(self, key_id: str) -> KeyRecord | None:
        """Call the real one."""
        self.asked += 1
        return self._lookup.find(key_id)

    async def find_on_loop(self, key_id: str) -> KeyRecord | None:
        """Call the real one."""
        self.asked += 1
        return await self._lookup.find_on_loop(key_id)


@pytest.fixture
def lookup(sandbox: SandboxInstallation) -> CountedLookup:
    """A lookup that counts the verifier's reads."""
    return CountedLookup(sandbox.installation.reads.lookup(KEY))


@pytest.fixture
def verifier(sandbox: SandboxInstallation, lookup: CountedLookup) -> Verifier:
    """A verifier that counts."""
    return Verifier(
        lookup, PEPPERS, sandbox.clock, Usage(sandbox.database), sandbox.services.first_uses
    )


def _malformed(token: str) -> Iterator[str]:
    """Yield endless texts that are nearly tokens, or nothing like them."""
    dice = random.Random(7)
    everything = ALPHABET + "_-. \t\n\x00é漢😀"
    while True:
        place = dice.randrange(len(token))
        other = dice.choice(ALPHABET.replace(token[place], ""))
        yield token[:place] + other + token[place + 1 :]
        yield token[: dice.randrange(len(token))]
        yield token + dice.choice(everything)
        yield (
            "ks_"
            + "".join(dice.choices(ALPHABET, k=22))
            + "_"
            + "".join(dice.choices(ALPHABET, k=49))
        )
        yield "".join(dice.choices(everything, k=dice.randrange(100)))


def test_malformed_tokens_cost_no_lookup(
    sandbox: SandboxInstallation, lookup: CountedLookup, verifier: Verifier
) -> None:
    """Of 50,000 malformed tokens an engine, none is looked up: garbage is refused before any I/O (R3)."""
    token = text_of(sandbox.key(sandbox.tenant()))
    for text in islice(_malformed(token), 50_000):
        assert verifier.verify(text) is MALFORMED, text
    assert lookup.asked == 0
    assert isinstance(verifier.verify(token), Verified)
    assert lookup.asked == 1


def test_a_verification_is_one_lookup(
    sandbox: SandboxInstallation, lookup: CountedLookup, verifier: Verifier
) -> None:
    """Every well-formed token is one lookup, be it live, dead or unknown; nothing is cached between them."""
    tenant = sandbox.tenant()
    live, dead = sandbox.key(tenant), sandbox.key(tenant)
    sandbox.services.keys.revoke(tenant, dead.key.id)
    unknown = assemble("ks", 7, os.urandom(32)).reveal()
    for text in (text_of(live), text_of(dead), unknown) * 5:
        verifier.verify(text)
    assert lookup.asked == 15


def test_a_right_checksum_proves_nothing(sandbox: SandboxInstallation) -> None:
    """Well-formed tokens of strangers are unknown: another secret, another key's id, another prefix (R4)."""
    created = sandbox.key(sandbox.tenant())
    body = text_of(created)[:-6]
    other = sandbox.key(sandbox.tenant())
    forged = [
        assemble("ks", 7, os.urandom(32)).reveal(),
        body[:26] + "0" * 43,
        "kt" + body[2:],
        "ks_live" + body[2:],
        text_of(other)[:26] + body[26:],
        body[:-1] + ("0" if body[-1] != "0" else "1"),
    ]
    for text in forged:
        signed = text if len(text) == 75 else text + checksum(text)
        assert parse(signed) is not None
        assert sandbox.services.verifier.verify(signed) == UNKNOWN


def test_who_is_verified(sandbox: SandboxInstallation) -> None:
    """A live token acts as its key: id, description, workspace, scopes, end; and only within its scopes."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant, "sync", scopes=["documents:read"], expires_at=NOON + HOUR)
    principal = sandbox.principal(created)
    assert (principal.kind, principal.id) == (PrincipalKind.KEY, created.key.id)
    assert (principal.name, principal.workspace_id) == ("sync", tenant.workspace_id)
    assert (principal.scopes, principal.expires_at) == (created.key.scopes, NOON + HOUR)
    assert sandbox.verdict(created, "documents:read") == "verified"
    assert sandbox.verdict(created, "documents:write") == "insufficient_scope"


def test_denials_name_the_key_to_its_owner(sandbox: SandboxInstallation) -> None:
    """A denial names key and workspace if the secret was right, and nothing to a stranger."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    sandbox.services.keys.revoke(tenant, created.key.id)
    assert sandbox.verify(created) == Denied(
        DenialReason.REVOKED, created.key.id, tenant.workspace_id
    )
    stranger = text_of(created)[:26] + "0" * 43
    verdict = sandbox.services.verifier.verify(stranger + checksum(stranger))
    assert verdict == Denied(DenialReason.UNKNOWN)


def test_expiry_to_the_microsecond(sandbox: SandboxInstallation) -> None:
    """A key is accepted up to the last microsecond before its expiry and refused from it on, even if time runs back."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant, expires_at=NOON + timedelta(seconds=3))
    sandbox.clock.set(NOON + timedelta(seconds=3, microseconds=-1))
    assert sandbox.verdict(created) == "verified"
    for _ in range(3):
        sandbox.clock.advance(microseconds=1)
        assert sandbox.verdict(created) == "expired"


def test_suspended_workspace(sandbox: SandboxInstallation) -> None:
    """Every key of a suspended workspace is refused immediately, on every server, and works again once resumed."""
    tenant, other = sandbox.tenant(), sandbox.tenant()
    created, neighbour = sandbox.key(tenant), sandbox.key(other)
    server = sandbox.another()
    sandbox.services.workspaces.suspend(tenant.workspace_id)
    assert sandbox.verdict(created) == "suspended"
    assert isinstance(server.services.verifier.verify(text_of(created)), Denied)
    assert sandbox.verdict(neighbour) == "verified"
    sandbox.services.workspaces.resume(tenant.workspace_id)
    assert sandbox.verdict(created) == "verified"


def test_narrowing_is_immediate(sandbox: SandboxInstallation) -> None:
    """A scope that is taken away is gone with the response, on every server (R31)."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant, scopes=["documents:read", "documents:write"])
    server = sandbox.another()
    sandbox.services.keys.update(tenant, created.key.id, KeyPatch(scopes=["documents:read"]))
    assert sandbox.verdict(created, "documents:write") == "insufficient_scope"
    assert isinstance(server.services.verifier.verify(text_of(created), "documents:write"), Denied)


def test_retired_peppers(sandbox: SandboxInstallation) -> None:
    """After a change of peppers old keys still verify under the retired one, new ones under the current (R93)."""
    tenant = sandbox.tenant()
    old = sandbox.key(tenant)
    newer = Peppers(Pepper("p2", os.urandom(32)), [PEPPERS.current])
    rotated = sandbox.another(newer)
    new = rotated.services.keys.create(tenant, KeyDraft("new"))
    for created in (old, new):
        assert isinstance(rotated.services.verifier.verify(text_of(created)), Verified)
    with read_behind(sandbox.database) as tx:
        rows = tx.execute(api_keys.select().where(api_keys.c.workspace_id == tenant.workspace_id))
        assert {row.id: row.pepper_id for row in rows} == {old.key.id: "p1", new.key.id: "p2"}


def test_a_missing_pepper(sandbox: SandboxInstallation) -> None:
    """A server without a living key's pepper does not call the key invalid: it is unavailable (R36)."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    bare = sandbox.another(Peppers(Pepper("p9", os.urandom(32))))
    with pytest.raises(Unavailable):
        bare.services.verifier.verify(text_of(created))
    assert sandbox.verdict(created) == "verified"


@pytest.mark.parametrize("end", ["revoked", "expired", "suspended"])
def test_a_dead_keys_pepper_may_be_gone(sandbox: SandboxInstallation, end: str) -> None:
    """A key that has ended is refused like any invalid one, even if its pepper has been removed since."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant, expires_at=NOON + HOUR)
    match end:
        case "revoked":
            sandbox.services.keys.revoke(tenant, created.key.id)
        case "expired":
            sandbox.clock.advance(HOUR)
        case "suspended":
            sandbox.services.workspaces.suspend(tenant.workspace_id)
    bare = sandbox.another(Peppers(Pepper("p9", os.urandom(32))))
    assert bare.services.verifier.verify(text_of(created)) == UNKNOWN


def test_the_same_key_under_another_peppers_bytes(sandbox: SandboxInstallation) -> None:
    """A pepper of the right id and other bytes verifies nothing."""
    created = sandbox.key(sandbox.tenant())
    wrong = sandbox.another(Peppers(Pepper("p1", os.urandom(32))))
    assert wrong.services.verifier.verify(text_of(created)) == UNKNOWN


def test_a_damaged_digest(sandbox: SandboxInstallation) -> None:
    """A digest in the database that was changed by one bit verifies nothing."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    row = api_keys.c.id == created.key.id
    with write_behind(sandbox.database) as tx:
        digest = tx.execute(api_keys.select().where(row)).one().digest
        flipped = bytes([digest[0] ^ 1]) + digest[1:]
        tx.execute(update(api_keys).where(row).values(digest=flipped))
    assert sandbox.verdict(created) == "unknown"


def test_no_write_on_the_read_path(own_sandbox: SandboxInstallation) -> None:
    """Verifications write nothing: on a database that cannot be written they work as before (R43, R44)."""
    tenant = own_sandbox.tenant()
    created = own_sandbox.key(tenant)
    dead = own_sandbox.key(tenant)
    own_sandbox.services.keys.revoke(tenant, dead.key.id)
    with own_sandbox.database.write_across(Purpose.PEOPLE):
        for _ in range(10):
            assert own_sandbox.verdict(created) == "verified"
            assert own_sandbox.verdict(dead) == "revoked"


def test_verification_goes_on_without_a_writers_connection(
    own_sandbox: SandboxInstallation,
) -> None:
    """However many changes wait for a workspace's lock, a verification is not among them."""
    tenant = own_sandbox.tenant()
    created = own_sandbox.key(tenant)
    database: Database = own_sandbox.database
    connections = [database.pool.take() for _ in range(32)]
    try:
        assert own_sandbox.verdict(created) == "verified"
    finally:
        for connection in connections:
            database.pool.give_back(connection)


def test_each_verdict_is_reported_once(sandbox: SandboxInstallation, lookup: CountedLookup) -> None:
    """The callback gets `verified`, the reason of a denial, or `unavailable`, from a thread and from an event loop."""
    verdicts: list[str] = []
    usage, on_verdict = Usage(sandbox.database), verdicts.append
    verifier = Verifier(
        lookup, PEPPERS, sandbox.clock, usage, sandbox.services.first_uses, on_verdict=on_verdict
    )
    text = text_of(sandbox.key(sandbox.tenant(), scopes=["documents:read"]))
    for required in ("documents:read", "documents:write"):
        verifier.verify(text, required)
        asyncio.run(verifier.verify_on_loop(text, required))
    verifier.verify("x")
    others = Peppers(Pepper("other", os.urandom(32)))
    blind = Verifier(
        lookup, others, sandbox.clock, usage, sandbox.services.first_uses, on_verdict=on_verdict
    )
    with pytest.raises(Unavailable):
        blind.verify(text)
    assert verdicts == [
        *["verified"] * 2,
        *["insufficient_scope"] * 2,
        "malformed",
        "unavailable",
    ]

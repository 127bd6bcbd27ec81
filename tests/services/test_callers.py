"""The callers of a key, served and refused, on both engines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from keystead.bootstrap import Installation, open_installation
from keystead.domain.digest import Pepper, Peppers
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal, system
from keystead.domain.usage import MAX_CALLERS
from keystead.domain.verification import DenialReason
from keystead.services.key_issuer import CreatedKey
from keystead.services.usage import FLUSHES_A_ROUND
from keystead.settings import Settings
from keystead.storage.schema.tables import key_callers
from tests.support.administrator import read_behind
from tests.support.clocks import ManualClock
from tests.support.row_security import installed


@pytest.fixture
def installation(database_url: str, tmp_path: Path) -> Iterator[Installation]:
    """A migrated installation whose clock stands still."""
    settings = Settings(data=tmp_path, database=installed(database_url))
    opened = open_installation(settings, Peppers(Pepper("p1", os.urandom(32))), ManualClock())
    try:
        yield opened
    finally:
        opened.close()


def a_key(installation: Installation) -> tuple[Principal, CreatedKey]:
    """Return a principal of the first workspace, and a key in it."""
    principal = system(installation.services.workspaces.first().workspace_id)
    return principal, installation.services.keys.create(principal, KeyDraft("sync"))


def call(
    installation: Installation, created: CreatedKey, address: str, agent: str = "curl"
) -> None:
    """Verify the key's token once."""
    assert created.token is not None
    verifier = installation.services.verifier
    verifier.verify(created.token.reveal(), address=address, agent=agent)


def test_callers_are_distinguished_and_counted(installation: Installation) -> None:
    """The owner sees each caller once, with the number of its requests, over any number of flushes."""
    principal, created = a_key(installation)
    usage = installation.services.usage
    for _ in range(2):
        call(installation, created, "192.0.2.1")
        call(installation, created, "192.0.2.1")
        call(installation, created, "192.0.2.2")
        usage.flush()
    seen = {(c.caller.address, c.times) for c in usage.callers(principal, created.key.id)}
    assert seen == {("192.0.2.1", 4), ("192.0.2.2", 2)}


def test_a_revoked_key_shows_its_callers(installation: Installation) -> None:
    """After a revocation the refused callers are listed with the reason, and the last use stays where it was."""
    principal, created = a_key(installation)
    services = installation.services
    call(installation, created, "192.0.2.1")
    services.keys.revoke(principal, created.key.id)
    call(installation, created, "192.0.2.9", "cron")
    services.usage.flush()
    refused = [c for c in services.usage.callers(principal, created.key.id) if c.caller.reason]
    assert [(c.caller.reason, c.caller.address, c.caller.agent) for c in refused] == [
        (DenialReason.REVOKED, "192.0.2.9", "cron")
    ]
    last_use = services.keys.get(principal, created.key.id).last_use
    assert last_use is not None
    assert last_use.address == "192.0.2.1"


def test_a_stranger_leaves_no_trace(installation: Installation) -> None:
    """A wrong secret with a key's id is counted nowhere."""
    principal, created = a_key(installation)
    assert created.token is not None
    text = created.token.reveal()
    installation.services.verifier.verify(text[:-1] + ("0" if text[-1] != "0" else "1"))
    installation.services.usage.flush()
    assert installation.services.usage.callers(principal, created.key.id) == []


def test_only_the_latest_callers_are_kept(installation: Installation) -> None:
    """With any number of callers the ten latest served ones are shown, and the others are forgotten at each flush."""
    principal, created = a_key(installation)
    usage = installation.services.usage
    for number in range(FLUSHES_A_ROUND + MAX_CALLERS + 5):
        call(installation, created, f"192.0.2.{number}")
        usage.flush()
        assert _stored(installation, created) <= FLUSHES_A_ROUND + MAX_CALLERS
    shown = usage.callers(principal, created.key.id)
    assert len(shown) == MAX_CALLERS
    for _ in range(FLUSHES_A_ROUND):
        call(installation, created, shown[0].caller.address)
        usage.flush()
    assert _stored(installation, created) == MAX_CALLERS
    assert [c.caller for c in usage.callers(principal, created.key.id)] == [c.caller for c in shown]


def _stored(installation: Installation, created: CreatedKey) -> int:
    with read_behind(installation.database) as tx:
        stored = select(func.count()).select_from(key_callers)
        return tx.execute(stored.where(key_callers.c.key_id == created.key.id)).scalar_one()

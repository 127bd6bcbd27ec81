"""Verifying from an event loop, and how freshness is chosen."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta

import pytest
from pydantic import ValidationError

from keystead.domain.digest import Pepper, Peppers
from keystead.domain.errors import Unavailable
from keystead.domain.token import assemble
from keystead.settings import Settings
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation, text_of

ADDRESS, AGENT = "192.0.2.1", "curl"


def test_the_same_answers_as_from_a_thread(sandbox: SandboxInstallation) -> None:
    """Live, narrow, dead, expired, suspended, unknown and malformed tokens: one verdict, on the loop and off it."""
    tenant, frozen = sandbox.tenant(), sandbox.tenant()
    live = sandbox.key(tenant, scopes=["documents:read"])
    dead, expired = sandbox.key(tenant), sandbox.key(tenant, expires_at=NOON + timedelta(seconds=5))
    suspended = sandbox.key(frozen)
    sandbox.services.keys.revoke(tenant, dead.key.id)
    sandbox.services.workspaces.suspend(frozen.workspace_id)
    sandbox.clock.advance(seconds=5)
    texts = [text_of(created) for created in (live, dead, expired, suspended)]
    texts += [assemble("ks", 7, os.urandom(32)).reveal(), "nothing", ""]
    verifier = sandbox.services.verifier

    async def on_loop() -> list[object]:
        calls = [(text, scope) for text in texts for scope in (None, "documents:write")]
        return list(await asyncio.gather(*(verifier.verify_on_loop(*call) for call in calls)))

    off_loop = [
        verifier.verify(text, scope) for text in texts for scope in (None, "documents:write")
    ]
    for _ in range(2):
        assert asyncio.run(on_loop()) == off_loop


def test_uses_on_the_loop_are_noted(sandbox: SandboxInstallation) -> None:
    """A use that is verified on the loop counts as any other."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant)
    verify = sandbox.services.verifier.verify_on_loop

    async def main() -> None:
        for _ in range(3):
            await verify(text_of(created), address=ADDRESS, agent=AGENT)

    asyncio.run(main())
    sandbox.flush()
    (caller,) = sandbox.services.usage.callers(tenant, created.key.id)
    assert (caller.caller.address, caller.times) == (ADDRESS, 3)


def test_a_missing_pepper_on_the_loop(sandbox: SandboxInstallation) -> None:
    """A living key whose pepper is missing is unavailable there too."""
    created = sandbox.key(sandbox.tenant())
    other = sandbox.another(Peppers(Pepper("p2", bytes(range(50, 90)))))
    with pytest.raises(Unavailable):
        asyncio.run(other.services.verifier.verify_on_loop(text_of(created)))


@pytest.mark.parametrize(
    ("database", "chosen", "remembers"),
    [
        ("sqlite:////tmp/x.db", None, True),
        ("sqlite:////tmp/x.db", "stamp", True),
        ("sqlite:////tmp/x.db", "read", False),
        ("postgresql://localhost/name", None, False),
        ("postgresql://localhost/name", "read", False),
    ],
)
def test_which_servers_cache(database: str, chosen: str | None, remembers: bool) -> None:
    """Servers on SQLite cache verifications by default; on PostgreSQL they don't."""
    settings = Settings.model_validate({"database": database, "verification": chosen})
    assert settings.caches_verifications is remembers


def test_no_generation_file_on_postgresql() -> None:
    """Setting it there is a wrong configuration, reported in one line."""
    values = {"database": "postgresql://localhost/name", "verification": "stamp"}
    with pytest.raises(ValidationError, match="verification = stamp` needs SQLite"):
        Settings.model_validate(values)

"""The guard that asks a server: it asks each time, trusts nothing else, and says what it remembers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keystead.domain.errors import InsufficientScope, InvalidToken, Unavailable
from keystead.integrations import Guard, connect
from keystead.integrations.guard import Presented
from keystead.integrations.remote import MOST_REMEMBERED, Memory, Remote
from keystead.operation.files import ConfigurationError
from tests.integrations.products import PRODUCTS, Product
from tests.integrations.world import REQUIRED, Asked, World, bearer
from tests.serving import HOST, free_port


@pytest.fixture
def remote(world: World) -> Iterator[Guard]:
    """A guard of the test's own, which remembers nothing."""
    guard = Remote(world.server.base_url, world.service_token)
    yield guard
    guard.close()


def test_a_revocation_holds_from_its_answer_on(world: World, remote: Guard) -> None:
    """Every request is asked about: revoked, a key is refused by the next one, in threads and on event loops."""
    token = world.server_token()
    presented = Presented((bearer(token),))
    for _ in range(3):
        assert remote.admit(presented, REQUIRED).workspace_id == world.workspace_id
    world.revoke(token)
    with pytest.raises(InvalidToken):
        remote.admit(presented, REQUIRED)
    with pytest.raises(InvalidToken):
        asyncio.run(remote.admit_on_loop(presented, REQUIRED))


def test_a_server_that_is_away_admits_nobody(world: World) -> None:
    """Where nothing answers, a live key's holder is told so, and not that the key is invalid."""
    presented = Presented((bearer(world.tokens["good"]),))
    guard = Remote(f"http://{HOST}:{free_port()}", world.service_token)
    with closing(guard):
        with pytest.raises(Unavailable):
            guard.admit(presented)
        with pytest.raises(Unavailable):
            asyncio.run(guard.admit_on_loop(presented))


def test_a_credential_that_is_none_admits_nobody(world: World) -> None:
    """A key's token, and a service's that was revoked, may not ask: the first use says so, and what to do."""
    presented = Presented((bearer(world.tokens["good"]),))
    for refused in (world.tokens["everything"], world.revoked_service_token()):
        with closing(Remote(world.server.base_url, refused)) as guard:
            with pytest.raises(ConfigurationError, match="KEYSTEAD_SERVICE_TOKEN must hold"):
                guard.admit(presented)
            with pytest.raises(ConfigurationError, match="own credential"):
                asyncio.run(guard.admit_on_loop(presented))


def test_what_is_no_keystead_is_said_as_such(world: World) -> None:
    """A URL below the server's own is another's fault than an outage, which it must not look like."""
    guard = Remote(f"{world.server.base_url}/nowhere", world.service_token)
    with closing(guard), pytest.raises(ConfigurationError, match="nowhere"):
        guard.admit(Presented((bearer(world.tokens["good"]),)))


@pytest.mark.parametrize("framework", PRODUCTS)
def test_a_refused_credential_is_no_outage(
    world: World, framework: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Callers of the product get a 500 without a word of it; the product's own log has the sentence."""
    product = Product()
    with closing(Remote(world.server.base_url, world.tokens["everything"])) as guard:
        answered = PRODUCTS[framework](guard, product)(Asked((bearer(world.tokens["good"]),)))
    assert answered.status == 500
    assert not product.served
    assert b"credential" not in answered.body
    (record,) = [record for record in caplog.records if record.name == "keystead.integrations"]
    assert "refuses this application's own credential" in record.getMessage()


def test_what_is_no_token_is_never_sent(world: World) -> None:
    """Garbage ends here: nothing listens, and nobody is asked."""
    guard = Remote(f"http://{HOST}:{free_port()}", world.service_token)
    with pytest.raises(InvalidToken):
        guard.admit(Presented((bearer("garbage"),)))


def test_what_is_remembered_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that chose to remember keeps a revoked key alive for so long, to the second, and no longer."""
    now = 1000.0
    monkeypatch.setattr("keystead.integrations.remote.time.monotonic", lambda: now)
    token = world.server_token()
    presented = Presented((bearer(token),))
    with closing(Remote(world.server.base_url, world.service_token, remember_seconds=5)) as guard:
        guard.admit(presented, REQUIRED)
        world.revoke(token)
        now = 1004.9
        guard.admit(presented, REQUIRED)
        with pytest.raises(InsufficientScope):
            guard.admit(presented, "documents:write")
        now = 1005.0
        with pytest.raises(InvalidToken):
            guard.admit(presented, REQUIRED)


def test_an_expiry_is_not_remembered_past(world: World, remote: Guard) -> None:
    """A key that ends is forgotten at its end, however long the host remembers."""
    principal = remote.admit(Presented((bearer(world.tokens["good"]),)))
    memory = Memory(3600)
    ended = world.ended(principal)
    memory.keep("token", ended)
    assert memory.recall("token") is None
    memory.keep("token", principal)
    assert memory.recall("token") is principal


def test_the_memory_is_bounded(world: World, remote: Guard) -> None:
    """However many tokens come, the memory holds a bounded number."""
    principal = remote.admit(Presented((bearer(world.tokens["good"]),)))
    memory = Memory(3600)
    for number in range(MOST_REMEMBERED + 1):
        memory.keep(str(number), principal)
    assert memory.recall("0") is None
    assert memory.recall(str(MOST_REMEMBERED)) is principal


def test_the_credential_comes_from_a_private_file(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a file that only its owner reads, or from the environment; without one, the product does not start."""
    file = tmp_path / "credential"
    file.write_text(world.service_token + "\n")
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod"):
        connect(world.server.base_url, token_file=file)
    file.chmod(0o600)
    presented = Presented((bearer(world.tokens["good"]),))
    with closing(connect(world.server.base_url, token_file=file)) as guard:
        guard.admit(presented, REQUIRED)
    monkeypatch.delenv("KEYSTEAD_SERVICE_TOKEN", raising=False)
    monkeypatch.setenv("KEYSTEAD_TOKEN", world.tokens["good"])
    with pytest.raises(ConfigurationError, match="KEYSTEAD_SERVICE_TOKEN"):
        connect(world.server.base_url)
    file.write_text(f"\ufeff{world.service_token}\r\n", encoding="utf-8")
    with closing(connect(world.server.base_url, token_file=file)) as guard:
        guard.admit(presented, REQUIRED)
    monkeypatch.setenv("KEYSTEAD_URL", world.server.base_url)
    monkeypatch.setenv("KEYSTEAD_SERVICE_TOKEN", f"{world.service_token}\n")
    monkeypatch.delenv("KEYSTEAD_DATABASE", raising=False)
    with closing(connect()) as guard:
        guard.admit(presented, REQUIRED)
    monkeypatch.setenv("KEYSTEAD_DATABASE", world.server.database_url)
    with pytest.raises(ValueError, match="both KEYSTEAD_DATABASE and KEYSTEAD_URL are set"):
        connect()


@pytest.mark.parametrize("url", ["http://keys.example.com", "https://user:pw@keys.example.com"])
def test_a_credential_goes_to_no_unsafe_place(world: World, url: str) -> None:
    """Plain http to another machine is refused before anything is sent."""
    with pytest.raises(ConfigurationError):
        Remote(url, world.service_token)
    with pytest.raises(ConfigurationError):
        Remote(world.server.base_url, "no token")

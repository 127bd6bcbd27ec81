"""The guard that asks a server: it asks about each request, and caches only if it may."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keystead.domain.errors import InsufficientScope, InvalidToken, Unavailable
from keystead.integrations import Guard, connect
from keystead.integrations.guard import RequestHead
from keystead.integrations.remote import CACHE_SIZE, Remote, VerificationCache
from keystead.operation.files import ConfigurationError
from tests.support.callers import REQUIRED, ClientRequest, ServerWithKeys, bearer
from tests.support.guarded_products import PRODUCTS, Product
from tests.support.server_process import HOST, free_port

HERE = "192.0.2.7"


@pytest.fixture
def remote(api_server: ServerWithKeys) -> Iterator[Guard]:
    """A guard for one test, without a cache."""
    guard = Remote(api_server.server.base_url, api_server.service_token)
    yield guard
    guard.close()


def test_a_revocation_holds_from_its_answer_on(api_server: ServerWithKeys, remote: Guard) -> None:
    """A revoked key is refused in the next request, in threads and on event loops."""
    token = api_server.server_token()
    head = RequestHead((bearer(token),))
    for _ in range(3):
        assert remote.admit(head, REQUIRED).workspace_id == api_server.workspace_id
    api_server.revoke(token)
    with pytest.raises(InvalidToken):
        remote.admit(head, REQUIRED)
    with pytest.raises(InvalidToken):
        asyncio.run(remote.admit_on_loop(head, REQUIRED))


def test_a_server_that_is_away_admits_no_caller(api_server: ServerWithKeys) -> None:
    """If the server cannot be reached, the answer says so, and not that the key is invalid."""
    head = RequestHead((bearer(api_server.tokens["good"]),))
    guard = Remote(f"http://{HOST}:{free_port()}", api_server.service_token)
    with closing(guard):
        with pytest.raises(Unavailable) as failure:
            guard.admit(head)
        problem = json.loads(guard.answer(failure.value).body)
        assert problem["code"] == "unavailable"
        assert problem["detail"] == "The server that verifies keys cannot be reached. Try again."
        with pytest.raises(Unavailable):
            asyncio.run(guard.admit_on_loop(head))


def test_an_invalid_credential_admits_no_caller(api_server: ServerWithKeys) -> None:
    """A key's token and a revoked service's token raise an error that says what to do."""
    head = RequestHead((bearer(api_server.tokens["good"]),))
    for refused in (api_server.tokens["everything"], api_server.revoked_service_token()):
        with closing(Remote(api_server.server.base_url, refused)) as guard:
            with pytest.raises(ConfigurationError, match="KEYSTEAD_SERVICE_TOKEN must hold"):
                guard.admit(head)
            with pytest.raises(ConfigurationError, match="own credential"):
                asyncio.run(guard.admit_on_loop(head))


def test_a_server_that_is_not_keystead_is_a_configuration_error(api_server: ServerWithKeys) -> None:
    """A wrong URL is a configuration error and does not look like an outage."""
    guard = Remote(f"{api_server.server.base_url}/nowhere", api_server.service_token)
    with closing(guard), pytest.raises(ConfigurationError, match="nowhere"):
        guard.admit(RequestHead((bearer(api_server.tokens["good"]),)))


@pytest.mark.parametrize("framework", PRODUCTS)
def test_a_refused_credential_is_not_an_outage(
    api_server: ServerWithKeys, framework: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Callers get a 500 without details; the application's log has the reason."""
    product = Product()
    with closing(Remote(api_server.server.base_url, api_server.tokens["everything"])) as guard:
        answered = PRODUCTS[framework](guard, product)(
            ClientRequest((bearer(api_server.tokens["good"]),))
        )
    assert answered.status == 500
    assert not product.served
    assert b"credential" not in answered.body
    (record,) = [record for record in caplog.records if record.name == "keystead.integrations"]
    assert "refuses this application's own credential" in record.getMessage()


def test_a_malformed_token_is_never_sent(api_server: ServerWithKeys) -> None:
    """A malformed token is refused without a request."""
    guard = Remote(f"http://{HOST}:{free_port()}", api_server.service_token)
    with pytest.raises(InvalidToken):
        guard.admit(RequestHead((bearer("garbage"),)))


def test_a_cached_result_expires(
    api_server: ServerWithKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cached key is admitted until the cache time is over, to the second."""
    now = 1000.0
    monkeypatch.setattr("keystead.integrations.remote.time.monotonic", lambda: now)
    token = api_server.server_token()
    head = RequestHead((bearer(token),))
    with closing(
        Remote(api_server.server.base_url, api_server.service_token, remember_seconds=5)
    ) as guard:
        guard.admit(head, REQUIRED)
        api_server.revoke(token)
        now = 1004.9
        guard.admit(head, REQUIRED)
        with pytest.raises(InsufficientScope):
            guard.admit(head, "documents:write")
        now = 1005.0
        with pytest.raises(InvalidToken):
            guard.admit(head, REQUIRED)


def test_a_key_is_not_cached_beyond_its_expiry(api_server: ServerWithKeys, remote: Guard) -> None:
    """A key is not cached beyond its expiry."""
    principal = remote.admit(RequestHead((bearer(api_server.tokens["good"]),)))
    cache = VerificationCache(3600)
    ended = api_server.ended(principal)
    cache.put("token", HERE, ended)
    assert cache.get("token", HERE) is None
    cache.put("token", HERE, principal)
    assert cache.get("token", HERE) is principal


def test_the_cache_is_bounded(api_server: ServerWithKeys, remote: Guard) -> None:
    """The cache has a maximum size."""
    principal = remote.admit(RequestHead((bearer(api_server.tokens["good"]),)))
    cache = VerificationCache(3600)
    for number in range(CACHE_SIZE + 1):
        cache.put(str(number), HERE, principal)
    assert cache.get("0", HERE) is None
    assert cache.get(str(CACHE_SIZE), HERE) is principal


def test_the_credential_comes_from_a_private_file(
    api_server: ServerWithKeys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The credential comes from a private file or the environment; without it, the start fails."""
    file = tmp_path / "credential"
    file.write_text(api_server.service_token + "\n")
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod"):
        connect(api_server.server.base_url, token_file=file)
    file.chmod(0o600)
    head = RequestHead((bearer(api_server.tokens["good"]),))
    with closing(connect(api_server.server.base_url, token_file=file)) as guard:
        guard.admit(head, REQUIRED)
    monkeypatch.delenv("KEYSTEAD_SERVICE_TOKEN", raising=False)
    monkeypatch.setenv("KEYSTEAD_TOKEN", api_server.tokens["good"])
    with pytest.raises(ConfigurationError, match="KEYSTEAD_SERVICE_TOKEN"):
        connect(api_server.server.base_url)
    file.write_text(f"\ufeff{api_server.service_token}\r\n", encoding="utf-8")
    with closing(connect(api_server.server.base_url, token_file=file)) as guard:
        guard.admit(head, REQUIRED)
    monkeypatch.setenv("KEYSTEAD_URL", api_server.server.base_url)
    monkeypatch.setenv("KEYSTEAD_SERVICE_TOKEN", f"{api_server.service_token}\n")
    monkeypatch.delenv("KEYSTEAD_DATABASE", raising=False)
    with closing(connect()) as guard:
        guard.admit(head, REQUIRED)
    monkeypatch.setenv("KEYSTEAD_DATABASE", api_server.server.database_url)
    with pytest.raises(ValueError, match="both KEYSTEAD_DATABASE and KEYSTEAD_URL are set"):
        connect()


@pytest.mark.parametrize("url", ["http://keys.example.com", "https://user:pw@keys.example.com"])
def test_a_credential_goes_to_no_unsafe_place(api_server: ServerWithKeys, url: str) -> None:
    """Plain http to another machine is refused before anything is sent."""
    with pytest.raises(ConfigurationError):
        Remote(url, api_server.service_token)
    with pytest.raises(ConfigurationError):
        Remote(api_server.server.base_url, "no token")

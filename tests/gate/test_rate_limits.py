"""Every endpoint enforces the rate limits with the same answer; introspection counts nothing."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator

import pytest

from keystead.domain.errors import RateLimited
from keystead.integrations.guard import RequestHead
from keystead.integrations.in_process import InProcess
from keystead.settings import Settings
from tests.support.asgi import scope_of
from tests.support.gate import GateApplication, bearer, gate_of
from tests.support.installations import SandboxInstallation, text_of
from tests.support.rate_limits import rate_limited_sandbox, rate_limited_tenant


@pytest.fixture
def paced(sandbox: SandboxInstallation, runner: asyncio.Runner) -> Iterator[GateApplication]:
    """The endpoints of a server that counts in memory."""
    with rate_limited_sandbox(sandbox, "memory") as paced:
        yield gate_of(paced, runner)


def test_the_doors_share_one_count(paced: GateApplication) -> None:
    """A request over the API and one that a gateway asks about are two; the third is 429 at both."""
    token = text_of(paced.sandbox.key(rate_limited_tenant(paced.sandbox, key=2)))
    whoami = scope_of(path="/v1/whoami", headers=[(b"host", b"x"), *bearer(token)])
    assert paced.ask("/any", token).status == 200
    assert paced.send(whoami).status == 200
    for answer in (paced.ask("/any", token), paced.send(whoami)):
        assert answer.status == 429
        assert answer.json()["code"] == "rate-limited"
        wait = int(answer.header("retry-after") or "")
        assert 1 <= wait <= 60
        assert answer.header("ratelimit-policy") == '"key";q=2;w=60'
        assert answer.header("ratelimit") == f'"key";r=0;t={wait}'
        assert answer.header("www-authenticate") is None
        assert token not in answer.body.decode()


def test_nginx_is_told_403_and_the_status(paced: GateApplication) -> None:
    """`auth_request` makes 500 of a 429: it gets 403, the status in a field, and when to come again."""
    token = text_of(paced.sandbox.key(rate_limited_tenant(paced.sandbox, workspace=1)))
    nginx = [(b"x-keystead-gateway", b"nginx")]
    assert paced.ask("/any", token, headers=nginx).status == 200
    refused = paced.ask("/any", token, headers=nginx)
    assert (refused.status, refused.header("x-keystead-denied-status")) == (403, "429")
    assert refused.header("retry-after") is not None
    assert refused.header("ratelimit-policy") == '"workspace";q=1;w=60'


def test_a_dead_token_is_never_told_to_come_again(paced: GateApplication) -> None:
    """A rate-limited key that is revoked gets 401 at every endpoint, like an unknown token."""
    tenant = rate_limited_tenant(paced.sandbox, key=1)
    created = paced.sandbox.key(tenant)
    token = text_of(created)
    assert [paced.ask("/any", token).status for _ in range(2)] == [200, 429]
    assert (
        paced.ask(
            "/documents:write", text_of(paced.sandbox.key(tenant, scopes=("events:read",)))
        ).status
        == 403
    )
    paced.sandbox.services.keys.revoke(tenant, created.key.id)
    whoami = scope_of(path="/v1/whoami", headers=[(b"host", b"x"), *bearer(token)])
    for answer in (paced.ask("/any", token), paced.send(whoami)):
        assert answer.status == 401
        assert answer.header("retry-after") is None


def test_introspection_says_what_a_token_is(paced: GateApplication) -> None:
    """Introspection never exhausts a rate limit: the token stays active, and its key can make all its requests."""
    token = text_of(paced.sandbox.key(rate_limited_tenant(paced.sandbox, key=2)))
    service = paced.service()
    for _ in range(5):
        assert paced.introspect(token, service).json()["active"] is True
    assert [paced.ask("/any", token).status for _ in range(3)] == [200, 200, 429]
    assert paced.introspect(token, service).json()["active"] is True


def test_inside_an_application(sandbox: SandboxInstallation) -> None:
    """The guard that opens the database itself refuses as the server does, on threads and on an event loop."""
    tenant = rate_limited_tenant(sandbox, key=2)
    created = sandbox.key(tenant)
    peppers = "p1:" + base64.b64encode(bytes(range(100, 132))).decode()
    settings = Settings.model_validate(
        {"database": sandbox.url, "peppers": peppers, "rate_limits": "memory"}
    )
    guard = InProcess(settings)
    asked = RequestHead(bearer(text_of(created)))
    try:
        guard.admit(asked)
        asyncio.run(guard.admit_on_loop(asked))
        with pytest.raises(RateLimited) as refused:
            guard.admit(asked)
        with pytest.raises(RateLimited):
            asyncio.run(guard.admit_on_loop(asked))
        assert guard.answer(refused.value).status == 429
    finally:
        guard.close()

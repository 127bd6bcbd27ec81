"""Signing in at a terminal by the SDK, against a real server: both kinds, approved, denied and too fast."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keystead import bootstrap
from keystead.bootstrap import Installation
from keystead.client import (
    AsyncDeviceLogin,
    Client,
    DeviceCode,
    DeviceLogin,
    Problem,
    Refusal,
    Token,
)
from keystead.client.exchange import next_interval
from keystead.domain.events import Origin
from keystead.domain.ids import UserId
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import of_member
from tests.support.server_process import ServerProcess, serving

SignIn = Callable[[str, Callable[[DeviceCode], None]], Token]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server over SQLite."""
    with serving(f"sqlite:///{tmp_path_factory.mktemp('device') / 'keystead.db'}") as server:
        yield server


@pytest.fixture(scope="module")
def installation(server: ServerProcess) -> Iterator[Installation]:
    """The server's installation, in which a person decides."""
    installation = bootstrap.open_safely(server.settings)
    yield installation
    installation.close()


def waiting(url: str, decide: Callable[[DeviceCode], None]) -> Token:
    """Sign in with the synchronous client; polls wait for nothing."""
    with DeviceLogin(url) as device:
        code = device.start(scopes=["documents:read"], description="sdk", host="build-7")
        decide(code)
        return device.wait(replace(code, interval=0))


def awaiting(url: str, decide: Callable[[DeviceCode], None]) -> Token:
    """Sign in with the asynchronous client."""

    async def sign_in() -> Token:
        async with AsyncDeviceLogin(url) as device:
            code = await device.start(scopes=["documents:read"], description="sdk", host="build-7")
            decide(code)
            return await device.wait(replace(code, interval=0))

    return asyncio.run(sign_in())


KINDS = [waiting, awaiting]


@pytest.mark.parametrize("sign_in", KINDS)
def test_an_approved_program_has_its_token(
    server: ServerProcess, installation: Installation, sign_in: SignIn
) -> None:
    """The token that `wait` returns is that of the approved key, and no repr shows a secret."""
    owner = of_member(installation.services.workspaces.first())
    end = datetime.now(UTC) + timedelta(days=1)

    def approve(code: DeviceCode) -> None:
        assert code.device_code.reveal() not in repr(code)
        draft = KeyDraft("approved", end, ["documents:read"])
        installation.services.device_logins.approve(owner, code.user_code, draft, Origin())

    token = sign_in(server.base_url, approve)
    with Client(server.base_url, token.reveal()) as client:
        assert client.whoami().key.description == "approved"


@pytest.mark.parametrize("sign_in", KINDS)
def test_a_denied_program_gets_the_reason(
    server: ServerProcess, installation: Installation, sign_in: SignIn
) -> None:
    """A denial is a Problem with OAuth's error as its code."""
    user = installation.services.workspaces.first().user.id

    def deny(code: DeviceCode) -> None:
        installation.services.device_logins.deny(code.user_code, UserId(user), Origin())

    with pytest.raises(Problem, match="denied") as refused:
        sign_in(server.base_url, deny)
    assert (refused.value.code, refused.value.status) == ("access_denied", 400)


@pytest.mark.parametrize(
    ("error", "interval"), [("authorization_pending", 5), ("slow_down", 10), ("other", None)]
)
def test_polls_slow_down(error: str, interval: int | None) -> None:
    """Pending keeps the interval, `slow_down` adds five seconds, all else ends the wait (RFC 8628 section 3.5)."""
    refusal = Problem(Refusal(400, error, "", "wait"))
    if interval is not None:
        assert next_interval(refusal, 5) == interval
        return
    with pytest.raises(Problem):
        next_interval(refusal, 5)

"""The guard over the database: fresh, with uses recorded, safe to fork, closed on an unfit database."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from keystead.domain.errors import InvalidToken
from keystead.integrations import Guard, connect
from keystead.integrations.guard import RequestHead
from keystead.integrations.in_process import InProcess
from keystead.operation.files import ConfigurationError
from tests.support.callers import REQUIRED, ClientRequest, ServerWithKeys, bearer
from tests.support.guarded_products import PRODUCTS, Product


@pytest.fixture
def in_process(api_server: ServerWithKeys) -> Any:
    """A guard for one test."""
    guard = connect(api_server.server.database_url, data=api_server.server.data)
    yield guard
    guard.close()


@pytest.mark.parametrize("framework", PRODUCTS)
def test_a_revocation_holds_from_its_answer_on(
    api_server: ServerWithKeys, in_process: Guard, framework: str
) -> None:
    """A key that is revoked on the server is refused in the next request."""
    product = Product()
    ask = PRODUCTS[framework](in_process, product)
    token = api_server.server_token()
    for _ in range(3):
        assert ask(ClientRequest((bearer(token),))).status == 200
    api_server.revoke(token)
    assert ask(ClientRequest((bearer(token),))).status == 401
    assert len(product.served) == 3


def test_uses_are_noted(api_server: ServerWithKeys, in_process: Guard) -> None:
    """The use of a key is recorded with time and address."""
    token = api_server.server_token()
    head = RequestHead((bearer(token),), address="192.0.2.9", agent="a product")
    principal = in_process.admit(head, REQUIRED)
    in_process.close()
    used = api_server.use_of(principal.id)
    assert used is not None
    assert (used.address, used.agent) == ("192.0.2.9", "a product")


def test_a_fork_opens_its_own(api_server: ServerWithKeys, in_process: Guard) -> None:
    """Servers fork after they import: a child neither uses nor closes its parent's connections."""
    head = RequestHead((bearer(api_server.tokens["good"]),))
    parents = in_process.admit(head).id
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def child() -> None:
        queue.put(in_process.admit(head).id)
        queue.put(_process_of(in_process) == os.getpid())
        in_process.close()

    process = context.Process(target=child)
    process.start()
    assert queue.get() == parents
    assert queue.get()
    process.join(10)
    assert process.exitcode == 0
    assert in_process.admit(head).id == parents
    assert _process_of(in_process) == os.getpid()


def _process_of(guard: Guard) -> int | None:
    assert isinstance(guard, InProcess)
    return guard.installation.process


def test_a_database_of_another_version_admits_nobody(tmp_path: Path) -> None:
    """Without the schema of this version no key is admitted, and nothing is created."""
    guard = connect(f"sqlite:///{tmp_path / 'keystead.db'}")
    with pytest.raises(ConfigurationError, match="keystead migrate"):
        guard.admit(RequestHead((bearer("x"),)))
    assert guard.answer(ConfigurationError("no schema")).status == 500


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("mysql://localhost/keys", "connect needs"),
        ("keys.example.com", "connect needs"),
        ("", "set KEYSTEAD_DATABASE or KEYSTEAD_URL"),
    ],
)
def test_what_is_no_place_is_refused(to: str, message: str, monkeypatch: Any) -> None:
    """A target that is neither a database nor a server stops the start."""
    for name in ("KEYSTEAD_DATABASE", "KEYSTEAD_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=message):
        connect(to)


def test_the_environment_says_where(api_server: ServerWithKeys, monkeypatch: Any) -> None:
    """Without an argument, the environment names the target."""
    monkeypatch.setenv("KEYSTEAD_DATABASE", api_server.server.database_url)
    monkeypatch.setenv("KEYSTEAD_DATA", str(api_server.server.data))
    guard = connect()
    head = RequestHead((bearer(api_server.tokens["good"]),))
    assert guard.admit(head, REQUIRED).id == api_server.key_id
    with pytest.raises(InvalidToken):
        guard.admit(RequestHead((bearer(api_server.tokens["revoked"]),)))
    guard.close()

"""The gate on a real server: many processes with caches, persistent connections, unread bodies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.raw_http import ask, bearer, open_connection
from tests.support.server_process import ServerProcess, serving

FORM = ("Content-Type", "application/x-www-form-urlencoded")
LINES = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Two processes, each of which answers from memory."""
    url = f"sqlite:///{tmp_path_factory.mktemp('gate') / 'keystead.db'}"
    with serving(url, workers=2, environment={"KEYSTEAD_VERIFICATION": "stamp"}) as started:
        started.put_on("scale")
        yield started


@pytest.mark.slow
def test_a_token_that_is_sent_back_is_dead_everywhere(server: ServerProcess) -> None:
    """With the answer of /revoke it is refused on every open connection of every process, and never accepted again."""
    token = server.token("documents:read")
    with ExitStack() as stack:
        lines = [stack.enter_context(open_connection(server.port)) for _ in range(LINES)]
        for kept in lines * 3:
            assert kept.ask("/forward-auth/documents:read", [bearer(token)]).status == 200
        body = f"token={token}".encode()
        assert ask(server.port, "/revoke", [FORM], method="POST", body=body).status == 200
        for kept in lines * 3:
            assert kept.ask("/forward-auth/documents:read", [bearer(token)]).status == 401


@pytest.mark.slow
def test_a_body_is_nobodys_next_request(server: ServerProcess) -> None:
    """A body that comes with a request is never read as another request."""
    token = server.token("documents:read")
    inner = f"GET /forward-auth/any HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"
    with open_connection(server.port) as kept:
        asked = kept.ask(
            "/forward-auth/any", [bearer(token)], method="POST", body=inner.encode() * 50
        )
        assert asked.status == 200
    with open_connection(server.port) as kept:
        assert kept.ask("/forward-auth/any", [], method="POST", body=inner.encode()).status == 401
        try:
            after = kept.ask("/forward-auth/any").status
        except (ConnectionError, OSError):
            return
        assert after == 401

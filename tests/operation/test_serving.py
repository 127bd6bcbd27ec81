"""A real server starts, answers, writes what it noted, and ends."""

from __future__ import annotations

from tests.serving import Serving


def test_a_server_answers_and_ends_well(server: Serving) -> None:
    """SIGTERM ends a server with exit code 0, and the last use it noted is in the database."""
    token = server.token()
    assert server.call("GET", "/v1/whoami", token=token).status_code == 200
    assert server.stop() == 0
    server.start()
    used = server.call("GET", "/v1/whoami", token=token).json()["key"]["last_used_at"]
    assert used is not None

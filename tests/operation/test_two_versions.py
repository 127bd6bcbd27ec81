"""Servers of this version and of a later one, next to each other on one migrated PostgreSQL (R94)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.postgres import PostgresServer
from tests.support.server_process import ServerProcess
from tests.support.versions import two_versions

ROUNDS: Final = 50


def make(server: ServerProcess, token: str, number: int) -> dict[str, Any]:
    """Create a key."""
    answer = server.call("POST", "/v1/keys", token=token, json={"description": f"key {number}"})
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    return key


@pytest.mark.prove
def test_two_versions_side_by_side(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that one creates the other verifies; once one has acknowledged its revocation the other refuses it.

    Documents that one pushes the other finds.
    """
    with two_versions(postgres, tmp_path, monkeypatch) as (before, after):
        token = after.token()
        after.put_on("scale")
        for number in range(ROUNDS):
            one, other = (before, after) if number % 2 else (after, before)
            key = make(one, token, number)
            assert other.call("GET", "/v1/whoami", token=key["token"]).status_code == 200
            gone = one.call("DELETE", f"/v1/keys/{key['id']}", token=token)
            assert gone.status_code == 204
            assert other.call("GET", "/v1/whoami", token=key["token"]).status_code == 401
        _push_and_find(before, after, token)
        quota = after.call("GET", "/v1/keys", token=token).json()["quota"]["used"]
        assert quota == before.call("GET", "/v1/keys", token=token).json()["quota"]["used"] == 1


def _push_and_find(before: ServerProcess, after: ServerProcess, token: str) -> None:
    after.call("POST", "/v1/collections", token=token, json={"name": "docs"})
    for server, word in ((before, "herons"), (after, "weirs")):
        path = f"/v1/collections/docs/documents/{word}"
        assert server.call("PUT", path, token=token, json={"text": word}).status_code == 201
    for server in (before, after):
        for word in ("herons", "weirs"):
            path = f"/v1/collections/docs/documents?query={word}"
            results = server.call("GET", path, token=token).json()
            assert [document["id"] for document in results["items"]] == [word], (server, results)

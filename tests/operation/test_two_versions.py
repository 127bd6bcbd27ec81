"""Servers of the version before and of this one, side by side on one migrated PostgreSQL (R94)."""

from __future__ import annotations

from typing import Any, Final

import psycopg
import pytest

from keystead.storage.row_security.diff import SERVER_ROLE
from tests.before import Before, before, migrate, sources
from tests.serving import Serving, serving

__all__ = ["before", "sources"]

ROUNDS: Final = 50


def make(server: Before | Serving, token: str, number: int) -> dict[str, Any]:
    """A new key."""
    answer = server.call("POST", "/v1/keys", token=token, json={"description": f"key {number}"})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.mark.prove
def test_two_versions_side_by_side(before: Before) -> None:
    """What one makes the other verifies; what one revokes the other refuses from the answer on.

    What one pushes the other finds. When the last of the old ones has gone, the owner sees nothing any more.
    """
    with before.serving():
        migrate(before)
        url = before.url.replace("before_walls@", f"{SERVER_ROLE}@")
        with serving(url, data=before.data) as after:
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
    migrate(before, enforce=True)
    with psycopg.connect(before.url) as owner:
        assert owner.execute("SELECT count(*) FROM api_keys").fetchone() == (0,)


def _push_and_find(before: Before, after: Serving, token: str) -> None:
    after.call("POST", "/v1/collections", token=token, json={"name": "docs"})
    for server, word in ((before, "herons"), (after, "weirs")):
        path = f"/v1/collections/docs/documents/{word}"
        assert server.call("PUT", path, token=token, json={"text": word}).status_code == 201
    for server in (before, after):
        for word in ("herons", "weirs"):
            path = f"/v1/collections/docs/documents?query={word}"
            found = server.call("GET", path, token=token).json()
            assert [document["id"] for document in found["items"]] == [word], (server, found)

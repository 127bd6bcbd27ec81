"""An engineer puts Keystead into a product: the base, a guarded app, its tests, a server, PostgreSQL, monitoring."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.monitoring import RULES
from tests.support.light_base import base_folder, python
from tests.support.postgres import PostgresServer
from tests.support.row_security import as_server
from tests.support.server_process import ServerProcess, serving

PRODUCT = """
import asyncio, json, os
from keystead.integrations import connect
from keystead.integrations.asgi import KeysteadMiddleware
from keystead.testing import Scopes, fake_keystead

async def reports(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["keystead"].workspace_id.encode()})

def create_app(guard):
    return KeysteadMiddleware(reports, guard, "events:read")

def ask(app, token):
    sent = []
    async def send(message):
        sent.append(message)
    headers = [(b"authorization", b"Bearer " + token.encode())] if token else []
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
    asyncio.run(app(scope, None, send))
    return sent[0]["status"], sent[1]["body"].decode()
"""
TESTED_WITH_THE_FAKE = """
app = create_app(fake_keystead({"reader": Scopes(["events:read"]), "other": Scopes(["plan:read"])}))
assert ask(app, None)[0] == 401
assert ask(app, "other")[0] == 403
assert ask(app, "reader") == (200, "ws_test")
"""
IN_PRODUCTION = """
app = create_app(connect())
print(json.dumps([ask(app, token) for token in (None, *os.environ["TOKENS"].split())]))
"""


@pytest.mark.slow
def test_an_engineer_adopts_keystead(tmp_path: Path, postgres: PostgresServer) -> None:
    """The same app and the same token work from the first test to the installation on PostgreSQL."""
    base = tmp_path / "base"
    base.mkdir()
    base_folder(base)
    done = python(base, PRODUCT + TESTED_WITH_THE_FAKE)
    assert done.returncode == 0, done.stderr

    data = tmp_path / "data"
    with serving(f"sqlite:///{data / 'keystead.db'}") as server:
        service = _token(server, "credentials", "create", "product", "--kind", "service")
        key = _token(server, "keys", "create", "--description", "nightly export")
        ended = _token(server, "keys", "create", "--description", "a mistake")
        assert _answers(base, server, service, key, ended) == [401, 200, 200]
        _revoke(server, ended)
        assert _answers(base, server, service, key, ended) == [401, 200, 401]
        server.stop()
        with _moved(server, postgres) as there:
            assert _answers(base, there, service, key, ended) == [401, 200, 401]
            _revoke(there, key)
            assert _answers(base, there, service, key, ended) == [401, 401, 401]
        assert server.cli("keys", "list").returncode == 78

    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on this machine; it comes with Debian's package prometheus")
    checked = subprocess.run(
        [promtool, "check", "rules", RULES], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@contextmanager
def _moved(server: ServerProcess, postgres: PostgresServer) -> Iterator[ServerProcess]:
    """Move the stopped server's installation to PostgreSQL, and serve it there, with the same data folder."""
    name = postgres.create_database()
    owner = postgres.dsn(name)
    moved = server.cli("move", "--to", owner)
    assert moved.returncode == 0, moved.stderr
    with serving(as_server(owner), data=server.data) as there:
        yield there
    postgres.drop_database(name)


def _answers(base: Path, server: ServerProcess, service: str, *tokens: str) -> list[int]:
    """Return the statuses of the app's answers: without a key, and with each of these."""
    own = {
        "KEYSTEAD_URL": server.base_url,
        "KEYSTEAD_SERVICE_TOKEN": service,
        "TOKENS": " ".join(tokens),
    }
    done = python(base, PRODUCT + IN_PRODUCTION, **own)
    assert done.returncode == 0, done.stderr
    return [status for status, _ in json.loads(done.stdout)]


def _token(server: ServerProcess, *command: str) -> str:
    """Run a command that prints a token. Returns the token."""
    done = server.cli(*command)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _revoke(server: ServerProcess, token: str) -> None:
    """Revoke the key of a token, by its own permission."""
    key = server.call("GET", "/v1/whoami", token=token).json()["key"]["id"]
    assert server.call("DELETE", f"/v1/keys/{key}", token=token).status_code == 204

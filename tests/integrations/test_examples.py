"""Each example runs as its page says, on a real server, and refuses revoked keys."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.support.callers import ServerWithKeys
from tests.support.postgres import wait_until
from tests.support.server_process import HOST, free_port

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = {
    "asgi": ("asgi_reports", "starlette_reports", "fastapi_reports"),
    "wsgi": ("wsgi_reports", "flask_reports", "django_reports"),
}
ALL = [(interface, name) for interface, names in EXAMPLES.items() for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("api_server", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("interface", "name"), ALL)
def test_the_example_serves_until_the_key_is_revoked(
    api_server: ServerWithKeys, interface: str, name: str
) -> None:
    """A key gets the reports of its workspace; revoked, it gets 401 on the same connection."""
    token = api_server.server_token()
    with _running(api_server, interface, name) as client:
        assert client.get("/reports").status_code == 401
        client.headers["authorization"] = f"Bearer {token}"
        assert client.get("/reports").json() == {
            "workspace": api_server.workspace_id,
            "reports": [],
        }
        api_server.revoke(token)
        refused = client.get("/reports")
        assert (refused.status_code, refused.json()["code"]) == (401, "invalid-token")


@pytest.mark.slow
def test_no_example_is_left_out() -> None:
    """A test starts every example."""
    there = {file.stem for file in (ROOT / "examples").glob("*_*.py")} - {"__init__"}
    assert there == {name for _, name in ALL}


@contextmanager
def _running(api_server: ServerWithKeys, interface: str, name: str) -> Iterator[httpx2.Client]:
    """Run the example in a process of its own, over the server's database."""
    port = free_port()
    server = api_server.server
    place = {
        "KEYSTEAD_DATABASE": server.database_url,
        "KEYSTEAD_DATA": str(server.data),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    command = ("-m", "granian", "--interface", interface, f"examples.{name}:app")
    process = subprocess.Popen(
        [sys.executable, *command, "--host", HOST, "--port", str(port)],
        env=os.environ | place,
        cwd=server.data,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        with httpx2.Client(base_url=f"http://{HOST}:{port}", trust_env=False, timeout=10) as client:
            wait_until(lambda: _answers(client), f"{name} answers")
            yield client
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(client: httpx2.Client) -> bool:
    try:
        client.get("/")
    except httpx2.TransportError:
        return False
    return True

"""The README's sixty seconds, line by line."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import wait_until
from tests.support.processes import KEYSTEAD
from tests.support.server_process import ServerProcess, serving

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server as `make serve` starts it."""
    with serving(f"sqlite:///{tmp_path / 'keystead.db'}") as server:
        yield server


def sh(server: ServerProcess, script: str, **environment: str) -> str:
    """Run the lines from the repository's root, with that server in place of port 8080; return what they print."""
    for written, here in (
        ("http://127.0.0.1:8080", server.base_url),
        (".venv/bin/keystead", str(KEYSTEAD)),
    ):
        assert written in script
        script = script.replace(written, here)
    place = {"KEYSTEAD_DATA": str(server.data), "KEYSTEAD_URL": server.base_url}
    process = subprocess.run(
        ["sh", "-e"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(server.data), **place, **environment},
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def was_used(server: ServerProcess) -> bool:
    """Return whether the list of keys shows a use."""
    [key] = json.loads(server.cli("keys", "list", "--json").stdout)["items"]
    return key["last_used_at"] is not None


@pytest.mark.slow
def test_the_commands_of_the_readme_work(server: ServerProcess) -> None:
    """A key is created and used, documents are pushed and found, the use is listed, and the revoked key refused."""
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    create, push, revoke = BLOCK.findall((ROOT / "README.md").read_text())
    whoami, pushed, search, token = sh(
        server, f'{create}\necho\n{push}\necho\necho "$KEYSTEAD_TOKEN"\n'
    ).splitlines()
    key = json.loads(whoami)["key"]
    assert key["description"] == "docs sync"
    assert re.fullmatch(r"handbook: \d\d+ created, 0 updated, 0 unchanged\.", pushed)
    assert "problems--key-revoked.md" in [item["id"] for item in json.loads(search)["items"]]
    wait_until(lambda: was_used(server), "the use shows")
    assert revoke.count("key_...") == 1
    lines = revoke.replace("key_...", key["id"]).replace("curl", "echo; curl")
    listed, refused = sh(server, lines, KEYSTEAD_TOKEN=token).split("\n\n", 1)
    line = next(line for line in listed.splitlines() if key["id"] in line)
    assert "docs sync" in line
    assert "never" not in line
    assert refused.startswith("HTTP/1.1 401")
    assert json.loads(refused.splitlines()[-1])["code"] == "invalid-token"

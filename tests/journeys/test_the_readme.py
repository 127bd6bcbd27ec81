"""The README's sixty seconds, line by line, and the curl lines of the guide for a backend."""

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


@pytest.mark.slow
def test_the_curl_lines_of_the_backends_guide_work(server: ServerProcess) -> None:
    """Each curl line of the guide gets a whole answer, of the members that the guide shows."""
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    guide = (ROOT / "docs/guides/operator.md").read_text()
    workspace_id = json.loads(server.cli("workspaces", "list", "--json").stdout)["items"][0]["id"]
    made = {
        kind: json.loads(
            server.cli("credentials", "create", kind, "--kind", kind, "--json").stdout
        )["token"]
        for kind in ("operator", "service")
    }
    environment = {
        "PATH": os.environ["PATH"],
        "KEYSTEAD_OPERATOR_TOKEN": made["operator"],
        "SERVICE_CREDENTIAL": made["service"],
        "TOKEN": json.loads(server.cli("keys", "create", "--description", "sync", "--json").stdout)[
            "token"
        ],
        "CALLER_ADDRESS": "203.0.113.7",
        "AFTER": "",
    }
    lines = [block for block in BLOCK.findall(guide) if "curl" in block]
    assert len(lines) == guide.count("curl ") == 4
    for block in lines:
        script = block.replace("https://keys.acme.example", server.base_url)
        script = script.replace("https://keys.example.com", server.base_url)
        script = script.replace("ws_…", workspace_id).replace("after=$AFTER&", "")
        ran = subprocess.run(
            ["sh", "-e"], env=environment, input=script, capture_output=True, text=True, check=True
        )
        answer = json.loads(ran.stdout)
        shown = re.search(
            re.escape(block) + r"```\n+```json\n(.*?)^```", guide, re.MULTILINE | re.DOTALL
        )
        if shown is not None:
            assert answer.keys() == json.loads(shown[1]).keys(), block
        assert answer.get("active", True), block
        assert "code" not in answer, block

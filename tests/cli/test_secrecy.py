"""Tokens of commands: in no argument, no file, no core dump; confirmations; a full disk."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from keystead.bootstrap import Installation
from keystead.cli.outcome import Exit
from tests.cli.conftest import Keystead, one_engine
from tests.support.processes import KEYSTEAD
from tests.support.stub_server import TOKEN
from tests.support.terminal import at_terminal

TOKEN_LIKE = re.compile(r"ks_[0-9A-Za-z]{22}_[0-9A-Za-z]{49}")

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def environment(installation: Installation, **more: str) -> Mapping[str, str]:
    """Return the environment of a command on that installation."""
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith("KEYSTEAD_")
    }
    place = {
        "KEYSTEAD_DATA": str(installation.settings.data),
        "KEYSTEAD_DATABASE": str(installation.settings.database),
    }
    return variables | place | {"TERM": "xterm", "COLUMNS": "160"} | more


@linux
def test_a_token_is_in_no_command_line_and_no_core_dump(tmp_path: Path) -> None:
    """While a push waits for the server, no process shows its token, and the push cannot dump core."""
    (tmp_path / "a.md").write_text("x")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            [KEYSTEAD, "documents", "push", str(tmp_path / "a.md"), "-c", "x", "--url", url],
            env=os.environ | {"KEYSTEAD_TOKEN": TOKEN},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            connection, _ = silent.accept()
            with connection:
                assert TOKEN.encode() in connection.recv(65_536)
                lines = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline")]
                assert any(b"documents" in line for line in lines)
                assert not any(TOKEN.encode() in line for line in lines)
                limits = Path(f"/proc/{process.pid}/limits").read_text()
                assert re.search(r"Max core file size +0 +0 ", limits)
        finally:
            process.kill()
            process.wait()


@linux
def test_a_process_with_a_token_cannot_be_dumped() -> None:
    """The kernel stops handlers that ignore the limit: the process is not dumpable (prctl 3 returns 0)."""
    script = (
        "import ctypes; from keystead.cli.outcome import forbid_core_dumps; forbid_core_dumps();"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    process = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert process.stdout == "0\n"


@one_engine
def test_no_file_keeps_a_token(
    keystead: Keystead, installation: Installation, tmp_path: Path
) -> None:
    """After a key was created and rotated, no file in the data folder or the home contains a token."""
    created = keystead("keys", "create", "-d", "x", "--json").json
    rotated = keystead("keys", "rotate", created["id"]).out.strip()
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {file.name for file in files} > {"keystead.db"}
    contents = b"".join(file.read_bytes() for file in files)
    for token in (created["token"], rotated):
        assert token.encode() not in contents
        assert token[-49:].encode() not in contents
        assert created["id"].encode() in contents


@pytest.mark.slow
@one_engine
@linux
def test_a_token_that_cannot_be_written_is_called_lost(
    keystead: Keystead, installation: Installation
) -> None:
    """If standard output is full, the line names the key to revoke and does not claim success."""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [KEYSTEAD, "keys", "create", "-d", "lost"],
            env=environment(installation),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == Exit.REFUSED
    (key,) = keystead("keys", "list", "--json").json["items"]
    assert key["id"] in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not TOKEN_LIKE.search(ended.stderr)


@pytest.mark.slow
@one_engine
def test_a_person_is_asked_before_a_key_ends(
    keystead: Keystead, installation: Installation
) -> None:
    """The question names the key, its last four characters and its last use; anything but yes revokes nothing."""
    created = keystead("keys", "create", "-d", "turned\u202eround", "--json").json
    installation.services.verifier.verify(created["token"])
    installation.services.usage.flush()
    code, shown = at_terminal(environment(installation), "\n", "keys", "revoke", created["id"])
    assert code == Exit.REFUSED
    for part in ("turned\\u202eround", created["token"][-4:], "last used 20"):
        assert part in shown
    assert keystead("keys", "show", created["id"], "--json").json["status"] == "active"
    code, _ = at_terminal(environment(installation), "yes\n", "keys", "revoke", created["id"])
    assert code == Exit.DONE
    assert keystead("keys", "show", created["id"], "--json").json["status"] == "revoked"


@pytest.mark.slow
@one_engine
def test_a_table_at_a_terminal_has_the_same_cells(
    keystead: Keystead, installation: Installation
) -> None:
    """It is drawn with lines and bold text, and no cell moves the cursor."""
    created = keystead("keys", "create", "-d", "turned\u202eround [bold]x[/]", "--json").json
    code, shown = at_terminal(environment(installation), "", "keys", "list")
    assert code == Exit.DONE
    assert created["id"] in shown
    assert "turned\\u202eround [bold]x[/]" in shown
    assert "─" in shown
    assert set(re.findall(r"\x1b(?!\[[0-9;]*m).", shown)) == set()

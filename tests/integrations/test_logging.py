"""Inside an application Keystead logs through `logging`, and never to standard output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.callers import ServerWithKeys

SOURCE = Path(__file__).parents[2] / "src/keystead"
PROGRAM = """
import json, logging, sys
if configured := json.loads(sys.argv[1]):
    logging.basicConfig(format="%(name)s|%(levelname)s|%(message)s", level="INFO")
from keystead.integrations import connect
from keystead.worker.loop import Loop, Task
guard = connect(sys.argv[2], data=sys.argv[3])
guard.answer(RuntimeError("swordfish"))
def fail():
    raise RuntimeError("swordfish")
failing = Loop([Task("flush_use", 0.001, fail)])
failing.start()
failing.stop()
from keystead.operation.revocation_log_file import RevocationLogFile
"""


@pytest.mark.slow
@pytest.mark.parametrize("configured", [True, False])
def test_what_goes_wrong_in_process_is_logged_like_a_library(
    api_server: ServerWithKeys, configured: bool
) -> None:
    """The application's own handlers get every line, and its standard output none."""
    arguments = [
        json.dumps(configured),
        api_server.server.database_url,
        str(api_server.server.data),
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert "verification failed" in done.stderr
    assert "builtins.RuntimeError" in done.stderr
    assert "swordfish" not in done.stderr
    if configured:
        assert "keystead.integrations|ERROR|verification failed errors=" in done.stderr


def test_only_a_process_of_our_own_uses_another_logger() -> None:
    """Code that can run inside an application does not import structlog, which prints by default."""
    for place in (
        "client",
        "domain",
        "integrations",
        "services",
        "storage",
        "operation/revocation_log_file.py",
        "worker/loop.py",
    ):
        files = [SOURCE / place] if place.endswith(".py") else (SOURCE / place).rglob("*.py")
        assert not [file for file in files if "structlog" in file.read_text()]

"""Inside an application Keystead logs through `logging`, and never to standard output."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.callers import ServerWithKeys

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
def test_in_process_errors_are_logged_as_by_a_library(
    api_server: ServerWithKeys, configured: bool
) -> None:
    """The application's own handlers get every line, and its standard output none."""
    arguments = [
        json.dumps(configured),
        api_server.server.database_url,
        str(api_server.server.data),
    ]
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    assert process.stdout == ""
    assert "verification failed" in process.stderr
    assert "builtins.RuntimeError" in process.stderr
    assert "swordfish" not in process.stderr
    if configured:
        assert "keystead.integrations|ERROR|verification failed errors=" in process.stderr

"""Servers under strace: one that does not sync its commits, and the end of the traced processes."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Final

UNSYNCED: Final = """
from keystead.operation import checks
from keystead.storage.engine import connections
checks.DURABLE["SQLite"]["synchronous"] = ("1",)
connections.SQLITE_PRAGMAS = tuple(
    p.replace("= FULL", "= NORMAL") for p in connections.SQLITE_PRAGMAS
)
from keystead.cli import main
main()
"""


def end_trace(process: subprocess.Popen[bytes]) -> None:
    """End strace and the traced processes, by force if necessary."""
    os.killpg(process.pid, signal.SIGTERM)  # to the whole group: strace holds back its own
    try:
        process.wait(30)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

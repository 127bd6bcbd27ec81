"""A person's terminal: commands run at it, and what was shown."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Mapping

from tests.support.processes import KEYSTEAD


def at_terminal(
    environment: Mapping[str, str], typed: str, *arguments: str, after: str = ""
) -> tuple[int, str]:
    """Run a command at a terminal; type the text once `after` is shown. Returns the exit code and all output."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [KEYSTEAD, *arguments],
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown, waits = b"", bool(after)
    if not waits:
        os.write(ours, typed.encode())
    try:
        while part := os.read(ours, 65_536):
            shown += part
            if waits and after.encode() in shown:
                waits = False
                os.write(ours, typed.encode())
    except OSError:  # the last of the other side was closed
        pass
    finally:
        os.close(ours)
    return process.wait(), shown.decode()

"""A person's terminal: commands run at it, and what was shown."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

from tests.support.processes import KEYSTEAD

DEADLINE_SECONDS: Final = 60


class Terminal:
    """A command at a terminal, which runs on while a test does something else."""

    def __init__(self, environment: Mapping[str, str], *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [KEYSTEAD, *arguments], env=environment, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self._deadline = time.monotonic() + DEADLINE_SECONDS
        self.shown = ""

    def until(self, pattern: str) -> re.Match[str]:
        """Wait until the terminal shows that, and return it."""
        while (match := re.search(pattern, self.shown)) is None:
            assert self._read(), self.shown
        return match

    def finish(self) -> int:
        """Wait for the end of the command, and return its exit code."""
        while self._read():
            pass
        return self._process.wait(DEADLINE_SECONDS)

    def _read(self) -> bool:
        """Read what the terminal shows next. Returns False at the end."""
        left = self._deadline - time.monotonic()
        assert select.select([self._ours], [], [], max(0, left))[0], self.shown
        try:
            part = os.read(self._ours, 65_536)
        except OSError:  # the other side was closed
            return False
        self.shown += part.decode()
        return bool(part)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


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

"""Where lines of the log go: to standard error, by the thread that logs or by one of its own."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final

FLUSH_SECONDS: Final = 0.1
"""How long a line waits at most, unless it is urgent."""
MOST_WAITING: Final = 4 << 20
"""The length of all lines that wait for a standard error that takes none. Further ones are lost, and counted."""
END_SECONDS: Final = 1.0
"""How long the end of a process waits for a standard error that takes nothing."""
# A pipe takes this much whole or not at all (pipe(7)), so lines of several processes don't mix.
_LARGEST_WRITE: Final = select.PIPE_BUF if hasattr(select, "PIPE_BUF") else 512


class LogOutput:
    """Standard error. It may be closed, or take nothing: then lines are lost, and nothing else happens.

    At first each line is written by the thread that logs it. While buffering, lines wait for a thread that writes them
    together, every `FLUSH_SECONDS` and as soon as an urgent one is among them.
    """

    def __init__(self, on_lost: Callable[[int], None]) -> None:
        """`on_lost` logs how many lines were lost."""
        self._on_lost = on_lost
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._lines: list[bytes] = []
        self._length = 0
        self._lost = 0
        self._is_urgent = self._is_ending = False

    def write(self, line: bytes, *, is_urgent: bool) -> None:
        """Write a line, which ends with a line feed, now or soon."""
        if self._thread is not None:  # so a process that forks never holds the lock
            with self._changed:
                if self._thread is not None:
                    self._add(line, is_urgent)
                    return
        _write(line)

    def begin_buffering(self) -> None:
        """Begin to buffer. A fork would have the lines that wait, but not the thread."""
        with self._changed:
            if self._thread is None:
                self._is_ending = False
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()

    def end_buffering(self) -> None:
        """Write what waits, and from now on each line by the thread that logs it."""
        with self._changed:
            thread, self._is_ending = self._thread, True
            self._changed.notify()
        if thread is None:
            return
        thread.join(END_SECONDS)
        if thread.is_alive():
            return  # standard error takes nothing: go on without it
        with self._changed:
            self._thread = None
            lines = self._take()
        for part in _parts(lines):
            _write(part)

    def _add(self, line: bytes, is_urgent: bool) -> None:
        if self._length + len(line) > MOST_WAITING:
            self._lost += 1
            return
        is_first = not self._lines
        self._lines.append(line)
        self._length += len(line)
        if is_urgent:
            self._is_urgent = True
        if is_first or is_urgent:
            self._changed.notify()

    def _take(self) -> list[bytes]:
        lines, self._lines, self._length, self._is_urgent = self._lines, [], 0, False
        return lines

    def _run(self) -> None:
        is_ending = False
        while not is_ending:
            with self._changed:
                # An idle process is not woken at all.
                self._changed.wait_for(lambda: self._lines or self._is_ending)
                self._changed.wait_for(lambda: self._is_urgent or self._is_ending, FLUSH_SECONDS)
                lines, lost, self._lost = self._take(), self._lost, 0
                is_ending = self._is_ending
            for part in _parts(lines):
                _write(part)
            if lost:
                self._on_lost(lost)


def _parts(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join lines to parts, each for one write."""
    part: list[bytes] = []
    length = 0
    for line in lines:
        if part and length + len(line) > _LARGEST_WRITE:
            yield b"".join(part)
            part, length = [], 0
        part.append(line)
        length += len(line)
    if part:
        yield b"".join(part)


def _write(data: bytes) -> None:
    # No descriptor is assumed: if standard error was closed at the start, 2 may be a file of the database.
    with suppress(OSError, ValueError, AttributeError):
        descriptor = sys.stderr.fileno()
        while data:
            try:
                data = data[os.write(descriptor, data) :]
            except BlockingIOError:  # another program that shares it has set O_NONBLOCK
                select.select([], [descriptor], [])

"""Keystead's log, through Python's logging, under the name `keystead`.

The server prints these lines as JSON (`operation/logs.py`). In an application they go where that
application's logging sends them, and nothing is ever written to standard output.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Line:
    """The message of a log record: a constant event, and fields that hold no secrets."""

    event: str
    fields: Mapping[str, Any]

    def __str__(self) -> str:
        """Return the line for handlers that print messages as they are."""
        return " ".join([self.event, *(f"{name}={value!r}" for name, value in self.fields.items())])


class Logger:
    """A named logger of `logging`, called with an event and its fields."""

    def __init__(self, name: str) -> None:
        """`name` begins with `keystead`, so that one setting of an application governs all."""
        self._log = logging.getLogger(name)

    def info(self, event: str, **fields: Any) -> None:
        """Log what an operator may want to see."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log what may need a look."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Log what needs to be fixed."""
        self._write(logging.ERROR, event, fields)

    def critical(self, event: str, **fields: Any) -> None:
        """Log what ends a process or a thread."""
        self._write(logging.CRITICAL, event, fields)

    def _write(self, level: int, event: str, fields: Mapping[str, Any]) -> None:
        log = self._log
        if log.isEnabledFor(level):
            # Without the caller's place: finding it costs as much as the rest, and an event has one place.
            line = Line(event, fields)
            log.handle(log.makeRecord(log.name, level, __file__, 0, line, (), None))

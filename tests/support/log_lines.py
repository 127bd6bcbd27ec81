"""What Keystead's code logs while a test runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from typing_extensions import override

from keystead.logger import Line


class _Collector(logging.Handler):
    """Keeps lines as they were logged, without what the handler of the server does to them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        line = record.msg
        assert isinstance(line, Line)
        fields: Mapping[str, Any] = line.fields
        self.lines.append({"event": line.event, "level": record.levelname.lower(), **fields})


@contextmanager
def logged_lines() -> Iterator[list[dict[str, Any]]]:
    """Collect the lines of the block, from level info on: their fields, with `event` and `level`."""
    log, collector = logging.getLogger("keystead"), _Collector()
    before = log.level
    log.addHandler(collector)
    log.setLevel(logging.INFO)
    try:
        yield collector.lines
    finally:
        log.removeHandler(collector)
        log.setLevel(before)

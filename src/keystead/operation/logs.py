"""The log on standard error: our own lines and those of libraries, as JSON, or as text for people at a terminal.

Lines are ASCII, so they contain no raw CR, LF, ESC or U+2028. Everything that looks like a token is
masked, and an exception is logged by its types and places only.
"""

from __future__ import annotations

import json
import logging
import logging.config
import re
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from string import ascii_letters, digits
from typing import Any, ClassVar, Final

from typing_extensions import override

from keystead.http.redaction import REDACTED, SECRET_LENGTH, SECRET_RUN, places, type_names
from keystead.logger import Line, Logger
from keystead.operation.log_output import LogOutput

LIBRARIES: Final = "WARNING"
"""Whatever our own level: debug lines of drivers contain the values of rows."""

_ESCAPE_OR_SECRET: Final = re.compile(rf"\\(?:u[0-9a-f]{{4}}|.)|{SECRET_RUN}")
_MAY_BE_SECRET: Final = bytes(chr(byte) in f"{ascii_letters}{digits}_-" for byte in range(256))
"""For each byte, whether a secret may contain it."""
_RUN: Final = bytes([True]) * SECRET_LENGTH
_log: Final = Logger("keystead")


def configure(level: str) -> None:
    """Configure logging in this process; `level` is for Keystead's own lines."""
    Handler.form = to_text if _is_at_terminal() else to_line
    logging.config.dictConfig(library_logging())
    logging.getLogger("keystead").setLevel(level.upper())
    logging.captureWarnings(capture=True)
    # Lines don't contain them, and each would have to be looked up for each line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    if sys.version_info >= (3, 12):
        logging.logAsyncioTasks = False
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda failed: _log_uncaught(None, failed.exc_value, None)


def library_logging() -> dict[str, Any]:
    """Return the configuration for `logging.config.dictConfig`; it contains only names, so it can be pickled."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"stderr": {"class": "keystead.operation.logs.Handler"}},
        "root": {"handlers": ["stderr"], "level": LIBRARIES},
        "loggers": {"_granian": {"level": LIBRARIES}},
    }


def begin_buffering() -> None:
    """Have a thread of its own write this process's log from now on, so that no request waits for it.

    For a process that forks no other: a fork would have the lines that wait, but not the thread.
    """
    _output.begin_buffering()


def end_buffering() -> None:
    """Write what waits, and from now on every line immediately."""
    _output.end_buffering()


def to_line(fields: dict[str, Any]) -> bytes:
    """Return the line with these fields, as one JSON object."""
    return _safe(_encode(fields))


def to_text(fields: dict[str, Any]) -> bytes:
    """Return the line for a person: time, level and event, then the other fields as `name=value`."""
    time, level, event = (str(fields.pop(name)) for name in ("timestamp", "level", "event"))
    # Values stay JSON, whose escapes keep one line one line.
    values = " ".join(f"{name}={_encode(value)}" for name, value in fields.items())
    return _safe(f"{time[11:23]} {level:<8} {_encode(event)[1:-1]}  {values}".rstrip())


def _safe(line: str) -> bytes:
    line = line.replace("\x7f", "\\u007f")
    # The pattern alone takes a third of a line's time, and hardly any line has such a run.
    if _RUN in line.encode("ascii").translate(_MAY_BE_SECRET):
        line = _ESCAPE_OR_SECRET.sub(_mask, line)
    return f"{line}\n".encode("ascii")


class Handler(logging.Handler):
    """Writes every record of this process as a line, from the level of its logger on."""

    form: ClassVar[Callable[[dict[str, Any]], bytes]] = staticmethod(to_line)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        line = type(self).form(_fields(record))
        _output.write(line, is_urgent=record.levelno >= logging.WARNING)


def _is_at_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    line = record.msg
    if isinstance(line, Line):
        fields.update(line.fields, event=line.event)
    else:
        fields.update(event=_message(record), logger=record.name)
    if record.exc_info and (error := record.exc_info[1]):
        # Types and places: the text may quote a request.
        fields.update(errors=type_names(error), places=places(error))
    fields["level"] = record.levelname.lower()
    second, fraction = divmod(record.created, 1)
    fields["timestamp"] = f"{_timestamp(int(second))}.{int(fraction * 1e6):06}Z"
    return fields


@lru_cache(2)
def _timestamp(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _message(record: logging.LogRecord) -> str:
    """Return a library's message; about an exception only its first line, because the rest is the exception's text."""
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - the arguments don't fit the message
        return _type_name(record.msg)
    return message.partition("\n")[0] if record.exc_info else message


def _mask(match: re.Match[str]) -> str:
    # Escapes match first and stay whole: a mask that began inside one would break the JSON.
    return match[0] if match[0].startswith("\\") else REDACTED


def _type_name(value: object) -> str:
    # Not repr(): an object's repr may contain a secret.
    return f"<{type(value).__module__}.{type(value).__qualname__}>"


def _log_uncaught(_: object, error: BaseException | None, __: object) -> None:
    if error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):
        _log.critical("uncaught", errors=type_names(error), places=places(error))


def _log_lost(lines: int) -> None:
    _log.warning("log lines lost", lines=lines)


_encode: Final = json.JSONEncoder(default=_type_name, skipkeys=True).encode
_output: Final = LogOutput(_log_lost)

"""The log: one JSON object a line on standard error, our own lines and those of every library in one form.

A line is ASCII, so that no CR, LF, ESC or U+2028 stands in it raw. What looks like a token is masked in whatever
reached a line, and of an exception only its types and places are told.
"""

from __future__ import annotations

import json
import logging
import logging.config
import re
import sys
import threading
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from keystead.http.redaction import REDACTED, SECRET_RUN, places, type_names
from keystead.logger import Line

LIBRARIES: Final = "WARNING"
"""At every level of ours: the debug lines of drivers hold the values of rows."""

_ESCAPE_OR_SECRET: Final = re.compile(rf"\\(?:u[0-9a-f]{{4}}|.)|{SECRET_RUN}")
_stamp: Final = structlog.processors.TimeStamper(fmt="iso", utc=True)


def configure(level: str) -> None:
    """Sets up the log of this process; `level` is for Keystead's own lines."""
    chain: list[Processor] = [structlog.processors.add_log_level, _stamp, settle_failure]
    structlog.configure(
        processors=[*chain, _render_bytes],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
    )
    logging.config.dictConfig(library_logging())
    logging.getLogger("keystead").setLevel(level.upper())
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda failed: _log_uncaught(None, failed.exc_value, None)


def library_logging() -> dict[str, Any]:
    """Python's logging, as `logging.config.dictConfig` takes it; it holds nothing but names, so it can be pickled."""
    handler = {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "line"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": "keystead.operation.logs.formatter"}},
        "handlers": {"stderr": handler},
        "root": {"handlers": ["stderr"], "level": LIBRARIES},
        "loggers": {"_granian": {"level": LIBRARIES}},
    }


def formatter() -> logging.Formatter:
    """The lines of libraries, in the form of ours."""
    return structlog.stdlib.ProcessorFormatter(
        processors=[
            _unfold,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.add_log_level,
            _stamp,
            _first_line,
            settle_failure,
            _render,
        ]
    )


def settle_failure(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replaces an exception by its types and places: its text may quote what was sent."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["errors"], event["places"] = type_names(error), places(error)
    return event


def _unfold(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Of a line that `keystead.logger` wrote, the event and its fields."""
    line = event["_record"].msg
    if isinstance(line, Line):
        event.update({"event": line.event, **line.fields})
    return event


def _first_line(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Of a library's line about an exception, the words before the exception's own."""
    if event.get("exc_info"):
        event["event"] = str(event["event"]).partition("\n")[0]
    return event


def _render(_: WrappedLogger, __: str, event: EventDict) -> str:
    line = json.dumps(event, default=_kind, skipkeys=True).replace("\x7f", "\\u007f")
    return _ESCAPE_OR_SECRET.sub(_masked, line)


def _masked(found: re.Match[str]) -> str:
    """An escape stays whole: masked from its middle on, the line would be JSON no more."""
    return found[0] if found[0].startswith("\\") else REDACTED


def _render_bytes(logger: WrappedLogger, name: str, event: EventDict) -> bytes:
    return _render(logger, name, event).encode("ascii")


def _kind(value: object) -> str:
    """What is no JSON value is told by its type: nobody looked at what its repr says."""
    return f"<{type(value).__module__}.{type(value).__qualname__}>"


def _log_uncaught(_: object, error: BaseException | None, __: object) -> None:
    if error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):
        structlog.get_logger("keystead").critical("uncaught", exc_info=error)

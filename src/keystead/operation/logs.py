"""The log: one JSON object per line on standard error, the same form for our own lines and those of libraries.

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
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from keystead.http.redaction import REDACTED, SECRET_RUN, places, type_names
from keystead.logger import Line

LIBRARIES: Final = "WARNING"
"""Whatever our own level: debug lines of drivers contain the values of rows."""

_ESCAPE_OR_SECRET: Final = re.compile(rf"\\(?:u[0-9a-f]{{4}}|.)|{SECRET_RUN}")
_stamp: Final = structlog.processors.TimeStamper(fmt="iso", utc=True)


def configure(level: str) -> None:
    """Configure logging in this process; `level` is for Keystead's own lines."""
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
    """Return the configuration for `logging.config.dictConfig`; it contains only names, so it can be pickled."""
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
    """Return the formatter that gives libraries' lines our form."""
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
    """Replace an exception by its types and places: its text may quote a request."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["errors"], event["places"] = type_names(error), places(error)
    return event


def _unfold(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Take event and fields out of a line that `keystead.logger` wrote."""
    line = event["_record"].msg
    if isinstance(line, Line):
        event.update({"event": line.event, **line.fields})
    return event


def _first_line(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Keep only the first line of a library's message about an exception: the rest is the exception's text."""
    if event.get("exc_info"):
        event["event"] = str(event["event"]).partition("\n")[0]
    return event


def _render(_: WrappedLogger, __: str, event: EventDict) -> str:
    line = json.dumps(event, default=_type_name, skipkeys=True).replace("\x7f", "\\u007f")
    return _ESCAPE_OR_SECRET.sub(_mask, line)


def _mask(match: re.Match[str]) -> str:
    # Escapes match first and stay whole: a mask that began inside one would break the JSON.
    return match[0] if match[0].startswith("\\") else REDACTED


def _render_bytes(logger: WrappedLogger, name: str, event: EventDict) -> bytes:
    return _render(logger, name, event).encode("ascii")


def _type_name(value: object) -> str:
    # Not repr(): an object's repr may contain a secret.
    return f"<{type(value).__module__}.{type(value).__qualname__}>"


def _log_uncaught(_: object, error: BaseException | None, __: object) -> None:
    if error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):
        structlog.get_logger("keystead").critical("uncaught", exc_info=error)

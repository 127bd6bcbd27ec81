"""The log of requests and failures: one line each, without headers, queries, bodies or an exception's text."""

from __future__ import annotations

import re
import threading
from time import monotonic
from typing import Any, Final

from keystead.http.asgi import Scope
from keystead.http.client import RequestRecord, record_of
from keystead.http.head import Head
from keystead.http.redaction import one_line, places, type_names
from keystead.logger import Logger

_PATH_LENGTH = 300
SAMPLE_SECONDS: Final = 60.0
"""Log refused sign-ins of one address at most once per this many seconds."""
ADDRESSES: Final = 1_000
"""Addresses whose refused sign-ins are counted between two lines; more push out the oldest."""

# A version that is not known yet may append fields after a hyphen; version ff and ids of zeros are invalid.
_TRACE: Final = re.compile(
    rb"(?:00(?=.{53}\Z)|(?!00|ff)[0-9a-f]{2}(?=.{53}(?:\Z|-)))"
    rb"-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}"
)

_log: Final = Logger("keystead.http")


def log_request(scope: Scope, record: RequestRecord, status: int | None, seconds: float) -> None:
    """Log one request. `status` is None if the client disconnected before the answer began."""
    fields: dict[str, Any] = {
        "method": one_line(scope["method"], 20),
        "path": one_line(scope["path"], _PATH_LENGTH),
        "status": status,
        "duration_ms": round(seconds * 1000, 3),
        "request_id": record.client.request_id,
        **trace_of(record.head),
    }
    for name in ("key_id", "workspace_id", "denied"):
        if (value := getattr(record, name)) is not None:
            fields[name] = value
    _log.info("request", **fields)


def log_failure(scope: Scope, error: BaseException) -> None:
    """Log a bug or a storage failure: types and places only, because a message may quote what a client sent."""
    record = record_of(scope)
    _log.error(
        "failure",
        errors=type_names(error),
        places=places(error),
        path=one_line(scope["path"], _PATH_LENGTH),
        request_id=record.client.request_id,
        **trace_of(record.head),
    )


def trace_of(head: Head) -> dict[str, str]:
    """Return the trace that a request belongs to (W3C Trace Context, section 3.2); {} without a valid one.

    The two ids are hexadecimal and of fixed length, so nothing else of what a client sent gets into the log. As one
    text they would be as long as a token, and masked.
    """
    fields = head.values(b"traceparent")
    match = _TRACE.match(fields[0]) if len(fields) == 1 else None
    if match is None:
        return {}
    return {"trace_id": match[1].decode("ascii"), "parent_id": match[2].decode("ascii")}


class _Sampler:
    """When each address was last logged, and how many lines were left out since; bounded in size."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, tuple[float, int]] = {}

    def due(self, address: str, now: float) -> int | None:
        """Return how many lines of the address were left out if another is due now, else None."""
        with self._lock:
            last, left_out = self._last.get(address, (now - SAMPLE_SECONDS, 0))
            if now < last + SAMPLE_SECONDS:
                self._last[address] = last, left_out + 1
                return None
            self._last.pop(address, None)
            while len(self._last) >= ADDRESSES:
                del self._last[next(iter(self._last))]
            self._last[address] = now, 0
            return left_out


_refused: Final = _Sampler()


def log_refused_sign_in(scope: Scope, way: str, reason: str) -> None:
    """Log a failed sign-in by `password`, `link` or `invitation`, with its source; a sample of each address."""
    client = record_of(scope).client
    left_out = _refused.due(client.address, monotonic())
    if left_out is None:
        return
    _log.warning(
        "sign-in refused",
        address=client.address,
        way=way,
        reason=reason,
        left_out=left_out,
        request_id=client.request_id,
    )

"""What the log says of a request and of a failure: one line each, no header, query or body, no exception's text."""

from __future__ import annotations

from typing import Any

import structlog

from keystead.http.asgi import Scope
from keystead.http.failures import places, type_names
from keystead.http.record import RequestRecord, record_of
from keystead.http.redaction import one_line

_PATH_LENGTH = 300

_log: structlog.stdlib.BoundLogger = structlog.get_logger("keystead.http")


def log_request(scope: Scope, record: RequestRecord, status: int | None, seconds: float) -> None:
    """The line of one request. `status` None: the client was gone before the answer began."""
    fields: dict[str, Any] = {
        "method": one_line(scope["method"], 20),
        "path": one_line(scope["path"], _PATH_LENGTH),
        "status": status,
        "duration_ms": round(seconds * 1000, 3),
        "request_id": record.client.request_id,
    }
    if record.key_id is not None:
        fields["key_id"] = record.key_id
    if record.workspace_id is not None:
        fields["workspace_id"] = record.workspace_id
    if record.denied is not None:
        fields["denied"] = record.denied
    _log.info("request", **fields)


def log_failure(scope: Scope, error: BaseException) -> None:
    """The line of a bug or a failure of the store: types and places only, since a message may quote what was sent."""
    record = record_of(scope)
    _log.error(
        "failure",
        errors=type_names(error),
        places=places(error),
        path=one_line(scope["path"], _PATH_LENGTH),
        request_id=record.client.request_id,
    )

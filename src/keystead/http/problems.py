"""Errors on the wire: the one table of codes and statuses, and the problem (RFC 9457) that each refusal becomes.

Pure: no framework. Handlers for Starlette and FastAPI stand in exception_handlers.py, the pages in problem_pages.py.
"""

from __future__ import annotations

import json
from types import MappingProxyType

from keystead.domain.errors import (
    InvalidRequest,
    InvalidToken,
    KeysteadError,
    RateLimited,
    ServerUnreachable,
    Unauthenticated,
)
from keystead.http.asgi import Answer, Header
from keystead.http.bearer import challenge
from keystead.http.body import EncodedBody

STATUS = MappingProxyType(
    {
        "invalid-request": 400,
        "unauthenticated": 401,
        "invalid-token": 401,
        "insufficient-scope": 403,
        "would-widen": 403,
        "not-found": 404,
        "method-not-allowed": 405,
        "limit-reached": 409,
        "key-revoked": 409,
        "key-expired": 409,
        "rotation-in-progress": 409,
        "name-taken": 409,
        "collection-not-empty": 409,
        "idempotency-in-progress": 409,
        "webhook-disabled": 409,
        "changed-meanwhile": 412,
        "too-large": 413,
        "unsupported-media-type": 415,
        "invalid": 422,
        "invalid-cursor": 422,
        "idempotency-mismatch": 422,
        "rate-limited": 429,
        "header-too-large": 431,
        "internal": 500,
        "unavailable": 503,
        "outcome-unknown": 503,
        "disk-full": 507,
    }
)
"""HTTP status of every code; the only place where the two meet."""

RETRY_SECONDS = 2
"""What Retry-After says when the store is away: long enough for a failover's next attempt, short enough to wait for."""

MEDIA_TYPE = b"application/problem+json"

# Whatever the exception says, these say one thing to everybody: all dead tokens look alike, and a failure of the
# store or of the program shows nothing of its inside.
_FIXED_DETAIL = MappingProxyType(
    {
        "unauthenticated": "Send an API key in the Authorization field: `Bearer <token>`.",
        "invalid-token": "The token is malformed, unknown, expired, revoked or suspended."
        " Its owner sees which in the Developer area.",
        "internal": "Something went wrong on our side. The request id finds it in the log.",
        "unavailable": "The database cannot be reached. Nothing was done; try again.",
        "outcome-unknown": "The answer of the database was lost. Look whether the change was made before"
        " you repeat it.",
        "disk-full": "The store has no room left. Nothing was done.",
    }
)


class MethodNotAllowed(KeysteadError):
    """The resource exists and does not take this method. `allow` is what it takes."""

    code = "method-not-allowed"
    title = "The method is not allowed here"

    def __init__(self, allow: str) -> None:
        super().__init__(f"Allowed here: {allow}." if allow else "")
        self.allow = allow


class HeaderTooLarge(KeysteadError):
    """The request's head (URL and header fields) is over its bound."""

    code = "header-too-large"
    title = "The request's head is too large"


class UnknownCoding(InvalidRequest):
    """A transfer coding that isn't read here, so the end of the body is unknown: the connection is closed."""


class Internal(KeysteadError):
    """A bug. It is answered without detail; the log has the place."""

    code = "internal"
    title = "Internal error"


class Problems:
    """Makes the answer to each error. `public_url` is where this server is reached, without a trailing slash."""

    def __init__(self, public_url: str) -> None:
        self.address = f"{public_url.rstrip('/')}/problems"
        # Always the same bytes, and what strangers can ask for without limit: made once.
        constant: tuple[type[KeysteadError], ...] = (InvalidToken, Unauthenticated, Internal)
        self._ready = {kind: self._make(kind()) for kind in constant}

    @property
    def internal(self) -> Answer:
        """The answer to a bug: 500 without detail."""
        return self._ready[Internal]

    def answer(self, error: KeysteadError) -> Answer:
        """Status, header fields and body of `error`."""
        return self._ready.get(type(error)) or self._make(error)

    def recast(self, error: KeysteadError, status: int) -> Answer:
        """The same refusal under another status, for who understands only some; the body says it too."""
        body = json.dumps(self.body(error) | {"status": status}, separators=(",", ":"))
        return Answer(status, _headers(error), body.encode("ascii"))

    def body(self, error: KeysteadError) -> dict[str, object]:
        """The members of the problem (RFC 9457 section 3): the five of every problem, then the error's own."""
        return {
            "type": f"{self.address}/{error.code}",
            "title": error.title,
            "status": STATUS[error.code],
            "detail": _detail(error),
            "code": error.code,
            **error.extras(),
        }

    def _make(self, error: KeysteadError) -> Answer:
        body = json.dumps(self.body(error), separators=(",", ":"))
        return Answer(STATUS[error.code], _headers(error), body.encode("ascii"))


def _detail(error: KeysteadError) -> str:
    if isinstance(error, ServerUnreachable):
        return error.detail
    return _FIXED_DETAIL.get(error.code, error.detail)


def _headers(error: KeysteadError) -> tuple[Header, ...]:
    headers = [(b"content-type", MEDIA_TYPE), (b"cache-control", b"no-store")]
    if (value := challenge(error)) is not None:
        headers.append((b"www-authenticate", value.encode("ascii")))
    if isinstance(error, RateLimited):
        headers += _rate_headers(error)
    elif STATUS[error.code] == 503:
        headers.append((b"retry-after", str(RETRY_SECONDS).encode()))
    elif isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allow.encode("ascii")))
    elif isinstance(error, UnknownCoding):
        headers.append((b"connection", b"close"))
    elif isinstance(error, EncodedBody):
        headers.append((b"accept-encoding", b"identity"))  # RFC 9110 section 12.5.3
    return tuple(headers)


def _rate_headers(error: RateLimited) -> list[Header]:
    """When to come again (RFC 9110 section 10.2.3), and which rate limit it was."""
    headers = [(b"retry-after", str(error.retry_after).encode())]
    if error.exceeded is not None:
        headers.append((b"ratelimit-policy", error.exceeded.policy.field.encode("ascii")))
        headers.append((b"ratelimit", error.exceeded.field.encode("ascii")))
    return headers

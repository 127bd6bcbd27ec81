"""Errors on the wire: the table of codes and statuses, and the problem (RFC 9457) for each refusal.

The stack answers them; problem_pages.py has the pages.
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
from keystead.domain.product import OURS, Product
from keystead.http.asgi import NO_STORE, Answer, Header
from keystead.http.bearer import challenge
from keystead.http.body import EncodedBody

STATUS = MappingProxyType(
    {
        "invalid-request": 400,
        "unauthenticated": 401,
        "invalid-token": 401,
        "insufficient-scope": 403,
        "would-widen": 403,
        "not-renewable": 403,
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
        "would-loosen": 409,
        "not-suspended": 409,
        "feed-expired": 410,
        "changed-meanwhile": 412,
        "too-large": 413,
        "unsupported-media-type": 415,
        "invalid": 422,
        "invalid-cursor": 422,
        "idempotency-mismatch": 422,
        "against-policy": 422,
        "rate-limited": 429,
        "header-too-large": 431,
        "internal": 500,
        "unavailable": 503,
        "outcome-unknown": 503,
        "disk-full": 507,
    }
)
"""HTTP status of every code, in this table only."""

RETRY_SECONDS = 2
"""Retry-After if the database is unavailable: long enough for a failover's next attempt, short enough to wait."""

MEDIA_TYPE = b"application/problem+json"

# These details never vary, whatever the exception says: refused tokens must look alike, and a failure of the database
# or a bug must not reveal internals.
_FIXED_DETAIL = MappingProxyType(
    {
        "unauthenticated": "Send an API key in the Authorization field: `Bearer <token>`.",
        "invalid-token": "The token is malformed, unknown, expired, revoked or suspended."
        " Its owner can see which in the Developer area.",
        "internal": "Something went wrong on our side. Look for the request id in the log.",
        "unavailable": "The database can't be reached. Nothing was changed; try again.",
        "outcome-unknown": "The database's answer was lost. Check whether the change was made before you repeat it.",
        "disk-full": "The database's disk is full. Nothing was changed.",
    }
)


class MethodNotAllowed(KeysteadError):
    """The resource exists, but not for this method. `allow` lists its methods."""

    code = "method-not-allowed"
    title = "The method is not allowed here"

    def __init__(self, allow: str) -> None:
        super().__init__(f"Allowed here: {allow}." if allow else "")
        self.allow = allow


class HeaderTooLarge(KeysteadError):
    """The request's head (URL and header fields) is over its limits."""

    code = "header-too-large"
    title = "The request's head is too large"


class UnknownCoding(InvalidRequest):
    """An unsupported transfer coding, so the end of the body is unknown and the connection is closed."""


class Internal(KeysteadError):
    """A bug. The answer has no detail; the log has the place."""

    code = "internal"
    title = "Internal error"


class Problems:
    """The answers to errors, in the product's name. `public_url` is the address of this server."""

    def __init__(self, public_url: str, product: Product = OURS) -> None:
        self.product = product
        # Without this field, granian adds its own name.
        self.server: Header = (b"server", product.token.encode("ascii"))
        self.address = f"{public_url.rstrip('/')}/problems"
        # Constant, and the answers that strangers can cause without limit: built once.
        constant: tuple[type[KeysteadError], ...] = (InvalidToken, Unauthenticated, Internal)
        self._ready = {kind: self._make(kind()) for kind in constant}

    @property
    def internal(self) -> Answer:
        """The answer to a bug, 500 without detail."""
        return self._ready[Internal]

    def answer(self, error: KeysteadError) -> Answer:
        """Return the answer to `error`."""
        return self._ready.get(type(error)) or self._make(error)

    def recast(self, error: KeysteadError, status: int) -> Answer:
        """Return the answer to `error` with another status, for clients that understand only some."""
        return self._answer(status, error, self.body(error) | {"status": status})

    def body(self, error: KeysteadError) -> dict[str, object]:
        """Return the members of the problem (RFC 9457 section 3): the common five, then the error's own."""
        return {
            "type": f"{self.address}/{error.code}",
            "title": error.title,
            "status": STATUS[error.code],
            "detail": _detail(error),
            "code": error.code,
            **error.extras(),
        }

    def _make(self, error: KeysteadError) -> Answer:
        return self._answer(STATUS[error.code], error, self.body(error))

    def _answer(self, status: int, error: KeysteadError, members: dict[str, object]) -> Answer:
        body = json.dumps(members, separators=(",", ":"))
        return Answer(status, _headers(error, self.product.realm), body.encode("ascii"))


def _detail(error: KeysteadError) -> str:
    if isinstance(error, ServerUnreachable):
        return error.detail
    return _FIXED_DETAIL.get(error.code, error.detail)


def _headers(error: KeysteadError, realm: str) -> tuple[Header, ...]:
    headers = [(b"content-type", MEDIA_TYPE), NO_STORE]
    if (value := challenge(error, realm)) is not None:
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
    """Return when to retry (RFC 9110 section 10.2.3), and which rate limit was exceeded."""
    headers = [(b"retry-after", str(error.retry_after).encode())]
    if error.exceeded is not None:
        headers.append((b"ratelimit-policy", error.exceeded.policy.field.encode("ascii")))
        headers.append((b"ratelimit", error.exceeded.field.encode("ascii")))
    return headers

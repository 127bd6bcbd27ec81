"""The response to a request: its result or its error, and when the request is sent again. No I/O."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

from keystead import __version__
from keystead.client.decoding import decode
from keystead.client.errors import (
    IdempotencyInProgress,
    IncompleteExport,
    Problem,
    Refusal,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    problem_of,
)
from keystead.client.requests import Request
from keystead.client.results import Tagged
from keystead.domain.errors import FieldError

T = TypeVar("T")

AGENT: Final = f"keystead-python/{__version__}"
TIMEOUT: Final = 60.0
Write = Callable[[bytes], object]
PROBLEM_TYPE: Final = "application/problem+json"
OAUTH_TYPE: Final = "application/json"
SLOWER: Final = 5
"""Seconds that `slow_down` adds to the interval of polls."""
_MEMBERS: Final = {"type", "title", "status", "detail", "code", "errors", "instance"}


@dataclass(frozen=True, slots=True)
class Reply:
    """A response. Header names are in lower case; the body may contain a token, so no repr shows it."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def is_success(self) -> bool:
        """Whether it has a result. Redirects are not followed, so they are errors."""
        return self.status < 300


@dataclass(frozen=True, slots=True)
class Patience:
    """The number of attempts, and the waits between them in seconds. `longest` limits every single wait."""

    attempts: int = 5
    first: float = 0.25
    longest: float = 30.0

    def wait(self, failures: int, retry_after: float | None) -> float:
        """Return the wait after that many failures: `retry_after` plus a random part of a doubling step."""
        step = min(self.longest, self.first * 2 ** (failures - 1))
        return (retry_after or 0.0) + random.uniform(0.0, step)  # noqa: S311 - jitter, not a secret


NO_PATIENCE: Final = Patience(attempts=1)


def result_of(reply: Reply, kind: type[T]) -> T:
    """Return the result of a successful response. Raises UnexpectedAnswer, or TokenLost for a key without its token."""
    try:
        result = decode(kind, json.loads(reply.body) if reply.body else None)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise UnexpectedAnswer(reply.status, "it is not JSON") from None
    except ValueError as error:
        raise UnexpectedAnswer(reply.status, str(error)) from None
    if isinstance(result, Tagged):
        return replace(result, etag=reply.headers.get("etag"))
    return result


class ExportLines:
    """JSON lines that are passed on, and counted: the last one says how many there have to be."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._lines = 0
        self._last = self._begun = b""

    def take(self, part: bytes) -> None:
        """Pass a part on, which may begin and end within a line."""
        self._write(part)
        *lines, self._begun = (self._begun + part).split(b"\n")
        if lines:
            self._lines, self._last = self._lines + len(lines), lines[-1]

    def require_end(self) -> int:
        """Return the number of lines before the end. Raises IncompleteExport if there is no end."""
        before = self._lines - 1
        if self._begun or self._last != b'{"type":"end","lines":%d}' % before:
            raise IncompleteExport
        return before


def wait_before_retry(
    request: Request, outcome: Reply | Unreachable, failures: int, patience: Patience
) -> float:
    """Return the seconds to wait before `request` is sent again after that many failures.

    Raises the error of `outcome` if it is not sent again: Problem, UnexpectedAnswer or Unreachable.
    """
    error = _error(outcome) if isinstance(outcome, Reply) else outcome
    retry_after = error.retry_after if isinstance(error, Problem) else None
    exhausted = failures >= patience.attempts or (retry_after or 0.0) > patience.longest
    if exhausted or not _may_repeat(request, error):
        raise error
    return patience.wait(failures, retry_after)


def next_interval(refusal: Problem, interval: int) -> int:
    """Return the seconds until the next poll of a sign-in at a terminal (RFC 8628 section 3.5).

    Raises `refusal` unless polling goes on.
    """
    match refusal.code:
        case "authorization_pending":
            return interval
        case "slow_down":
            return interval + SLOWER
        case _:
            raise refusal


def _may_repeat(request: Request, error: Exception) -> bool:
    match error:
        # Nothing was done: any request may be repeated.
        case Unavailable() | Unreachable(sent=False):
            return True
        case Problem(status=429) | UnexpectedAnswer(status=429):
            return True
        case IdempotencyInProgress():
            return request.idempotency_key is not None
        # It may have been done.
        case Unreachable() | Problem(status=503) | UnexpectedAnswer(status=503):
            return request.may_repeat
        case _:
            return False


def _error(reply: Reply) -> Problem | UnexpectedAnswer:
    if not reply.headers.get("content-type", "").startswith((PROBLEM_TYPE, OAUTH_TYPE)):
        return UnexpectedAnswer(reply.status)
    try:
        return problem_of(_refusal(reply))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return UnexpectedAnswer(reply.status)


def _refusal(reply: Reply) -> Refusal:
    # A proxy may write problems of its own: all but the code may be missing. The errors of a sign-in at a terminal
    # are OAuth's (RFC 6749 section 5.2).
    members = json.loads(reply.body)
    errors = [
        FieldError(str(entry["pointer"]), str(entry["detail"]), entry.get("id"))
        for entry in members.get("errors", ())
    ]
    return Refusal(
        status=reply.status,
        code=str(members.get("code") or members["error"]),
        title=str(members.get("title", "")),
        detail=str(members.get("detail") or members.get("error_description", "")),
        errors=errors,
        extras={name: value for name, value in members.items() if name not in _MEMBERS},
        retry_after=_retry_after(reply.headers.get("retry-after")),
        request_id=reply.headers.get("x-request-id"),
        type=str(members.get("type", "about:blank")),
    )


def _retry_after(value: str | None) -> float | None:
    """Return the seconds of either form of Retry-After (RFC 9110 section 10.2.3), or None if it is malformed."""
    if value is None:
        return None
    if value.isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    # "-0000" is UTC without a statement about the place (RFC 5322 section 3.3); Python reads it as a naive time.
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())

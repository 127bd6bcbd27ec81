"""One call from its request to its result, without I/O: both clients drive the same steps.

A step is a Request to be sent, or a Pause to be waited out; what comes back decides the next one.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

from keystead.client.errors import (
    ClientError,
    IdempotencyInProgress,
    InvalidValue,
    Problem,
    Refusal,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    problem_of,
)
from keystead.client.results import Tagged
from keystead.domain.errors import FieldError

T = TypeVar("T")
Text = TypeVar("Text", bound=str | None)

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
PROBLEM_TYPE: Final = "application/problem+json"
_MEMBERS: Final = {"type", "title", "status", "detail", "code", "errors", "instance"}


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent: a path below the server's URL, a query, a body of that media type.

    `once` is its Idempotency-Key. `repeatable`: twice does what once does, by its nature or by that key.
    `credential`: it carries the client's own.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    media: str = JSON
    once: str | None = None
    if_match: str | None = None
    repeatable: bool = True
    credential: bool = True

    def __post_init__(self) -> None:
        for value in self.query.values():
            sendable(value)
        once = sendable(self.once)
        if once is not None and not (once.isascii() and once.isprintable()):
            raise InvalidValue("An Idempotency-Key holds visible ASCII characters only.")

    @property
    def fields(self) -> dict[str, str]:
        """The header fields that it needs, its credential aside."""
        fields = {} if self.body is None else {"content-type": self.media}
        conditions = {"idempotency-key": self.once, "if-match": self.if_match}
        return fields | {name: value for name, value in conditions.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds to wait before the next step."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, and how its result is read from the answer's JSON."""

    request: Request
    read: Callable[[Any], T]

    def when(self, if_match: str | None) -> Call[T]:
        """Return the call made only for that version of the resource; None: for any.

        It is not repeated when in doubt: after a change that was made, its tag no longer matches.
        """
        if if_match is None:
            return self
        return Call(replace(self.request, if_match=if_match, repeatable=False), self.read)


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long a call is tried again. Seconds; `longest` bounds every single pause."""

    attempts: int = 5
    first: float = 0.25
    longest: float = 30.0

    def pause(self, failures: int, asked: float | None) -> Pause:
        """The wait after that many failures: what the server asked for, and a random part of a doubling step."""
        step = min(self.longest, self.first * 2 ** (failures - 1))
        return Pause((asked or 0.0) + random.uniform(0.0, step))  # noqa: S311 - jitter is no secret


Steps = Generator[Request | Pause, Reply | Unreachable | None, T]


def exchange(call: Call[T], patience: Patience) -> Steps[T]:
    """The steps of a call. Returns its result; raises Problem, Unreachable or UnexpectedAnswer when patience ends."""
    failures = 0
    while True:
        outcome = yield call.request
        if isinstance(outcome, Reply) and outcome.status < HTTPStatus.MULTIPLE_CHOICES:
            return _result(call, outcome)
        fault = _fault(outcome)
        failures += 1
        asked = fault.refusal.retry_after if isinstance(fault, Problem) else None
        if failures >= patience.attempts or (asked or 0.0) > patience.longest:
            raise fault
        if not _may_repeat(call.request, fault):
            raise fault
        yield patience.pause(failures, asked)


def encode(value: object) -> bytes:
    """Return compact JSON in UTF-8. InvalidValue for what JSON cannot hold."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        raise InvalidValue("The values can't be sent: JSON has no way to write one.") from None
    return sendable(text).encode()


def sendable(text: Text) -> Text:
    """Return `text` itself. InvalidValue for a lone surrogate, which has no UTF-8."""
    try:
        if text is not None:
            text.encode()
    except UnicodeEncodeError:
        raise InvalidValue(
            "The text can't be sent: it contains a lone surrogate, half of a character."
        ) from None
    return text


def path_of(*names: str) -> str:
    """Return a path of these names. InvalidValue for a name that is no step of a path, or leads somewhere else."""
    if {"", ".", ".."} & set(names):
        raise InvalidValue("An id or a name can't be empty, or only dots.")
    return "".join(f"/{quote(sendable(name), safe='')}" for name in names)


def _result(call: Call[T], reply: Reply) -> T:
    try:
        result = call.read(json.loads(reply.body) if reply.body else None)
    except ClientError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UnexpectedAnswer(reply.status) from None
    if isinstance(result, Tagged):
        return replace(result, etag=reply.headers.get("etag"))
    return result


def _fault(outcome: Reply | Unreachable | None) -> Problem | Unreachable | UnexpectedAnswer:
    if isinstance(outcome, Reply):
        refusal = _refusal(outcome)
        return problem_of(refusal) if refusal else UnexpectedAnswer(outcome.status)
    return outcome or Unreachable("No answer came.", sent=True)


def _may_repeat(request: Request, fault: Exception) -> bool:
    """Too fast, or away with nothing done: always. In doubt whether it was done: only what may be done twice."""
    match fault:
        case Unavailable() | Unreachable(sent=False):
            return True
        case Problem(status=429) | UnexpectedAnswer(status=429):
            return True
        case IdempotencyInProgress():
            return request.once is not None
        case Unreachable() | Problem(status=503) | UnexpectedAnswer(status=503):
            return request.repeatable
        case _:
            return False


def _refusal(reply: Reply) -> Refusal | None:
    """The problem that `reply` carries; None where it is none of Keystead's."""
    if not reply.headers.get("content-type", "").startswith(PROBLEM_TYPE):
        return None
    try:
        members = json.loads(reply.body)
        errors = [
            FieldError(str(e["pointer"]), str(e["detail"]), e.get("id"))
            for e in members.get("errors", ())
        ]
        return Refusal(
            status=reply.status,
            code=str(members["code"]),
            title=str(members.get("title", "")),
            detail=str(members.get("detail", "")),
            errors=errors,
            extras={name: value for name, value in members.items() if name not in _MEMBERS},
            retry_after=_retry_after(reply.headers.get("retry-after")),
            request_id=reply.headers.get("x-request-id"),
            type=str(members.get("type", "about:blank")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _retry_after(value: str | None) -> float | None:
    """Seconds, from either form of Retry-After (RFC 9110 section 10.2.3); None for none that can be read."""
    if value is None:
        return None
    if value.isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    # "-0000" is UTC without a word about the place (RFC 5322 section 3.3); Python reads it as a naive time.
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())

"""The error responses of each operation in the OpenAPI document: by status, with codes and examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from keystead.api.operations import KEY, Operation
from keystead.domain.errors import (
    AgainstPolicy,
    ChangedMeanwhile,
    DiskFull,
    FeedExpired,
    InsufficientScope,
    Invalid,
    InvalidRequest,
    InvalidToken,
    KeysteadError,
    LimitReached,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
)
from keystead.domain.policies import Policy, PolicyLayers
from keystead.http.problems import STATUS, Problems

REFUSAL_HEADERS: Final = {
    "WWW-Authenticate": {
        "description": "What is missing (RFC 6750 section 3).",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds to wait before trying again.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "RateLimit-Policy": {
        "description": "The rate limit of the key or its workspace that was exceeded, if it was one of these:"
        " `q` requests in `w` seconds.",
        "schema": {"type": "string", "example": '"key";q=600;w=60'},
    },
    "RateLimit": {
        "description": "The state of that rate limit: `r` requests are left for `t` seconds.",
        "schema": {"type": "string", "example": '"key";r=0;t=12'},
    },
}
_HEADERS_BY_STATUS: Final = {
    401: ["WWW-Authenticate"],
    403: ["WWW-Authenticate"],
    429: ["Retry-After", "RateLimit-Policy", "RateLimit"],
    503: ["Retry-After"],
}
_SCHEMA: Final = {"$ref": "#/components/schemas/Problem"}
_DEFAULT: Final = {
    "description": "Any other error.",
    "content": {"application/problem+json": {"schema": _SCHEMA}},
}
_PROBLEMS: Final = Problems("https://keys.example.com")


def _kinds(root: type[KeysteadError]) -> Iterator[type[KeysteadError]]:
    """Yield the class of every error code of the domain."""
    for kind in root.__subclasses__():
        if kind.__module__ == root.__module__ and "code" in vars(kind):
            yield kind
        yield from _kinds(kind)


_SPECIAL: Final[dict[str, KeysteadError]] = {
    InsufficientScope.code: InsufficientScope("documents:write"),
    Invalid.code: Invalid.field("/expires_at", "must be later than now"),
    AgainstPolicy.code: AgainstPolicy(
        "/expires_at",
        "must be at most 90 days after the key's creation",
        PolicyLayers(plan=Policy(90, default_lifetime_days=30)).effective.members(),
    ),
    RateLimited.code: RateLimited(30),
    FeedExpired.code: FeedExpired("1796126400000000"),
    LimitReached.code: LimitReached(
        "active API keys",
        limit=5,
        used=5,
        plan="Free",
        candidates=[
            {
                "id": "key_02tcRIyrxLXTR81B3dqdOx",
                "description": "old laptop",
                "hint": "ks_…laf3",
                "last_used_at": None,
            }
        ],
        plans_url="https://example.com/plans",
    ),
}
_SAMPLES: Final = _SPECIAL | {
    kind.code: kind() for kind in _kinds(KeysteadError) if kind.code not in _SPECIAL
}


def refusals_of(operation: Operation) -> dict[str, Any]:
    """Return the operation's error responses by status: those that all operations of its kind share, and its own."""
    return responses_listed([kind.code for kind in _refusals(operation)])


def responses_listed(codes: Iterable[str]) -> dict[str, Any]:
    """Return the error responses of these codes by status."""
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(STATUS[code], []).append(code)
    responses = {str(status): _response(status, by_status[status]) for status in sorted(by_status)}
    return {**responses, "default": _DEFAULT}


def examples() -> dict[str, Any]:
    """Return an example of every problem, by code."""
    return {
        code: {"summary": sample.title, "value": _PROBLEMS.body(sample)}
        for code, sample in sorted(_SAMPLES.items())
    }


def references(kind: str, names: Iterable[str]) -> dict[str, Any]:
    """Return references to components of that kind, by name."""
    return {name: {"$ref": f"#/components/{kind}/{name}"} for name in names}


def _refusals(operation: Operation) -> Iterator[type[KeysteadError]]:
    yield from (InvalidRequest, Unauthenticated, InvalidToken)
    if operation.scopes:
        yield InsufficientScope
    if operation.path_parameters:
        yield NotFound
    if operation.body is not None:
        yield from (TooLarge, UnsupportedMediaType)
    yield from (Invalid, Unavailable)
    if operation.method != "GET":
        yield from (OutcomeUnknown, DiskFull)
    yield from operation.refusals
    if operation.if_match:
        yield ChangedMeanwhile
    if operation.security == KEY:
        yield RateLimited


def _response(status: int, codes: Sequence[str]) -> dict[str, Any]:
    return {
        "description": "\n".join(f"- `{code}`: {_SAMPLES[code].title}" for code in codes),
        "headers": references("headers", _HEADERS_BY_STATUS.get(status, ())),
        "content": {
            "application/problem+json": {
                "schema": _SCHEMA,
                "examples": references("examples", codes),
            }
        },
    }

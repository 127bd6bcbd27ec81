"""Every refusal is a problem, and strangers learn nothing from it."""

from __future__ import annotations

import json

import pytest

from keystead.domain.errors import (
    InsufficientScope,
    InvalidToken,
    KeysteadError,
    LimitReached,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from keystead.http.asgi import Answer
from keystead.http.bearer import TwoCredentials
from keystead.http.problems import STATUS, MethodNotAllowed, Problems
from tests.support.problems import error_classes

PROBLEMS = Problems("https://keys.example.com/")

CONTRACT = """invalid-request 400; unauthenticated, invalid-token 401; insufficient-scope, would-widen,
not-renewable 403; not-found 404; method-not-allowed 405; limit-reached, key-revoked, key-expired,
rotation-in-progress, name-taken, collection-not-empty, idempotency-in-progress, webhook-disabled, would-loosen,
not-suspended 409; feed-expired 410; changed-meanwhile 412; too-large 413; unsupported-media-type 415; invalid,
invalid-cursor, idempotency-mismatch, against-policy 422; rate-limited 429; header-too-large 431; internal 500;
unavailable, outcome-unknown 503; disk-full 507"""


def contract() -> dict[str, int]:
    """Return the codes and statuses of the contract."""
    table = {}
    for group in CONTRACT.replace("\n", " ").split(";"):
        names, _, status = group.strip().rpartition(" ")
        table.update(dict.fromkeys(names.split(", "), int(status)))
    return table


def classes(root: type[KeysteadError] = KeysteadError) -> set[type[KeysteadError]]:
    """Return the error classes, including the root."""
    return {root}.union(*(classes(child) for child in root.__subclasses__()))


def field(answer: Answer, name: bytes) -> str | None:
    """Return one header field of a response."""
    return next((value.decode() for key, value in answer.headers if key == name), None)


def test_the_table_is_the_promised_one() -> None:
    """Each code has the promised status."""
    assert dict(STATUS) == contract()


def test_every_error_has_a_status_and_every_status_an_error() -> None:
    """Every refusal has a status, and every row of the table a refusal."""
    codes = {kind.code for kind in error_classes() if hasattr(kind, "code")}
    assert codes == set(STATUS)


def test_a_problem_has_the_members_of_rfc_9457() -> None:
    """`type` is an absolute URL, `status` that of the response, followed by the error's own members."""
    error = LimitReached("active API keys", limit=5, used=5, plan="Free", plans_url="https://p")
    answer = PROBLEMS.answer(error)
    assert answer.status == 409
    assert json.loads(answer.body) == {
        "type": "https://keys.example.com/problems/limit-reached",
        "title": "The plan's limit is reached",
        "status": 409,
        "detail": "The plan Free allows 5 active API keys; 5 are in use.",
        "code": "limit-reached",
        "limit": 5,
        "used": 5,
        "plan": "Free",
        "candidates": [],
        "plans_url": "https://p",
    }


def test_problems_are_problem_json_and_never_stored() -> None:
    """Media type and caching of every problem."""
    answer = PROBLEMS.answer(NotFound())
    assert field(answer, b"content-type") == "application/problem+json"
    assert field(answer, b"cache-control") == "no-store"


def test_every_dead_token_gets_the_same_bytes() -> None:
    """Malformed, unknown, expired, revoked, suspended, wrong checksum: one answer, whatever the code says inside.

    The stack adds the request id, which differs for every request and is only in the header.
    """
    kinds = ["malformed", "unknown", "expired", "revoked", "suspended", "wrong checksum"]
    answers = {PROBLEMS.answer(error) for error in [InvalidToken(), *map(InvalidToken, kinds)]}
    assert len(answers) == 1


@pytest.mark.parametrize(
    ("error", "status", "value"),
    [
        (Unauthenticated(), 401, 'Bearer realm="keystead"'),
        (InvalidToken(), 401, 'Bearer realm="keystead", error="invalid_token"'),
        (TwoCredentials(), 400, 'Bearer realm="keystead", error="invalid_request"'),
        (
            InsufficientScope("a:b"),
            403,
            'Bearer realm="keystead", error="insufficient_scope", scope="a:b"',
        ),
        (NotFound(), 404, None),
    ],
)
def test_refused_credentials_are_challenged(
    error: KeysteadError, status: int, value: str | None
) -> None:
    """Every 401, the 403 for a scope and the 400 for two credentials carry WWW-Authenticate."""
    answer = PROBLEMS.answer(error)
    assert (answer.status, field(answer, b"www-authenticate")) == (status, value)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(RateLimited(17), "17"), (Unavailable(), "2"), (OutcomeUnknown(), "2"), (NotFound(), None)],
)
def test_a_refusal_for_a_time_has_retry_after(error: KeysteadError, seconds: str | None) -> None:
    """429 and 503 carry Retry-After in seconds."""
    assert field(PROBLEMS.answer(error), b"retry-after") == seconds


def test_a_wrong_method_gets_the_right_ones() -> None:
    """405 carries Allow."""
    assert field(PROBLEMS.answer(MethodNotAllowed("GET, PUT")), b"allow") == "GET, PUT"


def test_a_storage_error_shows_no_internals() -> None:
    """The text of a storage error stays internal."""
    assert b"SELECT" not in PROBLEMS.answer(Unavailable("SELECT * FROM keys: timeout")).body


def test_a_detail_with_a_lone_surrogate_is_still_sent() -> None:
    """A lone surrogate in a sentence, from any source, causes no server error."""
    assert json.loads(PROBLEMS.answer(NotFound("\ud800")).body)["detail"] == "\ud800"

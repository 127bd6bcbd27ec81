"""The errors of the SDK: one class for each code of the API, with the fields of its problem."""

from __future__ import annotations

import pickle
from typing import Any

import httpx2
import pytest

from keystead.api.openapi.refusals import examples
from keystead.client import (
    Conflict,
    FieldError,
    InsufficientScope,
    Invalid,
    InvalidToken,
    LimitReached,
    Patience,
    Problem,
    RateLimited,
    ServerFault,
)
from keystead.client.errors import Refusal, problem_of
from keystead.http.problems import STATUS
from tests.support.sdk_clients import KINDS, opened
from tests.support.stub_server import TOKEN

ONCE = Patience(attempts=1)


def refused(problem: dict[str, Any], kind: type[Any] = KINDS[0], retry_after: str = "0") -> Problem:
    """Return the error that a client raises for a problem."""
    headers = {
        "content-type": "application/problem+json",
        "x-request-id": "req_1",
        "retry-after": retry_after,
    }
    answer = httpx2.Response(problem["status"], json=problem, headers=headers)
    transport = httpx2.MockTransport(lambda _: answer)
    options: dict[str, Any] = {"patience": ONCE, "transport": transport}
    client_of = opened(kind, "https://keys.example.com", TOKEN, **options)
    with client_of as client, pytest.raises(Problem) as error:
        client.whoami()
    return error.value


@pytest.mark.parametrize("code", STATUS)
def test_every_code_has_its_class(code: str) -> None:
    """The class of each code has its name, and the family of its status."""
    problem = {
        "code": code,
        "title": "T",
        "detail": "D",
        "status": STATUS[code],
        "type": "https://x/",
    }
    error = refused(problem)
    assert type(error) is not Problem
    assert type(error).__name__ == "".join(word.title() for word in code.split("-"))
    assert isinstance(error, Conflict) == (STATUS[code] == 409)
    assert isinstance(error, Invalid) == (STATUS[code] == 422)
    assert isinstance(error, ServerFault) == (STATUS[code] >= 500)


@pytest.mark.parametrize("kind", KINDS)
def test_a_problem_arrives_whole(kind: type[Any]) -> None:
    """Every field of the problem is an attribute; the error's text is the detail."""
    problem = examples()["invalid"]["value"]
    error = refused(problem, kind)
    assert isinstance(error, Invalid)
    assert (error.code, error.status, error.title) == ("invalid", 422, problem["title"])
    assert str(error) == error.detail == problem["detail"]
    assert error.type.endswith("/problems/invalid")
    assert error.errors == [FieldError("/expires_at", "must be later than now")]
    assert error.request_id == "req_1"


def test_what_a_code_adds_has_a_name() -> None:
    """The members that only one code has are typed, as in the API's examples."""
    full = refused(examples()["limit-reached"]["value"])
    assert isinstance(full, LimitReached)
    assert (full.limit, full.used, full.plan) == (5, 5, "Free")
    assert full.candidates[0]["id"].startswith("key_")
    assert full.plans_url == "https://example.com/plans"
    lacking = refused(examples()["insufficient-scope"]["value"])
    assert isinstance(lacking, InsufficientScope)
    assert lacking.scope == "documents:write"
    fast = refused(examples()["rate-limited"]["value"], retry_after="30")
    assert isinstance(fast, RateLimited)
    assert fast.retry_after == 30


def test_a_code_of_later_versions_is_a_problem() -> None:
    """An unknown code is a Problem with its code and members."""
    error = refused({"code": "teapot", "title": "T", "detail": "D", "status": 418, "lid": "off"})
    assert type(error) is Problem
    assert (error.code, error.extras) == ("teapot", {"lid": "off"})


def test_an_error_goes_to_another_process_and_back() -> None:
    """A pickled error is the same error in another process."""
    error = problem_of(Refusal(401, "invalid-token", "T", "D", request_id="req_1"))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - its own pickle
    assert type(again) is InvalidToken
    assert again.refusal == error.refusal

"""Retries: which requests are sent again, after which wait, and the error that ends a call."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from keystead.client._sync.connection import Connection
from keystead.client.errors import (
    IdempotencyInProgress,
    Problem,
    UnexpectedAnswer,
    Unreachable,
)
from keystead.client.exchange import Patience, Reply
from keystead.client.requests import Request
from tests.support.clocks import OUT_OF_RANGE
from tests.support.stub_server import TOKEN

READ = Request("GET", "/v1/whoami")
CREATE = Request("POST", "/v1/collections", body=b"{}", repeatable=False)
DONE = Reply(200, {"content-type": "application/json"}, b'{"answer": 42}')
PATIENCE = Patience(attempts=4, first=0.25, longest=30.0)


def problem(status: int, code: str, retry_after: str | None = None, **extras: object) -> Reply:
    """Return a refusal as the server sends it."""
    body = {"type": f"https://x/problems/{code}", "title": "No", "status": status}
    headers = {"content-type": "application/problem+json", "x-request-id": "req-1"}
    if retry_after is not None:
        headers["retry-after"] = retry_after
    text = json.dumps(body | {"detail": "It is so.", "code": code} | extras)
    return Reply(status, headers, text.encode())


BUSY = problem(503, "unavailable", "2")
LOST = problem(503, "outcome-unknown", "2")


@dataclass(frozen=True)
class Answer:
    """The result of these calls."""

    answer: int


class ScriptedConnection(Connection):
    """A connection whose attempts have prepared outcomes."""

    def __init__(self, outcomes: Sequence[Reply | Unreachable], patience: Patience) -> None:
        super().__init__(
            "https://keys.example.com",
            TOKEN,
            agent="tests",
            timeout=1,
            patience=patience,
            tls=None,
            transport=None,
        )
        self.sent: list[Request] = []
        self._outcomes = iter(outcomes)

    def _attempt(self, request: Request) -> Reply | Unreachable:
        self.sent.append(request)
        return next(self._outcomes)


def drive(
    request: Request, outcomes: Sequence[Reply | Unreachable], patience: Patience = PATIENCE
) -> tuple[object, list[float], int]:
    """Return the result or the error of a call with prepared outcomes, its waits, and the number of attempts."""
    waits: list[float] = []
    result: object
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keystead.client._sync.sending.time.sleep", waits.append)
        connection = ScriptedConnection(outcomes, patience)
        try:
            result = connection.send(request, Answer).answer
        except (Problem, Unreachable, UnexpectedAnswer) as error:
            result = error
        connection.close()
    assert all(sent is request for sent in connection.sent)
    return result, waits, len(connection.sent)


def test_a_success_is_sent_only_once() -> None:
    """A success ends the call after one request."""
    assert drive(READ, [DONE]) == (42, [], 1)


@pytest.mark.parametrize("request_", [READ, CREATE], ids=["repeatable", "not"])
@pytest.mark.parametrize("refusal", [problem(429, "rate-limited", "2"), BUSY], ids=["429", "503"])
def test_429_and_503_are_retried_after_their_wait(request_: Request, refusal: Reply) -> None:
    """429 and 503 are retried for any request, never before Retry-After, at random moments."""
    result, pauses, sent = drive(request_, [refusal, refusal, DONE])
    assert (result, sent) == (42, 3)
    assert all(2.0 <= pause <= 2.5 for pause in pauses)
    many = {drive(request_, [refusal, DONE])[1][0] for _ in range(20)}
    assert len(many) > 15


def test_uncertain_requests_are_retried_only_if_harmless() -> None:
    """A request that may have arrived is repeated only if that is harmless; otherwise the error is raised."""
    vanished = Unreachable("Gone.", sent=True)
    assert drive(READ, [LOST, vanished, DONE])[0] == 42
    for outcome in (LOST, vanished, Reply(503, {}, b"<html>")):
        error, pauses, sent = drive(CREATE, [outcome])
        assert isinstance(error, Problem | Unreachable | UnexpectedAnswer)
        assert (pauses, sent) == ([], 1)


def test_a_request_with_an_idempotency_key_may_be_sent_twice() -> None:
    """With an idempotency key, a creation is repeated after a lost response or an unfinished first request."""
    once = Request("POST", "/v1/keys", body=b"{}", idempotency_key="x")
    busy = problem(409, "idempotency-in-progress")
    assert drive(once, [Unreachable("Gone.", sent=True), busy, DONE])[0] == 42
    error, _, sent = drive(CREATE, [busy])
    assert isinstance(error, IdempotencyInProgress)
    assert sent == 1


def test_a_change_on_condition_is_not_repeated_in_doubt() -> None:
    """A repeated conditional change would be refused because of its own first attempt."""
    unconditional = Request("PATCH", "/v1/keys/key_1", body=b"{}")
    assert unconditional.may_repeat
    conditional = Request("PATCH", "/v1/keys/key_1", body=b"{}", if_match='"3"')
    assert (conditional.headers["if-match"], conditional.may_repeat) == ('"3"', False)


def test_unsent_requests_are_retried() -> None:
    """Any request is repeated if its connection failed."""
    assert drive(CREATE, [Unreachable("Refused.", sent=False), DONE])[0] == 42


def test_patience_ends() -> None:
    """After the last attempt the call raises the last error; the waits between the attempts double."""
    error, pauses, sent = drive(READ, [Unreachable("Nobody.", sent=False)] * 4)
    assert isinstance(error, Unreachable)
    assert sent == 4
    steps = (0.25, 0.5, 1.0)
    assert all(0.0 <= pause <= step for pause, step in zip(pauses, steps, strict=True))


def test_no_wait_is_longer_than_patience_allows() -> None:
    """If the server asks for an hour, the error is raised immediately, with the hour."""
    error, pauses, sent = drive(READ, [problem(429, "rate-limited", "3600")])
    assert isinstance(error, Problem)
    assert error.refusal.retry_after == 3600
    assert (pauses, sent) == ([], 1)


def test_a_date_without_a_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-0000` is UTC (RFC 5322 section 3.3) in any time zone of the machine."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        later = format_datetime(datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=20))
        (pause,) = drive(READ, [problem(503, "unavailable", later), DONE])[1]
    finally:
        monkeypatch.undo()
        time.tzset()
    assert 15 < pause <= 20.5


def test_retry_after_may_be_a_date() -> None:
    """Both forms of RFC 9110 section 10.2.3 work; a past date and nonsense cause no wait."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    (pause,) = drive(READ, [problem(503, "unavailable", later), DONE])[1]
    assert 15 < pause <= 20.5
    for value in ("Wed, 21 Oct 2015 07:28:00 GMT", "soon", "-5", *OUT_OF_RANGE):
        (pause,) = drive(READ, [problem(503, "unavailable", value), DONE])[1]
        assert pause <= 0.25


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "invalid-token"),
        (403, "insufficient-scope"),
        (404, "not-found"),
        (409, "name-taken"),
        (422, "invalid"),
        (500, "internal"),
        (507, "disk-full"),
    ],
)
def test_a_refusal_is_final(status: int, code: str) -> None:
    """A final refusal is raised after one request, with its code."""
    error, pauses, sent = drive(READ, [problem(status, code)])
    assert isinstance(error, Problem)
    assert (error.status, error.code, str(error)) == (status, code, "It is so.")
    assert (pauses, sent) == ([], 1)


def test_a_problem_arrives_whole() -> None:
    """The error has the fields, the further members and the request ID of the problem (RFC 9457)."""
    fields = [{"pointer": "/upsert/3/id", "detail": "is bad"}]
    error, _, _ = drive(READ, [problem(422, "invalid", errors=fields, limit=5)])
    assert isinstance(error, Problem)
    (field,) = error.errors
    assert (field.pointer, field.detail) == ("/upsert/3/id", "is bad")
    assert error.refusal.extras == {"limit": 5}
    assert error.refusal.request_id == "req-1"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, {}, b"<html>"),
        Reply(200, {}, b'{"other": 1}'),
        Reply(200, {}, b"[1]"),
        Reply(204, {}, b""),
        Reply(302, {"location": "http://elsewhere/"}, b""),
        Reply(404, {"content-type": "text/html"}, b"<html>"),
        Reply(400, {"content-type": "application/problem+json"}, b"{"),
        Reply(400, {"content-type": "application/problem+json"}, b"[]"),
        Reply(400, {"content-type": "application/problem+json"}, b'{"title": "no code"}'),
    ],
    ids=lambda reply: f"{reply.status} {reply.body!r}",
)
def test_what_is_not_keystead_is_called_that(reply: Reply) -> None:
    """Any other response, including a redirect, raises UnexpectedAnswer."""
    error, _, sent = drive(READ, [reply])
    assert isinstance(error, UnexpectedAnswer)
    assert (error.status, sent) == (reply.status, 1)

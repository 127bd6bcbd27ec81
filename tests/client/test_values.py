"""Values that cannot be sent: both kinds of client refuse them before they send anything."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from keystead.client import ClientError, DocumentDraft, InvalidValue, NotAToken
from tests.client.both import KINDS, OPERATORS, opened
from tests.client.stranger import TOKEN

URL = "https://keys.example.com"
HALF = "\ud83d"
NAN = float("nan")
both = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)

Ask = Callable[[Any], Any]
HALVES: dict[str, Ask] = {
    "a description": lambda c: c.keys.create(HALF),
    "an id": lambda c: c.keys.get(HALF),
    "a query": lambda c: list(c.keys.list(query=HALF)),
    "a search": lambda c: c.documents.search("docs", HALF),
    "an Idempotency-Key": lambda c: c.keys.create("d", idempotency_key=HALF),
    "a document's text": lambda c: c.documents.push("docs", [DocumentDraft("a", HALF)]),
    "a document's id": lambda c: c.documents.push("docs", [DocumentDraft(HALF, "text")]),
    "an id to delete": lambda c: c.documents.push("docs", delete=[HALF]),
    "a webhook's header": lambda c: c.webhooks.create(
        "CRM", URL, events=["*"], headers={"x-a": HALF}
    ),
    "a token to ask about": lambda c: c.introspect(HALF),
    "a token to revoke": lambda c: c.revoke_token(HALF),
}
UNFIT: dict[str, Ask] = {
    "not a number": lambda c: c.documents.put(
        "docs", DocumentDraft("a", "", attributes={"n": NAN})
    ),
    "no JSON": lambda c: c.documents.put("docs", DocumentDraft("a", "", attributes={"n": {1}})),
    "no name": lambda c: c.keys.get(""),
    "a line break": lambda c: c.keys.create("d", idempotency_key="a\nb"),
    "not ASCII": lambda c: c.keys.create("d", idempotency_key="é"),
}


def unsent(_: httpx2.Request) -> httpx2.Response:
    """Fail the test: a request was sent."""
    pytest.fail("a request was sent")


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the time zone of the machine to Tokyo."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@both
@pytest.mark.parametrize("given", HALVES)
def test_half_a_character_is_an_error_of_the_client(kind: type[Any], given: str) -> None:
    """A lone surrogate, anywhere, raises an error of the SDK."""
    client_of = opened(kind, URL, TOKEN, transport=httpx2.MockTransport(unsent))
    with client_of as client, pytest.raises(ClientError, match="surrogate") as refused:
        HALVES[given](client)
    assert isinstance(refused.value, InvalidValue)


@both
@pytest.mark.parametrize("given", UNFIT)
def test_what_cannot_be_written_is_an_error_of_the_client(kind: type[Any], given: str) -> None:
    """Values that JSON, a path or a header field cannot represent raise ValueErrors."""
    client_of = opened(kind, URL, TOKEN, transport=httpx2.MockTransport(unsent))
    with client_of as client, pytest.raises(InvalidValue) as refused:
        UNFIT[given](client)
    assert isinstance(refused.value, ValueError)


@both
def test_the_document_that_cannot_be_sent_is_named(kind: type[Any]) -> None:
    """The error names the ID of the document at fault."""
    drafts = [DocumentDraft("fine", "text"), DocumentDraft("broken", HALF)]
    client_of = opened(kind, URL, TOKEN, transport=httpx2.MockTransport(unsent))
    with client_of as client, pytest.raises(InvalidValue, match="document broken"):
        client.documents.push("docs", drafts)


@both
@pytest.mark.usefixtures("tokyo")
def test_a_naive_end_is_refused(kind: type[Any]) -> None:
    """A time without a zone is never read in the machine's zone; nothing is sent."""
    naive = datetime(2099, 1, 1)  # noqa: DTZ001
    asks: list[Ask] = [
        lambda c: c.keys.create("d", expires_at=naive),
        lambda c: c.keys.update("key_1", expires_at=naive),
        lambda c: c.keys.rotate("key_1", expires_at=naive),
    ]
    with opened(kind, URL, TOKEN, transport=httpx2.MockTransport(unsent)) as client:
        for ask in asks:
            with pytest.raises(InvalidValue, match="expires_at must have a time zone"):
                ask(client)


@pytest.mark.parametrize("ends", ["\n", "\r\n", " ", "\t", "\u00a0", "\u2028"])
@pytest.mark.parametrize("begins", ["", "\ufeff", " \ufeff", "\ufeff\n"])
def test_white_space_around_a_token_is_left_out(begins: str, ends: str) -> None:
    """White space and byte order marks around a token are removed; within it they are errors."""
    sent: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.headers["authorization"])
        return httpx2.Response(200, json={"items": [], "next_cursor": None})

    for kind in (*KINDS, *OPERATORS):
        with pytest.raises(NotAToken):
            kind(URL, TOKEN[:9] + begins + ends + TOKEN[9:])
    with opened(
        KINDS[0], URL, begins + TOKEN + ends, transport=httpx2.MockTransport(answer)
    ) as client:
        client.events.page()
    assert sent == [f"Bearer {TOKEN}"]


@both
def test_a_token_to_revoke_is_trimmed(kind: type[Any]) -> None:
    """A line break after a leaked token does not keep it alive: the server answers 200 to any text."""
    sent: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.content)
        return httpx2.Response(200)

    with opened(kind, URL, TOKEN, transport=httpx2.MockTransport(answer)) as client:
        client.revoke_token(codecs.BOM_UTF8.decode() + TOKEN + "\r\n")
    assert sent == [f"token={TOKEN}".encode()]


def test_an_aware_end_is_sent_in_utc() -> None:
    """A time is sent in UTC, whatever its zone."""
    sent: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.content)
        return httpx2.Response(503)

    end = datetime(2099, 1, 1, 9, tzinfo=UTC) + timedelta(microseconds=5)
    client_of = opened(KINDS[0], URL, TOKEN, transport=httpx2.MockTransport(answer))
    with client_of as client, pytest.raises(ClientError):
        client.keys.update("key_1", expires_at=end)
    assert b'"2099-01-01T09:00:00.000005Z"' in sent[0]

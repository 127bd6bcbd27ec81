"""The client over real sockets: what it sends, to whom, and what it never does with the token."""

from __future__ import annotations

import json
import pickle
import socket

import pytest

from keystead.client import (
    Client,
    DocumentDraft,
    NotAToken,
    Patience,
    UnexpectedAnswer,
    Unreachable,
)
from tests.client.stranger import TOKEN, json_answer, stranger

HURRIED = Patience(attempts=2, first=0.001)


def test_a_push_is_one_request_with_the_bearer_token() -> None:
    """The token is in the Authorization field and nowhere else; the body is the batch of the contract."""
    with stranger() as server, Client(server.url, TOKEN) as client:
        server.answers = [json_answer({"created": 1, "updated": 0, "unchanged": 0, "deleted": 2})]
        report = client.push("a/b", [DocumentDraft("x", "é", attributes={"n": 1})], ["y", "z"])
    ((method, path, headers, body),) = server.requests
    assert (report.created, report.deleted) == (1, 2)
    assert (method, path) == ("POST", "/v1/collections/a%2Fb/documents/batch")
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["content-type"] == "application/json"
    document = {"id": "x", "text": "é", "title": "", "url": None, "attributes": {"n": 1}}
    assert json.loads(body) == {"upsert": [document], "delete": ["y", "z"]}
    assert TOKEN not in path + body.decode()


def test_a_query_is_encoded() -> None:
    """Whatever is searched for arrives as it is."""
    with stranger() as server, Client(server.url, TOKEN) as client:
        server.answers = [json_answer({"items": [], "next_cursor": None})]
        client.search("docs", "a&b=c #d/é", 7)
    assert server.requests[0][1] in {
        "/v1/collections/docs/documents?query=a%26b%3Dc%20%23d%2F%C3%A9&limit=7",
        "/v1/collections/docs/documents?query=a%26b%3Dc+%23d%2F%C3%A9&limit=7",
    }


def test_a_redirect_takes_the_token_nowhere() -> None:
    """A redirect, even within loopback, is an unexpected answer; its target is never asked."""
    with stranger() as server, stranger() as other, Client(server.url, TOKEN) as client:
        server.answers = [(307, {"location": f"{other.url}/v1/whoami"}, b"")]
        with pytest.raises(UnexpectedAnswer):
            client.whoami()
    assert other.requests == []


def test_no_proxy_reads_what_goes_to_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies from the environment do not see requests in the clear."""
    with stranger() as server, stranger() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        server.answers = [json_answer({"items": [], "next_cursor": None})]
        with Client(server.url, TOKEN) as client:
            client.search("docs", "x")
    assert len(server.requests) == 1
    assert proxy.requests == []


def test_nobody_there_is_said_so() -> None:
    """A closed port is an Unreachable that names the server and not the token."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with Client(url, TOKEN, patience=HURRIED) as client, pytest.raises(Unreachable) as error:
            client.whoami()
    assert url in str(error.value)
    assert TOKEN not in repr(error.value)


def test_the_token_is_in_no_repr() -> None:
    """Neither the client nor anything it holds shows the token, and it cannot be pickled."""
    with Client("https://keys.example.com", TOKEN) as client:
        assert repr(client) == "<Client of https://keys.example.com>"
        assert not any(TOKEN in repr(value) for value in vars(client).values())
        assert TOKEN not in repr(vars(client._http))
        with pytest.raises(TypeError):
            pickle.dumps(client)


@pytest.mark.parametrize(
    "text",
    ["", "ghp_012345", TOKEN[:-1] + "!", f"{TOKEN}\r\nX: y"],
    ids=["empty", "foreign", "damaged", "with a header"],
)
def test_only_a_whole_token_leaves(text: str) -> None:
    """What cannot be a token (another service's, a damaged one, one with a header in it) is refused, not repeated."""
    with pytest.raises(NotAToken) as refused:
        Client("https://keys.example.com", text)
    assert not text or text not in str(refused.value)

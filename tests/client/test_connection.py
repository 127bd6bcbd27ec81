"""Both kinds of client over real sockets: their requests, and the safety of the token."""

from __future__ import annotations

import json
import logging
import pickle
import socket
from types import TracebackType
from typing import Any

import pytest

from keystead.client import (
    Client,
    DocumentDraft,
    NotAToken,
    Patience,
    Problem,
    UnexpectedAnswer,
    Unreachable,
)
from tests.support.sdk_clients import KINDS, OPERATORS, opened
from tests.support.stub_server import TOKEN, json_response, stub_server

HURRIED = Patience(attempts=2, first=0.001)
NOTHING = json_response({"items": [], "next_cursor": None, "total": 0, "total_exact": True})
both = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@both
def test_a_push_is_one_request_with_the_bearer_token(kind: type[Any]) -> None:
    """Only the Authorization field contains the token; the body is the contract's batch."""
    with stub_server() as server, opened(kind, server.url, TOKEN) as client:
        server.answers = [json_response({"created": 1, "updated": 0, "unchanged": 0, "deleted": 2})]
        draft = DocumentDraft("x", "é", attributes={"n": 1})
        report = client.documents.push("a/b", [draft], ["y", "z"])
    ((method, path, headers, body),) = server.requests
    assert (report.created, report.deleted) == (1, 2)
    assert (method, path) == ("POST", "/v1/collections/a%2Fb/documents/batch")
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["content-type"] == "application/json"
    document = {"id": "x", "text": "é", "title": "", "url": None, "attributes": {"n": 1}}
    assert json.loads(body) == {"upsert": [document], "delete": ["y", "z"]}
    assert TOKEN not in path + body.decode()


@both
def test_a_query_is_encoded(kind: type[Any]) -> None:
    """A query arrives unchanged."""
    with stub_server() as server, opened(kind, server.url, TOKEN) as client:
        server.answers = [NOTHING]
        client.documents.search("docs", "a&b=c #d/é", limit=7)
    assert server.requests[0][1] in {
        "/v1/collections/docs/documents?query=a%26b%3Dc%20%23d%2F%C3%A9&limit=7",
        "/v1/collections/docs/documents?query=a%26b%3Dc+%23d%2F%C3%A9&limit=7",
    }


@both
@pytest.mark.parametrize("name", ["", ".", ".."])
def test_no_name_reaches_another_resource(kind: type[Any], name: str) -> None:
    """A name that a URL would drop is refused: deleting a document cannot delete its collection."""
    with stub_server() as server, opened(kind, server.url, TOKEN) as client:
        for act, names in (
            (client.documents.delete, ("docs", name)),
            (client.collections.delete, (name,)),
            (client.keys.revoke, (name,)),
        ):
            with pytest.raises(ValueError, match="only dots"):
                act(*names)
    assert server.requests == []


@both
def test_a_redirect_takes_the_token_nowhere(kind: type[Any]) -> None:
    """A redirect, even within loopback, is an unexpected answer; the client does not follow it."""
    with stub_server() as server, stub_server() as other, opened(kind, server.url, TOKEN) as client:
        server.answers = [(307, {"location": f"{other.url}/v1/whoami"}, b"")]
        with pytest.raises(UnexpectedAnswer):
            client.whoami()
    assert other.requests == []


@both
def test_no_proxy_reads_what_goes_to_loopback(
    kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxies of the environment do not see unencrypted requests."""
    with stub_server() as server, stub_server() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        server.answers = [NOTHING]
        with opened(kind, server.url, TOKEN) as client:
            client.documents.search("docs", "x")
    assert len(server.requests) == 1
    assert proxy.requests == []


@both
def test_a_proxy_of_the_environment_is_a_tunnel(
    kind: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy is asked for a tunnel to a server with TLS, and sees no token."""
    with stub_server() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        options = {"patience": Patience(attempts=1)}
        client_of = opened(kind, "https://keys.example.com", TOKEN, **options)
        with client_of as client, pytest.raises(Unreachable):
            client.whoami()
    ((method, path, headers, _),) = proxy.requests
    assert (method, path) == ("CONNECT", "keys.example.com:443")
    assert TOKEN not in str(headers)


@both
def test_a_closed_port_is_unreachable(kind: type[Any]) -> None:
    """A closed port raises Unreachable, which names the server and not the token."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        client_of = opened(kind, url, TOKEN, patience=HURRIED)
        with client_of as client, pytest.raises(Unreachable) as error:
            client.whoami()
    assert url in str(error.value)
    assert not error.value.sent
    assert TOKEN not in repr(error.value)


@both
def test_a_missing_response_times_out(kind: type[Any]) -> None:
    """A server that does not respond raises Unreachable after the timeout; the request may have arrived."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        options = {"timeout": 0.05, "patience": Patience(attempts=1)}
        with opened(kind, url, TOKEN, **options) as client, pytest.raises(Unreachable) as error:
            client.whoami()
    assert error.value.sent


@both
def test_busy_responses_are_retried(kind: type[Any]) -> None:
    """503 and 429 are retried with the same Idempotency-Key; the next key has another one."""
    busy = {"code": "unavailable", "title": "t", "status": 503, "detail": "d"}
    fields = {"content-type": "application/problem+json", "retry-after": "0"}
    with stub_server() as server, opened(kind, server.url, TOKEN, patience=HURRIED) as client:
        for _ in range(2):
            server.answers = [(503, fields, json.dumps(busy).encode())] * 2
            with pytest.raises(Problem):
                client.keys.create("x")
    sent = [headers["idempotency-key"] for _, _, headers, _ in server.requests]
    assert sent[0] == sent[1] != sent[2] == sent[3]


@both
def test_the_client_has_a_near_expiry(kind: type[Any]) -> None:
    """The client has the expiry of the last good response, and None if there is no such field."""
    with stub_server() as server, opened(kind, server.url, TOKEN) as client:
        status, fields, body = NOTHING
        server.answers = [
            (status, fields | {"keystead-key-expires": "2026-12-01T00:00:00Z"}, body),
            NOTHING,
        ]
        assert client.key_expires_at is None
        client.documents.page("docs")
        assert str(client.key_expires_at) == "2026-12-01 00:00:00+00:00"
        client.documents.page("docs")
        assert client.key_expires_at is None


@pytest.mark.parametrize("kind", KINDS + OPERATORS, ids=lambda kind: kind.__name__)
def test_the_token_is_in_no_repr(kind: type[Any]) -> None:
    """Neither the client nor its attributes show the token, and the client cannot be pickled."""
    with opened(kind, "https://keys.example.com", TOKEN) as client:
        assert repr(client.inner) == f"<{kind.__name__} of https://keys.example.com>"
        connection = client.inner._connection
        attributes = [client.inner, connection, *vars(connection).values()]
        assert not any(
            TOKEN in repr(value) + str(vars(value)) for value in attributes if has_dict(value)
        )
        for value in (client.inner, connection, connection._bearer):
            with pytest.raises(TypeError):
                pickle.dumps(value)


def has_dict(value: object) -> bool:
    """Return whether it has attributes."""
    return hasattr(value, "__dict__")


@both
def test_the_token_is_in_no_log_and_no_traceback(
    kind: type[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """No logger at its lowest level, and no variable in an error's frames, contains the token."""
    caplog.set_level(logging.DEBUG)
    with stub_server() as server, opened(kind, server.url, TOKEN, patience=HURRIED) as client:
        server.answers = [json_response({"no": "whoami"}), (401, {}, b"")]
        for _ in range(2):
            with pytest.raises(UnexpectedAnswer) as error:
                client.whoami()
            assert TOKEN not in "".join(shown(error.value.__traceback__))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        options = {"timeout": 0.05, "patience": Patience(attempts=1)}
        with opened(kind, url, TOKEN, **options) as client, pytest.raises(Unreachable) as lost:
            client.whoami()
    chain: BaseException | None = lost.value
    while chain is not None:
        assert TOKEN not in "".join(shown(chain.__traceback__)) + repr(chain)
        chain = chain.__cause__ or chain.__context__
    assert caplog.records
    assert TOKEN not in caplog.text
    assert TOKEN not in "".join(str(vars(record)) for record in caplog.records)


def shown(trace: TracebackType | None) -> list[str]:
    """Return every variable in the SDK's frames, as a tool for errors would print it."""
    variables = []
    while trace is not None:
        if "/tests/" not in trace.tb_frame.f_code.co_filename:
            variables += [repr(value) for value in trace.tb_frame.f_locals.values()]
        trace = trace.tb_next
    return variables


@pytest.mark.parametrize(
    "text",
    ["", "ghp_012345", TOKEN[:-1] + "!", f"{TOKEN}\r\nX: y"],
    ids=["empty", "foreign", "damaged", "with a header"],
)
def test_only_a_whole_token_leaves(text: str) -> None:
    """A text that cannot be a token is refused, and the error does not repeat it."""
    with pytest.raises(NotAToken) as refused:
        Client("https://keys.example.com", text)
    assert not text or text not in str(refused.value)

"""Applications receive only valid requests; responses are safe; every error is caught by the outermost layer."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from keystead.domain.errors import InvalidToken, NotFound, Unavailable
from keystead.http.asgi import Message, Receive, Scope, Send
from keystead.http.body import MAX_BODY, read_body
from keystead.http.client import client_of, note_caller, note_route, parse_proxies, record_of
from keystead.http.problems import Problems
from keystead.http.stack import Stack
from tests.support.asgi import HOST, Response, call, scope_of
from tests.support.log_lines import logged_lines

PROBLEMS = Problems("https://keys.example.com")
TOKEN = "ks_02tcRIyrxLXTR81B3dqdOx_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf2aDLy9"
BEARER = (b"authorization", b"Bearer " + TOKEN.encode())


class Inner:
    """An application that counts its requests and responds; subclasses act before that."""

    def __init__(self, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        self.scopes: list[Scope] = []
        self.headers = headers or []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the request, act, respond."""
        self.scopes.append(scope)
        await self.act(scope, receive)
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"ok"})

    async def act(self, scope: Scope, receive: Receive) -> None:
        """Act before the response."""


class Raising(Inner):
    """An application that fails, before its response or in the middle of it."""

    def __init__(self, error: Exception, *, late: bool = False) -> None:
        super().__init__()
        self.error, self.late = error, late

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Fail."""
        if self.late:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise self.error


def refused(scope: dict[str, Any], status: int, code: str) -> Response:
    """Return the response to `scope` after checking that it is this problem, from before the application."""
    inner = Inner()
    response = call(Stack(inner, PROBLEMS), scope)
    assert inner.scopes == []
    assert (response.status, response.json()["code"]) == (status, code)
    assert response.json()["status"] == status
    return response


def served(scope: dict[str, Any], **options: Any) -> Response:
    """Return the response to `scope` after checking that it reached the application."""
    inner = Inner()
    response = call(Stack(inner, PROBLEMS, **options), scope)
    assert (response.status, len(inner.scopes)) == (200, 1)
    return response


def test_a_head_at_its_bounds_is_served() -> None:
    """A hundred fields, 32 KiB of them and a URL of 8 KiB are accepted."""
    served(scope_of(headers=[HOST, *[(b"x-%d" % n, b"a") for n in range(99)]]))
    served(scope_of(headers=[HOST, (b"x-big", b"a" * 32_000)]))
    served(scope_of(path="/" + "a" * 4_095, query_string=b"b" * 4_096))


@pytest.mark.parametrize(
    "head",
    [
        {"headers": [HOST, *[(b"x-%d" % n, b"a") for n in range(100)]]},
        {"headers": [HOST, (b"x-big", b"a" * 32_768)]},
        {"headers": [HOST, *[(b"x", b"a" * 400) for _ in range(90)]]},
        {"path": "/" + "a" * 8_192},
        {"query_string": b"a" * 8_192},
    ],
)
def test_a_head_over_its_bounds_is_refused(head: dict[str, Any]) -> None:
    """More than 100 fields, 32 KiB of them, or a URL of more than 8 KiB."""
    refused(scope_of(**head), 431, "header-too-large")


@pytest.mark.parametrize("control", [b"\x00", b"\r", b"\n", b"\x01", b"\x1b", b"\x7f"])
def test_controls_in_a_field_are_refused(control: bytes) -> None:
    """CR, LF, NUL and similar characters have a meaning to some programs (RFC 9110 section 5.5)."""
    refused(scope_of(headers=[HOST, (b"x", b"a" + control + b"b")]), 400, "invalid-request")


def test_a_tab_and_other_alphabets_in_a_field_are_fine() -> None:
    """HTAB and bytes above ASCII are allowed in a value."""
    served(scope_of(headers=[HOST, (b"x", "a\té".encode())]))


@pytest.mark.parametrize(
    "hosts",
    [
        [b"a", b"b"],
        [b"a", b"a"],
        [b""],
        [],
        [b"a b"],
        [b"a/b"],
        [b"a?b"],
        [b"a#b"],
        [b"u@a"],
        [b"a:b"],
        [b"a,b"],
        [b"[::1"],
        [b"a" * 300],
        [b"a\\b"],
        [b"\xc3\xa9"],
    ],
)
def test_a_doubled_or_malformed_host_is_refused(hosts: list[bytes]) -> None:
    """There must be exactly one Host with a valid value (RFC 9112 section 3.2)."""
    refused(scope_of(headers=[(b"host", host) for host in hosts]), 400, "invalid-request")


@pytest.mark.parametrize(
    "host", [b"localhost:8080", b"127.0.0.1", b"[::1]:8080", b"my_service.internal", b"A-b.c"]
)
def test_a_host_of_any_kind_is_served(host: bytes) -> None:
    """Names, addresses, ports."""
    served(scope_of(headers=[(b"host", host)]))


def test_http_1_0_may_go_without_a_host() -> None:
    """Health checks of old load balancers do; the server passes the missing field as an empty one."""
    served(scope_of(headers=[(b"host", b"")], http_version="1.0"))


@pytest.mark.parametrize(
    "path", ["*", "", "a", "/\x00", "/a\nb", "/\x7f", "/\ufffd", f"/{chr(0xD800)}"]
)
def test_a_malformed_path_is_refused(path: str) -> None:
    """Controls and bytes that aren't UTF-8 never reach a route."""
    refused(scope_of(path=path), 400, "invalid-request")


@pytest.mark.parametrize("query", [b"a=%00", b"a=\x00", b"a\r\nb", b"%00"])
def test_nul_in_a_parameter_is_refused(query: bytes) -> None:
    """PostgreSQL can neither store it nor search for it."""
    refused(scope_of(query_string=query), 400, "invalid-request")


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "get", "", "X" * 5_000])
def test_methods_without_a_handler_are_refused(method: str) -> None:
    """TRACE, CONNECT, unknown and misspelt methods: 405 with Allow."""
    response = refused(scope_of(method), 405, "method-not-allowed")
    assert response.header("allow") == "GET, HEAD, POST, PUT, PATCH, DELETE"


@pytest.mark.parametrize(
    "name", [b"x-http-method-override", b"x-http-method", b"x-method-override"]
)
def test_a_method_is_not_overridden(name: bytes) -> None:
    """The application sees the method that was sent."""
    inner = Inner()
    call(Stack(inner, PROBLEMS), scope_of("POST", headers=[HOST, (name, b"DELETE")]))
    assert [scope["method"] for scope in inner.scopes] == ["POST"]


def test_two_authorization_fields_reach_nothing() -> None:
    """The route decides nothing about one of them."""
    response = refused(scope_of(headers=[HOST, BEARER, BEARER]), 400, "invalid-request")
    assert response.header("www-authenticate") == 'Bearer realm="keystead", error="invalid_request"'


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"0x10", b"", b"9" * 19, b"1, 2"])
def test_a_malformed_length_is_refused(length: bytes) -> None:
    """A Content-Length is a number."""
    refused(scope_of("POST", headers=[HOST, (b"content-length", length)]), 400, "invalid-request")


def test_a_body_over_the_ceiling_is_refused_by_its_length_and_by_its_bytes() -> None:
    """With a Content-Length, it reaches no application; without one, its reader is stopped."""
    length = (b"content-length", str(MAX_BODY + 1).encode())
    refused(scope_of("POST", headers=[HOST, length]), 413, "too-large")

    class Reading(Inner):
        async def act(self, scope: Scope, receive: Receive) -> None:
            await read_body(receive, MAX_BODY)

    response = call(Stack(Reading(), PROBLEMS, max_body=4), scope_of("POST"), [b"abc", b"def"])
    assert response.status == 413


def test_a_body_that_never_ends_is_answered() -> None:
    """At the deadline the request is refused, even if its client still trickles."""

    class Reading(Inner):
        async def act(self, scope: Scope, receive: Receive) -> None:
            await read_body(receive, 100)

    sent: list[Message] = []

    async def silence() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    stack = Stack(Reading(), PROBLEMS, body_seconds=0.02)
    asyncio.run(stack(scope_of("POST"), silence, send))
    assert sent[0]["status"] == 400


@pytest.mark.parametrize("credential", [BEARER, (b"authorization", b"Basic dTpw")])
def test_credentials_over_plain_http_are_refused_and_not_redirected(
    credential: tuple[bytes, bytes],
) -> None:
    """A redirect would hide that the token has already crossed the network."""
    scope = scope_of(headers=[HOST, credential], client=("198.51.100.1", "4711"))
    response = refused(scope, 400, "invalid-request")
    assert response.header("location") is None
    spoofed = [HOST, credential, (b"x-forwarded-proto", b"https")]
    refused({**scope, "headers": spoofed}, 400, "invalid-request")


def test_credentials_are_served_over_tls_through_a_proxy_and_on_loopback() -> None:
    """The three private ways."""
    far = ("198.51.100.1", "4711")
    proxied = [HOST, BEARER, (b"x-forwarded-proto", b"https")]
    served(scope_of(headers=[HOST, BEARER], client=far, scheme="https"))
    served(scope_of(headers=proxied, client=far), proxies=parse_proxies(["198.51.100.0/24"]))
    served(scope_of(headers=[HOST, BEARER]))
    served(scope_of(client=far))


def test_every_answer_has_its_safe_defaults() -> None:
    """Not stored, not sniffed, no referrer, no server name, no foreign origin; refusals too."""
    for response in (served(scope_of()), call(Stack(Inner(), PROBLEMS), scope_of("TRACE"))):
        assert response.header("cache-control") == "no-store"
        assert response.header("x-content-type-options") == "nosniff"
        assert response.header("referrer-policy") == "no-referrer"
        assert response.header("server") == "keystead"
        assert response.header("strict-transport-security") is None
        assert not [name for name, _ in response.headers if name.startswith(b"access-control-")]


def test_an_application_may_set_its_own_caching_but_not_the_servers_name() -> None:
    """Static files may be cached; the name of the server is never sent."""
    inner = Inner([(b"cache-control", b"public, max-age=60"), (b"server", b"inner/1.2")])
    response = call(Stack(inner, PROBLEMS), scope_of())
    assert response.header("cache-control") == "public, max-age=60"
    assert response.header("server") == "keystead"


def test_a_secure_answer_says_to_stay_secure() -> None:
    """HSTS for at least a year, over TLS only (RFC 6797 section 7.2)."""
    value = served(scope_of(scheme="https")).header("strict-transport-security") or ""
    assert int(value.removeprefix("max-age=")) >= 31_536_000


def test_every_answer_carries_the_id_that_the_log_has() -> None:
    """The ID is ours, well-formed, different each time, and sorts by time."""
    with logged_lines() as logs:
        sent = (b"x-request-id", b"chosen-by-a-stranger")
        answers = [served(scope_of(headers=[HOST, sent])) for _ in range(3)]
    ids = [answer.header("x-request-id") for answer in answers]
    assert all(re.fullmatch(r"req_[0-9A-Za-z]{22}", id or "") for id in ids)
    assert [line["request_id"] for line in logs] == ids
    assert len(set(ids)) == 3


def test_later_code_finds_the_client() -> None:
    """The services' endpoints find address, agent and request ID."""
    inner = Inner()
    agent = (b"user-agent", b"curl/8")
    response = call(Stack(inner, PROBLEMS), scope_of(headers=[HOST, agent]))
    client = client_of(inner.scopes[0])
    assert (client.address, client.agent) == ("127.0.0.1", "curl/8")
    assert client.request_id == response.header("x-request-id")


def test_an_uncaught_refusal_is_still_its_problem() -> None:
    """Plain ASGI code may simply raise."""
    response = call(Stack(Raising(NotFound("No such key.")), PROBLEMS), scope_of())
    assert (response.status, response.json()["detail"]) == (404, "No such key.")


def test_a_bug_is_a_500_without_detail_and_leaves_no_text_in_the_log() -> None:
    """An exception may quote a token, so the log has its type and place, never its text."""
    error = ValueError(f"no such {TOKEN}")
    error.__cause__ = KeyError(TOKEN)
    with logged_lines() as logs:
        response = call(Stack(Raising(error), PROBLEMS), scope_of())
    assert (response.status, response.json()["code"]) == (500, "internal")
    failure = next(line for line in logs if line["event"] == "failure")
    assert failure["errors"] == ["builtins.ValueError", "builtins.KeyError"]
    assert any("__call__" in place for place in failure["places"])
    assert failure["request_id"] == response.header("x-request-id")
    assert TOKEN[:20] not in f"{logs}{response}"


def test_the_store_away_is_a_503_and_logged_with_its_cause() -> None:
    """The caller gets Retry-After, and the log has the failure."""
    with logged_lines() as logs:
        response = call(Stack(Raising(Unavailable()), PROBLEMS), scope_of())
    assert (response.status, response.header("retry-after")) == (503, "2")
    assert [line["event"] for line in logs] == ["failure", "request"]


def test_an_answer_that_fails_in_the_middle_is_not_completed() -> None:
    """No exception reaches the server, which would print its text, and the body stays visibly unfinished."""
    with logged_lines() as logs:
        response = call(Stack(Raising(ValueError(TOKEN), late=True), PROBLEMS), scope_of())
    assert (response.status, response.body) == (200, b"half")
    assert [line["event"] for line in logs] == ["failure", "request"]


def test_an_application_without_a_response_is_a_bug() -> None:
    """Every request gets a response."""

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        """Return without a response."""

    assert call(Stack(silent, PROBLEMS), scope_of()).status == 500


def test_a_client_that_leaves_is_logged_and_the_work_ends() -> None:
    """The server cancels the request; the layer stops and still writes its line."""
    counted: list[tuple[str, str, int, float]] = []

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async def leave() -> None:
        stack = Stack(endless, PROBLEMS, on_response=lambda *seen: counted.append(seen))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stack(scope_of(), never, never_sent), 0.01)

    async def never() -> Message:
        raise AssertionError

    async def never_sent(message: Message) -> None:
        raise AssertionError

    with logged_lines() as logs:
        asyncio.run(leave())
    assert [line["status"] for line in logs] == [None]
    assert counted[0][:3] == ("GET", "", 499)


def test_the_log_has_one_line_per_request() -> None:
    """Method, path, status, duration and ID; the key and its workspace once they are known."""

    class Knowing(Inner):
        async def act(self, scope: Scope, receive: Receive) -> None:
            note_caller(scope, key_id="key_1", workspace_id="ws_1")

    with logged_lines() as logs:
        response = call(Stack(Knowing(), PROBLEMS), scope_of("POST", "/v1/keys"))
    [line] = logs
    assert line.pop("duration_ms") >= 0
    assert line == {
        "event": "request",
        "level": "info",
        "method": "POST",
        "path": "/v1/keys",
        "status": 200,
        "request_id": response.header("x-request-id"),
        "key_id": "key_1",
        "workspace_id": "ws_1",
    }


def test_a_routine_success_leaves_no_line() -> None:
    """What an application calls routine is logged only if it fails."""

    class Routine(Inner):
        async def act(self, scope: Scope, receive: Receive) -> None:
            record_of(scope).is_routine = True
            if scope["path"] != "/good":
                raise NotFound

    with logged_lines() as logs:
        for path in ("/good", "/bad"):
            call(Stack(Routine(), PROBLEMS), scope_of(path=path))
    assert [(line["path"], line["status"]) for line in logs] == [("/bad", 404)]


def test_no_secret_gets_into_the_log_from_anywhere() -> None:
    """A token in the path, the query, any field or the body is in no line, not even in part or split by a slash."""
    token = TOKEN.encode()
    fields = [b"user-agent", b"cookie", b"referer", b"x-forwarded-for", b"x-request-id", b"origin"]
    scope = scope_of(
        "POST",
        f"/v1/keys/{TOKEN}/x{TOKEN}",
        headers=[HOST, BEARER, *[(field, token) for field in fields]],
        query_string=b"token=" + token,
    )
    with logged_lines() as logs:
        for refusal in (InvalidToken(TOKEN), ValueError(TOKEN), Unavailable(TOKEN)):
            call(Stack(Raising(refusal), PROBLEMS), dict(scope), [token])
        call(Stack(Inner(), PROBLEMS, proxies=parse_proxies(["127.0.0.1"])), scope, [token])
    assert len(logs) == 6
    assert TOKEN[-20:] not in str(logs)
    assert TOKEN[:40] not in str(logs)
    assert {line["path"] for line in logs} == {"/v1/keys/[redacted]/[redacted]"}


@pytest.mark.parametrize("evil", ["\u2028", "\u202e", "\x85", "\u200b", "é\u2029"])
def test_a_path_cannot_break_or_turn_a_log_line(evil: str) -> None:
    """Line and paragraph separators, direction marks and invisible characters are written as escapes."""
    with logged_lines() as logs:
        call(Stack(Inner(), PROBLEMS), scope_of(path=f"/a{evil}b"))
    assert logs[0]["path"].isprintable()
    assert logs[0]["path"].startswith("/a\\")


def test_a_method_cannot_break_a_log_line() -> None:
    """A long or hostile method cannot break a log line either."""
    with logged_lines() as logs:
        call(Stack(Inner(), PROBLEMS), scope_of("A" * 30 + "\u2028"))
    assert logs[0]["method"] == "A" * 20


def test_responses_are_counted_by_names_of_small_sets() -> None:
    """The labels of metrics are a known method or `other`, a route's template, and a status; no path, no ID."""
    counted: list[tuple[str, str, int, float]] = []

    class Routed(Inner):
        async def act(self, scope: Scope, receive: Receive) -> None:
            note_route(scope, "/v1/keys/{id}")

    stack = Stack(Routed(), PROBLEMS, on_response=lambda *seen: counted.append(seen))
    call(stack, scope_of(path="/v1/keys/key_1"))
    call(stack, scope_of("BREW", path="/v1/keys/key_1"))
    assert [seen[:3] for seen in counted] == [("GET", "/v1/keys/{id}", 200), ("other", "", 405)]
    assert all(seen[3] >= 0 for seen in counted)


def test_lifespan_passes_and_websockets_do_not() -> None:
    """The application gets start and stop; websockets are refused."""
    inner = Inner()
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(_run(Stack(inner, PROBLEMS), {"type": "websocket"}, receive, send))
    assert (inner.scopes, [message["type"] for message in sent]) == ([], ["websocket.close"])
    asyncio.run(_run(Stack(inner, PROBLEMS), {"type": "lifespan"}, receive, send))
    assert [scope["type"] for scope in inner.scopes] == ["lifespan"]


async def _run(app: Stack, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


def test_the_record_is_the_requests_own() -> None:
    """Two requests over one connection, or with one server state, never share a record."""
    inner = Inner()
    state: dict[str, Any] = {}
    for _ in range(2):
        call(Stack(inner, PROBLEMS), scope_of(state=dict(state)))
    first, second = map(record_of, inner.scopes)
    assert first is not second

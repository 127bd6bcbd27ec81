"""A FastAPI application responds as plain ASGI code does: with problems only."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import APIRouter, FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from keystead.domain.errors import InsufficientScope, InvalidToken, TooLarge, Unavailable
from keystead.http.asgi import App, Receive, Scope, Send, send_answer
from keystead.http.bearer import bearer_of
from keystead.http.exception_handlers import install_handlers
from keystead.http.problems import Problems
from keystead.http.stack import Stack
from tests.support.asgi import HOST, Response, call, scope_of
from tests.support.log_lines import logged_lines

PROBLEMS = Problems("https://keys.example.com")
JSON = (b"content-type", b"application/json")


class Draft(BaseModel):
    """A body as FastAPI reads it."""

    model_config = ConfigDict(extra="forbid")

    description: str


router = APIRouter(prefix="/v1")


@router.get("/things")
def list_things(limit: Annotated[int, Query(ge=1, le=200)] = 50) -> int:
    """Return a result that FastAPI validates."""
    return limit


@router.post("/things")
def make_thing(draft: Draft) -> str:
    """Return a result that FastAPI validates."""
    return draft.description


@router.delete("/things/{id}")
def delete_thing(id: str) -> None:
    """Fail as the ID says."""
    failures: dict[str, Exception] = {
        "dead": InvalidToken("expired on 2026-01-01"),
        "scope": InsufficientScope("things:write"),
        "away": Unavailable("connection refused"),
        "bug": ValueError("ks_secret"),
        "teapot": HTTPException(418, "ks_secret"),
        "gateway": HTTPException(502, "ks_secret"),
    }
    raise failures[id]


@router.put("/things/{id}")
async def put_thing(id: str, draft: Draft) -> None:
    """Do nothing: the test's body is too large to get here."""


def application() -> FastAPI:
    """Return an application that is built like the REST one."""
    app = FastAPI(redirect_slashes=False)
    app.include_router(router)
    install_handlers(app, PROBLEMS)
    return app


def send(
    method: str, path: str, body: bytes = b"", query: bytes = b"", app: App | None = None
) -> Response:
    """Send one request through the stack."""
    scope = scope_of(method, path, [HOST, JSON], query_string=query)
    return call(Stack(app or application(), PROBLEMS), scope, [body])


def without_id(response: Response) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return the response without its request ID, which is different for every request."""
    headers = sorted(header for header in response.headers if header[0] != b"x-request-id")
    return response.status, headers, response.body


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve an endpoint without a framework."""
    error = InvalidToken("unknown")
    try:
        bearer_of(scope)
    except InvalidToken as malformed:
        error = malformed
    await send_answer(send, PROBLEMS.answer(error))


def test_a_dead_token_gets_the_same_bytes_from_every_endpoint() -> None:
    """FastAPI, plain ASGI and code that just raises respond byte for byte alike, whatever was wrong with the token."""

    async def raising(scope: Scope, receive: Receive, send: Send) -> None:
        raise InvalidToken("revoked")

    answers = [send("DELETE", "/v1/things/dead"), send("DELETE", "/", app=raising)]
    for value in (b"Bearer abc", b"Bearer not token68", b"Bearer", b"bearer a=b"):
        scope = scope_of("DELETE", "/", [HOST, (b"authorization", value)])
        answers.append(call(Stack(plain, PROBLEMS), scope))
    first = without_id(answers[0])
    assert first[0] == 401
    assert [without_id(answer) for answer in answers] == [first] * len(answers)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not-found"),
        ("GET", "/v1/things/", 404, "not-found"),
        ("DELETE", "/v1/things/scope", 403, "insufficient-scope"),
        ("DELETE", "/v1/things/away", 503, "unavailable"),
        ("DELETE", "/v1/things/bug", 500, "internal"),
        ("DELETE", "/v1/things/teapot", 400, "invalid-request"),
        ("DELETE", "/v1/things/gateway", 500, "internal"),
    ],
)
def test_every_error_is_a_problem(method: str, path: str, status: int, code: str) -> None:
    """Refusals, the framework's own errors and bugs: one form, and no internals."""
    response = send(method, path)
    assert (response.status, response.json()["code"]) == (status, code)
    assert response.json()["status"] == status
    assert response.header("content-type") == "application/problem+json"
    assert b"ks_secret" not in response.body
    assert b"refused" not in response.body


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/v1/things", "GET, POST"),
        ("GET", "/v1/things/x", "PUT, DELETE"),
        ("OPTIONS", "/v1/things", "GET, POST"),
        ("HEAD", "/v1/things/x", "PUT, DELETE"),
    ],
)
def test_allow_lists_all_methods_of_the_path(method: str, path: str, allow: str) -> None:
    """Allow lists the methods of every route of the path, not only the first one's."""
    response = send(method, path)
    assert (response.status, response.header("allow")) == (405, allow)


def test_preflights_are_refused() -> None:
    """No other origin may use a browser's credentials here."""
    headers = [
        HOST,
        (b"origin", b"https://evil.example"),
        (b"access-control-request-method", b"GET"),
    ]
    response = call(Stack(application(), PROBLEMS), scope_of("OPTIONS", "/v1/things", headers))
    assert response.status == 405
    assert response.header("access-control-allow-origin") is None


@pytest.mark.parametrize(
    ("method", "query", "body", "pointer"),
    [
        ("GET", b"limit=0", b"", "query:limit"),
        ("GET", b"limit=x", b"", "query:limit"),
        ("POST", b"", b"{}", "/description"),
        ("POST", b"", b'{"description": "a", "id": 1}', "/id"),
        ("POST", b"", b"[]", ""),
        ("POST", b"", b"", ""),
    ],
)
def test_a_refused_value_is_named_by_its_place(
    method: str, query: bytes, body: bytes, pointer: str
) -> None:
    """A JSON pointer in the body, `query:name` for a parameter."""
    response = send(method, "/v1/things", body, query)
    assert (response.status, response.json()["code"]) == (422, "invalid")
    assert [entry["pointer"] for entry in response.json()["errors"]] == [pointer]


def test_what_the_framework_cannot_parse_is_not_understood() -> None:
    """400 for a body that isn't JSON, even if the framework reads it, without quoting it."""
    response = send("POST", "/v1/things", b'{"ks_secret')
    assert (response.status, response.json()["code"]) == (400, "invalid-request")
    assert b"ks_secret" not in response.body


def test_a_refusal_while_the_framework_reads_the_body_keeps_its_code() -> None:
    """FastAPI turns what the body's reader raises into a 400 of its own; the reader's own response wins."""

    async def too_large(scope: Scope, receive: Receive, send: Send) -> None:
        async def refuse() -> Any:
            raise TooLarge

        await application()(scope, refuse, send)

    assert send("PUT", "/v1/things/x", app=too_large).status == 413


def test_the_store_away_and_a_bug_are_logged_once_without_text() -> None:
    """An outage and a bug are in the log with their place, but without what was sent."""
    for path in ("/v1/things/away", "/v1/things/bug"):
        with logged_lines() as logs:
            send("DELETE", path)
        assert [line["event"] for line in logs] == ["failure", "request"]
        assert "ks_secret" not in str(logs)
        assert any("delete_thing" in place for place in logs[0]["places"])


def test_metrics_see_the_routes_template() -> None:
    """FastAPI's routes need no annotation."""
    counted: list[tuple[Any, ...]] = []
    stack = Stack(application(), PROBLEMS, on_response=lambda *seen: counted.append(seen[:3]))
    for path in ("/v1/things/dead", "/v1/none/of/them"):
        call(stack, scope_of("DELETE", path))
    assert counted == [("DELETE", "/v1/things/{id}", 401), ("DELETE", "", 404)]


def test_a_caller_of_the_application_finds_its_client_through_the_request() -> None:
    """The framework's own request has what the stack put into the scope."""
    app = FastAPI()

    @app.get("/")
    def agent(request: Request) -> str:
        return str(request.scope["state"]["keystead"].client.address)

    assert call(Stack(app, PROBLEMS), scope_of()).json() == "127.0.0.1"

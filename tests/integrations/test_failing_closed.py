"""If anything goes wrong, the product does not run, in any scope and any integration."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.websockets import WebSocket

from keystead.domain.errors import Unavailable
from keystead.domain.principals import Principal
from keystead.integrations import Guard
from keystead.integrations.asgi import KeysteadMiddleware
from keystead.integrations.fastapi import protect, require
from keystead.integrations.flask import require as flask_require
from keystead.integrations.guard import RequestHead
from keystead.integrations.starlette import authentication, requires
from tests.support.callers import ADMITTED, REQUIRED, ClientRequest, ServerWithKeys, bearer
from tests.support.guarded_products import PRODUCTS, Product

SPELLINGS = (
    b"x-keystead-workspace",
    b"X-Keystead-Key",
    b"X_Keystead_Scopes",
    b"x.keystead.key",
    b"X-KEYSTEAD_workspace",
    b"x-keystead-anything",
)


class Broken(Guard):
    """A guard that fails."""

    def __init__(self, failure: BaseException) -> None:
        super().__init__("http://127.0.0.1:8080")
        self._failure = failure

    def decide(self, head: RequestHead, token: str, required: str | None) -> Principal:
        """Fail."""
        raise self._failure

    async def decide_on_loop(
        self, head: RequestHead, token: str, required: str | None
    ) -> Principal:
        """Fail."""
        raise self._failure

    def close(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("framework", PRODUCTS)
@pytest.mark.parametrize(
    ("failure", "status"),
    [(RuntimeError("a bug, with a secret in its text"), 500), (Unavailable("away"), 503)],
    ids=["bug", "away"],
)
def test_a_failing_decision_runs_nothing(
    api_server: ServerWithKeys, framework: str, failure: Exception, status: int
) -> None:
    """An exception during verification is answered without its text, and the product does not run."""
    product = Product()
    ask = PRODUCTS[framework](Broken(failure), product)
    answered = ask(ClientRequest((bearer(api_server.tokens["good"]),)))
    assert answered.status == status
    assert not product.served
    assert b"secret" not in answered.body


@pytest.mark.parametrize("framework", ["asgi", "wsgi", "django"])
def test_nobody_claims_an_identity(
    api_server: ServerWithKeys, guard: Guard, framework: str
) -> None:
    """The fields of gateways are removed from requests, in every spelling that servers treat as equal."""
    product = Product()
    ask = PRODUCTS[framework](guard, product)
    forged = tuple((spelling, b"ws_someone_else") for spelling in SPELLINGS)
    assert ask(ClientRequest((bearer(api_server.tokens["good"]), *forged))).status == 200
    assert product.served[0].workspace_id == api_server.workspace_id
    assert not [name for name in product.claims if "keystead" in name.lower()]


def _bare(guard: Guard, reached: list[str]) -> Any:
    """Return the middleware over an application that records the types of its scopes."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["type"])
        await send({"type": "websocket.accept"})

    return KeysteadMiddleware(app, guard, REQUIRED)


def _mounted(guard: Guard, reached: list[str]) -> Any:
    """Return the same below a path of another application."""
    return Starlette(routes=[Mount("/", _bare(guard, reached))])


def _starlette(guard: Guard, reached: list[str]) -> Any:
    """Return a websocket behind Starlette's authentication."""

    @requires(REQUIRED)
    async def endpoint(websocket: WebSocket) -> None:
        reached.append("websocket")
        await websocket.accept()

    routes = [WebSocketRoute("/", endpoint)]
    return Starlette(routes=routes, middleware=[authentication(guard)])


def _fastapi(guard: Guard, reached: list[str]) -> Any:
    """Return a websocket that depends on a key."""
    app = FastAPI()
    protect(app, guard)

    @app.websocket("/")
    async def endpoint(
        websocket: WebSocket, principal: Annotated[Principal, Depends(require(REQUIRED))]
    ) -> None:
        reached.append("websocket")
        await websocket.accept()

    return app


SOCKETS = {"asgi": _bare, "mounted": _mounted, "starlette": _starlette, "fastapi": _fastapi}


@pytest.mark.parametrize("kind", SOCKETS)
def test_websockets_are_guarded_too(api_server: ServerWithKeys, guard: Guard, kind: str) -> None:
    """A websocket opens for the keys that a request would admit; others are refused before it opens."""
    for name, asked in api_server.requests().items():
        reached: list[str] = []
        sent = asyncio.run(_open(SOCKETS[kind](guard, reached), asked, extensions={}))
        admitted = name in ADMITTED
        assert reached == (["websocket"] if admitted else []), name
        assert sent[0]["type"] == ("websocket.accept" if admitted else "websocket.close"), name


def test_a_websocket_is_told_why_where_the_server_can(
    api_server: ServerWithKeys, guard: Guard
) -> None:
    """With the extension, the handshake is answered with the problem."""
    asked = api_server.requests()["revoked"]
    sent = asyncio.run(_open(_bare(guard, []), asked, {"websocket.http.response": {}}))
    assert [message["type"] for message in sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert sent[0]["status"] == 401
    assert json.loads(sent[1]["body"])["code"] == "invalid-token"


def test_what_carries_no_request_passes(guard: Guard) -> None:
    """A server's start and stop reach the application."""
    reached: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["type"])

    asyncio.run(KeysteadMiddleware(app, guard)({"type": "lifespan"}, _nothing, _nothing))
    assert reached == ["lifespan"]


@pytest.mark.parametrize("scope", ["*", "events", "Events:read", "events:read documents:read", ""])
def test_what_is_no_scope_is_refused_at_once(guard: Guard, scope: str) -> None:
    """A malformed scope stops the start of the product: it would refuse every key, or require too little."""
    for build in (require, requires, flask_require):
        with pytest.raises(ValueError, match="scope"):
            build(scope)
    with pytest.raises(ValueError, match="scope"):
        KeysteadMiddleware(_nothing, guard, scope)


async def _open(app: Any, asked: ClientRequest, extensions: dict[str, Any]) -> list[Any]:
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/",
        "raw_path": b"/",
        "root_path": "",
        "query_string": asked.query.encode(),
        "headers": [(b"host", b"product.test"), *asked.fields],
        "client": ("192.0.2.7", 4711),
        "server": ("product.test", 80),
        "subprotocols": [],
        "extensions": extensions,
    }
    await app(scope, receive, send)
    return sent


async def _nothing(*_: Any) -> Any:
    """Do nothing."""

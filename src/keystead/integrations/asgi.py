"""ASGI middleware: only requests and websockets with a key reach the application."""

from __future__ import annotations

from typing import Final

from keystead.http.asgi import Answer, App, Receive, Scope, Send, send_answer
from keystead.integrations.guard import SCOPE_KEY, Guard, RequestHead, is_identity, valid_scope

POLICY_VIOLATION: Final = 1008
_EXTENSION: Final = "websocket.http.response"


class KeysteadMiddleware:
    """Runs `app` only for keys with the scope `required`, or, if that is None, for every active key.

    `scope["keystead"]` is the principal. Header fields that claim to be Keystead's are removed. Scopes without a
    request, such as lifespan, pass unchanged.
    """

    def __init__(self, app: App, guard: Guard, required: str | None = None) -> None:
        """Raise ValueError if `required` is malformed."""
        self._app, self._guard = app, guard
        self._required = valid_scope(required)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the application's response, or the refusal (RFC 6750 section 3)."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        try:
            principal = await self._guard.admit_on_loop(asgi_head(scope), self._required)
        except Exception as error:  # noqa: BLE001 - whatever it is, the application must not run
            await refuse(scope, send, self._guard.answer(error))
            return
        headers = [field for field in scope["headers"] if not is_identity(field[0])]
        await self._app({**scope, "headers": headers, SCOPE_KEY: principal}, receive, send)


def asgi_head(scope: Scope) -> RequestHead:
    """Return the head of an ASGI request. Its address is the server's own, which may be that of a proxy."""
    headers = scope["headers"]
    agents = [value for name, value in headers if name.lower() == b"user-agent"]
    client = scope.get("client")
    return RequestHead(
        headers,
        scope.get("query_string") or b"",
        client[0] if client else None,
        agents[0].decode("latin-1") if agents else None,
    )


async def refuse(scope: Scope, send: Send, answer: Answer) -> None:
    """Send `answer`. A websocket gets it before it opens if the server can do that, and is closed otherwise."""
    if scope["type"] == "http":
        await send_answer(send, answer)
    elif _EXTENSION in (scope.get("extensions") or {}):
        start = {"status": answer.status, "headers": list(answer.headers)}
        await send({"type": "websocket.http.response.start", **start})
        await send({"type": "websocket.http.response.body", "body": answer.body})
    else:
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})

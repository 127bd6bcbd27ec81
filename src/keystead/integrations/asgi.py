"""ASGI middleware: nothing reaches the application without a key, over HTTP or as a websocket."""

from __future__ import annotations

from typing import Final

from keystead.http.asgi import Answer, App, Receive, Scope, Send, send_answer
from keystead.integrations.guard import SCOPE_KEY, Guard, Presented, check_required, is_identity

POLICY_VIOLATION: Final = 1008
_EXTENSION: Final = "websocket.http.response"


class KeysteadMiddleware:
    """Runs `app` for keys that hold the scope `required` (None: for every live key), and for nobody else.

    `scope["keystead"]` is the principal. Fields that claim to be Keystead's are taken out of the request. Lifespan and
    other kinds of scopes that carry no request pass.
    """

    def __init__(self, app: App, guard: Guard, required: str | None = None) -> None:
        """ValueError where `required` is no scope."""
        self._app, self._guard = app, guard
        self._required = check_required(required)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: the application's answer, or the refusal (RFC 6750 section 3)."""
        kind = scope["type"]
        if kind not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        try:
            principal = await self._guard.admit_on_loop(presented_by(scope), self._required)
        except Exception as error:  # noqa: BLE001 - whatever it is, the application must not run
            await refuse(scope, send, self._guard.answer(error))
            return
        headers = [field for field in scope["headers"] if not is_identity(field[0])]
        await self._app({**scope, "headers": headers, SCOPE_KEY: principal}, receive, send)


def presented_by(scope: Scope) -> Presented:
    """What an ASGI request presents; its address is the server's own word, which may come from a proxy."""
    headers = scope["headers"]
    agents = [value for name, value in headers if name.lower() == b"user-agent"]
    client = scope.get("client")
    return Presented(
        headers,
        scope.get("query_string") or b"",
        client[0] if client else None,
        agents[0].decode("latin-1") if agents else None,
    )


async def refuse(scope: Scope, send: Send, answer: Answer) -> None:
    """Send `answer`; to a websocket in place of its opening where the server can, else by closing it."""
    if scope["type"] == "http":
        await send_answer(send, answer)
    elif _EXTENSION in (scope.get("extensions") or {}):
        start = {"status": answer.status, "headers": list(answer.headers)}
        await send({"type": "websocket.http.response.start", **start})
        await send({"type": "websocket.http.response.body", "body": answer.body})
    else:
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})

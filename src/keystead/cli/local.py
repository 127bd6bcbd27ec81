"""The API within this process: what commands send to an installation on this machine, as its operator."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlencode

from keystead.cli.installation import account, opened
from keystead.client._sync.sending import Sender
from keystead.client.exchange import Patience, Reply, Write

if TYPE_CHECKING:
    from keystead.api.operations import Operation
    from keystead.cli.options import Place
    from keystead.client.requests import Request
    from keystead.http.asgi import App

_HOST: Final = (b"host", b"localhost")


@contextmanager
def sending_here(place: Place, calls: tuple[str, ...]) -> Iterator[Sender]:
    """Yield a sender to the installation, for these calls of the Operator API: `keys:WORKSPACE_KEYS`, for example.

    The calls that a command doesn't name are not imported, which would take most of its time.
    """
    from keystead.bootstrap import operator_api

    operations = [operation for name in calls for operation in _imported(name)]
    with opened(place) as installation:
        sender = LocalSender(operator_api(installation, account(), operations))
        try:
            yield sender
        finally:
            sender.close()


class LocalSender(Sender):
    """Calls an ASGI application that knows who acts. An error is final: nothing is sent twice."""

    url = "this machine"
    patience = Patience(attempts=1)

    def __init__(self, app: App) -> None:
        self._app = app
        self._runner = asyncio.Runner()

    def close(self) -> None:
        """Close the event loop."""
        self._runner.close()

    def _attempt(self, request: Request) -> Reply:
        content = bytearray()
        reply = self._runner.run(self._call(request, content.extend))
        return replace(reply, body=bytes(content))

    def _receive(self, request: Request, write: Write) -> Reply:
        refusal = bytearray()
        reply = self._runner.run(self._call(request, refusal.extend, write))
        return replace(reply, body=bytes(refusal))

    async def _call(
        self, request: Request, write: Write, write_success: Write | None = None
    ) -> Reply:
        body = request.body or b""
        fields = [(name.encode(), value.encode()) for name, value in request.headers.items()]
        if request.body is not None:
            fields.append((b"content-length", str(len(body)).encode()))
        scope: dict[str, Any] = {
            "type": "http",
            "method": request.method,
            "scheme": "http",
            "http_version": "1.1",
            "path": unquote(request.path),
            "raw_path": request.path.encode(),
            "query_string": urlencode(request.parameters).encode(),
            "headers": [_HOST, *fields],
            "client": None,
        }
        start: dict[str, Any] = {}

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                is_success = start["status"] < 300
                (write_success if write_success and is_success else write)(message.get("body", b""))

        await self._app(scope, receive, send)
        headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        return Reply(start["status"], headers, b"")


def _imported(name: str) -> tuple[Operation, ...]:
    module, _, attribute = name.partition(":")
    return tuple(getattr(import_module(f"keystead.api.operator.{module}"), attribute))

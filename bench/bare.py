"""`python -m bench.bare PORT`: the smallest possible application on the same server, which answers 204."""

from __future__ import annotations

import sys

from keystead.http.asgi import Receive, Scope, Send
from keystead.operation.server.serving import Address, serve


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 204 to every request."""
    if scope["type"] == "lifespan":
        for _ in range(2):
            await send({"type": f"{(await receive())['type']}.complete"})
        return
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    place = Address("127.0.0.1", int(sys.argv[1]))
    serve(place, lambda: answer, on_started=lambda: None, may_reload=lambda: True)

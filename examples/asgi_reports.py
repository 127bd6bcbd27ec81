"""Reports of a workspace as plain ASGI behind the middleware."""

from __future__ import annotations

import json
from typing import Any

from keystead.integrations import connect
from keystead.integrations.asgi import KeysteadMiddleware


async def reports(scope: Any, receive: Any, send: Any) -> None:
    """Return the reports of the caller's workspace."""
    body = json.dumps({"workspace": scope["keystead"].workspace_id, "reports": []}).encode()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


app = KeysteadMiddleware(reports, connect(), "events:read")

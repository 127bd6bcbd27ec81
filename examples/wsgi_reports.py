"""Reports of a workspace as plain WSGI behind the middleware."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from keystead.integrations import connect
from keystead.integrations.wsgi import KeysteadMiddleware


def reports(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Return the reports of the caller's workspace."""
    workspace = environ["keystead.principal"].workspace_id
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"workspace": workspace, "reports": []}).encode()]


app = KeysteadMiddleware(reports, connect(), "events:read")

"""Reports of a workspace, on Flask."""

from __future__ import annotations

from typing import Any

from flask import Flask

from keystead.integrations import connect
from keystead.integrations.flask import Keystead, current_principal, require

app = Flask(__name__)
Keystead(app, connect())


@app.get("/reports")
@require("events:read")
def reports() -> dict[str, Any]:
    """Return the reports of the caller's workspace."""
    return {"workspace": current_principal().workspace_id, "reports": []}

"""Reports of a workspace, on FastAPI."""

from typing import Annotated, Any

from fastapi import Depends, FastAPI

from keystead.integrations import Principal, connect
from keystead.integrations.fastapi import protect, require

app = FastAPI()
protect(app, connect())

Reader = Annotated[Principal, Depends(require("events:read"))]


@app.get("/reports")
async def reports(principal: Reader) -> dict[str, Any]:
    """Return the reports of the caller's workspace."""
    return {"workspace": principal.workspace_id, "reports": []}

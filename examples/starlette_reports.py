"""Reports of a workspace, on Starlette."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from keystead.integrations import connect
from keystead.integrations.starlette import authentication, requires


@requires("events:read")
async def reports(request: Request) -> JSONResponse:
    """Return the reports of the caller's workspace."""
    return JSONResponse({"workspace": request.user.principal.workspace_id, "reports": []})


app = Starlette(routes=[Route("/reports", reports)], middleware=[authentication(connect())])

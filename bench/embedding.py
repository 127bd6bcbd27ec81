"""The cost of the guard to an embedding application: the same application bare, and guarded in process."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI

from bench.figures import Figure, durations, side_by_side
from keystead import bootstrap
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import Principal, system
from keystead.domain.scopes import Scopes
from keystead.integrations import Guard, connect
from keystead.integrations.asgi import KeysteadMiddleware as AsgiMiddleware
from keystead.integrations.fastapi import protect, require
from keystead.integrations.wsgi import KeysteadMiddleware as WsgiMiddleware
from keystead.settings import Settings

CALLS: Final = 2_000
SCOPE: Final = "documents:read"


def figures(quick: bool) -> Iterator[Figure]:
    """Measure a request through each kind of application, guarded and bare, both without a network."""
    calls = CALLS // 10 if quick else CALLS
    with _guarded() as (guard, token), asyncio.Runner() as runner:
        field = f"Bearer {token}"
        for name, ours, bare in (
            ("ASGI middleware", *_asgi(guard, field, runner)),
            ("WSGI middleware", *_wsgi(guard, field)),
            ("FastAPI dependency", *_fastapi(guard, field, runner)),
        ):
            yield from durations(
                f"{name} vs. the bare application", *side_by_side(ours, bare, calls)
            )


@contextmanager
def _guarded() -> Iterator[tuple[Guard, str]]:
    """Open a guard over a fresh embedded database; yield it and the token of its one key."""
    with tempfile.TemporaryDirectory(prefix="keystead-bench-") as folder:
        settings = Settings(data=Path(folder))
        bootstrap.migrate(settings)
        installation = bootstrap.open_safely(settings)
        try:
            services = installation.services
            owner = system(services.workspaces.first().workspace_id)
            created = services.keys.create(owner, KeyDraft("bench", None, Scopes([SCOPE])))
        finally:
            installation.close()
        assert created.token is not None
        guard = connect(settings.database_url)
        try:
            yield guard, created.token.reveal()
        finally:
            guard.close()


Sides = tuple[Callable[[], object], Callable[[], object]]


def _asgi(guard: Guard, field: str, runner: asyncio.Runner) -> Sides:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return _requester(AsgiMiddleware(app, guard, SCOPE), field, runner), _requester(
        app, field, runner
    )


def _fastapi(guard: Guard, field: str, runner: asyncio.Runner) -> Sides:
    bare, guarded = FastAPI(), FastAPI()
    protect(guarded, guard)

    @bare.get("/", status_code=204)
    async def free() -> None:
        """Do nothing."""

    @guarded.get("/", status_code=204)
    async def guarded_endpoint(principal: Annotated[Principal, Depends(require(SCOPE))]) -> None:
        """Do nothing."""

    return _requester(guarded, field, runner), _requester(bare, field, runner)


def _requester(app: Any, field: str, runner: asyncio.Runner) -> Callable[[], object]:
    """Send one request to an ASGI application, on an event loop of its own."""
    headers = [(b"host", b"bench"), (b"authorization", field.encode()), (b"user-agent", b"bench")]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 4711),
        "server": ("127.0.0.1", 80),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        assert message.get("status", 204) == 204

    return lambda: runner.run(app({**scope}, receive, send))


def _wsgi(guard: Guard, field: str) -> Sides:
    def app(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("204 No Content", [])
        return []

    def requester(guarded: Any) -> Callable[[], object]:
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/",
            "QUERY_STRING": "",
            "HTTP_HOST": "bench",
            "HTTP_AUTHORIZATION": field,
            "HTTP_USER_AGENT": "bench",
            "REMOTE_ADDR": "127.0.0.1",
        }
        return lambda: guarded({**environ}, _started)

    return requester(WsgiMiddleware(app, guard, SCOPE)), requester(app)


def _started(status: str, _headers: object) -> None:
    assert status.startswith("204"), status

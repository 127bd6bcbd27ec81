"""The ASGI application over all front doors: dispatches requests by path, and runs the lifespan hooks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from keystead.http.asgi import App, Receive, Scope, Send


class Dispatcher:
    """Dispatches each request to the application of its first path segment, such as `/v1`, or to that of `/`.

    `start` runs before the first request; `stop` runs on a thread after the last one and may block.
    """

    def __init__(
        self, apps: Mapping[str, App], start: Callable[[], None], stop: Callable[[], None]
    ) -> None:
        self._apps, self._rest = dict(apps), apps["/"]
        self._start, self._stop = start, stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve ASGI's `http` and `lifespan` scopes."""
        if scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        else:
            await self._app(scope["path"])(scope, receive, send)

    def _app(self, path: str) -> App:
        end = path.find("/", 1)
        return self._apps.get(path if end < 0 else path[:end], self._rest)

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await asyncio.to_thread(self._stop)
                await send({"type": "lifespan.shutdown.complete"})
                return


def mount(root: str, app: App, rest: App) -> App:
    """Return an application that serves paths under `root` with `app` and everything else with `rest`.

    It runs in front of the whole stack, so it adds next to nothing to a request.
    """
    below = f"{root}/"

    def dispatch(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        path = scope.get("path", "")
        is_mounted = path.startswith(below) or path == root
        return (app if is_mounted else rest)(scope, receive, send)

    return dispatch

"""One ASGI application over all front doors: who answers which path, and what happens when a server starts and ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from keystead.http.asgi import App, Receive, Scope, Send


class Front:
    """Sends a request to the application of the longest path it lies under; `/` is everything else.

    `start` runs before the first request, `stop` after the last and may take its time.
    """

    def __init__(
        self, apps: Mapping[str, App], start: Callable[[], None], stop: Callable[[], None]
    ) -> None:
        self._apps = sorted(apps.items(), key=lambda item: -len(item[0]))
        self._start, self._stop = start, stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: http and lifespan."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._app(scope["path"])(scope, receive, send)

    def _app(self, path: str) -> App:
        return next(app for root, app in self._apps if _is_under(path, root))

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await asyncio.to_thread(self._stop)
                await send({"type": "lifespan.shutdown.complete"})
                return


def _is_under(path: str, root: str) -> bool:
    return root in {"/", path} or path.startswith(f"{root}/")


def beside(root: str, app: App, rest: App) -> App:
    """`app` for the paths under `root`, `rest` for everything else. It only hands on, so it costs next to nothing."""
    below = f"{root}/"

    def chosen(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        path = scope.get("path", "")
        is_for_app = path.startswith(below) or path == root
        return (app if is_for_app else rest)(scope, receive, send)

    return chosen

"""`/healthz` (the process answers) and `/readyz` (its database answers too), for probes and load balancers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from keystead.domain.errors import NotFound, StorageError, Unavailable
from keystead.http.access_log import log_failure
from keystead.http.asgi import Answer, Receive, Scope, Send, send_answer
from keystead.http.client import note_route
from keystead.http.problems import RETRY_SECONDS, MethodNotAllowed

PATHS: Final = frozenset({"/healthz", "/readyz"})
PING_SECONDS: Final = 1.5
_OK: Final = Answer(200, ((b"content-type", b"application/json"),), b'{"status":"ok"}')
_UNAVAILABLE: Final = Answer(
    503,
    ((b"content-type", b"application/json"), (b"retry-after", str(RETRY_SECONDS).encode())),
    b'{"status":"unavailable"}',
)
"""The same for every reason, since anyone may ask; the log has the reason."""


class Health:
    """An ASGI application. `ping` returns if the database answers, else raises a storage error."""

    def __init__(self, ping: Callable[[], None]) -> None:
        self._ping = ping
        self._pinging: asyncio.Future[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a probe. Raises NotFound or MethodNotAllowed for other requests."""
        if scope["path"] not in PATHS:
            raise NotFound
        note_route(scope, scope["path"])
        if scope["method"] not in {"GET", "HEAD"}:
            raise MethodNotAllowed("GET, HEAD")
        answer = _OK
        if scope["path"] == "/readyz":
            try:
                await self._require_database()
            except StorageError as error:
                log_failure(scope, error)
                answer = _UNAVAILABLE
        await send_answer(send, answer)

    async def _require_database(self) -> None:
        # Concurrent probes share one ping: a database that hangs blocks one thread, not all.
        if self._pinging is None or self._pinging.done():
            self._pinging = asyncio.ensure_future(asyncio.to_thread(self._ping))
            # Retrieve the exception even if every waiter has timed out, or asyncio logs it.
            self._pinging.add_done_callback(asyncio.Future.exception)
        try:
            await asyncio.wait_for(asyncio.shield(self._pinging), PING_SECONDS)
        except TimeoutError:
            raise Unavailable("The database does not answer in time.") from None

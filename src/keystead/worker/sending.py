"""One attempt at a delivery: sign, connect, send, read the status. What a receiver does to us ends here.

Standard Webhooks 1.0. No redirect is followed, no proxy used, no cookie kept, no compression undone; the time of the
whole attempt and the bytes that are read of an answer are bounded.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import httpcore2
import structlog
from httpcore2 import AsyncHTTPConnection, Origin, Request, Response
from standardwebhooks import Webhook as Signer

from keystead import __version__
from keystead.domain.destinations import Destination, Destinations
from keystead.domain.webhooks import (
    Attempt,
    AttemptError,
    Outcome,
    error_for_status,
    parse_retry_after,
)
from keystead.http.redaction import type_names
from keystead.services.deliveries import Batch, Message
from keystead.worker.safe_network import ForbiddenAddress, Resolve, SafeNetwork, Unresolved

ATTEMPT_SECONDS: Final = 20.0
READ_BYTES: Final = 64 * 1024
READ_SECONDS: Final = 1.0
"""Of an answer's body: it says nothing to us, but who is cut off early may be confused."""
AGENT: Final = f"Keystead/{__version__} (webhooks)"

_log: structlog.stdlib.BoundLogger = structlog.get_logger("keystead.worker")

_ERRORS: Final = (
    (ForbiddenAddress, AttemptError.FORBIDDEN_ADDRESS),
    (Unresolved, AttemptError.UNRESOLVED),
    (TimeoutError, AttemptError.TIMEOUT),
    (httpcore2.TimeoutException, AttemptError.TIMEOUT),
    (httpcore2.ConnectError, AttemptError.UNREACHABLE),
    (httpcore2.NetworkError, AttemptError.BAD_ANSWER),
    (httpcore2.ProtocolError, AttemptError.BAD_ANSWER),
)

Headers = list[tuple[bytes, bytes]]


class Sender:
    """Makes attempts. One connection each: what a receiver does to one harms no other."""

    def __init__(
        self,
        destinations: Destinations,
        resolve: Resolve,
        tls: ssl.SSLContext,
        *,
        seconds: float = ATTEMPT_SECONDS,
    ) -> None:
        self._destinations = destinations
        self._resolve = resolve
        self._tls = tls
        self._seconds = seconds

    async def send(self, batch: Batch, message: Message, now: datetime) -> Outcome:
        """What came of one attempt, which began at `now`. Never an exception: a failure is an outcome."""
        began = time.monotonic()
        status: int | None = None
        retry_after: str | None = None
        try:
            destination = self._destinations.read(batch.endpoint.url)
        except ValueError:
            return Outcome(Attempt(now, None, AttemptError.FORBIDDEN_URL, 0))
        try:
            # Within the try: a secret or a body that can't be signed is this delivery's failure alone.
            headers = _headers(batch, message, destination, now)
            network = SafeNetwork(self._destinations, self._resolve, batch.endpoint.workspace_id)
            status, retry_after = await self._exchange(network, destination, headers, message.body)
            error = error_for_status(status)
        except Exception as failure:  # noqa: BLE001 - a receiver may do anything
            error = _error_of(failure)
        took = round((time.monotonic() - began) * 1000)
        wait = None if retry_after is None else parse_retry_after(retry_after, now)
        return Outcome(Attempt(now, status, error, took), wait)

    async def _exchange(
        self, network: SafeNetwork, destination: Destination, headers: Headers, body: bytes
    ) -> tuple[int, str | None]:
        """The status of the answer and its Retry-After."""
        scheme, host = destination.scheme.encode(), destination.host.encode()
        url = httpcore2.URL(
            scheme=scheme, host=host, port=destination.port, target=destination.target.encode()
        )
        connection = AsyncHTTPConnection(
            Origin(scheme, host, destination.port), ssl_context=self._tls, network_backend=network
        )
        try:
            request = Request("POST", url, headers=headers, content=body)
            async with asyncio.timeout(self._seconds):
                response = await connection.handle_async_request(request)
            answered = response.status, _retry_after(response)
            await _drain(response)
            return answered
        finally:
            try:
                await connection.aclose()
            finally:
                await network.aclose()


def tls_context(more: Path | None = None) -> ssl.SSLContext:
    """Verifies receivers against the system's certificates, and those of `more` (PEM) too."""
    context = httpcore2.default_ssl_context()
    if more is not None:
        context.load_verify_locations(more)
    return context


def _headers(batch: Batch, message: Message, destination: Destination, now: datetime) -> Headers:
    """Signed over the id, the time of this attempt, and the very bytes that are sent."""
    id, text = message.delivery.event_id, message.body.decode()
    signatures = [Signer(secret).sign(id, now, text) for secret in batch.secrets]
    own = {
        "Host": destination.authority,
        "Content-Type": "application/json",
        "Content-Length": str(len(message.body)),
        "User-Agent": AGENT,
        "Accept": "*/*",
        "Connection": "close",
        "webhook-id": id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
    theirs = {name.lower() for name, _ in batch.headers}
    kept = [(name, value) for name, value in own.items() if name.lower() not in theirs]
    return [(name.encode(), value.encode()) for name, value in (*kept, *batch.headers)]


def _retry_after(response: Response) -> str | None:
    for name, value in response.headers:
        if name.lower() == b"retry-after":
            return str(value[:100], "latin-1").strip()
    return None


async def _drain(response: Response) -> None:
    """Reads the body as far as we read any. The status stands, whatever becomes of the rest."""
    left = READ_BYTES
    with suppress(TimeoutError, httpcore2.NetworkError, httpcore2.ProtocolError):
        async with asyncio.timeout(READ_SECONDS):
            async for chunk in response.aiter_stream():
                left -= len(chunk)
                if left <= 0:
                    return


def _error_of(failure: Exception) -> AttemptError:
    if isinstance(failure.__cause__, ssl.SSLError):
        return AttemptError.TLS
    for kind, error in _ERRORS:
        if isinstance(failure, kind):
            return error
    _log.error("attempt failed unexpectedly", errors=type_names(failure))
    return AttemptError.UNREACHABLE

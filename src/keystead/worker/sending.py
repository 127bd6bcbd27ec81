"""One attempt to deliver an event: sign, connect, send, read the status (Standard Webhooks 1.0).

Receivers are untrusted: no redirects, proxies, cookies or decompression, and a limit on the time of an
attempt and the bytes that are read of a response.
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
from keystead.wire.webhooks import payload
from keystead.worker.safe_network import ForbiddenAddress, Resolve, SafeNetwork, Unresolved

ATTEMPT_SECONDS: Final = 20.0
READ_BYTES: Final = 64 * 1024
READ_SECONDS: Final = 1.0
"""For the response's body: we don't use it, but an early disconnect may confuse the receiver."""
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
    """Makes attempts, each on its own connection, so that they cannot affect each other."""

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
        """Make one attempt, starting at `now`. Every failure is an outcome; nothing is raised."""
        started = time.monotonic()
        status: int | None = None
        retry_after: str | None = None
        try:
            destination = self._destinations.read(batch.endpoint.url)
        except ValueError:
            return Outcome(Attempt(now, None, AttemptError.FORBIDDEN_URL, 0))
        try:
            # Within the try: a secret or a body that can't be signed is this delivery's failure alone.
            body = payload(message.event)
            headers = _headers(batch, message, body, destination, now)
            network = SafeNetwork(self._destinations, self._resolve, batch.endpoint.workspace_id)
            status, retry_after = await self._exchange(network, destination, headers, body)
            error = error_for_status(status)
        except Exception as failure:  # noqa: BLE001 - a receiver may do anything
            error = _error_of(failure)
        milliseconds = round((time.monotonic() - started) * 1000)
        wait = None if retry_after is None else parse_retry_after(retry_after, now)
        return Outcome(Attempt(now, status, error, milliseconds), wait)

    async def _exchange(
        self, network: SafeNetwork, destination: Destination, headers: Headers, body: bytes
    ) -> tuple[int, str | None]:
        """Return the status of the response and its Retry-After."""
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
            await _drain(response)
            return response.status, _retry_after(response)
        finally:
            try:
                await connection.aclose()
            finally:
                await network.aclose()


def tls_context(more: Path | None = None) -> ssl.SSLContext:
    """Return a context that trusts the system's certificates and those of the PEM file `more`."""
    context = httpcore2.default_ssl_context()
    if more is not None:
        context.load_verify_locations(more)
    return context


def _headers(
    batch: Batch, message: Message, body: bytes, destination: Destination, now: datetime
) -> Headers:
    """Signed over the id, the time of this attempt, and the very bytes that are sent."""
    id, text = message.delivery.event_id, body.decode()
    signatures = [Signer(secret).sign(id, now, text) for secret in batch.secrets]
    defaults = {
        "Host": destination.authority,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "User-Agent": AGENT,
        "Accept": "*/*",
        "Connection": "close",
        "webhook-id": id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
    custom = {name.lower() for name, _ in batch.headers}
    headers = [(name, value) for name, value in defaults.items() if name.lower() not in custom]
    return [(name.encode(), value.encode()) for name, value in (*headers, *batch.headers)]


def _retry_after(response: Response) -> str | None:
    for name, value in response.headers:
        if name.lower() == b"retry-after":
            return str(value[:100], "latin-1").strip()
    return None


async def _drain(response: Response) -> None:
    """Read the body up to our limits. The status counts, even if reading the body fails."""
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
    _log.error("unexpected delivery failure", errors=type_names(failure))
    return AttemptError.UNREACHABLE

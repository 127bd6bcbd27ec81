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
from typing import Final, Self

import httpcore2
from httpcore2 import AsyncHTTPConnection, Request, Response
from standardwebhooks import Webhook as Signer

from keystead.domain.destinations import Destination, Destinations
from keystead.domain.webhooks import (
    Attempt,
    AttemptError,
    Outcome,
    error_for_status,
    parse_retry_after,
)
from keystead.http.redaction import type_names
from keystead.logger import Logger
from keystead.services.deliveries import Batch, Message
from keystead.wire.webhooks import payload
from keystead.worker.safe_network import ForbiddenAddress, Resolve, SafeNetwork, Unresolved

ATTEMPT_SECONDS: Final = 20.0
READ_BYTES: Final = 64 * 1024
READ_SECONDS: Final = 1.0
"""For the response's body: we don't use it, but an early disconnect may confuse the receiver."""

_log: Final = Logger("keystead.worker")

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
    """Connects to receivers."""

    def __init__(
        self,
        destinations: Destinations,
        resolve: Resolve,
        tls: ssl.SSLContext,
        *,
        agent: str = "keystead",
        seconds: float = ATTEMPT_SECONDS,
    ) -> None:
        """`agent`: the name that receivers see. `seconds`: the time of an attempt until the response's status."""
        self._destinations = destinations
        self._resolve = resolve
        self._tls = tls
        self._agent, self._seconds = agent, seconds

    def connect(self, batch: Batch) -> Connection:
        """Return a connection to the batch's endpoint, which its first attempt opens."""
        try:
            destination = self._destinations.read(batch.endpoint.url)
        except ValueError:
            destination = None
        network = SafeNetwork(self._destinations, self._resolve, batch.endpoint.workspace_id)
        return Connection(batch, destination, network, self._tls, self._agent, self._seconds)


class Connection:
    """A connection to one endpoint, for attempts one after the other; it lives no longer than its batch.

    It is opened again, to an address that is checked again, after each failure and when the receiver closed it.
    """

    def __init__(
        self,
        batch: Batch,
        destination: Destination | None,
        network: SafeNetwork,
        tls: ssl.SSLContext,
        agent: str,
        seconds: float,
    ) -> None:
        """`destination`: None if the endpoint's URL is forbidden."""
        self._batch, self._destination = batch, destination
        self._network, self._tls, self._seconds = network, tls, seconds
        self._agent = agent
        self._http: AsyncHTTPConnection | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def send(self, message: Message, now: datetime) -> Outcome:
        """Make one attempt, starting at `now`. Every failure is an outcome; nothing is raised."""
        if self._destination is None:
            return Outcome(Attempt(now, None, AttemptError.FORBIDDEN_URL, 0))
        started = time.monotonic()
        status: int | None = None
        retry_after: str | None = None
        try:
            # Within the try: a secret or a body that can't be signed is this delivery's failure alone.
            body = payload(message.event)
            headers = _headers(self._batch, message, body, self._destination, now, self._agent)
            status, retry_after = await self._exchange(self._destination, headers, body)
            error = error_for_status(status)
        except Exception as failure:  # noqa: BLE001 - a receiver may do anything
            error = _error_of(failure)
        if error is not None:
            await self._close()
        milliseconds = round((time.monotonic() - started) * 1000)
        wait = None if retry_after is None else parse_retry_after(retry_after, now)
        return Outcome(Attempt(now, status, error, milliseconds), wait)

    async def _exchange(
        self, destination: Destination, headers: Headers, body: bytes
    ) -> tuple[int, str | None]:
        """Return the status of the response and its Retry-After."""
        scheme, host = destination.scheme.encode(), destination.host.encode()
        url = httpcore2.URL(
            scheme=scheme, host=host, port=destination.port, target=destination.target.encode()
        )
        request = Request("POST", url, headers=headers, content=body)
        async with asyncio.timeout(self._seconds):
            response = await self._request(request)
        await _drain(response)
        return response.status, _retry_after(response)

    async def _request(self, request: Request) -> Response:
        """Return the response, whose body is not read yet."""
        if self._http is not None and self._http.is_idle() and not self._http.has_expired():
            # The receiver may close its end at any time; what fails for that is not a failed attempt.
            with suppress(httpcore2.NetworkError, httpcore2.RemoteProtocolError):
                return await self._http.handle_async_request(request)
        await self._close()
        self._http = AsyncHTTPConnection(
            request.url.origin, ssl_context=self._tls, network_backend=self._network
        )
        return await self._http.handle_async_request(request)

    async def _close(self) -> None:
        http, self._http = self._http, None
        try:
            if http is not None:
                await http.aclose()
        finally:
            await self._network.aclose()


def tls_context(more: Path | None = None) -> ssl.SSLContext:
    """Return a context that trusts the system's certificates and those of the PEM file `more`."""
    context = httpcore2.default_ssl_context()
    if more is not None:
        context.load_verify_locations(more)
    return context


def _headers(
    batch: Batch,
    message: Message,
    body: bytes,
    destination: Destination,
    now: datetime,
    agent: str,
) -> Headers:
    """Signed over the id, the time of this attempt, and the very bytes that are sent."""
    id, text = message.delivery.event_id, body.decode()
    signatures = [Signer(secret).sign(id, now, text) for secret in batch.secrets]
    defaults = {
        "Host": destination.authority,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "User-Agent": f"{agent} (webhooks)",
        "Accept": "*/*",
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
    """Read the body up to our limits, which ends the connection if there is more.

    The status counts, even if reading the body fails.
    """
    left = READ_BYTES
    with suppress(TimeoutError, httpcore2.NetworkError, httpcore2.ProtocolError):
        async with asyncio.timeout(READ_SECONDS):
            async for chunk in response.aiter_stream():
                left -= len(chunk)
                if left <= 0:
                    break
    await response.aclose()


def _error_of(failure: Exception) -> AttemptError:
    if isinstance(failure.__cause__, ssl.SSLError):
        return AttemptError.TLS
    for kind, error in _ERRORS:
        if isinstance(failure, kind):
            return error
    _log.error("unexpected delivery failure", errors=type_names(failure))
    return AttemptError.UNREACHABLE

"""The guard that asks a Keystead server by token introspection (RFC 7662), over persistent connections."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Final

from keystead.client import (
    Client,
    ClientError,
    Introspection,
    Patience,
    Problem,
    UnexpectedAnswer,
    Unreachable,
)
from keystead.domain.errors import InsufficientScope, InvalidToken, ServerUnreachable, Unavailable
from keystead.domain.networks import Networks
from keystead.domain.principals import Principal
from keystead.domain.product import OURS, Product
from keystead.domain.scopes import Scopes
from keystead.domain.token import parse, trim
from keystead.integrations.guard import Guard, PerProcess, RequestHead
from keystead.logger import Logger
from keystead.operation.files import ConfigurationError, require_private

TOKEN: Final = "KEYSTEAD_SERVICE_TOKEN"
PATIENCE: Final = Patience(attempts=2, first=0.05, longest=0.5)
"""A request waits for the decision, so there is a single retry before it is refused as unavailable."""
TIMEOUT_SECONDS: Final = 2.0
THREADS: Final = 32
CACHE_SIZE: Final = 100_000

_log: Final = Logger("keystead.integrations")


class Remote(Guard):
    """A guard that asks the server about every request, unless it may cache. Malformed tokens are not sent."""

    def __init__(
        self,
        url: str,
        token: str,
        remember_seconds: float = 0.0,
        trusted_proxies: Iterable[str] = (),
        public_url: str | None = None,
        product: Product = OURS,
    ) -> None:
        """Take a service's credential as `token`. Raises ConfigurationError for an unsafe URL or a malformed token."""
        super().__init__((public_url or url).rstrip("/"), trusted_proxies, product)
        self._url = url
        self._cache = VerificationCache(remember_seconds) if remember_seconds else None
        self._pool = PerProcess(lambda: _Pool(url, token))
        try:
            _Pool(url, token).close()
        except ClientError as error:
            raise ConfigurationError(str(error)) from None

    def decide(self, head: RequestHead, token: str, required: str | None) -> Principal:
        """Return the principal. Raises InvalidToken, InsufficientScope, Unavailable or ConfigurationError."""
        source = self.sender(head).source
        return _permitted(self._cached(token, source) or self._ask(token, source), required)

    async def decide_on_loop(
        self, head: RequestHead, token: str, required: str | None
    ) -> Principal:
        """Like `decide`. A thread waits for the response, so that all event loops share the connections."""
        source = self.sender(head).source
        principal = self._cached(token, source)
        if principal is None:
            loop, threads = asyncio.get_running_loop(), self._pool.get().threads
            principal = await loop.run_in_executor(threads, self._ask, token, source)
        return _permitted(principal, required)

    def close(self) -> None:
        """Close the connections. The next request opens them again."""
        self._pool.close()

    def _cached(self, token: str, source: str | None) -> Principal | None:
        if parse(token) is None:
            raise InvalidToken
        return None if self._cache is None else self._cache.get(token, source)

    def _ask(self, token: str, source: str | None) -> Principal:
        try:
            introspection = self._pool.get().client.introspect(token, ip=source)
        except ClientError as error:
            raise self._failure(error) from None
        principal = _principal(introspection)
        if self._cache is not None:
            self._cache.put(token, source, principal)
        return principal

    def _failure(self, error: ClientError) -> Unavailable | ConfigurationError:
        """Return the error of a verification without a result, which says nothing about the caller's key.

        If the server refuses the application's own credential, waiting does not help: it must not look like an outage.
        """
        match error:
            case Problem(status=401 | 403):
                return ConfigurationError(
                    f"{self._url} refuses this application's own credential. {TOKEN} must hold a live service token:"
                    " create one with keystead credentials create NAME --kind service."
                )
            case Problem(status=status) | UnexpectedAnswer(status=status) if (
                status < 500 and status != 429
            ):
                return ConfigurationError(f"{self._url} does not answer introspection: {error}")
            case Unreachable() | UnexpectedAnswer():
                failure: Unavailable = ServerUnreachable()
            case _:
                failure = Unavailable()
        _log.error("introspection failed", error=type(error).__name__)
        return failure


class _Pool:
    """Persistent connections, and threads that wait for their responses on behalf of event loops."""

    def __init__(self, url: str, token: str) -> None:
        self.client = Client(url, token, patience=PATIENCE, timeout=TIMEOUT_SECONDS)
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="keystead")

    def close(self) -> None:
        """Close the connections. Running requests may finish."""
        self.threads.shutdown(wait=False)
        self.client.close()


class VerificationCache:
    """Verified keys by the SHA-256 of their tokens and the address. A revocation takes effect at most `seconds` later.

    Refusals are not cached. The server compared the address with the key's networks, so it is a part of the name.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._entries: dict[tuple[bytes, str | None], tuple[float, Principal]] = {}
        self._lock = threading.Lock()

    def get(self, token: str, source: str | None) -> Principal | None:
        """Return the principal of a token, if it was verified recently for this address and has not expired."""
        until, principal = self._entries.get((_fingerprint(token), source), (0.0, None))
        return principal if time.monotonic() < until else None

    def put(self, token: str, source: str | None, principal: Principal) -> None:
        """Cache a verified key. A full cache is emptied first."""
        seconds = self._seconds
        if principal.expires_at is not None:
            seconds = min(seconds, principal.expires_at.timestamp() - time.time())
        with self._lock:
            if len(self._entries) >= CACHE_SIZE:
                self._entries = {}
            entry = time.monotonic() + seconds, principal
            self._entries[_fingerprint(token), source] = entry


def read_token(file: Path | str | None) -> str:
    """Return the service's token from a private file or KEYSTEAD_SERVICE_TOKEN. Raises ConfigurationError."""
    if file is not None:
        require_private(Path(file), "The token file")
        try:
            return trim(Path(file).read_text("utf-8", "replace"))
        except OSError:
            raise ConfigurationError(f"The token file {file} cannot be read.") from None
    token = trim(os.environ.get(TOKEN, ""))
    if not token:
        raise ConfigurationError(f"Set {TOKEN} to a service's credential, or name a token file.")
    return token


def _principal(introspection: Introspection) -> Principal:
    """Return the principal of an active token. Its name is the key's id: introspection has no description."""
    key_id, workspace = introspection.key_id, introspection.workspace
    if not introspection.active or key_id is None or workspace is None:
        raise InvalidToken
    return Principal.of_key(
        key_id,
        key_id,
        workspace.id,
        Scopes(introspection.scopes),
        introspection.expires_at,
        Networks(" ".join(introspection.networks)),
        introspection.metadata,
        introspection.renewal,
    )


def _permitted(principal: Principal, required: str | None) -> Principal:
    if required is not None and not principal.scopes.permit(required):
        raise InsufficientScope(required)
    return principal


def _fingerprint(token: str) -> bytes:
    return sha256(token.encode("ascii", "replace")).digest()

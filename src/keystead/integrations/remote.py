"""The guard that asks a Keystead server by token introspection (RFC 7662), over connections that are kept alive."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Final

from keystead.client import Client, ClientError, Introspection, Patience, Problem, UnexpectedAnswer
from keystead.domain.errors import InsufficientScope, InvalidToken, Unavailable
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.principals import Principal, of_key
from keystead.domain.scopes import Scopes
from keystead.domain.token import parse, trim
from keystead.integrations.guard import Guard, Presented
from keystead.logger import Logger
from keystead.operation.files import ConfigurationError, require_private

TOKEN: Final = "KEYSTEAD_SERVICE_TOKEN"
PATIENCE: Final = Patience(attempts=2, first=0.05, longest=0.5)
"""A request waits for the decision: one more attempt, soon, and then it is refused as unavailable."""
TIMEOUT_SECONDS: Final = 2.0
THREADS: Final = 32
MOST_REMEMBERED: Final = 100_000

_log: Final = Logger("keystead.integrations")


class Remote(Guard):
    """Asks for every request, unless the host chose to remember. What is no whole token is refused without asking."""

    def __init__(self, url: str, token: str, remember_seconds: float = 0.0) -> None:
        """`token` is a service's credential. ConfigurationError for what it cannot be, or must not be sent to."""
        super().__init__(url.rstrip("/"))
        self._url, self._token = url, token
        self._memory = Memory(remember_seconds) if remember_seconds else None
        self._opening = threading.Lock()
        self._opened: _Opened | None = None
        try:
            _Opened(url, token).close()
        except ClientError as error:
            raise ConfigurationError(str(error)) from None

    def decide(self, presented: Presented, token: str, required: str | None) -> Principal:
        """Return who acts. InvalidToken, InsufficientScope, Unavailable; ConfigurationError when asking is refused."""
        return _permitted(self._recalled(token) or self._ask(token), required)

    async def decide_on_loop(
        self, presented: Presented, token: str, required: str | None
    ) -> Principal:
        """As decide: a thread waits for the answer, so that all event loops share the connections."""
        principal = self._recalled(token)
        if principal is None:
            threads = self._open().threads
            loop = asyncio.get_running_loop()
            principal = await loop.run_in_executor(threads, self._ask, token)
        return _permitted(principal, required)

    def close(self) -> None:
        """Gives the connections back; the next request would open them again."""
        with self._opening:
            opened, self._opened = self._opened, None
        if opened is not None and opened.process == os.getpid():
            opened.close()

    def _recalled(self, token: str) -> Principal | None:
        if parse(token) is None:
            raise InvalidToken
        return None if self._memory is None else self._memory.recall(token)

    def _ask(self, token: str) -> Principal:
        try:
            found = self._open().client.introspect(token)
        except ClientError as error:
            raise self._failure(error) from None
        principal = _principal(found)
        if self._memory is not None:
            self._memory.keep(token, principal)
        return principal

    def _failure(self, error: ClientError) -> Unavailable | ConfigurationError:
        """Return the error of a verification without a result: no caller is admitted, and no key is called invalid.

        If the server refuses the application's own credential, waiting does not help: it must not look like an outage.
        """
        if isinstance(error, Problem) and error.status in {401, 403}:
            return ConfigurationError(
                f"{self._url} refuses this application's own credential. {TOKEN} must hold a live service token:"
                " create one with keystead credentials create NAME --kind service."
            )
        if (
            isinstance(error, Problem | UnexpectedAnswer)
            and error.status < 500
            and error.status != 429
        ):
            return ConfigurationError(f"{self._url} does not answer introspection: {error}")
        _log.error("introspection failed", error=type(error).__name__)
        return Unavailable("Keystead does not answer.")

    def _open(self) -> _Opened:
        """What this process has open: what a fork inherited is left alone."""
        opened = self._opened
        if opened is not None and opened.process == os.getpid():
            return opened
        with self._opening:
            if self._opened is None or self._opened.process != os.getpid():
                self._opened = _Opened(self._url, self._token)
            return self._opened


class _Opened:
    """Connections that are kept alive, and threads to wait for their answers on behalf of event loops."""

    def __init__(self, url: str, token: str) -> None:
        self.process = os.getpid()
        self.client = Client(url, token, patience=PATIENCE, timeout=TIMEOUT_SECONDS)
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="keystead")

    def close(self) -> None:
        """Lets running questions end."""
        self.threads.shutdown(wait=False)
        self.client.close()


class Memory:
    """Keys that were good, for so many seconds after they were asked about: a revocation shows that much later.

    Kept under SHA-256 of the token. What was refused is never remembered.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: dict[bytes, tuple[float, Principal]] = {}
        self._writing = threading.Lock()

    def recall(self, token: str) -> Principal | None:
        """Who the token's holder was, if that is recent enough and has not expired."""
        until, principal = self._kept.get(_fingerprint(token), (0.0, None))
        return principal if time.monotonic() < until else None

    def keep(self, token: str, principal: Principal) -> None:
        """Remembers; when there is no room, everything else is forgotten."""
        seconds = self._seconds
        if principal.expires_at is not None:
            seconds = min(seconds, principal.expires_at.timestamp() - time.time())
        with self._writing:
            if len(self._kept) >= MOST_REMEMBERED:
                self._kept = {}
            self._kept[_fingerprint(token)] = (time.monotonic() + seconds, principal)


def read_token(file: Path | str | None) -> str:
    """Return the service's token, from a private file or KEYSTEAD_SERVICE_TOKEN. ConfigurationError without one."""
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


def _principal(found: Introspection) -> Principal:
    """The key of an active token; its name here is its id, as introspection tells no description."""
    if not found.active or found.key_id is None or found.workspace is None:
        raise InvalidToken
    key_id, workspace_id = KeyId(found.key_id), WorkspaceId(found.workspace.id)
    return of_key(key_id, key_id, workspace_id, Scopes(found.scopes), found.expires_at)


def _permitted(principal: Principal, required: str | None) -> Principal:
    if required is not None and not principal.scopes.permit(required):
        raise InsufficientScope(required)
    return principal


def _fingerprint(token: str) -> bytes:
    return sha256(token.encode("ascii", "replace")).digest()

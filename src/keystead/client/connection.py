"""A server and a credential: what drives the steps of exchange.py over httpx2, waiting or awaiting.

Redirects are not followed: the token goes to the server that was named, and nowhere else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from ssl import SSLContext
from typing import Any, Final, Generic, NoReturn, TypeVar

import httpx2

from keystead import __version__
from keystead.client.address import server_address
from keystead.client.errors import NotAToken, Unreachable, UnsafeAddress
from keystead.client.exchange import Call, Patience, Pause, Reply, Request, Steps, exchange
from keystead.client.results import Page
from keystead.domain.instants import parse_instant
from keystead.domain.token import Token, parse, trim

T = TypeVar("T")

AGENT: Final = f"keystead-python/{__version__}"
TIMEOUT: Final = 60.0
_CONNECT: Final = 5.0
_EXPIRES: Final = "keystead-key-expires"


@dataclass(frozen=True, slots=True)
class Options:
    """How a client behaves. `timeout`: seconds for each wait on the network, connecting at most five of them.

    `tls` is the context that decides which servers are trusted; without it, the system's usual one.
    """

    agent: str = AGENT
    timeout: float = TIMEOUT
    patience: Patience = field(default_factory=Patience)
    tls: SSLContext | None = None


class Bearer(httpx2.Auth):
    """Puts the token onto a request as it leaves, and shows it to nobody else: no error's frames hold it."""

    def __init__(self, token: Token) -> None:
        self._token = token

    def auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        """RFC 6750 section 2.1."""
        request.headers["authorization"] = f"Bearer {self._token.reveal()}"
        yield request


class Base:
    """What both connections share: where, with what, how patiently. No I/O."""

    def __init__(self, url: str, token: str, options: Options) -> None:
        """UnsafeAddress for a URL that a token must not go to; NotAToken for what cannot be one."""
        self.url = _usable(server_address(url))
        self.key_expires_at: datetime | None = None
        self._bearer = Bearer(_checked(token))
        self._options = options

    def __reduce__(self) -> NoReturn:
        raise TypeError("a connection holds a token and is not pickled")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} to {self.url}>"

    def _settings(self) -> dict[str, Any]:
        """For httpx2. A proxy from the environment would read what goes to loopback; within TLS it cannot."""
        options = self._options
        return {
            "headers": {"user-agent": options.agent, "accept": "application/json"},
            "timeout": httpx2.Timeout(options.timeout, connect=min(_CONNECT, options.timeout)),
            "trust_env": self.url.startswith("https:"),
            "verify": True if options.tls is None else options.tls,
        }

    def _arguments(self, request: Request) -> dict[str, Any]:
        return {
            "method": request.method,
            "url": self.url + request.path,
            "params": dict(request.query) or None,
            "content": request.body,
            "headers": request.fields,
            "auth": self._bearer if request.credential else None,
        }

    def _reply(self, answer: httpx2.Response) -> Reply:
        if answer.is_success:
            self.key_expires_at = _near_end(answer.headers.get(_EXPIRES))
        return Reply(answer.status_code, dict(answer.headers), answer.content)

    def _missing(self, error: httpx2.RequestError) -> Unreachable:
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
            return Unreachable(f"Nothing answers at {self.url}.", sent=False)
        return Unreachable(f"{self.url} gave no answer ({type(error).__name__}).", sent=True)


class Connection(Base):
    """For code that waits. It may be shared by threads."""

    def __init__(
        self,
        url: str,
        token: str,
        options: Options,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        super().__init__(url, token, options)
        self._http = httpx2.Client(**self._settings(), transport=transport)

    def run(self, call: Call[T]) -> T:
        """The call's result, after as many tries as patience allows."""
        steps = exchange(call, self._options.patience)
        outcome: Reply | Unreachable | None = None
        while True:
            step = _next(steps, outcome)
            match step:
                case Request():
                    outcome = self._send(step)
                case Pause(seconds):
                    time.sleep(seconds)
                    outcome = None
                case _Done(result):
                    return result

    def walk(self, page: Callable[[str | None], Call[Page[T]]]) -> Iterator[T]:
        """Every item of a list, page after page; `page` makes the call for the page at a cursor."""
        cursor = None
        while True:
            found = self.run(page(cursor))
            yield from found.items
            cursor = found.next_cursor
            if cursor is None:
                return

    def close(self) -> None:
        """Gives the sockets back."""
        self._http.close()

    def _send(self, request: Request) -> Reply | Unreachable:
        try:
            return self._reply(self._http.request(**self._arguments(request)))
        except httpx2.RequestError as error:
            return self._missing(error)


class AsyncConnection(Base):
    """For code that awaits. It belongs to one event loop."""

    def __init__(
        self,
        url: str,
        token: str,
        options: Options,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(url, token, options)
        self._http = httpx2.AsyncClient(**self._settings(), transport=transport)

    async def run(self, call: Call[T]) -> T:
        """The call's result, after as many tries as patience allows."""
        steps = exchange(call, self._options.patience)
        outcome: Reply | Unreachable | None = None
        while True:
            step = _next(steps, outcome)
            match step:
                case Request():
                    outcome = await self._send(step)
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                    outcome = None
                case _Done(result):
                    return result

    async def walk(self, page: Callable[[str | None], Call[Page[T]]]) -> AsyncIterator[T]:
        """Every item of a list, page after page; `page` makes the call for the page at a cursor."""
        cursor = None
        while True:
            found = await self.run(page(cursor))
            for item in found.items:
                yield item
            cursor = found.next_cursor
            if cursor is None:
                return

    async def close(self) -> None:
        """Gives the sockets back."""
        await self._http.aclose()

    async def _send(self, request: Request) -> Reply | Unreachable:
        try:
            return self._reply(await self._http.request(**self._arguments(request)))
        except httpx2.RequestError as error:
            return self._missing(error)


@dataclass(frozen=True, slots=True)
class _Done(Generic[T]):
    """The end of the steps."""

    result: T


def _next(steps: Steps[T], outcome: Reply | Unreachable | None) -> Request | Pause | _Done[T]:
    try:
        return steps.send(outcome)
    except StopIteration as done:
        return _Done(done.value)


def _near_end(text: str | None) -> datetime | None:
    with suppress(ValueError):
        return None if text is None else parse_instant(text)
    return None


def _usable(url: str) -> str:
    try:
        httpx2.URL(url)
    except httpx2.InvalidURL:
        raise UnsafeAddress("The server's URL cannot be read.") from None
    return url


def _checked(text: str) -> Token:
    token = parse(trim(text))
    if token is None:
        raise NotAToken("This is not a whole token; copy it again, or create a new key.")
    return token

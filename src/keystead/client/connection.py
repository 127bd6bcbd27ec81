"""A server and a credential: the part of a connection that does no I/O, and where a token may be sent.

A token goes to the named server over TLS, or to this machine itself. Redirects are not followed.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from datetime import datetime
from ssl import SSLContext
from typing import Any, Final, NoReturn
from urllib.parse import SplitResult, urlsplit

import httpx2

from keystead.client.errors import NotAToken, Unreachable, UnsafeAddress
from keystead.client.exchange import Patience, Reply
from keystead.client.requests import Request
from keystead.domain.destinations import is_loopback
from keystead.domain.instants import parse_instant
from keystead.domain.token import Token, parse, trim

_CONNECT: Final = 5.0
_EXPIRES: Final = "keystead-key-expires"


class BaseConnection:
    """A server's address, a token and the retry policy. Without a token it sends only what needs none."""

    def __init__(self, url: str, token: str | None, patience: Patience | None) -> None:
        """Check both. Raises UnsafeAddress for a URL that a token must not go to, NotAToken for a malformed token."""
        self.url = server_address(url)
        self.key_expires_at: datetime | None = None
        self.patience = patience or Patience()
        self._bearer = None if token is None else Bearer(_whole(token))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a connection holds a token and is not pickled")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} to {self.url}>"

    def _options(self, agent: str, timeout: float, tls: SSLContext | None) -> dict[str, Any]:
        """Return the options of httpx2's client."""
        return {
            "headers": {"user-agent": agent, "accept": "application/json"},
            "timeout": httpx2.Timeout(timeout, connect=min(_CONNECT, timeout)),
            # A proxy of the environment would read plain http, even to loopback; within TLS it cannot.
            "trust_env": self.url.startswith("https:"),
            "verify": True if tls is None else tls,
        }

    def _arguments(self, request: Request) -> dict[str, Any]:
        """Return the arguments of httpx2's `request`."""
        return {
            "method": request.method,
            "url": self.url + request.path,
            "params": request.parameters or None,
            "content": request.body,
            "headers": request.headers,
            "auth": self._bearer if request.authenticated else None,
        }

    def _reply(self, response: httpx2.Response) -> Reply:
        if response.is_success:
            self.key_expires_at = _time(response.headers.get(_EXPIRES))
        return Reply(response.status_code, dict(response.headers), response.content)

    def _unreachable(self, error: httpx2.RequestError) -> Unreachable:
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
            return Unreachable(f"No server answers at {self.url}.", sent=False)
        reason = type(error).__name__
        return Unreachable(f"{self.url} did not send a response ({reason}).", sent=True)


class Bearer(httpx2.Auth):
    """Adds the token to a request as it leaves, so that no frame of an error contains it."""

    def __init__(self, token: Token) -> None:
        self._token = token

    def auth_flow(
        self, request: httpx2.Request
    ) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Set the Authorization field (RFC 6750 section 2.1)."""
        request.headers["authorization"] = f"Bearer {self._token.reveal()}"
        yield request


def server_address(url: str) -> str:
    """Return a server's URL without a slash at the end. Raises UnsafeAddress unless https, or http to loopback."""
    parts = _split(url)
    if parts.username is not None or parts.query or parts.fragment:
        raise UnsafeAddress("The server's URL can't have a user, a query or a fragment.")
    _require_private(parts)
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


def page_address(url: str) -> str:
    """Return the URL of a page, unchanged. Raises UnsafeAddress as for a server; it may have a query."""
    parts = _split(url)
    if parts.username is not None or parts.fragment:
        raise UnsafeAddress("A URL that receives a token can't have a user or a fragment.")
    _require_private(parts)
    return url


def _split(url: str) -> SplitResult:
    with suppress(ValueError, httpx2.InvalidURL):
        parts = urlsplit(url)
        httpx2.URL(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        if usable and not any(character.isspace() for character in url):
            return parts
    raise UnsafeAddress("The server's URL must look like https://host or http://127.0.0.1:8080.")


def _require_private(parts: SplitResult) -> None:
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise UnsafeAddress("Plain http would send the token unencrypted; use https.")


def _whole(text: str) -> Token:
    token = parse(trim(text))
    if token is None:
        raise NotAToken("This token is incomplete. Copy it again, or create a new key.")
    return token


def _time(text: str | None) -> datetime | None:
    with suppress(ValueError):
        return None if text is None else parse_instant(text)
    return None

"""Where a token may be sent: over TLS, or to this machine itself."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from keystead.client.errors import UnsafeAddress
from keystead.domain.destinations import is_loopback


def server_address(url: str) -> str:
    """The server's URL without a slash at the end. UnsafeAddress unless it is https, or http to loopback."""
    parts = _split(url)
    if parts.username is not None or parts.query or parts.fragment:
        raise UnsafeAddress("The server's URL has no user, no query and no fragment.")
    _require_private(parts)
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")


def page_address(url: str) -> str:
    """The URL of one page of another program, as it is. UnsafeAddress as for a server; it may have a query."""
    parts = _split(url)
    if parts.username is not None or parts.fragment:
        raise UnsafeAddress("A URL that is asked with a token has no user and no fragment.")
    _require_private(parts)
    return url


def _require_private(parts: SplitResult) -> None:
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise UnsafeAddress("Plain http would show the token to the network; use https.")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = None
        parts = SplitResult("", "", "", "", "")
    if not usable or any(character.isspace() for character in url):
        raise UnsafeAddress(
            "The server's URL is of the form https://host or http://127.0.0.1:8080."
        )
    return parts

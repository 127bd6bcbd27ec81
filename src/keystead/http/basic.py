"""HTTP Basic as OAuth clients use it (RFC 6749 section 2.3.1), the alternative to a bearer token."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote_plus

from keystead.domain.errors import InvalidToken
from keystead.http.asgi import Header
from keystead.http.bearer import MAX_CREDENTIALS, read_bearer

_BASIC = re.compile(rb"[Bb][Aa][Ss][Ii][Cc] +([A-Za-z0-9+/]+=*)")


def challenge(realm: str) -> Header:
    """Return the field that asks for a credential. `realm` has the form of `Product.realm`."""
    return b"www-authenticate", f'Basic realm="{realm}", charset="UTF-8"'.encode("ascii")


class Presented(NamedTuple):
    """A token, and the client id that was sent with it; None with a bearer token."""

    client_id: str | None
    token: str


def read_client(headers: Iterable[Header]) -> Presented:
    """Return the one credential in raw ASGI `headers`, whose names are in lower case, Basic or Bearer.

    Raises what `read_bearer` raises, and InvalidToken for a malformed Basic credential.
    """
    fields = [header for header in headers if header[0] == b"authorization"]
    is_sound = len(fields) == 1 and len(fields[0][1]) <= MAX_CREDENTIALS
    match = _BASIC.fullmatch(fields[0][1].strip(b" \t")) if is_sound else None
    if match is None:
        return Presented(None, read_bearer(fields))
    try:
        client_id, colon, password = b64decode(match[1], validate=True).decode().partition(":")
        if colon:
            # Both parts are form-encoded before they are joined.
            return Presented(
                *(unquote_plus(part, errors="strict") for part in (client_id, password))
            )
    except ValueError:
        pass
    raise InvalidToken

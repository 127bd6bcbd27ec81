"""HTTP Basic as OAuth clients use it (RFC 6749 section 2.3.1): the one other way in which a token may be sent."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote_plus

from keystead.domain.errors import InvalidToken
from keystead.http.asgi import Header
from keystead.http.bearer import MAX_CREDENTIALS, REALM, read_bearer

CHALLENGE: Header = (b"www-authenticate", f'Basic realm="{REALM}", charset="UTF-8"'.encode())

_BASIC = re.compile(rb"[Bb][Aa][Ss][Ii][Cc] +([A-Za-z0-9+/]+=*)")


class Presented(NamedTuple):
    """A token, and the id of the client that it is said to be of; None for a bearer's, which says nothing."""

    client_id: str | None
    token: str


def read_client(headers: Iterable[Header]) -> Presented:
    """The one credential in raw ASGI `headers`, Basic or Bearer. As read_bearer; InvalidToken for a Basic of no use."""
    fields = [value for name, value in headers if name.lower() == b"authorization"]
    is_sound = len(fields) == 1 and len(fields[0]) <= MAX_CREDENTIALS
    match = _BASIC.fullmatch(fields[0].strip(b" \t")) if is_sound else None
    if match is None:
        return Presented(None, read_bearer((b"authorization", field) for field in fields))
    return _decoded(match[1])


def _decoded(encoded: bytes) -> Presented:
    try:
        client_id, colon, password = (
            b64decode(encoded, validate=True).decode("utf-8").partition(":")
        )
        if colon:
            return Presented(
                *(unquote_plus(part, errors="strict") for part in (client_id, password))
            )
    except ValueError:
        pass
    raise InvalidToken

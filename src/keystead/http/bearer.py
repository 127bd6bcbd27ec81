"""The bearer credential of a request and the challenge of a refusal (RFC 6750). It doesn't verify tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from keystead.domain.errors import (
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
    KeysteadError,
    Unauthenticated,
)
from keystead.http.asgi import Header

MAX_CREDENTIALS = 4 * 1024
"""Bytes of an Authorization field, many times the length of our longest credential."""

# Each pattern reads a stranger's bytes in one linear pass: no alternative begins with what another may have consumed.
# RFC 9110 section 11.2 (token68) and section 11.4 (credentials: scheme 1*SP token68).
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9\-._~+/]+=*)")
_TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_BEARER_SCHEME = re.compile(rb"(?i:bearer)(?!" + _TCHAR + rb")")
# Two fields that a proxy joined into one (RFC 9110 section 5.3): a comma, then another `scheme SP value`. Only the last
# comma of a run can begin a match, so a run of them isn't searched again from each of its members.
_JOINED = re.compile(rb",[ \t]*" + _TCHAR + rb"+ +[^ ,=]")
# RFC 6750 section 3: what the scope attribute may hold.
_SCOPE_TEXT = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*")


class TwoCredentials(InvalidRequest):
    """The request carries its credentials twice (RFC 6750 section 3.1, `invalid_request`)."""


def read_bearer(headers: Iterable[Header]) -> str:
    """Return the token68 text of the one bearer credential in raw ASGI `headers`.

    Raises:
        TwoCredentials: There are two Authorization fields, possibly joined into one.
        Unauthenticated: There is no such field, or it has another scheme.
        InvalidToken: The value is not token68, or is longer than MAX_CREDENTIALS.
    """
    field: bytes | None = None
    for name, value in headers:
        # The length first: of some twenty fields, few have 13 characters, and only those are compared.
        if len(name) == 13 and name.lower() == b"authorization":
            if field is not None:
                raise TwoCredentials("The request has two Authorization fields; send one.")
            field = value
    if field is None:
        raise Unauthenticated
    return _token68(field.strip(b" \t"))


def bearer_of(scope: Mapping[str, Any]) -> str:
    """Like `read_bearer`, for an ASGI scope. An `access_token` in the query is a second credential."""
    token = read_bearer(scope["headers"])
    if b"access_token=" in scope["query_string"]:
        raise TwoCredentials("Send the token in the Authorization field only, never in the URL.")
    return token


def _token68(field: bytes) -> str:
    # The length comes first, so a stranger's field costs no more than a short one, whatever the server's bound is.
    is_short = len(field) <= MAX_CREDENTIALS
    match = _BEARER.fullmatch(field) if is_short else None
    if match is not None:
        return match[1].decode("ascii")
    if is_short and _JOINED.search(field):
        raise TwoCredentials("The Authorization field holds two credentials; send one.")
    raise InvalidToken if _BEARER_SCHEME.match(field) else Unauthenticated


def plain_challenge(realm: str) -> str:
    """Return the WWW-Authenticate value that only names the scheme. `realm` has the form of `Product.realm`."""
    return f'Bearer realm="{realm}"'


def challenge(error: KeysteadError, realm: str) -> str | None:
    """Return the WWW-Authenticate value of `error` (RFC 6750 section 3), if it has one.

    A request without credentials learns the scheme only (section 3.1).
    """
    plain = plain_challenge(realm)
    match error:
        case Unauthenticated():
            return plain
        case InvalidToken():
            return f'{plain}, error="invalid_token"'
        case TwoCredentials():
            return f'{plain}, error="invalid_request"'
        case InsufficientScope():
            scope = f', scope="{error.scope}"' if _SCOPE_TEXT.fullmatch(error.scope) else ""
            return f'{plain}, error="insufficient_scope"{scope}'
        case _:
            return None

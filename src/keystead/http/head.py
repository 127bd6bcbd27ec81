"""The head of a request (method, target, header fields), read in one pass and checked against its limits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keystead.domain.errors import InvalidRequest, TooLarge
from keystead.http.asgi import Header
from keystead.http.bearer import TwoCredentials
from keystead.http.problems import HeaderTooLarge, MethodNotAllowed, UnknownCoding

MAX_FIELDS = 100
MAX_BLOCK = 32 * 1024
MAX_URL = 8 * 1024
MAX_DIGITS = 18
"""Digits of a Content-Length."""
MAX_ORIGIN = 1024
"""Bytes of the fields that identify a client, up to which a fast path caches what it read in them."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""Methods that reach an application. None answers OPTIONS, so CORS preflights fail."""

NEVER = frozenset({"CONNECT", "TRACE"})
"""Methods that the gate refuses too, although it accepts all others: they would open or echo a connection."""

_ALLOW = ", ".join(METHODS[:-1])
# RFC 9110 section 5.5: CR, LF and NUL are dangerous in a value; the other controls have no meaning. HTAB is allowed.
_CONTROLS = bytes({*range(32), 127} - {9})
# The decoded path: controls, and U+FFFD, which the server writes for bytes that are not UTF-8.
_PATH_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\ufffd\ud800-\udfff]")
# RFC 3986 section 3.2.2, without the percent-encodings and sub-delimiters that host names never use.
_HOST = re.compile(rb"(?:[A-Za-z0-9._\-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


class Head:
    """The header fields of a request by their names, which are in lower case, and what their limits are about.

    Attributes:
        count: The number of fields.
        block: Their size in bytes, as HTTP/1.1 writes them: with a colon, a space, CR and LF.
        is_clean: Whether no value has a control character except HTAB.
    """

    __slots__ = ("_fields", "_headers", "_is_repeated", "block", "count", "is_clean")

    def __init__(self, headers: Sequence[Header]) -> None:
        # Every request comes through here, so all fields are read together, in C.
        fields = dict(headers)
        count = len(headers)
        self._is_repeated = len(fields) != count
        names: Iterable[bytes] = fields
        values: Iterable[bytes] = fields.values()
        if self._is_repeated:
            names, values = zip(*headers, strict=True)
        text = b"".join(values)
        self._headers, self._fields, self.count = headers, fields, count
        self.block = len(b"".join(names)) + len(text) + 4 * count
        self.is_clean = is_clean(text)

    @property
    def has_body(self) -> bool:
        """Whether a body follows, of any length (RFC 9112 section 6.3)."""
        lengths = self.values(b"content-length")
        return b"transfer-encoding" in self._fields or any(length != b"0" for length in lengths)

    @property
    def body_length(self) -> int | None:
        """The length of the body in bytes, if exactly one field announces it and nothing contradicts it."""
        lengths = self.values(b"content-length")
        if len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > MAX_DIGITS:
            return None
        return None if b"transfer-encoding" in self._fields else int(lengths[0])

    def values(self, name: bytes) -> Sequence[bytes]:
        """Return the values of all fields of that name, in order."""
        value = self._fields.get(name)
        if value is None:
            return ()
        if not self._is_repeated:
            return (value,)
        return [value for each, value in self._headers if each == name]

    def first(self, name: bytes) -> str | None:
        """Return the value of the first field of that name."""
        values = self.values(name)
        return values[0].decode("latin-1") if values else None

    def joined(self, name: bytes, separator: bytes = b",") -> bytes:
        """Return the values of all fields of that name as one (RFC 9110 section 5.3)."""
        return separator.join(self.values(name))


def check_head(
    scope: Mapping[str, Any], head: Head, max_body: int, *, foreign: bool = False
) -> None:
    """Refuse what no application should see.

    `foreign`: method, target and body describe another server's request, about which a gateway asks; of them only the
    methods in NEVER are refused.

    Raises:
        HeaderTooLarge: The head is over its limits.
        InvalidRequest: The head is ambiguous or malformed.
        MethodNotAllowed: No application takes the method.
        TooLarge: The announced body is over `max_body` bytes.
    """
    _check_size(scope, head)
    _check_codings(head)
    if not head.is_clean:
        raise InvalidRequest("A header field holds a control character.")
    _check_host(scope, head)
    if not foreign:
        _check_target(scope)
    if len(head.values(b"authorization")) > 1:
        raise TwoCredentials("The request has two Authorization fields; send one.")
    method = scope["method"]
    if method in NEVER or not (foreign or method in METHODS):
        raise MethodNotAllowed(_ALLOW)
    if not foreign:
        _check_length(head, max_body)


def is_clean(values: bytes) -> bool:
    """Return whether field values or a query have no control characters except HTAB."""
    return len(values.translate(None, _CONTROLS)) == len(values)


def is_host(field: bytes) -> bool:
    """Return whether `field` is one well-formed Host value, a name or an address."""
    return _HOST.fullmatch(field) is not None


def _check_size(scope: Mapping[str, Any], head: Head) -> None:
    if head.count > MAX_FIELDS:
        raise HeaderTooLarge(f"A request has at most {MAX_FIELDS} header fields.")
    if head.block > MAX_BLOCK:
        raise HeaderTooLarge(f"The header fields are over {MAX_BLOCK:,} bytes.")
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_URL:
        raise HeaderTooLarge(f"The URL is over {MAX_URL:,} bytes.")


def _check_codings(head: Head) -> None:
    # RFC 9112 section 6.1. The server reads any list that ends in "chunked" as chunked alone; a proxy in front of it
    # may read the body, and so the start of the next request, differently (request smuggling). UnknownCoding closes
    # the connection, so nothing more is read from it.
    codings = head.values(b"transfer-encoding")
    if codings and [coding.lower() for coding in codings] != [b"chunked"]:
        raise UnknownCoding("Transfer-Encoding can only be `chunked`, and only once.")


def _check_host(scope: Mapping[str, Any], head: Head) -> None:
    # RFC 9112 section 3.2. The server passes a missing field on as an empty one; HTTP/1.0 may omit it.
    hosts = head.values(b"host")
    if scope["http_version"] == "1.0" and not any(hosts):
        return
    if len(hosts) != 1 or not is_host(hosts[0]):
        raise InvalidRequest("A request has exactly one well-formed Host field.")


def _check_target(scope: Mapping[str, Any]) -> None:
    path: str = scope["path"]
    if not path.startswith("/") or _PATH_FORBIDDEN.search(path):
        raise InvalidRequest("The path is malformed.")
    query: bytes = scope["query_string"]
    # NUL: PostgreSQL can neither store nor compare it, so no parameter ever means anything with it.
    if b"%00" in query or not is_clean(query):
        raise InvalidRequest("The query holds a control character.")


def _check_length(head: Head, max_body: int) -> None:
    for length in head.values(b"content-length"):
        if not length.isdigit() or len(length) > MAX_DIGITS:
            raise InvalidRequest("The Content-Length is malformed.")
        if int(length) > max_body:
            raise TooLarge(f"The body is over {max_body:,} bytes.")

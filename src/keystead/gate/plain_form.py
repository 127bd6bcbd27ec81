"""Reading the head of a form that a service posts, where it has nothing unusual in it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from keystead.http.asgi import Scope
from keystead.http.client import Network, read_client
from keystead.http.form_body import FORM
from keystead.http.head import (
    MAX_BLOCK,
    MAX_FIELDS,
    MAX_ORIGIN,
    block_of,
    is_clean,
    is_host,
    read_head,
)

MAX_ORIGINS: Final = 4096

_TYPES: Final = (FORM.encode(), f"{FORM};charset=UTF-8".encode(), f"{FORM}; charset=UTF-8".encode())
_LENGTHS: Final = frozenset(str(length).encode() for length in range(1, 1025))
_UNUSUAL: Final = frozenset({b"transfer-encoding", b"expect"})


class PlainForm:
    """Tells whether a head would pass every check that `Stack` makes; in doubt it would not.

    It refuses nothing: what it does not check in full takes the whole path.
    """

    def __init__(self, path: str, proxies: Sequence[Network]) -> None:
        self._path = path.encode("ascii")
        self._proxies = tuple(proxies)
        self._is_private = lru_cache(MAX_ORIGINS)(self._read_origin)

    def is_plain(self, scope: Scope) -> bool:
        """POST of a short form to the path, with one credential that came over a private way."""
        if scope["method"] != "POST" or scope["raw_path"] != self._path or scope["query_string"]:
            return False
        sent = scope["headers"]
        fields: dict[bytes, bytes] = dict(sent)
        if len(fields) != len(sent) or len(sent) > MAX_FIELDS or not _UNUSUAL.isdisjoint(fields):
            return False
        if fields.get(b"content-length") not in _LENGTHS or b"authorization" not in fields:
            return False
        if block_of(sent) > MAX_BLOCK or not is_clean(b"".join([value for _, value in sent])):
            return False
        return fields.get(b"content-type") in _TYPES and self._came_well(scope, fields)

    def _came_well(self, scope: Scope, fields: dict[bytes, bytes]) -> bool:
        try:
            said = (
                fields[b"host"],
                fields.get(b"x-forwarded-for") if self._proxies else None,
                fields.get(b"x-forwarded-proto") if self._proxies else None,
            )
            if sum(len(value or b"") for value in said) > MAX_ORIGIN:
                return False
            return self._is_private(scope["client"][0], scope["scheme"], *said)
        except (KeyError, TypeError):
            return False

    def _read_origin(
        self,
        peer: str,
        scheme: str,
        host: bytes,
        forwarded_for: bytes | None,
        forwarded_proto: bytes | None,
    ) -> bool:
        """Whether it may carry credentials. The same fields say the same: it is remembered."""
        named = (
            (b"host", host),
            (b"x-forwarded-for", forwarded_for),
            (b"x-forwarded-proto", forwarded_proto),
        )
        head = read_head([(name, value) for name, value in named if value is not None])
        client = read_client(peer, scheme, head, self._proxies, "")
        return client.private and is_host(host) and head.clean

"""Reading what a gateway asks: the scope of the raw path, and the head of a request that has nothing unusual in it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from keystead.domain.scopes import EVERYTHING, ScopeCatalog
from keystead.http.asgi import Scope
from keystead.http.client import Network, read_client
from keystead.http.form_body import FORM
from keystead.http.head import (
    MAX_BLOCK,
    MAX_FIELDS,
    MAX_ORIGIN,
    MAX_URL,
    NEVER,
    block_of,
    is_clean,
    is_host,
    read_head,
)

ANY: Final = "any"
"""The path's word for a live key of any scope."""
MAX_ORIGINS: Final = 4096

_SCHEME: Final = b"Bearer "

Asked = tuple[str, str | None, str | None, str | None]
"""A token's text; the scope, None for a live key; the caller's address and agent as far as they are known."""


class RequiredScopes(dict[bytes, str | None]):
    """Raw path -> the scope that its first segment names, None for a live key. KeyError where it names none, exactly.

    Nothing is decoded or normalised: an encoded, doubled, dotted or parameterised segment is no scope's name. `*` is
    none either: what asks for everything at once has forgotten to choose.
    """

    def __init__(self, catalog: ScopeCatalog, prefix: str) -> None:
        names = {name for name in catalog.descriptions() if name != EVERYTHING}
        super().__init__({f"{prefix}/{name}".encode(): name for name in names})
        self[f"{prefix}/{ANY}".encode()] = None
        self._depth = prefix.count("/") + 2

    def __missing__(self, raw_path: bytes) -> str | None:
        """For a path with more than that one segment."""
        start = b"/".join(raw_path.split(b"/", self._depth)[: self._depth])
        if start == raw_path:
            raise KeyError(raw_path)
        return self[start]


class Plain:
    """Reads a head in a few steps, where it would pass every check that `Stack` makes; None sends it there.

    It refuses nothing: what it does not check in full takes the whole path.
    """

    def __init__(self, scopes: RequiredScopes, proxies: Sequence[Network]) -> None:
        self._required = scopes
        self._proxies = tuple(proxies)
        self._origin = lru_cache(MAX_ORIGINS)(self._read_origin)

    def read(self, scope: Scope) -> Asked | None:
        """What is asked, or None."""
        try:
            required = self._required[scope["raw_path"]]
            sent = scope["headers"]
            fields = dict(sent)
            field = fields[b"authorization"]
            length = fields.get(b"content-length", b"0")
            said = (
                fields[b"host"],
                fields.get(b"user-agent"),
                fields.get(b"x-forwarded-for") if self._proxies else None,
                fields.get(b"x-forwarded-proto") if self._proxies else None,
            )
            # These are a stranger's bytes, and the cache keeps them: few, or none at all.
            if sum(len(value or b"") for value in said) > MAX_ORIGIN:
                return None
            origin = self._origin(scope["client"][0], scope["scheme"], *said)
        except (KeyError, TypeError):
            return None
        if (
            origin is None
            or field[:7] != _SCHEME
            or scope["method"] in NEVER
            or not len(fields) == len(sent) <= MAX_FIELDS
            or length != b"0"
            or b"transfer-encoding" in fields
            or block_of(sent) > MAX_BLOCK
            or len(scope["raw_path"]) + len(scope["query_string"]) > MAX_URL
            or not is_clean(b"".join([value for _, value in sent]))
        ):
            return None
        return field[7:].decode("latin-1"), required, origin[0], origin[1]

    def _read_origin(
        self,
        peer: str,
        scheme: str,
        host: bytes,
        agent: bytes | None,
        forwarded_for: bytes | None,
        forwarded_proto: bytes | None,
    ) -> tuple[str | None, str | None] | None:
        """Address and agent; None where a closer look is needed. The same fields say the same: it is remembered."""
        named = (
            (b"host", host),
            (b"user-agent", agent),
            (b"x-forwarded-for", forwarded_for),
            (b"x-forwarded-proto", forwarded_proto),
        )
        head = read_head([(name, value) for name, value in named if value is not None])
        client = read_client(peer, scheme, head, self._proxies, "")
        if not (client.private and is_host(host) and head.clean):
            return None
        return client.address or None, client.agent or None


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

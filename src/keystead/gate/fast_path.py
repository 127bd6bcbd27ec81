"""The fast path of forward-auth: reads an ordinary request in a few steps, without `http.stack`.

It may answer because it refuses nothing: it accepts a head only if the head would pass every check of `Stack`, and
leaves all others, and all refusals, to the stack. Tests put the same requests on both paths and compare the answers.
The decision about the fast path, in docs/decisions, has the figures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from keystead.domain.scopes import EVERYTHING, ScopeCatalog
from keystead.http.asgi import Header, Scope
from keystead.http.client import Network, read_client
from keystead.http.head import (
    MAX_BLOCK,
    MAX_FIELDS,
    MAX_ORIGIN,
    MAX_URL,
    NEVER,
    Head,
    is_clean,
    is_host,
)

ANY: Final = "any"
"""The path segment that asks for a valid key with any scope."""
MAX_ORIGINS: Final = 4096

_BEARER: Final = re.compile(rb"Bearer ([0-9A-Za-z_]{1,128})")
"""A credential that both paths read alike, and no other: a token of ours has only these characters."""

_Client = tuple[str | None, str | None, str | None]
"""Address, agent, and the address that a key's networks are compared with, as far as they are known."""
PlainRequest = tuple[str, str | None, _Client]
"""A token, the required scope (None: any valid key), and the caller."""


class RequiredScopes(dict[bytes, str | None]):
    """The required scope by raw path, None for any valid key. KeyError for a first segment that isn't a scope's name.

    Paths are neither decoded nor normalised, so an encoded, doubled, dotted or parameterised segment isn't a scope's
    name. Neither is `*`: a gateway that requires everything has forgotten to choose.
    """

    def __init__(self, catalog: ScopeCatalog, prefix: str) -> None:
        names = {name for name in catalog.descriptions() if name != EVERYTHING}
        super().__init__({f"{prefix}/{name}".encode(): name for name in names})
        self[f"{prefix}/{ANY}".encode()] = None
        self._depth = prefix.count("/") + 2

    def __missing__(self, raw_path: bytes) -> str | None:
        """Return the scope of a path with more segments, which some gateways append."""
        start = b"/".join(raw_path.split(b"/", self._depth)[: self._depth])
        if start == raw_path:
            raise KeyError(raw_path)
        return self[start]


class Origins:
    """A cache of where requests come from: the client by the few fields that decide who and how safe it is."""

    def __init__(self, proxies: Sequence[Network]) -> None:
        self._proxies = tuple(proxies)
        self._cached = lru_cache(MAX_ORIGINS)(self._read)

    def find(self, scope: Scope, fields: dict[bytes, bytes], agent: bytes | None) -> _Client | None:
        """Return the client; None to leave the request to the stack. KeyError without a Host field."""
        host = fields[b"host"]
        size = len(host) + (len(agent) if agent else 0)
        hops = protocol = None
        if self._proxies:
            hops, protocol = fields.get(b"x-forwarded-for"), fields.get(b"x-forwarded-proto")
            size += len(hops or b"") + len(protocol or b"")
        # A stranger chooses these bytes and the cache keeps them: without a bound, its entries could fill the memory.
        if size > MAX_ORIGIN:
            return None
        return self._cached(scope["client"][0], scope["scheme"], host, agent, hops, protocol)

    def _read(
        self,
        peer: str,
        scheme: str,
        host: bytes,
        agent: bytes | None,
        hops: bytes | None,
        protocol: bytes | None,
    ) -> _Client | None:
        # Pure, so equal fields may share one answer. The stack's own functions decide, not a second reading of them.
        fields = (
            (b"host", host),
            (b"user-agent", agent),
            (b"x-forwarded-for", hops),
            (b"x-forwarded-proto", protocol),
        )
        head = Head([(name, value) for name, value in fields if value is not None])
        client = read_client(peer, scheme, head, self._proxies, "")
        if not (client.private and is_host(host) and head.is_clean):
            return None
        return client.address or None, client.agent or None, client.forwarded_source


def _is_ordinary(fields: dict[bytes, bytes], headers: Sequence[Header]) -> bool:
    """Return whether `headers`, whose dict is `fields`, pass the stack's checks of size, repetition and characters."""
    values = b"".join(fields.values())
    return (
        len(fields)
        == len(headers)
        <= MAX_FIELDS  # no field twice, so no two Host or Authorization fields
        and b"transfer-encoding" not in fields
        and len(b"".join(fields)) + len(values) + 4 * len(headers) <= MAX_BLOCK
        and is_clean(values)
    )


class ForwardAuthFastPath:
    """Reads a gateway's request for `/forward-auth`."""

    def __init__(self, scopes: RequiredScopes, proxies: Sequence[Network]) -> None:
        self._required = scopes
        self._origins = Origins(proxies)

    def read(self, scope: Scope) -> PlainRequest | None:
        """Return what the request asks for, or None to leave it to the stack."""
        try:
            required = self._required[scope["raw_path"]]
            headers = scope["headers"]
            fields = dict(headers)
            bearer = _BEARER.fullmatch(fields[b"authorization"])
            client = self._origins.find(scope, fields, fields.get(b"user-agent"))
        except (KeyError, TypeError):
            return None
        if (
            client is None
            or bearer is None
            or scope["type"] != "http"
            or scope["method"] in NEVER
            or fields.get(b"content-length", b"0") != b"0"
            or len(scope["raw_path"]) + len(scope["query_string"]) > MAX_URL
            or not _is_ordinary(fields, headers)
        ):
            return None
        return bearer[1].decode("ascii"), required, client

"""Reading what a gateway asks: the scope of the raw path, and the head of a request that has nothing unusual in it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from secrets import token_hex
from typing import Final, NamedTuple

from keystead.domain.scopes import EVERYTHING, ScopeCatalog
from keystead.http.asgi import Header, Scope
from keystead.http.client import Network, is_proxy, read_client, sent_id
from keystead.http.head import MAX_BLOCK, MAX_FIELDS, MAX_URL, NEVER, is_clean, is_host, read_head
from keystead.http.stack import DEFAULTS, HSTS, SERVER

ANY: Final = "any"
"""The path's word for a live key of any scope."""
MAX_ORIGINS: Final = 4096


class RequiredScopes:
    """The scopes that a path may ask for. `*` is none: what asks for everything at once has forgotten to choose."""

    def __init__(self, catalog: ScopeCatalog, prefix: str) -> None:
        self._start = f"{prefix}/".encode()
        names = {name for name in catalog.descriptions() if name != EVERYTHING}
        self._required: dict[bytes, str | None] = {name.encode(): name for name in names}
        self._required[ANY.encode()] = None

    def find(self, raw_path: bytes) -> str | None:
        """The scope that the first raw segment names, None for a live key. KeyError where it names none, exactly.

        Nothing is decoded or normalised: an encoded, doubled, dotted or parameterised segment is no scope's name.
        """
        start = self._start
        if not raw_path.startswith(start):
            raise KeyError
        rest = raw_path[len(start) :]
        if rest in self._required:
            return self._required[rest]
        return self._required[rest.partition(b"/")[0]]


class Asked(NamedTuple):
    """A plain question: the token's text, the scope, the caller as far as known, and the fields of any answer."""

    text: str
    required: str | None
    address: str | None
    agent: str | None
    fields: list[Header]


class _Origin(NamedTuple):
    address: str | None
    agent: str | None
    trusted: bool
    fields: list[Header]


class Plain:
    """Reads a head in a few steps, if it passes every check that `Stack` makes; None sends it there.

    It refuses nothing. So it may be stricter than `Stack`, and never is more lenient.
    """

    def __init__(self, scopes: RequiredScopes, proxies: Sequence[Network]) -> None:
        self._find = scopes.find
        self._proxies = tuple(proxies)
        self._origin = lru_cache(MAX_ORIGINS)(self._read_origin)
        self._next, self._run = count().__next__, token_hex(8)

    def read(self, scope: Scope) -> Asked | None:
        """What is asked, or None."""
        try:
            return self._read(scope)
        except (KeyError, TypeError):
            return None

    def _read(self, scope: Scope) -> Asked | None:
        required = self._find(scope["raw_path"])
        sent = scope["headers"]
        fields = dict(sent)
        field = fields[b"authorization"]
        if len(fields) != len(sent) or field[:7] != b"Bearer " or not _is_bounded(scope, fields):
            return None
        origin = self._origin(
            scope["client"][0],
            scope["scheme"],
            fields[b"host"],
            fields.get(b"user-agent"),
            fields.get(b"x-forwarded-for"),
            fields.get(b"x-forwarded-proto"),
        )
        if origin is None:
            return None
        id = self._request_id(fields, origin)
        answered = [*origin.fields, (b"x-request-id", id)]
        return Asked(field[7:].decode("latin-1"), required, origin.address, origin.agent, answered)

    def _request_id(self, fields: dict[bytes, bytes], origin: _Origin) -> bytes:
        fresh = f"req_{self._run}{self._next():06x}"
        sent = fields.get(b"x-request-id") if origin.trusted else None
        return (fresh if sent is None else sent_id(sent, fresh)).encode("ascii")

    def _read_origin(
        self,
        peer: str,
        scheme: str,
        host: bytes,
        agent: bytes | None,
        forwarded_for: bytes | None,
        forwarded_proto: bytes | None,
    ) -> _Origin | None:
        """Who asks, None where that has to be looked at closely. The same fields say the same, so it is remembered."""
        named = (
            (b"host", host),
            (b"user-agent", agent),
            (b"x-forwarded-for", forwarded_for),
            (b"x-forwarded-proto", forwarded_proto),
        )
        head = read_head([(name, value) for name, value in named if value is not None])
        client = read_client(peer, scheme, head, self._proxies, "")
        if not client.private or not is_host(host):
            return None
        fields = [*DEFAULTS, SERVER, (b"content-length", b"0")]
        return _Origin(
            client.address or None,
            client.agent or None,
            is_proxy(peer, self._proxies),
            [*fields, HSTS] if client.secure else fields,
        )


def _is_bounded(scope: Scope, fields: dict[bytes, bytes]) -> bool:
    values = b"".join(fields.values())
    return (
        len(fields) <= MAX_FIELDS
        and len(values) + len(b"".join(fields)) + 3 * len(fields) <= MAX_BLOCK
        and is_clean(values)
        and scope["method"] not in NEVER
        and len(scope["raw_path"]) + len(scope["query_string"]) <= MAX_URL
    )

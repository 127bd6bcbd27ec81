"""The digest of a token: HMAC-SHA-256 under a pepper that lives outside the database. Hazmat."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Final, NamedTuple

from keystead.domain.token import Token

PEPPER_BYTES: Final = 32
_BLOCK: Final = 64
_PEPPER_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class Digest(NamedTuple):
    """What the database stores of a token: the pepper's id and 32 bytes."""

    pepper_id: str
    value: bytes

    def __repr__(self) -> str:
        return f"<Digest under {self.pepper_id}>"


class Pepper:
    """A named HMAC key of at least 32 bytes. Its repr shows only the name."""

    __slots__ = ("_inner", "_key", "_outer", "id")

    def __init__(self, id: str, key: bytes) -> None:
        if not _PEPPER_ID.fullmatch(id):
            raise ValueError("a pepper's id is 1-32 of a-z, 0-9 and hyphens")
        if len(key) < PEPPER_BYTES or len(set(key)) < 8:
            raise ValueError(f"the pepper {id} must be at least 32 random bytes")
        self.id = id
        self._key = key
        padded = (key if len(key) <= _BLOCK else sha256(key).digest()).ljust(_BLOCK, b"\0")
        # The key is hashed once: each digest starts from these two states (RFC 2104 section 4).
        self._inner = sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in padded))

    def digest(self, body: bytes) -> bytes:
        """Return HMAC-SHA-256 (RFC 2104) of `body`."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(body)
        outer.update(inner.digest())
        return outer.digest()

    def derive(self, purpose: str) -> bytes:
        """Return a key of 32 bytes for one purpose. Its brackets never occur in a token, so it can't equal a digest."""
        return hmac.digest(self._key, f"[{purpose}]".encode("ascii"), "sha256")

    def __repr__(self) -> str:
        return f"<Pepper {self.id}>"

    def __reduce__(self) -> str:
        raise TypeError("a pepper is not pickled")


class Peppers:
    """The current pepper, which new keys use, and retired ones, which still verify."""

    __slots__ = ("_by_id", "current")

    def __init__(self, current: Pepper, retired: Iterable[Pepper] = ()) -> None:
        """Raise ValueError for two peppers with the same id, because a stored digest names its pepper by id."""
        peppers = (current, *retired)
        self.current = current
        self._by_id = {pepper.id: pepper for pepper in peppers}
        if len(self._by_id) != len(peppers):
            raise ValueError("two peppers have the same id")

    @property
    def ids(self) -> frozenset[str]:
        """Return the ids of all peppers."""
        return frozenset(self._by_id)

    def __contains__(self, pepper_id: object) -> bool:
        return pepper_id in self._by_id

    def get(self, pepper_id: str) -> Pepper | None:
        """Return the pepper of that id, if it is configured."""
        return self._by_id.get(pepper_id)

    def seal(self, token: Token) -> Digest:
        """Return the digest to store for a new token."""
        return Digest(self.current.id, self.current.digest(token.body()))

    def match(self, token: Token, pepper_id: str, stored: bytes) -> bool:
        """Return, in constant time, whether `stored` is the digest of `token`; False without that pepper."""
        pepper = self._by_id.get(pepper_id)
        return pepper is not None and hmac.compare_digest(pepper.digest(token.body()), stored)

    def __repr__(self) -> str:
        return f"<Peppers {', '.join(self._by_id)}>"

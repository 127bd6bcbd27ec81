"""Tokens and the secrets of sessions and links. Hazmat: the only types with a secret in clear text."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from datetime import datetime
from typing import Final
from zlib import crc32

from keystead.domain.ids import ALPHABET, ID_WIDTH, KeyId, encode_base62, number_of, uuid7

SECRET_BYTES: Final = 32
SECRET_WIDTH: Final = 43
CHECKSUM_WIDTH: Final = 6
TOKEN_PATTERN: Final = r"[a-z][a-z0-9]*(_[a-z0-9]+)*_[0-9A-Za-z]{22}_[0-9A-Za-z]{49}"
MAX_SECRET: Final = encode_base62((1 << 256) - 1, SECRET_WIDTH)
RESERVED_SUFFIXES: Final = frozenset({"svc", "op"})

EDGES: Final = " \t\n\v\f\r\x85\xa0\u2028\u2029\ufeff"
"""White space and the byte order mark, which editors, shells and browsers leave around a token."""

_PREFIX = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_TOKEN = re.compile(
    r"([a-z][a-z0-9_]*_([0-9A-Za-z]{22})_([0-9A-Za-z]{43}))([0-9A-Za-z]{2})([0-9A-Za-z]{2})([0-9A-Za-z]{2})"
)
"""TOKEN_PATTERN with groups, for texts without a double underscore, the only ones that it accepts in addition."""
_SUSPECT = re.compile(r"_[0-9A-Za-z]{22}_[0-9A-Za-z]{49}")
_LONGEST = 20 + len("_svc") + 1 + ID_WIDTH + 1 + SECRET_WIDTH + CHECKSUM_WIDTH
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]
_VALUES = {pair: value for value, pair in enumerate(_PAIRS)}


class Token:
    """A whole token. Only `reveal()` returns its text; repr and str are redacted."""

    __slots__ = ("_body", "_text", "key_id")

    key_id: KeyId

    def __init__(self, text: str, key_id: KeyId, body: bytes) -> None:
        self._text = text
        self.key_id = key_id
        self._body = body

    def reveal(self) -> str:
        """Return the text that a client sends. It leaves the server once, in the answer that creates the key."""
        return self._text

    def body(self) -> bytes:
        """Return the input of the digest: the token without its checksum, so that prefix and id are bound too."""
        return self._body

    @property
    def prefix(self) -> str:
        """Return the part before the id."""
        return self._text[: -(ID_WIDTH + SECRET_WIDTH + CHECKSUM_WIDTH + 2)]

    @property
    def hint(self) -> str:
        """Return prefix and last four characters, to tell keys apart in a list."""
        return f"{self.prefix}_…{self._text[-4:]}"

    def __repr__(self) -> str:
        return f"<Token of {self.key_id}>"

    def __reduce__(self) -> str:
        raise TypeError("a token is not pickled")


class Secret:
    """256 random bits that sign a person in: a link or a session. Only `reveal()` returns its text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    @classmethod
    def fresh(cls) -> Secret:
        """Return a new secret from the operating system's generator."""
        return cls(base64.urlsafe_b64encode(os.urandom(SECRET_BYTES)).rstrip(b"=").decode("ascii"))

    def reveal(self) -> str:
        """Return the text that the person's browser sends."""
        return self._text

    def fingerprint(self) -> bytes:
        """Return SHA-256 of the text, which is stored and looked up. Enough for 256 random bits."""
        return hashlib.sha256(self._text.encode("utf-8", "replace")).digest()

    def __repr__(self) -> str:
        return "<Secret>"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


def checksum(text: str) -> str:
    """Return CRC-32 of `text` (ASCII) as base62 in six characters."""
    high, rest = divmod(crc32(text.encode("ascii")), 14776336)
    middle, low = divmod(rest, 3844)
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]


def check_prefix(prefix: str) -> str:
    """Return `prefix` if a product may use it: 2-20 characters. `svc` and `op` are reserved, alone and as suffixes."""
    if not 2 <= len(prefix) <= 20 or not _PREFIX.fullmatch(prefix):
        raise ValueError(
            "a token prefix is 2-20 of a-z, 0-9 and single underscores, starting with a-z"
        )
    if prefix.rpartition("_")[2] in RESERVED_SUFFIXES:
        raise ValueError("the prefixes svc and op are reserved, alone and as suffixes _svc and _op")
    return prefix


def assemble(prefix: str, number: int, secret: bytes) -> Token:
    """Return the token of the key whose UUID is `number`, with 32 bytes of secret."""
    id_part = encode_base62(number, ID_WIDTH)
    body = f"{prefix}_{id_part}_{encode_base62(int.from_bytes(secret, 'big'), SECRET_WIDTH)}"
    return Token(body + checksum(body), KeyId(f"key_{id_part}"), body.encode("ascii"))


def mint(prefix: str, now: datetime, after: KeyId | None = None) -> Token:
    """Return a new token: an id above `after`, ordered by time, and 256 bits from the operating system's generator."""
    return assemble(prefix, uuid7(now, number_of(after)), os.urandom(SECRET_BYTES))


def trim(text: str) -> str:
    """Return `text` without white space and byte order marks at its ends.

    For tokens in files and variables; a token in a request is never trimmed.
    """
    return text.strip(EDGES)


def may_hold_token(text: str) -> bool:
    """Return whether a token may be part of `text`, intact or not. Linear."""
    return _SUSPECT.search(text) is not None


def parse(text: str) -> Token | None:
    """Return the token of `text`; None for a wrong form, checksum or range. Linear, without I/O."""
    if len(text) > _LONGEST or "__" in text:
        return None
    match = _TOKEN.fullmatch(text)
    if match is None:
        return None
    text_part, id_part, secret, high, middle, low = match.groups()
    body = text_part.encode("ascii")
    check = _VALUES[high] * 14776336 + _VALUES[middle] * 3844 + _VALUES[low]
    if crc32(body) != check or secret > MAX_SECRET:
        return None
    return Token(text, KeyId("key_" + id_part), body)

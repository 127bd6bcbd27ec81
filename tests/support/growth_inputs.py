"""Bodies of any size, and the longest fields and queries, for measuring how the time of reading grows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from keystead.http.body import KIB
from keystead.http.head import MAX_BLOCK, MAX_URL

FIELD: Final = MAX_BLOCK - KIB
"""Return the bytes of one field that the stack accepts together with the other fields."""
QUERY: Final = MAX_URL - 100


def names(size: int) -> bytes:
    """Return an object of many names, the last of which is repeated."""
    count = size // 9
    return (
        b"{" + b"".join(b'"%x":0,' % number for number in range(count)) + b'"%x":1}' % (count - 1)
    )


def filled(pump: bytes, before: bytes = b"", after: bytes = b"") -> Callable[[int], bytes]:
    """Make bodies of a given size."""
    return lambda size: before + pump * ((size - len(before) - len(after)) // len(pump)) + after


BODIES: Final[dict[str, Callable[[int], bytes]]] = {
    "names, one twice": names,
    "one name": filled(b'"a":0,', b"{", b'"a":0}'),
    "objects": filled(b"{},", b"[", b"{}]"),
    "upserts": filled(b"{},", b'{"upsert":[', b"{}]}"),
    "deletes": filled(b'"a",', b'{"delete":[', b'"a"]}'),
    "numbers": filled(b"1,", b'{"attributes":{"a":[', b"1]}}"),
    "arrays": filled(b"[", b""),
    "closed arrays": lambda size: b"[" * (size // 2) + b"]" * (size // 2),
    "nested objects": filled(b'{"a":', b""),
    "quotes": filled(b'\\"', b'{"text":"', b'"}'),
    "backslashes": filled(b"\\\\", b'{"text":"', b'"}'),
    "no end": filled(b"\\", b'{"text":"'),
    "escapes": filled(b"\\u00e9", b'{"text":"', b'"}'),
    "surrogates": filled(b"\\ud83d", b'{"text":"', b'"}'),
    "text": filled("é".encode(), b'{"text":"', b'"}'),
    "digits": filled(b"9", b'{"uses":', b"}"),
    "fraction": filled(b"9", b'{"uses":0.', b"}"),
    "exponent": filled(b"9", b'{"uses":1e', b"}"),
    "blanks": filled(b" ", b"{", b"}"),
    "commas": filled(b",", b"[", b"]"),
    "words": filled(b"null,", b"[", b"null]"),
    "nonsense": filled(b"a", b""),
    "scopes": filled(b'"a:b",', b'{"description":"x","scopes":[', b'"a:b"]}'),
    "headers": filled(b'"a":"b",', b'{"headers":{', b'"b":"c"}}'),
}

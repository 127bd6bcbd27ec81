"""Strategies for request heads: ordinary ones most of the time, and unusual ones."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.support.asgi import HOST

PROXY = "192.0.2.7"


def mostly(ordinary: Any, *others: Any) -> st.SearchStrategy[Any]:
    """Draw the ordinary value, or another one time in three: most requests then differ in a thing or two."""
    return st.sampled_from([ordinary] * (2 * len(others)) + list(others))


HOSTS = mostly([HOST], [HOST, HOST], [], [(b"host", b"")], [(b"host", b"a b")])
PEER = mostly(("127.0.0.1", "5"), (PROXY, "5"), ("198.51.100.5", "5"), None)
FIELDS = (
    *(
        "user-agent",
        "accept",
        "cookie",
        "referer",
        "x-request-id",
        "x-forwarded-for",
        "x-forwarded-proto",
    ),
    *("x-forwarded-host", "x-anything", "content-encoding", "content-type", "host", "origin", "te"),
)
VALUES = (
    *(b"a\nb", b"a\rb", b"a\r\nx-keystead-key: key_1", b"a\0b", b"\x01", b"\x0b", b"\x1f", b"\x7f"),
    *(
        b"",
        b" ",
        b"a\tb",
        b"\t",
        b"\x80",
        b"\xff",
        b"\xc3\xa9",
        b"a,b",
        b'"',
        b"\\",
        b"gzip",
        b"wss",
    ),
    *(b"q" * 1_000, b"q" * 33_000, b"q" * 40_000),
)
"""The values of a field: controls, which no application should see, other bytes, no bytes, and too many."""

"""Secrets that no output may contain, in any encoding."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote


@dataclass
class Secrets:
    """The secrets, by name."""

    texts: dict[str, str] = field(repr=False)

    def found_in(self, content: bytes) -> list[str]:
        """Return the names of the secrets that the content contains in any encoding."""
        return [
            name
            for name, text in self.texts.items()
            if any(form in content for form in forms_of(text))
        ]


def forms_of(text: str) -> Iterator[bytes]:
    """Yield it raw, its last 20 characters, hex, base64 at each of the three offsets, URL-encoded, and reversed."""
    raw = text.encode()
    yield from (raw, raw[-20:], raw.hex().encode(), raw.hex().upper().encode(), raw[::-1])
    yield quote(text, safe="").encode()
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + raw)
        yield encoded[4 if offset else 0 : -4]
        yield encoded[4 if offset else 0 : -4].translate(bytes.maketrans(b"+/", b"-_"))

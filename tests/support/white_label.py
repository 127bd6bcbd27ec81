"""The search for our own name in what a product with a name of its own shows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

NAME: Final = "Acme Cloud"
"""The product's name."""
_HEADER_NAMES: Final = re.compile(r"\b(?:X-)?Keystead(?:-[A-Z][a-z]+)+\b")
"""Names of header fields, which stay whatever the product's name is."""


def leaks(text: str) -> list[str]:
    """Return the places of a text that say our name, each with what surrounds it."""
    rest = _HEADER_NAMES.sub("", text)
    return [rest[max(0, m.start() - 40) : m.end() + 40] for m in re.finditer("(?i)keystead", rest)]


def leaking_fields(headers: Iterable[tuple[str, str]]) -> list[str]:
    """Return the header fields whose values say our name."""
    return [f"{name}: {value}" for name, value in headers if leaks(value)]

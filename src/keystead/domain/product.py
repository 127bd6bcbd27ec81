"""The product in whose name a server speaks: on pages, in documents, header fields, code samples and email."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

KEYSTEAD: Final = "Keystead"

_UNNAMED: Final = "api"
"""What header fields have for a name without ASCII letters and digits."""
_OTHERS: Final = re.compile(r"[^A-Za-z0-9]+")
_ESCAPED: Final = re.compile(r'["\\]')


@dataclass(frozen=True, slots=True)
class Product:
    """A product's name. `credited`: whether pages with a name of their own also say what runs them."""

    name: str = KEYSTEAD
    credited: bool = True

    @property
    def is_named(self) -> bool:
        """Whether it has a name of its own: then nothing but the credit says Keystead."""
        return self.name != KEYSTEAD

    @property
    def credit(self) -> str:
        """The line about the software and its licence, for the foot of pages; empty without one."""
        return f"Powered by {KEYSTEAD}, Apache-2.0" if self.is_named and self.credited else ""

    @property
    def realm(self) -> str:
        """The protection space of challenges, as a quoted-string holds it (RFC 9110 sections 5.6.4 and 11.5)."""
        if not self.is_named:
            return KEYSTEAD.lower()
        return _ESCAPED.sub(r"\\\g<0>", _ascii(self.name)) or _UNNAMED

    @property
    def token(self) -> str:
        """The name in the Server and User-Agent fields: lower case, a token (RFC 9110 section 5.6.2)."""
        return _words(self.name, "-").lower() or _UNNAMED

    @property
    def variable(self) -> str:
        """The environment variable of code samples: `ACME_CLOUD_TOKEN`."""
        words = _words(self.name, "_").upper()
        return f"{words}_TOKEN" if words[:1].isalpha() else "API_TOKEN"


OURS: Final = Product()
"""Keystead under its own name."""


def _ascii(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    return plain.strip()


def _words(name: str, between: str) -> str:
    return _OTHERS.sub(between, _ascii(name)).strip(between)

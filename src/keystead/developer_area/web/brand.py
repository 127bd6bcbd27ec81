"""The brand of the pages: the product's name, logo, colors and links."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from keystead.domain.brand import DARK, LIGHT, Accent, accent_for, dark_variant
from keystead.domain.product import OURS, Product

MAX_LOGO_BYTES: Final = 64 * 1024
MAX_LOGO_PIXELS: Final = 1024
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_SVG: Final = "{http://www.w3.org/2000/svg}"
_DECLARATION: Final = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)
_ACTIVE: Final = frozenset({"script", "foreignObject", "iframe", "a", "image"})


@dataclass(frozen=True, slots=True)
class Logo:
    """A logo file. `suffix` is `.svg` or `.png`."""

    body: bytes
    suffix: str


@dataclass(frozen=True, slots=True)
class Brand:
    """The product that the pages belong to. `accent` and `accent_dark` are `#rrggbb`; None keeps Keystead's own."""

    product: Product = OURS
    logo: Logo | None = None
    accent: str | None = None
    accent_dark: str | None = None
    docs_url: str | None = None
    product_url: str | None = None

    @property
    def name(self) -> str:
        """Return the product's name."""
        return self.product.name

    @property
    def stylesheet(self) -> str:
        """Return the custom properties that override tokens.css. ValueError for an invalid color."""
        if self.accent is None:
            return _dark_tokens(accent_for(DARK, self.accent_dark)) if self.accent_dark else ""
        dark = self.accent_dark or dark_variant(self.accent)
        return _tokens(accent_for(LIGHT, self.accent)) + _dark_tokens(accent_for(DARK, dark))


def read_logo(path: Path) -> Logo:
    """Read a logo. ValueError unless it is a PNG or an SVG without active content, of at most 64 KiB."""
    try:
        with path.open("rb") as file:
            body = file.read(MAX_LOGO_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if len(body) > MAX_LOGO_BYTES:
        raise ValueError(f"is larger than {MAX_LOGO_BYTES // 1024} KiB")
    if body.startswith(_PNG):
        _check_png(body)
        return Logo(body, ".png")
    _check_svg(body)
    return Logo(body, ".svg")


def _check_png(body: bytes) -> None:
    if body[12:16] != b"IHDR" or len(body) < 33:
        raise ValueError("is a damaged PNG")
    sides = int.from_bytes(body[16:20]), int.from_bytes(body[20:24])
    if not all(1 <= side <= MAX_LOGO_PIXELS for side in sides):
        raise ValueError(f"is more than {MAX_LOGO_PIXELS} pixels wide or high")


def _check_svg(body: bytes) -> None:
    # A logo needs no document type, no script and nothing from elsewhere. A document type could also define
    # entities that expand to gigabytes, so it is refused before the parser runs.
    if _DECLARATION.search(body):
        raise ValueError("must have no document type")
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - no document type: no entities to expand
    except ElementTree.ParseError:
        raise ValueError("is neither an SVG nor a PNG") from None
    if root.tag != f"{_SVG}svg":
        raise ValueError("is neither an SVG nor a PNG")
    for element in root.iter():
        _check_element(element)


def _check_element(element: ElementTree.Element) -> None:
    name = element.tag.removeprefix(_SVG)
    if name in _ACTIVE:
        raise ValueError(f"must not hold <{name}>")
    for attribute, value in element.attrib.items():
        local = attribute.rpartition("}")[2].lower()
        outside = local == "href" and not value.startswith("#")
        if local.startswith("on") or outside:
            raise ValueError(f"must not have the attribute {local}")


def _tokens(accent: Accent) -> str:
    values = asdict(accent)
    values[""] = values.pop("plain")
    lines = "".join(f"--accent{name and f'-{name}'}:{value};" for name, value in values.items())
    return f"@layer tokens{{:root{{{lines}}}}}\n"


def _dark_tokens(accent: Accent) -> str:
    return f"@media (prefers-color-scheme:dark){{{_tokens(accent).strip()}}}\n"

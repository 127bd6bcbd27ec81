"""A product's own colours: the variants of one accent, readable by WCAG 2.2, criterion 1.4.3."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MIN_CONTRAST: Final = 4.5
"""The contrast of text to its background."""
_COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}")
_STEPS: Final = 20
_WHITE: Final = "#ffffff"
_BLACK: Final = "#000000"
_PRESSED: Final = 0.15
"""The share of a colour's opposite to its ink in a button under the pointer."""


@dataclass(frozen=True, slots=True)
class Theme:
    """A colour theme. `towards`: where to move a colour to make it readable on the theme's surfaces."""

    surfaces: tuple[str, ...]
    towards: str
    softness: float


LIGHT: Final = Theme(("#fafafb", "#ffffff", "#f3f3f6"), "#000000", 0.09)
DARK: Final = Theme(("#101014", "#17171d", "#1d1d25", "#22222b"), "#ffffff", 0.25)


@dataclass(frozen=True, slots=True)
class Accent:
    """One accent and its variants.

    `plain` and `pressed` are buttons with text in `ink`. `strong` is for links and lines, `soft` for backgrounds.
    """

    plain: str
    pressed: str
    ink: str
    strong: str
    soft: str


def accent_for(theme: Theme, colour: str) -> Accent:
    """Return the accent `colour` (`#rrggbb`) in that theme. ValueError for another form."""
    plain = check_colour(colour)
    # One of the two is readable on any colour: where white has less than 4.5, black has more than 4.6.
    ink, other = _WHITE, _BLACK
    if contrast(plain, ink) < MIN_CONTRAST:
        ink, other = other, ink
    soft = mix(theme.surfaces[1], plain, theme.softness)
    strong = _readable(plain, (*theme.surfaces, soft), theme)
    return Accent(plain, mix(plain, other, _PRESSED), ink, strong, soft)


def check_colour(colour: str) -> str:
    """Return `colour` in lower case. ValueError unless it has the form `#rrggbb`."""
    if not _COLOUR.fullmatch(colour):
        raise ValueError("must be a colour such as #4f46e5")
    return colour.lower()


def dark_variant(colour: str) -> str:
    """Return the nearest tint of `colour` that is readable in the dark theme."""
    return _readable(check_colour(colour), DARK.surfaces[:1], DARK)


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (WCAG 2.2, section "contrast ratio")."""
    dark, bright = sorted((_luminance(first), _luminance(second)))
    return (bright + 0.05) / (dark + 0.05)


def mix(colour: str, other: str, share: float) -> str:
    """Return `colour` mixed with a share, 0 to 1, of `other`."""
    pairs = zip(_parts(colour), _parts(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _readable(colour: str, surfaces: tuple[str, ...], theme: Theme) -> str:
    """Return `colour`, moved as far as needed to be readable on all of `surfaces`."""
    steps = (mix(colour, theme.towards, step / _STEPS) for step in range(_STEPS + 1))
    return next(
        s for s in steps if all(contrast(s, surface) >= MIN_CONTRAST for surface in surfaces)
    )


def _luminance(colour: str) -> float:
    """Return the relative luminance, 0 to 1 (WCAG 2.2, section "relative luminance")."""
    red, green, blue = (_linear(part / 255) for part in _parts(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)


def _parts(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)

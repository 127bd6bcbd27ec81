"""A product's own colours: the variants of one accent, readable by WCAG 2.2, criterion 1.4.3."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MIN_CONTRAST: Final = 4.5
"""The contrast of text to its backtheme."""
_COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}")
_STEPS: Final = 20


@dataclass(frozen=True, slots=True)
class Theme:
    """A colour theme. `ink`: text on a button of the accent; `towards`: where to move a colour to make it readable."""

    name: str
    ink: str
    surfaces: tuple[str, ...]
    towards: str
    softness: float


LIGHT: Final = Theme("light", "#ffffff", ("#fafafb", "#ffffff", "#f3f3f6"), "#000000", 0.09)
DARK: Final = Theme(
    "dark", "#101014", ("#101014", "#17171d", "#1d1d25", "#22222b"), "#ffffff", 0.25
)


@dataclass(frozen=True, slots=True)
class Accent:
    """One accent and its variants: `strong` for links and pressed buttons, `soft` for backgrounds, `ink` for text."""

    plain: str
    strong: str
    ink: str
    soft: str


def accent_for(theme: Theme, colour: str) -> Accent:
    """Return the accent `colour` (`#rrggbb`) in that theme. ValueError if text on it would be hard to read."""
    plain = check_colour(colour)
    if (ratio := contrast(plain, theme.ink)) < MIN_CONTRAST:
        raise ValueError(
            f"is hard to read: {theme.ink} on {plain} has a contrast of {ratio:.2f}; use at least {MIN_CONTRAST}"
        )
    soft = mix(theme.surfaces[1], plain, theme.softness)
    return Accent(plain, _readable(plain, (*theme.surfaces, soft), theme), theme.ink, soft)


def check_colour(colour: str) -> str:
    """Return `colour` in lower case. ValueError unless it has the form `#rrggbb`."""
    if not _COLOUR.fullmatch(colour):
        raise ValueError("must be a colour such as #4f46e5")
    return colour.lower()


def dark_variant(colour: str) -> str:
    """Return the nearest tint of `colour` that is readable in the dark theme."""
    return _readable(check_colour(colour), (DARK.ink,), DARK)


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

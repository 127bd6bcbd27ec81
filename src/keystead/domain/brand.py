"""A product's own colours: what is made of one accent, and whether people can read it (WCAG 2.2, criterion 1.4.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MIN_CONTRAST: Final = 4.5
"""The least contrast of text to what it stands on."""
_COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}")
_STEPS: Final = 20


@dataclass(frozen=True, slots=True)
class Theme:
    """What accents stand on: the page's own colours, and the text on a button of the accent."""

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
    """One accent and what is made of it: for links and pressed buttons, for text on it, for backgrounds."""

    plain: str
    strong: str
    ink: str
    soft: str


def accent_for(ground: Theme, colour: str) -> Accent:
    """The accent `colour` (`#rrggbb`) on that ground. ValueError where text on it could not be read."""
    plain = check_colour(colour)
    if (found := contrast(plain, ground.ink)) < MIN_CONTRAST:
        raise ValueError(
            f"is hard to read: {ground.ink} on {plain} has a contrast of {found:.2f}, and needs {MIN_CONTRAST}"
        )
    soft = mix(ground.surfaces[1], plain, ground.softness)
    return Accent(plain, _readable(plain, (*ground.surfaces, soft), ground), ground.ink, soft)


def check_colour(colour: str) -> str:
    """`colour` in small letters. ValueError unless it is written `#rrggbb`."""
    if not _COLOUR.fullmatch(colour):
        raise ValueError("must be a colour such as #4f46e5")
    return colour.lower()


def dark_variant(colour: str) -> str:
    """The nearest tint of `colour` that can be read on dark ground."""
    return _readable(check_colour(colour), (DARK.ink,), DARK)


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.2, section "contrast ratio")."""
    dark, bright = sorted((_luminance(one), _luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


def mix(one: str, other: str, share: float) -> str:
    """`one` with that share, 0 to 1, of `other`."""
    pairs = zip(_parts(one), _parts(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _readable(colour: str, on: tuple[str, ...], ground: Theme) -> str:
    """`colour`, moved away from the ground as far as is needed to be read on all of `on`."""
    steps = (mix(colour, ground.towards, step / _STEPS) for step in range(_STEPS + 1))
    return next(s for s in steps if all(contrast(s, surface) >= MIN_CONTRAST for surface in on))


def _luminance(colour: str) -> float:
    """Relative luminance, 0 to 1 (WCAG 2.2, section "relative luminance")."""
    red, green, blue = (_linear(part / 255) for part in _parts(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)


def _parts(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)

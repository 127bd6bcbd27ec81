"""A product's colours: contrast as WCAG defines it, and text that is readable on any accent."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keystead.domain.brand import (
    DARK,
    LIGHT,
    MIN_CONTRAST,
    Theme,
    accent_for,
    check_colour,
    contrast,
    dark_variant,
)

COLOURS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        ("#000000", "#ffffff", 21.0),
        ("#ffffff", "#ffffff", 1.0),
        ("#777777", "#ffffff", 4.48),
        ("#767676", "#ffffff", 4.54),
        ("#0000ff", "#ffffff", 8.59),
    ],
)
def test_contrast_is_the_standards(one: str, other: str, ratio: float) -> None:
    """Known ratios are computed, in either order of the colours."""
    assert contrast(one, other) == pytest.approx(ratio, abs=0.005)
    assert contrast(other, one) == contrast(one, other)


@pytest.mark.parametrize("colour", ["", "red", "#fff", "4f46e5", "#4f46e5;", "#4f46eg", " #4f46e5"])
def test_a_colour_has_one_form(colour: str) -> None:
    """Only six digits after a # reach a stylesheet."""
    with pytest.raises(ValueError, match="must be a colour"):
        check_colour(colour)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@given(colour=COLOURS)
@example("#ffee00")
@example("#777777")
def test_text_is_readable_with_every_accent(theme: Theme, colour: str) -> None:
    """Text on a button, pressed or not, and links on every surface have a contrast of at least 4.5."""
    accent = accent_for(theme, colour)
    assert accent.plain == colour
    for button in (accent.plain, accent.pressed):
        assert contrast(button, accent.ink) >= MIN_CONTRAST
    for surface in (*theme.surfaces, accent.soft):
        assert contrast(accent.strong, surface) >= MIN_CONTRAST


def test_four_and_a_half_is_the_border() -> None:
    """The standard's minimum decides: one step of grey more, and the text on a button is black instead of white."""
    assert accent_for(LIGHT, "#767676").ink == "#ffffff"
    assert accent_for(LIGHT, "#777777").ink == "#000000"


@given(colour=COLOURS)
def test_every_colour_has_a_twin_for_the_dark(colour: str) -> None:
    """An accent for light pages becomes one that stands out on dark ones."""
    assert contrast(dark_variant(colour), DARK.surfaces[0]) >= MIN_CONTRAST

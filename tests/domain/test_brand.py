"""A product's colours: contrast as WCAG defines it, and no accent that makes text unreadable."""

from __future__ import annotations

import pytest
from hypothesis import given
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


@pytest.mark.parametrize("sandbox", [LIGHT, DARK], ids=lambda sandbox: sandbox.name)
@given(colour=COLOURS)
def test_an_accent_is_readable_or_refused(sandbox: Theme, colour: str) -> None:
    """Text on a button and links on every surface have a contrast of at least 4.5; otherwise the accent is refused."""
    if contrast(colour, sandbox.ink) < MIN_CONTRAST:
        with pytest.raises(ValueError, match="hard to read"):
            accent_for(sandbox, colour)
        return
    accent = accent_for(sandbox, colour)
    assert accent.plain == colour
    assert contrast(accent.plain, accent.ink) >= MIN_CONTRAST
    for surface in (*sandbox.surfaces, accent.soft):
        assert contrast(accent.strong, surface) >= MIN_CONTRAST
    assert contrast(accent.strong, accent.ink) >= MIN_CONTRAST


def test_four_and_a_half_is_the_border() -> None:
    """The standard's minimum decides: one step of grey more, and a setting is refused."""
    assert accent_for(LIGHT, "#767676").plain == "#767676"
    with pytest.raises(ValueError, match="hard to read"):
        accent_for(LIGHT, "#777777")


@given(colour=COLOURS)
def test_every_colour_has_a_twin_for_the_dark(colour: str) -> None:
    """An accent for light pages is made readable on dark ones."""
    twin = dark_variant(colour)
    assert accent_for(DARK, twin).plain == twin

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain.errors import Invalid
from keystead.domain.keys import check_description, check_query
from keystead.domain.workspaces import check_name

LINES = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=100
)
UNFIT = st.characters(categories=["Cc", "Cs", "Zl", "Zp"])


@given(LINES.filter(lambda text: not text.isspace()))
def test_accepted_text_is_unchanged(text: str) -> None:
    """A description or a name that is accepted is kept to the character: blanks, joiners, any script."""
    assert check_description(text) == text
    assert check_name(text) == text
    assert check_query(text) == text


@given(LINES, UNFIT, st.integers(0, 100))
def test_no_line_holds_controls(text: str, unfit: str, place: int) -> None:
    """A control character (NUL and ESC too), a line separator or half a character is refused wherever it stands."""
    spoiled = text[:place] + unfit + text[place:]
    for check in (check_description, check_name, check_query):
        with pytest.raises(Invalid):
            check(spoiled)


@pytest.mark.parametrize("text", ["", " ", " \u3000\u00a0"])
def test_blank_is_no_description(text: str) -> None:
    """What shows nothing describes nothing; but one may search for a blank."""
    with pytest.raises(Invalid) as refused:
        check_description(text)
    assert [error.pointer for error in refused.value.errors] == ["/description"]
    assert check_query(text) == text


def test_bounds() -> None:
    """A description has 200 characters at most, a name 100, counted as characters and not as bytes."""
    assert check_description("😀" * 200)
    assert check_name("字" * 100)
    for check, longest in ((check_description, 200), (check_query, 200), (check_name, 100)):
        with pytest.raises(Invalid):
            check("x" * (longest + 1))


def test_a_refusal_does_not_repeat_the_text() -> None:
    """The refusal of a text says what may stand there, not what was sent."""
    with pytest.raises(Invalid) as refused:
        check_description("attack\x1b[2J")
    assert "attack" not in str(refused.value)

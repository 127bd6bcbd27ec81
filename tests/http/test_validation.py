"""The message about a refused value."""

from __future__ import annotations

import pytest

from keystead.api.bodies.keys import NewKey
from keystead.domain.errors import Invalid
from keystead.http.json_body import decode_model


@pytest.mark.parametrize("instant", ["2027-01-31", "2027-01-31T12:00:00", "tomorrow"])
def test_the_error_for_half_a_time_shows_an_example(instant: str) -> None:
    """The message contains the whole example, even if the value is a part of that example."""
    with pytest.raises(Invalid) as caught:
        decode_model(NewKey, f'{{"description": "a", "expires_at": "{instant}"}}'.encode())
    [error] = caught.value.errors
    assert error.pointer == "/expires_at"
    assert "such as 2027-01-31T12:00:00Z" in error.detail

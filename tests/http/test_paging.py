"""A cursor continues the list that it came from, and no other."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain.errors import Invalid, InvalidCursor
from keystead.http.paging import read_page

LIST: dict[str, Any] = {
    "workspace_id": "ws_1",
    "path": "/v1/keys",
    "filters": {"status": "active", "query": None},
}
OTHER_LISTS = [
    {**LIST, "workspace_id": "ws_2"},
    {**LIST, "path": "/v1/events"},
    {**LIST, "filters": {"status": "expired"}},
    {**LIST, "filters": {"status": "active", "query": ""}},
    {**LIST, "filters": {"query": "active"}},
    {**LIST, "filters": {}},
    {**LIST, "workspace_id": "ws_1/v1", "path": "/keys"},
]


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, 50), (1, 1), (200, 200), ("1", 1), ("200", 200), ("007", 7)]
)
def test_a_limit_is_1_to_200_and_50_by_default(limit: int | str | None, expected: int) -> None:
    """Limits within bounds are taken as they are."""
    assert read_page(str, limit=limit, **LIST).limit == expected


@pytest.mark.parametrize(
    "limit", [0, -1, 201, 10**9, "0", "-1", "201", "", "1e2", "٣", " 5", "5.0"]
)
def test_any_other_limit_is_refused(limit: int | str) -> None:
    """Nothing is clamped or guessed."""
    with pytest.raises(Invalid) as caught:
        read_page(str, limit=limit, **LIST)
    assert caught.value.errors[0].pointer == "query:limit"


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128))
def test_a_cursor_decodes_to_its_position(position: str) -> None:
    """IDs and names of any kind; the filters' order and absent filters make no difference."""
    cursor = read_page(str, **LIST).cursor(position)
    again = {**LIST, "filters": {"query": None, "other": None, "status": "active"}}
    assert read_page(str, cursor=cursor, limit=3, **again).after == position


@given(st.integers(0, 10**18 - 1))
def test_a_sequence_is_a_position_too(position: int) -> None:
    """Events continue after a number."""
    cursor = read_page(int, **LIST).cursor(position)
    assert read_page(int, cursor=cursor, **LIST).after == position


@pytest.mark.parametrize("other", OTHER_LISTS)
def test_a_cursor_of_another_list_is_refused(other: dict[str, Any]) -> None:
    """Another workspace, path or filter: the cursor is invalid."""
    cursor = read_page(str, **other).cursor("key_1")
    with pytest.raises(InvalidCursor):
        read_page(str, cursor=cursor, **LIST)


@given(
    st.text(max_size=60)
    | st.binary(max_size=60).map(lambda b: base64.urlsafe_b64encode(b).decode())
)
def test_anything_else_is_an_invalid_cursor(cursor: str) -> None:
    """Any other text is refused as a cursor, and never a server error."""
    with pytest.raises(InvalidCursor):
        read_page(int, cursor=cursor, **LIST)


@pytest.mark.parametrize(
    "position", [b"", b"\0", b"a b", b"\xff", b"x" * 201, b"\xc3\xa9", b"key_1\n"]
)
def test_a_malformed_position_is_refused(position: bytes) -> None:
    """The binding isn't a secret: a malformed position is refused even with the right one."""
    page = read_page(str, **LIST)
    cursor = base64.urlsafe_b64encode(position + page.binding.digest()).rstrip(b"=").decode()
    with pytest.raises(InvalidCursor):
        read_page(str, cursor=cursor, **LIST)


@pytest.mark.parametrize("position", [b"-1", b"01", b"1.0", b"9" * 19, b"key_1", b"\xd9\xa3"])
def test_a_malformed_sequence_is_refused(position: bytes) -> None:
    """A sequence is a number of at most 18 digits, written in one way."""
    page = read_page(int, **LIST)
    cursor = base64.urlsafe_b64encode(position + page.binding.digest()).rstrip(b"=").decode()
    with pytest.raises(InvalidCursor):
        read_page(int, cursor=cursor, **LIST)


def test_a_position_has_one_cursor() -> None:
    """Neither padding nor bits that decoding drops give a second text for the same cursor."""
    cursor = read_page(str, **LIST).cursor("key_12")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = cursor[:-1] + letters[letters.index(cursor[-1]) + 1]
    assert base64.urlsafe_b64decode(cursor + "==") == base64.urlsafe_b64decode(twin + "==")
    for other in (cursor + "==", twin, f" {cursor}", f"{cursor}\n"):
        with pytest.raises(InvalidCursor):
            read_page(str, cursor=other, **LIST)


def test_a_page_names_the_next_one_or_none() -> None:
    """Every list ends in the same way."""
    page = read_page(str, **LIST)
    assert page.next_cursor(None) is None
    assert page.next_cursor("key_9") == page.cursor("key_9")


def test_no_cursor_looks_like_an_option() -> None:
    """A command line takes what begins with a hyphen for an option: no cursor does, whatever it is bound to."""
    for number in range(1_000):
        keys = read_page(str, workspace_id=f"ws_{number}", path="/v1/keys")
        events = read_page(int, workspace_id=f"ws_{number}", path="/v1/events")
        cursors = keys.cursor("key_02tcRIyrxLXTR81B3dqdOx"), events.cursor(0), events.cursor(987)
        assert all(cursor[0].isalnum() for cursor in cursors)

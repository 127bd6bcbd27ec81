"""Metadata of keys: bounded labels, and how changes are merged into them."""

from __future__ import annotations

import json

import pytest

from keystead.domain.errors import Invalid
from keystead.domain.key_metadata import (
    MAX_BYTES,
    MAX_MEMBERS,
    check_metadata,
    compact_json,
    merge_metadata,
)


def test_metadata_keeps_its_values_in_the_order_of_names() -> None:
    """Names of all kinds, empty and non-ASCII values: nothing is changed but the order."""
    metadata = {"b.c": "", "A_-9": "Zürich · 東京", "b": "x" * 500}
    assert list(check_metadata(metadata).items()) == sorted(metadata.items())
    assert check_metadata({}) == {}


@pytest.mark.parametrize(
    ("metadata", "pointer"),
    [
        ({"": "x"}, "/metadata"),
        ({"n" * 41: "x"}, "/metadata"),
        ({"a b": "x"}, "/metadata"),
        ({"ä": "x"}, "/metadata"),
        ({"a\n": "x"}, "/metadata"),
        ({"a/b": "x"}, "/metadata"),
        ({"a": "one\ntwo"}, "/metadata/a"),
        ({"a": "\x1b[31m"}, "/metadata/a"),
        ({"a": "\u2028"}, "/metadata/a"),
        ({"a": "\x85"}, "/metadata/a"),
        ({f"n{number}": "" for number in range(MAX_MEMBERS + 1)}, "/metadata"),
        ({"a": "x" * MAX_BYTES}, "/metadata"),
    ],
)
def test_what_is_no_label_is_refused(metadata: dict[str, str], pointer: str) -> None:
    """The error has the place of a value, and never the value."""
    with pytest.raises(Invalid) as refused:
        check_metadata(metadata)
    assert [error.pointer for error in refused.value.errors] == [pointer]


def test_the_size_is_that_of_compact_json() -> None:
    """Exactly 2,048 bytes of UTF-8 are accepted, one more is refused; escapes and two-byte letters count."""
    for letter in ("x", "ü", '"'):
        size = len(compact_json({"a": letter})) - len(compact_json({"a": ""}))
        room = MAX_BYTES - len(compact_json({"a": ""}))
        full = {"a": letter * (room // size) + "x" * (room % size)}
        assert (
            len(json.dumps(full, ensure_ascii=False, separators=(",", ":")).encode()) == MAX_BYTES
        )
        assert check_metadata(full) == full
        with pytest.raises(Invalid):
            check_metadata({"a": full["a"] + "x"})


def test_a_merge_adds_replaces_and_removes() -> None:
    """Absent members stay, null removes one, and what never was can be removed too."""
    before = {"customer": "42", "team": "it"}
    merged = merge_metadata(before, {"team": None, "region": "eu", "gone": None, "customer": "43"})
    assert merged == {"customer": "43", "region": "eu"}
    assert before == {"customer": "42", "team": "it"}
    assert merge_metadata(before, {}) == before


def test_limits_hold_after_the_merge() -> None:
    """A replacement at the limit is accepted: only what remains is counted."""
    full = {f"n{number}": "" for number in range(MAX_MEMBERS)}
    assert len(merge_metadata(full, {"n0": None, "new": "x"})) == MAX_MEMBERS
    with pytest.raises(Invalid):
        merge_metadata(full, {"new": "x"})

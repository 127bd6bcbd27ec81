"""A JSON text has one meaning, or it is refused."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PlainValidator
from pydantic_core import from_json

from keystead.domain.errors import Invalid, InvalidRequest, TooLarge, UnsupportedMediaType
from keystead.domain.instants import parse_instant
from keystead.http.json_body import (
    MAX_DEPTH,
    MAX_VALUES,
    decode_json,
    decode_model,
    require_json,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
SCRAPS = [
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b'"a"', b'"a":', b"0", b"-", b"1e", b"1e999", b"."),
    *(b"NaN", b"-Infinity", b"null", b"true", b"\\u0000", b'"\\ud800"', b'"\\ud83d\\ude00"', b" "),
    *(b"9" * 20, b"\x00", b"\xff", b"\xef\xbb\xbf", b'{"a":1,"a":2}', b"\xc3\xa9", b"9" * 5000),
]


Instant = Annotated[object, PlainValidator(lambda value: parse_instant(str(value)))]
"""A field that parses its own value, as those of the API do."""


class Draft(BaseModel):
    """A body as endpoints declare it."""

    model_config = ConfigDict(extra="forbid")

    description: str
    expires_at: Instant | None = None
    uses: int = 0


class Circle(BaseModel):
    """One of two shapes."""

    kind: Literal["circle"]


class Square(BaseModel):
    """The other shape."""

    kind: Literal["square"]


class Drawing(Draft):
    """A body with a union that has a tag."""

    attributes: dict[str, int] = {}
    shape: Annotated[Circle | Square, Field(discriminator="kind")] | None = None


def pointers(error: Invalid) -> list[str]:
    """Return the pointers to the refused values."""
    return [entry.pointer for entry in error.errors]


def accepted(data: bytes) -> tuple[bool, Any]:
    """Return whether `data` is accepted, and its value."""
    try:
        return True, decode_json(data)
    except (Invalid, InvalidRequest):
        return False, None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b"nul",
        b"'a'",
        b"{} {}",
        b"{}\x00",
        b"[1,]",
        b"NaN",
        b'{"a": Infinity}',
        b"[-Infinity]",
        b'"a\nb"',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        "{}".encode("utf-16-le"),
        "{}".encode("utf-32"),
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\xc0\x80"',
        b"01",
        b"0x1",
        b"[" * 100,
    ],
)
def test_what_is_not_json_is_not_understood(data: bytes) -> None:
    """Only plain UTF-8 that is JSON from the first byte to the last is accepted: otherwise 400."""
    with pytest.raises(InvalidRequest):
        decode_json(data)


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        (b'{"a": 1, "a": 1}', "/a"),
        (b'{"a": 1, "b": 2, "\\u0061": 3}', "/a"),
        (b'[0, {"x": {"a/b~c": 1, "a/b~c": 1}}]', "/1/x/a~1b~0c"),
        (b'{"a": ["\\ud800"]}', "/a/0"),
        (b'{"a": "\\udc00\\ud800"}', "/a"),
        (b'{"a": "x\\u0000y"}', "/a"),
        (b'{"a\\u0000": 1}', "/a\0"),
        (b'{"\\ud800": 1}', "/\ud800"),
        (b'{"a": 9223372036854775808}', "/a"),
        (b'{"a": -9223372036854775809}', "/a"),
        (b'{"a": 1e400}', "/a"),
        (b"[-1e400]", "/0"),
        (b"[" + b"9" * 5_000 + b"]", ""),
        (b"[" * 5_000 + b"]" * 5_000, ""),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "/0" * MAX_DEPTH),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "/a" * MAX_DEPTH),
    ],
)
def test_ambiguous_json_is_refused_with_a_pointer(data: bytes, pointer: str) -> None:
    """Repeated names, lone surrogates, NUL, numbers beyond 64 bits or a double, deep nesting: 422 with a pointer."""
    with pytest.raises(Invalid) as caught:
        decode_json(data)
    assert pointers(caught.value) == [pointer]


@pytest.mark.parametrize(
    "data",
    [
        b"0",
        b" null ",
        b'"\\ud83d\\ude00 \xc3\xa9 \xf0\x9f\x98\x80"',
        b"[9223372036854775807, -9223372036854775808, 1e308, -0.0, 0.1]",
        b'{"a": 1, "A": 2, "": 3}',
        b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
    ],
)
def test_what_has_one_meaning_is_read(data: bytes) -> None:
    """Values at the bounds are still accepted, and text is unchanged."""
    assert decode_json(data) == json.loads(data)


@given(VALUES)
def test_a_written_value_is_read_as_itself_or_refused(value: Any) -> None:
    """What Python writes as JSON is read back equal, unless it is one of the refused values."""
    ok, read = accepted(json.dumps(value).encode())
    assert not ok or read == value
    if isinstance(value, str) and "\0" not in value:
        assert ok
    if isinstance(value, float):
        assert ok is math.isfinite(value)


@given(st.lists(st.sampled_from(SCRAPS), max_size=12).map(b"".join) | st.binary(max_size=30))
def test_accepted_bytes_mean_the_same_to_every_parser(data: bytes) -> None:
    """Python's parser and pydantic's agree on all accepted bytes; no error but the two refusals is raised."""
    ok, read = accepted(data)
    if ok:
        assert read == json.loads(data) == from_json(data)


def test_a_million_digits_are_refused_and_not_computed() -> None:
    """A number of any length costs no more than reading it."""
    for data in (b"9" * 1_000_000, b"1e" + b"9" * 1_000_000, b"-" + b"9" * 1_000_000 + b".5"):
        with pytest.raises(Invalid):
            decode_json(data)


@pytest.mark.parametrize(
    "data",
    [
        b"[" + b"{}," * MAX_VALUES + b"{}]",
        b"[" + b"0," * MAX_VALUES + b"0]",
        b"[" + b'"",' * MAX_VALUES + b'""]',
        b"[" + b"[]," * MAX_VALUES,
        b"{" + b'"a":0,' * MAX_VALUES + b'"a":0}',
        b'{"a":' * MAX_VALUES,
    ],
)
def test_too_many_values_are_refused_before_one_is_built(data: bytes) -> None:
    """Names and values are counted in the bytes: 413, even if the rest is not JSON."""
    with pytest.raises(TooLarge, match=f"over {MAX_VALUES:,} values"):
        decode_json(data)


@given(VALUES | st.lists(VALUES, max_size=40))
def test_values_are_counted_as_they_are(value: Any) -> None:
    """A limit of exactly the number of values and names accepts them, and one less refuses."""
    data = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    count = count_of(value)
    with pytest.raises(TooLarge):
        decode_json(data, count - 1)
    try:
        decode_json(data, count)
    except TooLarge:
        pytest.fail("counted too many")
    except (Invalid, InvalidRequest):
        pass


def count_of(value: Any) -> int:
    """Return the number of values and member names."""
    if isinstance(value, dict):
        return 1 + sum(1 + count_of(member) for member in value.values())
    if isinstance(value, list):
        return 1 + sum(map(count_of, value))
    return 1


def test_the_first_of_several_repeated_names_is_named() -> None:
    """The error names the first of the repeated names."""
    with pytest.raises(Invalid) as caught:
        decode_json(b'{"c": 0, "a": 1, "b": 2, "b": 3, "a": 4}')
    assert pointers(caught.value) == ["/a"]


def test_a_long_name_is_cut_in_the_pointer() -> None:
    """A member name may be as long as a token, and is not repeated."""
    name = "ks_" + "a" * 80
    with pytest.raises(Invalid) as caught:
        decode_json(json.dumps({name: "\0"}).encode())
    assert pointers(caught.value) == ["/ks_" + "a" * 17 + "…"]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json ;charset="UTF-8"',
    ],
)
def test_json_is_sent_as_json(content_type: str) -> None:
    """The media type is application/json, with or without its charset."""
    require_json(content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "text/json",
        "application/json, text/plain",
        "application/json; charset=utf-16",
        "application/merge-patch+json",
    ],
)
def test_anything_else_is_an_unsupported_media_type(content_type: str | None) -> None:
    """A form or plain text that holds JSON is not JSON: a page of another origin could send it."""
    with pytest.raises(UnsupportedMediaType):
        require_json(content_type)


def test_a_body_becomes_a_model_with_strict_types() -> None:
    """Times are read from text; every other value must have exactly its type."""
    draft = decode_model(Draft, b'{"description": "sync", "expires_at": "2027-01-01T00:00:00Z"}')
    assert draft.expires_at == datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"[]", [""]),
        (b"{}", ["/description"]),
        (b'{"description": 7}', ["/description"]),
        (b'{"description": "a", "uses": "7"}', ["/uses"]),
        (b'{"description": "a", "uses": true}', ["/uses"]),
        (b'{"description": "a", "uses": 1.0, "id": "key_1"}', ["/uses", "/id"]),
    ],
)
def test_a_wrong_type_and_an_unknown_field_are_refused_by_place(
    data: bytes, expected: list[str]
) -> None:
    """Each refused field has its entry, and no value is coerced."""
    with pytest.raises(Invalid) as caught:
        decode_model(Draft, data)
    assert pointers(caught.value) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"description": ["003aUlTJC7tjlCTQj2uNU3MFagCXG9LR"]},
        {"uses": "003aUlTJC7tjlCTQj2uNU3MFagCXG9LR"},
        {"expires_at": "003aUlTJC7tjlCTQj2uNU3MFagCXG9LR"},
        {"attributes": {"a": "003aUlTJC7tjlCTQj2uNU3MFagCXG9LR"}},
        {"shape": "003aUlTJC7tjlCTQj2uNU3MFagCXG9LR"},
        {"shape": {"kind": "003aUlTJC7tjlCTQj2uNU3MFagCXG9LR"}},
    ],
)
def test_no_refused_value_is_repeated(fields: dict[str, object]) -> None:
    """No value that was sent appears in the refusal, including the tag of a union, which pydantic quotes."""
    with pytest.raises(Invalid) as caught:
        decode_model(Drawing, json.dumps({"description": "a", **fields}).encode())
    assert "003aUlTJC7tj" not in str(caught.value)

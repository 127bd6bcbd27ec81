from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain import ids
from keystead.domain.instants import EPOCH
from tests.support.clocks import NOON

NUMBERS = st.integers(0, (1 << 128) - 1)
INSTANTS = st.datetimes(
    EPOCH.replace(tzinfo=None),
    datetime(9999, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@given(NUMBERS, NUMBERS)
def test_base62_keeps_the_order_of_numbers(one: int, other: int) -> None:
    """Numbers of 128 bits are written in 22 characters, read back exactly, and sort as text as they do as numbers."""
    first, second = ids.encode_base62(one, 22), ids.encode_base62(other, 22)
    assert len(first) == len(second) == 22
    assert ids.decode_base62(first) == one
    assert (first < second) == (one < other)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "000"), (1, "001"), (61, "00z"), (62, "010"), (3843, "0zz"), (3844, "100")],
)
def test_base62_digits(number: int, text: str) -> None:
    """Base62 is big-endian over 0-9, A-Z, a-z, filled up with zeros on the left."""
    assert ids.encode_base62(number, 3) == text


@pytest.mark.parametrize("text", ["-", "é", "0_1", " 1", "\u0661"])
def test_base62_knows_its_alphabet(text: str) -> None:
    """A character outside of the alphabet is an error and no number."""
    with pytest.raises(KeyError):
        ids.decode_base62(text)


@given(INSTANTS)
def test_uuid7_layout(now: datetime) -> None:
    """An id is a UUID of version 7 and the standard's variant, and carries its millisecond (RFC 9562 section 5.7)."""
    number = ids.uuid7(now)
    uuid = UUID(int=number)
    assert (uuid.version, uuid.variant) == (7, RFC_4122)
    assert abs((number >> 80) - (now - EPOCH) / timedelta(milliseconds=1)) <= 1


def test_uuid7_randomness() -> None:
    """All 74 random bits of IDs with the same time vary."""
    uuids = [ids.uuid7(NOON) for _ in range(200)]
    varying = 0
    for number in uuids:
        varying |= number ^ uuids[0]
    assert varying == ((1 << 12) - 1) << 64 | ((1 << 62) - 1)


@given(st.lists(st.timedeltas(timedelta(days=-1), timedelta(days=1)), min_size=2, max_size=20))
def test_ids_strictly_rise(steps: list[timedelta]) -> None:
    """An ID made after another is above it, whatever the clock does in between, and still a UUIDv7."""
    now, last = NOON, None
    for step in steps:
        now += step
        id = ids.new_id("key", now, last)
        assert last is None or id > last
        assert UUID(int=ids.number_of(id)).version == 7
        last = id


def test_many_ids_at_one_time_rise() -> None:
    """A thousand IDs with the same time, each made after the previous one, are in strict order."""
    created = [ids.new_id("key", NOON)]
    for _ in range(1000):
        created.append(ids.new_id("key", NOON, created[-1]))
    assert created == sorted(set(created))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "key_",
        "key_02tcRIyrxLXTR81B3dqdO",
        "key_02tcRIyrxLXTR81B3dqdOxx",
        "ws_02tcRIyrxLXTR81B3dqdOx",
        "key-02tcRIyrxLXTR81B3dqdOx",
        "KEY_02tcRIyrxLXTR81B3dqdOx",
        "key_02tcRIyrxLXTR81B3dqd\x00x",
        "key_02tcRIyrxLXTR81B3dqdO\n",
        "key__02tcRIyrxLXTR81B3dqdOx",
        "key_02tcRIyrxLXTR81B3dqdO²",
    ],
)
def test_invalid_ids(text: str) -> None:
    """A text that can't be a key's id is recognised without a lookup."""
    assert not ids.is_id("key", text)


def test_what_is_an_id() -> None:
    """Each generated ID is valid for its kind."""
    assert ids.is_id("key", ids.new_id("key", NOON))

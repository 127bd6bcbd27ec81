"""Tokens are random: none twice, no character favoured at any place, none shared by forked processes."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from keystead.domain.ids import ALPHABET, ID_WIDTH, decode_base62
from keystead.domain.token import CHECKSUM_WIDTH, SECRET_WIDTH, mint

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
FREE_PLACES = range(1, SECRET_WIDTH)
"""The first place of 43 is not free: 256 bits fill it in part."""
UNLIKELY = 1e-6
DEVIATIONS = 6.3
"""What the least even of 256 fair bits exceeds less than once in a million runs."""
FORKS = 4


def secrets(count: int) -> list[str]:
    """The secrets of that many fresh tokens."""
    tokens = (mint("ks", NOW).reveal() for _ in range(count))
    return [token[-SECRET_WIDTH - CHECKSUM_WIDTH : -CHECKSUM_WIDTH] for token in tokens]


def chi_squared(seen: Iterable[str]) -> float:
    """How far the characters are from all being equally often."""
    counted = Counter(seen)
    expected = counted.total() / len(ALPHABET)
    return sum((counted[character] - expected) ** 2 / expected for character in ALPHABET)


def bound(places: int) -> float:
    """What chi-squared exceeds at one of so many places once in a million runs (Wilson and Hilferty, 1931)."""
    freedom, tail = len(ALPHABET) - 1, math.log(places / UNLIKELY)
    deviation = math.sqrt(2 * tail - math.log(4 * math.pi * tail))
    part = 2 / (9 * freedom)
    return float(freedom * (1 - part + deviation * math.sqrt(part)) ** 3)


def most_lopsided_bit(drawn: list[str]) -> float:
    """How far the least even of the 256 bits is from one half, in standard deviations."""
    ones = [0] * 256
    for secret in drawn:
        written = f"{decode_base62(secret):0256b}"
        ones = [count + (bit == "1") for count, bit in zip(ones, written, strict=True)]
    return max(abs(2 * count - len(drawn)) / math.sqrt(len(drawn)) for count in ones)


def require_random(drawn: list[str]) -> None:
    """No duplicate, no favoured character at any place, no favoured value of any bit."""
    assert len(set(drawn)) == len(drawn)
    worst = max(chi_squared(secret[place] for secret in drawn) for place in FREE_PLACES)
    assert worst < bound(len(FREE_PLACES))
    assert most_lopsided_bit(drawn) < DEVIATIONS


def forked(count: int) -> list[str]:
    """Secrets that several children of this process make, which all begin in the same state."""
    pipes = []
    for _ in range(FORKS):
        reader, writer = os.pipe()
        if os.fork() == 0:
            try:
                os.write(writer, "\n".join(secrets(count)).encode())
            finally:
                os._exit(0)
        os.close(writer)
        pipes.append(reader)
    drawn = []
    for reader in pipes:
        with os.fdopen(reader) as told:
            drawn += told.read().split()
        os.wait()
    return drawn


def test_tokens_are_random() -> None:
    """Twenty thousand tokens: none twice, all characters alike at every place."""
    require_random(secrets(20_000))


@pytest.mark.prove
def test_a_million_tokens_are_random() -> None:
    """A million tokens: none twice, all characters alike at every place."""
    require_random(secrets(1_000_000))


def test_forked_workers_share_no_token() -> None:
    """Processes forked from one, as a server's workers may be, make different tokens."""
    drawn = forked(500)
    assert len(drawn) == FORKS * 500
    assert len(set(drawn)) == len(drawn)


def test_ids_are_not_guessed_from_one_another() -> None:
    """Two ids of one millisecond differ in their random part."""
    ids = [mint("ks", NOW).key_id[-ID_WIDTH:] for _ in range(1_000)]
    assert len({one[-10:] for one in ids}) == len(ids)

from __future__ import annotations

import copy
import hashlib
import hmac
import os
import pickle
from collections.abc import Callable

import pytest

from keystead.domain.digest import Digest, Pepper, Peppers
from keystead.domain.token import Token, parse
from tests.support.tokens import FORMATTERS, VECTOR

KEY = bytes(range(32))


def _vector() -> Token:
    token = parse(VECTOR)
    assert token is not None
    return token


def test_digest_is_hmac_sha_256() -> None:
    """What is stored is HMAC-SHA-256 under the pepper of the token without its checksum, and the pepper's id."""
    sealed = Peppers(Pepper("one", KEY)).seal(_vector())
    assert sealed == ("one", hmac.new(KEY, VECTOR[:-6].encode(), hashlib.sha256).digest())


@pytest.mark.parametrize("length", [32, 63, 64, 65, 200])
def test_of_every_length_of_key(length: int) -> None:
    """A key shorter than SHA-256's block, as long, and longer: the same as the standard library's HMAC."""
    key = bytes(range(length))
    for body in (b"", b"x", bytes(1_000)):
        assert Pepper("p", key).digest(body) == hmac.digest(key, body, "sha256")


def test_the_current_pepper_seals() -> None:
    """New keys use the current pepper; keys of a retired one still match."""
    old, new = Pepper("old", KEY), Pepper("new", os.urandom(32))
    before, after = Peppers(old), Peppers(new, [old])
    sealed = before.seal(_vector())
    assert after.seal(_vector()).pepper_id == "new"
    assert after.match(_vector(), *sealed)
    assert after.match(_vector(), *after.seal(_vector()))
    assert after.ids == {"old", "new"}


def test_a_pepper_that_is_not_at_hand_matches_nothing() -> None:
    """A digest under an unknown pepper matches no token."""
    peppers = Peppers(Pepper("one", KEY))
    sealed = peppers.seal(_vector())
    assert "other" not in peppers
    assert not peppers.match(_vector(), "other", sealed.value)


def test_every_part_of_the_token_counts() -> None:
    """Another secret, another key id or another prefix does not match a stored digest."""
    peppers = Peppers(Pepper("one", KEY))
    sealed = peppers.seal(_vector())
    for other in (VECTOR.replace("ks_", "kt_", 1), VECTOR.replace("_02", "_03"), VECTOR[:-10]):
        token = Token(other + VECTOR[-6:], _vector().key_id, other.encode())
        assert not peppers.match(token, *sealed)


def test_truncated_digests_match_nothing() -> None:
    """A stored digest that lost bytes, or all of them, matches no token."""
    peppers = Peppers(Pepper("one", KEY))
    value = peppers.seal(_vector()).value
    assert not peppers.match(_vector(), "one", b"")
    assert not peppers.match(_vector(), "one", value[:16])


@pytest.mark.parametrize("key", [b"", b"x" * 31, b"x" * 64, b"abc" * 20, bytes(32)])
def test_weak_peppers_are_refused(key: bytes) -> None:
    """A pepper is at least 32 bytes, and not one byte over and over; its refusal names it without its bytes."""
    with pytest.raises(ValueError, match="the pepper weak must be") as refused:
        Pepper("weak", key)
    assert not key or key.hex() not in str(refused.value)


@pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a:b", "a" * 33, "ä", "a\n"])
def test_pepper_ids(name: str) -> None:
    """A pepper's id is 1-32 of a-z, 0-9 and hyphens."""
    with pytest.raises(ValueError, match="pepper's id"):
        Pepper(name, KEY)


def test_two_peppers_of_one_id_are_refused() -> None:
    """Two peppers with the same id are refused, be their keys equal or not: one would silently displace the other."""
    with pytest.raises(ValueError, match="same id"):
        Peppers(Pepper("one", KEY), [Pepper("one", os.urandom(32))])
    with pytest.raises(ValueError, match="same id"):
        Peppers(Pepper("new", KEY), [Pepper("old", KEY), Pepper("old", os.urandom(32))])


@pytest.mark.parametrize("show", FORMATTERS.values(), ids=FORMATTERS)
def test_peppers_and_digests_are_never_shown(show: Callable[[object], str]) -> None:
    """However a pepper or a digest is written down by mistake, only the pepper's id is in it."""
    pepper = Pepper("one", KEY)
    sealed = Digest("one", pepper.digest(b"body"))
    for thing in (pepper, Peppers(pepper, [Pepper("two", os.urandom(32))]), sealed):
        text = show(thing)
        assert "one" in text
        for secret in (KEY, sealed.value):
            assert secret.hex() not in text
            assert repr(secret)[2:-1] not in text


def test_peppers_are_not_copied_out() -> None:
    """A pepper leaves the process neither by pickling nor by copying."""
    pepper = Pepper("one", KEY)
    for thing in (pepper, Peppers(pepper)):
        with pytest.raises(TypeError):
            pickle.dumps(thing)
        with pytest.raises(TypeError):
            copy.deepcopy(thing)

from __future__ import annotations

import copy
import math
import pickle
import re
import string
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain import token as tokens
from keystead.domain.ids import ALPHABET, encode_base62, number_of
from keystead.domain.token import Secret, Token
from tests.support.tokens import FORMATTERS, VECTOR

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
VECTOR_ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057").int
PREFIXES = st.from_regex(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", fullmatch=True).filter(
    lambda text: 2 <= len(text) <= 20 and text.rpartition("_")[2] not in tokens.RESERVED_SUFFIXES
)
SECRETS = st.binary(min_size=32, max_size=32)
UUIDS = st.integers(0, (1 << 128) - 1)


def with_checksum(body: str) -> str:
    """`body` as a stranger would sign it who read the format."""
    return body + tokens.checksum(body)


def test_known_checksum() -> None:
    """The checksum is the one that GitHub's published example has."""
    assert tokens.checksum("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ") == "0mLq17"


def test_known_token() -> None:
    """The contract's whole vector comes out character by character, and reads back as the same key."""
    token = tokens.assemble("ks", VECTOR_ID, bytes(range(32)))
    assert token.reveal() == VECTOR
    parsed = tokens.parse(VECTOR)
    assert parsed is not None
    assert parsed.key_id == token.key_id == "key_02tcRIyrxLXTR81B3dqdOx"
    assert parsed.reveal() == VECTOR


def test_digest_covers_all_but_the_checksum() -> None:
    """What is digested binds prefix, id and secret: all of the token before its checksum."""
    parsed = tokens.parse(VECTOR)
    assert parsed is not None
    assert parsed.body().decode() == VECTOR[:-6]


@given(PREFIXES, UUIDS, SECRETS)
def test_round_trip(prefix: str, number: int, secret: bytes) -> None:
    """Every token that can be made is read back to the key it was made for, and matches the published expression."""
    made = tokens.assemble(prefix, number, secret)
    parsed = tokens.parse(made.reveal())
    assert parsed is not None
    assert (parsed.key_id, parsed.reveal()) == (made.key_id, made.reveal())
    assert number_of(parsed.key_id) == number
    assert re.fullmatch(tokens.TOKEN_PATTERN, made.reveal())


@given(PREFIXES, UUIDS, SECRETS)
def test_one_word(prefix: str, number: int, secret: bytes) -> None:
    """A double click selects the whole token: letters, digits and underscores only."""
    assert re.fullmatch(r"\w+", tokens.assemble(prefix, number, secret).reveal(), re.ASCII)


def test_published_expression_finds_whole_tokens() -> None:
    """The published expression, searched for in a text, finds the token with both of its ends."""
    line = f'curl -H "Authorization: Bearer {VECTOR}" # {VECTOR}'
    assert [match[0] for match in re.finditer(tokens.TOKEN_PATTERN, line)] == [VECTOR, VECTOR]


@given(st.text("ab1_", max_size=12) | PREFIXES)
def test_the_published_expression_is_what_is_read(prefix: str) -> None:
    """Whatever stands before the id: of texts with the right checksum those are tokens that the expression finds."""
    whole = with_checksum(prefix + VECTOR[2:-6])
    is_token = re.fullmatch(tokens.TOKEN_PATTERN, whole) is not None
    assert (tokens.parse(whole) is not None) is is_token


@pytest.mark.parametrize("place", range(len(VECTOR)))
def test_any_changed_character_is_refused(place: int) -> None:
    """A token with one character changed to any other valid one is refused without a lookup."""
    others = set(string.ascii_letters + string.digits + "_ -.\n\x00é") - {VECTOR[place]}
    for other in others:
        assert tokens.parse(VECTOR[:place] + other + VECTOR[place + 1 :]) is None, other


@given(st.integers(0, len(VECTOR)), st.text(max_size=3).filter(bool))
def test_anything_added_is_refused(place: int, added: str) -> None:
    """A token with something put before, into or behind it is refused."""
    assert tokens.parse(VECTOR[:place] + added + VECTOR[place:]) is None


@pytest.mark.parametrize("cut", range(1, len(VECTOR)))
def test_any_part_is_refused(cut: int) -> None:
    """A token that lost its beginning or its end is refused."""
    assert tokens.parse(VECTOR[cut:]) is None
    assert tokens.parse(VECTOR[:-cut]) is None


@given(st.text(max_size=120))
def test_anything_is_read_without_a_crash(text: str) -> None:
    """Any other text is refused without an exception."""
    assert tokens.parse(text) is None


def test_swapped_neighbours_are_refused() -> None:
    """Two neighbouring characters that changed places are noticed."""
    for place in range(len(VECTOR) - 1):
        one, other = VECTOR[place], VECTOR[place + 1]
        swapped = VECTOR[:place] + other + one + VECTOR[place + 2 :]
        assert one == other or tokens.parse(swapped) is None


def test_largest_secret() -> None:
    """A secret of all ones is read; one more is not 256 bits any longer and is malformed, right checksum or not."""
    largest = (1 << 256) - 1
    whole = tokens.assemble("ks", VECTOR_ID, largest.to_bytes(32, "big")).reveal()
    assert tokens.parse(whole) is not None
    above = f"ks_{encode_base62(VECTOR_ID, 22)}_{encode_base62(largest + 1, 43)}"
    assert tokens.parse(with_checksum(above)) is None
    assert tokens.parse(with_checksum(f"ks_{'0' * 22}_{'z' * 43}")) is None


@pytest.mark.parametrize(
    "prefix",
    ["", "K", "1k", "_ks", "ks_", "k__s", "Ks", "ks-live", "kś", "ks\n", "a" * 21, "k"],
)
def test_bad_prefixes(prefix: str) -> None:
    """A product's prefix is 2-20 of a-z, 0-9 and single underscores, starting with a-z."""
    with pytest.raises(ValueError, match="token prefix"):
        tokens.check_prefix(prefix)


@pytest.mark.parametrize("prefix", ["ks_svc", "acme_live_op", "a_op", "op", "svc"])
def test_reserved_prefixes(prefix: str) -> None:
    """The suffixes of service and operator credentials are not available for keys."""
    with pytest.raises(ValueError, match="reserved"):
        tokens.check_prefix(prefix)


@pytest.mark.parametrize(
    "prefix", ["ks", "acme_live", "ops", "op_live", "svc1", "a1_2_3", "a" * 20, "stop"]
)
def test_good_prefixes(prefix: str) -> None:
    """A prefix that may be used makes tokens that are read back."""
    made = tokens.mint(tokens.check_prefix(prefix), NOW)
    assert tokens.parse(made.reveal()) is not None


def test_minted_tokens_differ() -> None:
    """Each minted token has an id and a secret of its own, even within one microsecond."""
    minted = [tokens.mint("ks", NOW) for _ in range(200)]
    assert len({token.key_id for token in minted}) == 200
    assert len({token.reveal()[-49:] for token in minted}) == 200


def test_minted_ids_rise() -> None:
    """A token minted after another has a higher key id, though the clock stands still or runs back."""
    first = tokens.mint("ks", NOW)
    second = tokens.mint("ks", NOW, first.key_id)
    third = tokens.mint("ks", datetime(2020, 1, 1, tzinfo=UTC), second.key_id)
    assert first.key_id < second.key_id < third.key_id


@given(PREFIXES, UUIDS, SECRETS)
def test_hint(prefix: str, number: int, secret: bytes) -> None:
    """A hint is the prefix and the last four characters, and nothing else of the token."""
    token = tokens.assemble(prefix, number, secret)
    assert token.hint == f"{prefix}_…{token.reveal()[-4:]}"


def test_hint_leaves_the_secret_unknown() -> None:
    """Who knows a hint, the key's id and the format still has to guess at least 128 bits (R12)."""
    shown = 4 * math.log2(len(ALPHABET))
    secret = 8 * tokens.SECRET_BYTES
    assert secret == 256
    assert secret - shown > 230


@pytest.mark.parametrize("show", FORMATTERS.values(), ids=FORMATTERS)
def test_token_is_never_shown(show: Callable[[object], str]) -> None:
    """However a token is written down by mistake, neither its secret nor its checksum is in it."""
    text = show(tokens.parse(VECTOR))
    assert "key_02tcRIyrxLXTR81B3dqdOx" in text
    assert VECTOR[26:69] not in text
    assert VECTOR[-6:] not in text


@pytest.mark.parametrize("show", FORMATTERS.values(), ids=FORMATTERS)
def test_sign_in_secret_is_never_shown(show: Callable[[object], str]) -> None:
    """However a sign-in secret is written down by mistake, its text is not in it."""
    secret = Secret.fresh()
    text = show(secret)
    assert secret.reveal() not in text
    assert secret.fingerprint().hex() not in text


@pytest.mark.parametrize("secret", [tokens.parse(VECTOR), Secret.fresh()], ids=["token", "secret"])
def test_secrets_are_not_copied_out(secret: Token | Secret) -> None:
    """A token or a sign-in secret cannot be pickled or copied, and has no dictionary to be dumped."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(secret, protocol)
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            duplicate(secret)
    with pytest.raises(TypeError):
        vars(secret)


def test_sign_in_secret() -> None:
    """A sign-in secret is 256 fresh bits as base64url, and what is stored of it is its SHA-256."""
    one, other = Secret.fresh(), Secret.fresh()
    assert one.reveal() != other.reveal()
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", one.reveal())
    assert one.fingerprint() == Secret(one.reveal()).fingerprint() != other.fingerprint()
    assert len(one.fingerprint()) == 32


@given(st.text(max_size=50))
def test_any_cookie_has_a_fingerprint(text: str) -> None:
    """Whatever a browser sends as its session can be looked up, half characters included."""
    assert len(Secret(text + "\ud800").fingerprint()) == 32

"""Credentials are read with one meaning or refused."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain.errors import (
    Forbidden,
    InsufficientScope,
    InvalidRequest,
    InvalidToken,
    KeysteadError,
    NotFound,
    Unauthenticated,
)
from keystead.http.bearer import (
    MAX_CREDENTIALS,
    TwoCredentials,
    bearer_of,
    challenge,
    read_bearer,
)
from tests.support.asgi import scope_of

TOKEN = "ks_02tcRIyrxLXTR81B3dqdOx_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf2aDLy9"
TOKEN68 = set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/")
FRAGMENTS = [
    *(b"Bearer", b"bearer", b"BEARER", b"Basic", b"Bearerx", b"Digest", b"Bear", b"er"),
    *(
        b" ",
        b"  ",
        b"\t",
        b",",
        b", ",
        b",,",
        b";",
        b"=",
        b"==",
        b'"',
        b"\\",
        b"",
        b"\xa0",
        b"\x00",
    ),
    *(b"abc", b"a.b-c_d~e+f/g", b"dXNlcjpwYXNz", TOKEN.encode(), b"=a", b"realm=", b"\xc3\xa9"),
    *(b"\r\n", b"\xff", b"%20", b"Bearer abc", b"access_token=abc", b"\xe2\x80\xa8", b"\x7f", b"0"),
]


def read_or_error(*values: bytes) -> str | type[KeysteadError]:
    """Return the token in Authorization fields with these values, or the type of the refusal."""
    try:
        return read_bearer([(b"host", b"h"), *((b"authorization", value) for value in values)])
    except KeysteadError as error:
        return type(error)


def is_one_token68(value: bytes, token: str) -> bool:
    """Return whether `value` is the scheme, spaces, and `token`, which is token68; without a regular expression."""
    head, rest = value.strip(b" \t")[:6], value.strip(b" \t")[6:]
    text = rest.lstrip(b" ")
    letters = text.rstrip(b"=")
    return (
        head.lower() == b"bearer"
        and len(rest) > len(text)
        and text == token.encode()
        and len(letters) > 0
        and set(letters) <= TOKEN68
    )


@pytest.mark.parametrize(
    "value", ["Bearer {}", "bearer {}", "BEARER {}", "bEaReR    {}", " \tBearer {}\t "]
)
def test_a_bearer_token_is_read_whatever_the_case_of_its_scheme(value: str) -> None:
    """The scheme is case-insensitive and ends with one or more spaces (RFC 9110 sections 11.1 and 11.4)."""
    assert read_or_error(value.format(TOKEN).encode()) == TOKEN


@pytest.mark.parametrize("token", ["a", "=", "a=", "a==", "-._~+/", "A" * (MAX_CREDENTIALS - 7)])
def test_token68_is_read_whole(token: str) -> None:
    """All of token68 (RFC 9110 section 11.2) is read, padding included; padding alone isn't a token."""
    assert read_or_error(f"Bearer {token}".encode()) == (InvalidToken if token == "=" else token)


@pytest.mark.parametrize(
    "values",
    [(), (b"",), (b"Basic dXNlcjpwYXNz",), (b"Bearerx abc",), (b"Token abc",), (TOKEN.encode(),)],
)
def test_another_scheme_means_no_credentials(values: tuple[bytes, ...]) -> None:
    """No Authorization, or one of another scheme, means no credentials."""
    assert read_or_error(*values) is Unauthenticated


@pytest.mark.parametrize(
    "rest", [b"", b" ", b"\tabc", b" a b", b" a,b", b' "abc"', b" a=b", b" \xc3\xa9", b"\x00abc"]
)
def test_a_bearer_value_that_is_not_token68_is_an_invalid_token(rest: bytes) -> None:
    """Our scheme with a malformed value gets the response of any bad token, never a server error."""
    assert read_or_error(b"Bearer" + rest) is InvalidToken


@pytest.mark.parametrize(
    ("value", "refusal"),
    [
        (b"Bearer " + b"A" * MAX_CREDENTIALS, InvalidToken),
        (b"Bearer abc" + b", " * MAX_CREDENTIALS + b"Bearer def", InvalidToken),
        (b"Negotiate " + b"A" * MAX_CREDENTIALS, Unauthenticated),
        (b", " * MAX_CREDENTIALS, Unauthenticated),
    ],
)
def test_a_field_that_is_too_long_is_not_searched(
    value: bytes, refusal: type[KeysteadError]
) -> None:
    """No token is that long: only the scheme decides which 401 it is."""
    assert read_or_error(value) is refusal


@given(st.lists(st.sampled_from([*FRAGMENTS, b",", b", ", b" ,\t"]), max_size=20).map(b"".join))
def test_runs_of_commas_change_no_answer(value: bytes) -> None:
    """The result is that of a search at every comma of a run, which would take quadratic time."""
    tchar = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
    is_joined = re.search(rb",[ \t,]*" + tchar + rb"+ +[^ ,=]", value.strip(b" \t")) is not None
    assert (read_or_error(value) is TwoCredentials) is is_joined


@pytest.mark.parametrize(
    "values",
    [
        (b"Bearer abc", b"Bearer def"),
        (b"Bearer abc", b"Bearer abc"),
        (b"Basic abc", b"Bearer def"),
        (b"Bearer abc", b"Basic def"),
        (b"", b"Bearer abc"),
        (b"Bearer abc, Bearer def",),
        (b"Bearer abc,bearer def",),
        (b"Basic abc,\t, Bearer def",),
        (b"Bearer abc, Basic def",),
    ],
)
def test_two_credentials_are_refused_in_any_order_and_joined_too(values: tuple[bytes, ...]) -> None:
    """Two credentials are refused; none is chosen (RFC 6750 section 3.1)."""
    assert read_or_error(*values) is TwoCredentials


def test_the_case_of_a_field_name_hides_no_second_credential() -> None:
    """A host application that passes field names unchanged gets the same refusal."""
    with pytest.raises(TwoCredentials):
        read_bearer([(b"Authorization", b"Bearer a"), (b"AUTHORIZATION", b"Bearer b")])


def test_a_token_in_the_url_is_never_read_and_counts_as_a_second() -> None:
    """A token in the query isn't a credential; in addition to the field it is a second one."""
    bearer = (b"authorization", b"Bearer abc")
    query = b"a=b&access_token=def"
    assert bearer_of(scope_of(headers=[bearer])) == "abc"
    with pytest.raises(TwoCredentials):
        bearer_of(scope_of(headers=[bearer], query_string=query))
    with pytest.raises(Unauthenticated):
        bearer_of(scope_of(headers=[], query_string=query))


@given(st.binary(max_size=80) | st.lists(st.sampled_from(FRAGMENTS), max_size=8).map(b"".join))
def test_any_bytes_are_one_token_or_a_refusal(value: bytes) -> None:
    """Whatever is accepted is exactly one token68; everything else is one of the three refusals."""
    result = read_or_error(value)
    if isinstance(result, str):
        assert is_one_token68(value, result)
    else:
        assert result in {Unauthenticated, InvalidToken, TwoCredentials}


def test_a_hundred_thousand_values_have_one_meaning() -> None:
    """Each of 100,000 mixed-up values is read as the one token68 that it contains, or refused."""
    chance = random.Random(6750)
    accepted = 0
    for _ in range(100_000):
        value = b"".join(chance.choices(FRAGMENTS, k=chance.randrange(1, 7)))
        if chance.random() < 0.5:
            value = b"Bearer " + value
        result = read_or_error(value)
        if isinstance(result, str):
            accepted += 1
            assert is_one_token68(value, result)
    assert accepted > 5_000


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Unauthenticated(), 'Bearer realm="keystead"'),
        (InvalidToken(), 'Bearer realm="keystead", error="invalid_token"'),
        (TwoCredentials(), 'Bearer realm="keystead", error="invalid_request"'),
        (
            InsufficientScope("keys:write"),
            'Bearer realm="keystead", error="insufficient_scope", scope="keys:write"',
        ),
        (
            Forbidden("keys:write"),
            'Bearer realm="keystead", error="insufficient_scope", scope="keys:write"',
        ),
        (InvalidRequest(), None),
        (NotFound(), None),
    ],
)
def test_the_challenge_says_what_rfc_6750_says(error: KeysteadError, expected: str | None) -> None:
    """Without credentials the challenge has only the scheme; otherwise the error, and the missing scope."""
    assert challenge(error, "keystead") == expected


@given(st.text(max_size=30))
def test_no_scope_text_breaks_out_of_the_challenge(scope: str) -> None:
    """With any text as scope, the field stays one well-formed line."""
    value = challenge(InsufficientScope(scope), "keystead") or ""
    assert re.fullmatch(
        r'Bearer realm="keystead", error="insufficient_scope"(, scope="[!#-\[\]-~ ]+")?', value
    )

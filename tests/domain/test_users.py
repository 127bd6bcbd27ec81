"""Email addresses, as users enter them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain.errors import Invalid
from keystead.domain.users import check_email, fold_email


@pytest.mark.parametrize(
    "email",
    [
        "a@b",
        "ada@example.com",
        "Ada.Lovelace+keys@Example.COM",
        "o'brien@example.co.uk",
        "ада@пример.рф",
        f"{'x' * 64}@{'.'.join(['y' * 62] * 3)}",
    ],
)
def test_addresses(email: str) -> None:
    """An address that mail can reach is stored as it was entered."""
    assert check_email(email) == email


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "@b",
        "a@",
        "a@b@c",
        "a b@c",
        "a@b c",
        "a@.b",
        "a@b.",
        "a@b..c",
        f"{'x' * 65}@b",
        f"{'x' * 64}@{'y' * 190}",
        "a@b\n",
        "a\t@b",
        "a\0@b",
        "a\u2028@b",
        "\ud800@b",
        "c@[",
        "root,x@example.com",
        "a;b@example.com",
        "group:a@example.com",
        "<ada@example.com>",
        "Ada <ada@example.com>",
        "ada@example.com, eve@example.com",
        '"a b"@example.com',
        '"a,b"@example.com',
        "a(comment)@example.com",
        "a\\b@example.com",
        "a..b@example.com",
        ".a@example.com",
        "a.@example.com",
        "=?utf-8?q?ada?=@example.com",
        "ada@[127.0.0.1]",
        "ada@-example.com",
        "ada@example-.com",
        "ada@ex_ample.com",
        f"ada@{'y' * 64}.com",
        "ada@example\u3002com",
        "\u202eada@example.com",
        "ada\u200b@example.com",
        "ada\uff0cb@example.com",
        "\ufeffada@example.com",
    ],
)
def test_invalid_addresses(email: str) -> None:
    """Other text, or an address longer than mail allows, is refused with the name of its field."""
    with pytest.raises(Invalid) as refused:
        check_email(email, "/user/email")
    assert [error.pointer for error in refused.value.errors] == ["/user/email"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada@Example.com", "ada@example.COM"),
        ("STRASSE@example.com", "straße@example.com"),
        ("cafe\u0301@example.com", "caf\u00e9@example.com"),
        ("\uff41da@example.com", "ada@example.com"),
        ("ΣΑΣ@example.com", "σας@example.com"),
    ],
)
def test_one_person(one: str, other: str) -> None:
    """Case and Unicode forms do not make a second user."""
    assert fold_email(one) == fold_email(other)


def test_two_persons() -> None:
    """Another dot or tag does: their meaning is up to the provider."""
    assert len({fold_email(e) for e in ("a.b@c", "ab@c", "ab+x@c", "ab@c.d")}) == 4


@given(st.emails())
def test_folding_again_changes_nothing(email: str) -> None:
    """Folding is idempotent, so the stored form can be compared."""
    assert fold_email(fold_email(email)) == fold_email(email)

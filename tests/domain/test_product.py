"""The product's name in header fields and code."""

from __future__ import annotations

import re

import pytest

from keystead.domain.product import OURS, Product

NAMES = [
    ("Acme Cloud", "Acme Cloud", "acme-cloud", "ACME_CLOUD_TOKEN"),
    ('A "quoted" \\ name', 'A \\"quoted\\" \\\\ name', "a-quoted-name", "A_QUOTED_NAME_TOKEN"),
    ("Café Zürich", "Cafe Zurich", "cafe-zurich", "CAFE_ZURICH_TOKEN"),
    ("3M", "3M", "3m", "API_TOKEN"),
    ("株式会社", "api", "api", "API_TOKEN"),
    ("keystead", "keystead", "keystead", "KEYSTEAD_TOKEN"),
]


@pytest.mark.parametrize(("name", "realm", "token", "variable"), NAMES)
def test_a_name_fits_where_it_stands(name: str, realm: str, token: str, variable: str) -> None:
    """A quoted-string, a token (RFC 9110 section 5.6), and a name that shells accept."""
    product = Product(name)
    assert (product.realm, product.token, product.variable) == (realm, token, variable)
    assert re.fullmatch(r'(?:[ !#-\[\]-~]|\\["\\])+', product.realm)
    assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", product.variable)


def test_without_a_name_it_is_ours() -> None:
    """Then there is nothing to credit."""
    assert (OURS.realm, OURS.token, OURS.variable) == ("keystead", "keystead", "KEYSTEAD_TOKEN")
    assert (OURS.is_named, OURS.credit) == (False, "")
    assert Product("Acme", credited=False).credit == ""

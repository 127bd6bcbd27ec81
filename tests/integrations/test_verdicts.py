"""Every integration refuses as the server does, word for word."""

from __future__ import annotations

import json

import pytest

from keystead.integrations import Guard
from tests.support.callers import ADMITTED, ClientResponse, ServerWithKeys
from tests.support.guarded_products import PRODUCTS, Product


@pytest.mark.parametrize("framework", PRODUCTS)
def test_the_verdicts_are_the_servers(
    api_server: ServerWithKeys, guard: Guard, framework: str
) -> None:
    """Each credential gets the problem and the challenge of the server, or reaches the product."""
    product = Product()
    ask = PRODUCTS[framework](guard, product)
    for name, asked in api_server.requests().items():
        product.served.clear()
        answered, expected = ask(asked), api_server.expected(asked)
        assert (answered.status == 200) == (name in ADMITTED), name
        assert bool(product.served) == (name in ADMITTED), name
        if name not in ADMITTED:
            assert (answered.status, answered.challenge) == (expected.status, expected.challenge), (
                name
            )
            assert _said(answered) == _said(expected), name


def _said(answered: ClientResponse) -> dict[str, object]:
    """Return the problem's members. Two credentials have another detail if the server has joined the fields."""
    members: dict[str, object] = json.loads(answered.body)
    if members["code"] == "invalid-request":
        del members["detail"]
    return members

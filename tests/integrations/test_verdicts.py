"""Every integration refuses as the server does, word for word."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from keystead.domain.keys import KeyDraft
from keystead.domain.networks import ANYWHERE, Networks
from keystead.domain.principals import operator
from keystead.domain.renewals import Renewal
from keystead.integrations import Guard
from keystead.integrations.guard import RequestHead
from tests.support.callers import ADMITTED, REQUIRED, ClientResponse, ServerWithKeys, bearer
from tests.support.guarded_products import PRODUCTS, Product
from tests.support.installations import text_of


@pytest.mark.parametrize("framework", PRODUCTS)
def test_the_verdicts_are_the_servers(
    api_server: ServerWithKeys, guard: Guard, framework: str
) -> None:
    """Each credential gets the problem and the challenge of the server, or reaches the product."""
    product = Product()
    ask = PRODUCTS[framework](guard, product)
    for name, request in api_server.requests().items():
        product.served.clear()
        answered, expected = ask(request), api_server.expected(request)
        assert (answered.status == 200) == (name in ADMITTED), name
        assert bool(product.served) == (name in ADMITTED), name
        if name not in ADMITTED:
            assert (answered.status, answered.challenge) == (expected.status, expected.challenge), (
                name
            )
            assert _problem(answered) == _problem(expected), name


def _problem(answered: ClientResponse) -> dict[str, object]:
    """Return the problem's members. Two credentials have another detail if the server has joined the fields."""
    members: dict[str, object] = json.loads(answered.body)
    if members["code"] == "invalid-request":
        del members["detail"]
    return members


def test_the_principal_has_the_keys_labels(api_server: ServerWithKeys, guard: Guard) -> None:
    """Networks, metadata and renewal of the key, in process as from a server; without them, their defaults."""
    acting = operator("tests", api_server.workspace_id)
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=90)
    draft = KeyDraft(
        "labelled",
        scopes=[REQUIRED],
        networks=["192.0.2.0/24"],
        metadata={"customer": "Zo\u00eb"},
        renewal=Renewal(until),
    )
    token = text_of(api_server.installation.services.keys.create(acting, draft))
    principal = guard.admit(RequestHead((bearer(token),), address="192.0.2.7"), REQUIRED)
    assert principal.networks == Networks("192.0.2.0/24")
    assert principal.metadata == {"customer": "Zo\u00eb"}
    assert principal.renewal == Renewal(until)
    plain = guard.admit(RequestHead((bearer(api_server.tokens["good"]),)), REQUIRED)
    assert (plain.networks, plain.metadata, plain.renewal) == (ANYWHERE, {}, None)

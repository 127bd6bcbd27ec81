"""Using a key: one header, from any program, and only for one's own workspace."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from keystead.client import Client, InsufficientScope, InvalidToken
from tests.support.product import Customer, Json, Key, Product

DOCS = Path(__file__).parents[2] / "docs"


def documents_of(folder: Path) -> list[Json]:
    """Every page of a folder, as a script would push it: the heading as title, the path as id."""
    return [
        {
            "id": str(page.relative_to(folder)).replace("/", "--"),
            "title": page.read_text().partition("\n")[0].lstrip("# "),
            "text": page.read_text(),
            "attributes": {"path": str(page.relative_to(folder))},
        }
        for page in sorted(folder.rglob("*.md"))
    ]


def found_ids(customer: Customer, words: str, key: Key | None = None) -> list[str]:
    """The ids of what a search finds."""
    path = f"/v1/collections/handbook/documents?query={words}"
    return [item["id"] for item in customer.request_json("GET", path, key=key)["items"]]


def test_my_script_pushes_real_documents_and_finds_them(customer: Customer) -> None:
    """Pages are created, found by words of their titles and texts, unchanged when pushed again, whole when read."""
    key = customer.create(
        "docs sync", scopes=["collections:write", "documents:read", "documents:write"]
    )
    pages = documents_of(DOCS)
    customer.request_json("POST", "/v1/collections", {"name": "handbook"}, status=201, key=key)
    batch = "/v1/collections/handbook/documents/batch"
    report = customer.request_json("POST", batch, {"upsert": pages}, key=key)
    assert report == {"created": len(pages), "updated": 0, "unchanged": 0, "deleted": 0}
    assert found_ids(customer, "the+key+is+revoked", key)[0] == "problems--key-revoked.md"
    assert "decisions--0001-one-read-per-verification.md" in found_ids(customer, "cache+verif", key)
    assert found_ids(customer, "zeppelin", key) == []
    again = customer.request_json("POST", batch, {"upsert": pages, "delete": ["gone.md"]}, key=key)
    assert again == {"created": 0, "updated": 0, "unchanged": len(pages), "deleted": 0}
    one = "problems--limit-reached.md"
    read = customer.request_json("GET", f"/v1/collections/handbook/documents/{one}", key=key)
    assert read["text"] == (DOCS / "problems" / "limit-reached.md").read_text()


def test_a_program_needs_one_header_and_no_library(customer: Customer) -> None:
    """Python's own urllib gets in with the Authorization field, and learns from a 401 what is asked of it without."""
    opener = build_opener(ProxyHandler({}))
    key, url = customer.create("cron job"), f"{customer.product.server.base_url}/v1/whoami"
    with opener.open(Request(url, headers={"Authorization": f"Bearer {key.token}"})) as answer:  # noqa: S310
        assert json.load(answer)["key"]["id"] == key.id
    with pytest.raises(HTTPError) as refused:
        opener.open(url)
    with refused.value as answer:
        assert answer.code == 401
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="keystead"'
        assert json.load(answer)["code"] == "unauthenticated"


def test_the_python_client_is_told_why_not(customer: Customer) -> None:
    """With the SDK my program finds out whose key it has, and gets a refusal as an error with a code."""
    key = customer.create("sdk", scopes=["documents:read"])
    with Client(customer.product.server.base_url, key.token) as client:
        assert client.whoami().key.id == key.id
        with pytest.raises(InsufficientScope, match="collections:write"):
            client.collections.create("handbook")
        customer.revoke(key)
        with pytest.raises(InvalidToken):
            client.whoami()


def test_a_mistyped_token_is_refused_like_any_other(customer: Customer) -> None:
    """One character off, another key's secret, an invented token: the same answer, which says nothing about my keys."""
    key, other = customer.create(), customer.create()
    flipped = "b" if key.token[-1] == "a" else "a"
    head, tail = key.token[:-49], other.token[-49:]
    texts = [key.token[:-1] + flipped, head + tail, f"ks_{'0' * 22}_{'0' * 49}", "hunter2"]
    answers = [customer.send("GET", "/v1/whoami", key=Key({}, text)) for text in texts]
    told = {(a.status_code, a.headers["www-authenticate"], a.text) for a in answers}
    assert len(told) == 1
    assert 'error="invalid_token"' in told.pop()[1]
    assert customer.works(key)


def test_a_token_in_a_link_is_not_accepted(customer: Customer) -> None:
    """Links end up in logs and histories: a token in one does not get in, and does no harm to the key."""
    key = customer.create()
    url = f"{customer.product.server.base_url}/v1/whoami?access_token={key.token}"
    assert customer.product.http.get(url).status_code == 401
    assert customer.works(key)


def test_my_key_opens_my_workspace_alone(product: Product, customer: Customer) -> None:
    """Another customer's collection of the same name is another one; their keys are, to mine, as if they were not."""
    stranger = product.customer()
    document = "/v1/collections/handbook/documents/greeting.md"
    for who in (customer, stranger):
        who.request_json("POST", "/v1/collections", {"name": "handbook"}, status=201)
        who.request_json("PUT", document, {"text": f"Hello {who.workspace_id}"}, status=201)
    assert customer.request_json("GET", document)["text"] == f"Hello {customer.workspace_id}"
    theirs = stranger.create()
    for method in ("GET", "DELETE"):
        there = customer.send(method, f"/v1/keys/{theirs.id}")
        nowhere = customer.send(method, f"/v1/keys/key_{'0' * 22}")
        assert (there.status_code, there.content) == (404, nowhere.content)
    assert stranger.works(theirs)

"""Creating a key: described, with an end, its token seen once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from tests.support.product import Customer, key_of
from tests.support.server_process import ServerProcess


def test_i_create_a_key_and_see_its_token_once(customer: Customer) -> None:
    """I say what it is for and when it ends; its token is in that answer and in no later one."""
    ends = (datetime.now(UTC) + timedelta(days=90)).replace(microsecond=0)
    mumbai = ends.astimezone(timezone(timedelta(hours=5, minutes=30)))
    key = customer.create("data-warehouse sync", expires_at=mumbai.isoformat())
    assert key.resource["description"] == "data-warehouse sync"
    assert key.resource["status"] == "active"
    assert datetime.fromisoformat(key.resource["expires_at"]) == ends
    assert key.resource["hint"].endswith(key.token[-4:])
    later = [
        customer.send("GET", path, key=sender)
        for path in (f"/v1/keys/{key.id}", "/v1/keys", "/v1/events", "/v1/whoami")
        for sender in (None, key)
        if sender is None or path == "/v1/whoami"
    ]
    assert all(answer.status_code == 200 for answer in later)
    secret = key.token.rpartition("_")[2]
    assert not [answer.url.path for answer in later if secret in answer.text]
    assert customer.see(key) == key.resource


def test_my_new_key_works_at_once_and_everywhere(
    customer: Customer, both_servers: list[ServerProcess]
) -> None:
    """The first request with a fresh token gets in, on the server that made it and on any other."""
    for _ in range(10):
        key = customer.create()
        assert all(customer.works(key, server) for server in reversed(both_servers))


def test_an_end_in_the_past_makes_no_key(customer: Customer) -> None:
    """The refusal says which field is wrong, and I have no key more than before."""
    before = [key["id"] for key in customer.keys("?limit=200")]
    draft = {"description": "typo in the year", "expires_at": "2016-12-31T00:00:00Z"}
    refusal = customer.request_json("POST", "/v1/keys", draft, status=422)
    assert [error["pointer"] for error in refusal["errors"]] == ["/expires_at"]
    assert [key["id"] for key in customer.keys("?limit=200")] == before


def test_my_create_was_sent_twice_and_i_have_one_key(customer: Customer) -> None:
    """After a lost response I repeat the request: no second key. Rotating gives me a token; the lost one is dead."""
    draft, once = {"description": "sent twice"}, {"idempotency-key": "deploy-2026-11-23"}
    lost = key_of(customer.send("POST", "/v1/keys", draft, headers=once))
    again = customer.send("POST", "/v1/keys", draft, headers=once)
    assert (again.status_code, again.json()) == (201, {**lost.resource, "token": None})
    assert [key["id"] for key in customer.keys("?query=sent+twice")] == [lost.id]
    found = customer.rotate(lost)
    assert customer.works(found)
    assert not customer.works(lost)


def test_i_give_a_key_less_than_i_hold_and_never_more(customer: Customer) -> None:
    """A key for reading reads, refuses to write by name of the scope, and makes no keys."""
    reader = customer.create("dashboard", scopes=["collections:read", "documents:read"])
    assert customer.request_json("GET", "/v1/collections", key=reader)["items"] == []
    refused = customer.send("POST", "/v1/collections", {"name": "docs"}, key=reader)
    assert (refused.status_code, refused.json()["scope"]) == (403, "collections:write")
    asked = {"description": "more", "scopes": ["documents:write"]}
    assert customer.send("POST", "/v1/keys", asked, key=reader).json()["scope"] == "keys:write"
    clerk = customer.create("clerk", scopes=["keys:write", "documents:read"])
    assert customer.send("POST", "/v1/keys", asked, key=clerk).json()["code"] == "would-widen"
    assert customer.request_json("GET", "/v1/collections")["items"] == []

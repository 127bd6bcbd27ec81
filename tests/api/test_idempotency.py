"""Doing a request once: the Idempotency-Key of creating and rotating."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from keystead.storage.schema import tables as schema
from tests.support.administrator import read_behind
from tests.support.api_client import ApiClient, Headers, Tenant, problem


def once(key: str) -> Headers:
    """The header field."""
    return [("idempotency-key", key)]


def made(client: ApiClient) -> list[str]:
    """The ids of the keys that the client sees, except its own."""
    items = client.get("/v1/keys").json()["items"]
    return [item["id"] for item in items if item["id"] != client.key_id]


def test_the_same_request_again_is_the_same_key_without_its_token(tenant: Tenant) -> None:
    """201 with the same key, `token` null and `Location`; one key, one event, however it was written."""
    client = tenant.client()
    body = {"description": "x", "expires_at": "2030-01-31T12:00:00Z", "scopes": ["plan:read"]}
    first = client.post("/v1/keys", body, once("a"))
    body["expires_at"] = "2030-01-31T13:00:00+01:00"
    again = client.post("/v1/keys", dict(reversed(body.items())), once("a"))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["token"]
    assert again.json() == first.json() | {"token": None}
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["cache-control"] == "no-store"
    assert made(client) == [first.json()["id"]]
    assert tenant.event_types().count("key.created") == 2


def test_fifty_at_once_make_one_key(tenant: Tenant) -> None:
    """Of fifty parallel requests one is answered with the token; the others with the same key, or 409 to try again."""
    client = tenant.client()
    answers = client.send_concurrently(
        *[("POST", "/v1/keys", {"description": "x"}, once("a"))] * 50
    )
    good = [answer.json() for answer in answers if answer.status_code == 201]
    assert len({key["id"] for key in good}) == 1
    assert len([key for key in good if key["token"] is not None]) == 1
    for answer in answers:
        assert answer.status_code == 201 or problem(answer) == (409, "idempotency-in-progress")
    assert made(client) == [good[0]["id"]]


def test_another_request_with_the_same_text_is_refused(tenant: Tenant) -> None:
    """Another body, another path: 422 `idempotency-mismatch`, nothing made."""
    client = tenant.client()
    key = client.post("/v1/keys", {"description": "x"}, once("a")).json()
    others: list[tuple[str, Any]] = [
        ("/v1/keys", {"description": "y"}),
        ("/v1/keys", {"description": "x", "expires_at": None}),
        (f"/v1/keys/{key['id']}/rotate", {}),
        (f"/v1/keys/{key['id']}/rotate", None),
    ]
    for path, body in others:
        refused = client.post(path, body, once("a"))
        assert problem(refused) == (422, "idempotency-mismatch")
    assert made(client) == [key["id"]]


def test_the_text_is_the_caller_s_own(tenant: Tenant) -> None:
    """Another key of the workspace, and one of another workspace, use the same text for requests of their own."""
    callers = [tenant.client(), tenant.client(), tenant.api.tenant().client()]
    keys = [caller.post("/v1/keys", {"description": "x"}, once("a")).json() for caller in callers]
    assert len({key["id"] for key in keys}) == 3
    assert all(key["token"] for key in keys)


def test_the_text_itself_is_not_kept(tenant: Tenant) -> None:
    """A client that takes its token for an Idempotency-Key leaves none in the database."""
    client = tenant.client()
    assert client.token is not None
    client.post("/v1/keys", {"description": "x"}, once(client.token))
    with read_behind(tenant.api.installation.database) as tx:
        kept = [tuple(row) for row in tx.execute(select(schema.idempotency_keys))]
    assert kept
    assert client.token not in repr(kept)


def test_a_rotation_is_done_once(tenant: Tenant) -> None:
    """The same rotation again answers the same successor, though the old key could not be rotated twice."""
    client = tenant.client()
    key = client.create_key()
    path = f"/v1/keys/{key['id']}/rotate"
    first, again = client.post(path, {}, once("r")), client.post(path, None, once("r"))
    assert first.json()["token"]
    assert again.json() == first.json() | {"token": None}
    assert problem(client.post(path, {})) == (409, "key-revoked")


def test_a_refused_request_leaves_the_text_free(tenant: Tenant) -> None:
    """What was refused was not done: the request that is right then may use the text."""
    client = tenant.client()
    assert client.post("/v1/keys", {"description": ""}, once("a")).status_code == 422
    assert client.post("/v1/keys", {"description": "x"}, once("a")).json()["token"]
    free = tenant.api.tenant("free").client()
    for number in range(4):
        free.create_key(description=str(number))
    full = free.post("/v1/keys", {"description": "x"}, once("b"))
    assert problem(full) == (409, "limit-reached")
    free.delete(f"/v1/keys/{made(free)[0]}")
    assert free.post("/v1/keys", {"description": "x"}, once("b")).status_code == 201


def test_after_a_day_the_text_is_free(tenant: Tenant) -> None:
    """For 24 hours the answer is the same; then it is a new request."""
    client = tenant.client()
    first = client.post("/v1/keys", {"description": "x"}, once("a")).json()
    tenant.api.clock.advance(timedelta(hours=23, minutes=59))
    assert client.post("/v1/keys", {"description": "x"}, once("a")).json()["id"] == first["id"]
    tenant.api.clock.advance(timedelta(minutes=2))
    assert client.post("/v1/keys", {"description": "x"}, once("a")).json()["id"] != first["id"]


def test_an_answer_from_before_shows_the_key_as_it_is_now(tenant: Tenant) -> None:
    """A revoked key stays revoked: the same request again brings no key back."""
    client = tenant.client()
    key = client.post("/v1/keys", {"description": "x"}, once("a")).json()
    client.delete(f"/v1/keys/{key['id']}")
    again = client.post("/v1/keys", {"description": "x"}, once("a"))
    assert (again.status_code, again.json()["status"]) == (201, "revoked")
    assert again.json()["token"] is None
    mine = tenant.api.client(key["token"])
    assert problem(mine.get("/v1/whoami")) == (401, "invalid-token")


@pytest.mark.parametrize(
    "headers",
    [
        [*once("a"), *once("a")],
        [*once("a"), *once("b")],
        once(""),
        once(" "),
        once("two words"),
        once("a" * 256),
        [("idempotency-key", "schlüssel")],
    ],
    ids=["twice", "two", "empty", "blank", "words", "long", "not ASCII"],
)
def test_a_malformed_text_is_refused(quick: Tenant, headers: Headers) -> None:
    """400 and nothing made; where the call does not take one, the field means nothing."""
    client = quick.client()
    assert problem(client.post("/v1/keys", {"description": "x"}, headers)) == (
        400,
        "invalid-request",
    )
    assert made(client) == []
    assert client.get("/v1/keys", headers).status_code == 200


@pytest.mark.parametrize("text", ["a" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "!~"])
def test_any_visible_ascii_text_will_do(quick: Tenant, text: str) -> None:
    """Quoted, as the draft of the standard writes it, or not."""
    assert quick.client().post("/v1/keys", {"description": "x"}, once(text)).status_code == 201

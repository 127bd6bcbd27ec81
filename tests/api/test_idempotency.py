"""Idempotency: the Idempotency-Key of creating and rotating."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from keystead.storage.schema import tables as schema
from tests.support.administrator import read_behind
from tests.support.api_client import ApiClient, Headers, Tenant, problem


def idempotent(key: str) -> Headers:
    """Return the header field."""
    return [("idempotency-key", key)]


def key_ids(client: ApiClient) -> list[str]:
    """Return the IDs of the keys that the client sees, except its own."""
    items = client.get("/v1/keys").json()["items"]
    return [item["id"] for item in items if item["id"] != client.key_id]


def test_the_same_request_again_is_the_same_key_without_its_token(tenant: Tenant) -> None:
    """201 with the same key, `token` null and `Location`; one key, one event, even with other formatting."""
    client = tenant.client()
    body = {"description": "x", "expires_at": "2030-01-31T12:00:00Z", "scopes": ["plan:read"]}
    first = client.post("/v1/keys", body, idempotent("a"))
    body["expires_at"] = "2030-01-31T13:00:00+01:00"
    again = client.post("/v1/keys", dict(reversed(body.items())), idempotent("a"))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["token"]
    assert again.json() == first.json() | {"token": None}
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["cache-control"] == "no-store"
    assert key_ids(client) == [first.json()["id"]]
    assert tenant.event_types().count("key.created") == 2


def test_fifty_parallel_requests_create_one_key(tenant: Tenant) -> None:
    """Of fifty parallel requests one gets the token; the others get the same key, or 409 to try again."""
    client = tenant.client()
    answers = client.send_concurrently(
        *[("POST", "/v1/keys", {"description": "x"}, idempotent("a"))] * 50
    )
    good = [answer.json() for answer in answers if answer.status_code == 201]
    assert len({key["id"] for key in good}) == 1
    assert len([key for key in good if key["token"] is not None]) == 1
    for answer in answers:
        assert answer.status_code == 201 or problem(answer) == (409, "idempotency-in-progress")
    assert key_ids(client) == [good[0]["id"]]


def test_another_request_with_the_same_text_is_refused(tenant: Tenant) -> None:
    """Another body or another path: 422 `idempotency-mismatch`, and nothing is created."""
    client = tenant.client()
    key = client.post("/v1/keys", {"description": "x"}, idempotent("a")).json()
    others: list[tuple[str, Any]] = [
        ("/v1/keys", {"description": "y"}),
        ("/v1/keys", {"description": "x", "expires_at": None}),
        (f"/v1/keys/{key['id']}/rotate", {}),
        (f"/v1/keys/{key['id']}/rotate", None),
    ]
    for path, body in others:
        refused = client.post(path, body, idempotent("a"))
        assert problem(refused) == (422, "idempotency-mismatch")
    assert key_ids(client) == [key["id"]]


def test_the_text_is_the_caller_s_own(tenant: Tenant) -> None:
    """Another key of the workspace, and one of another workspace, can use the same text for their own requests."""
    callers = [tenant.client(), tenant.client(), tenant.api.tenant().client()]
    keys = [
        caller.post("/v1/keys", {"description": "x"}, idempotent("a")).json() for caller in callers
    ]
    assert len({key["id"] for key in keys}) == 3
    assert all(key["token"] for key in keys)


def test_the_text_itself_is_not_kept(tenant: Tenant) -> None:
    """A client that sends its token as Idempotency-Key leaves no token in the database."""
    client = tenant.client()
    assert client.token is not None
    client.post("/v1/keys", {"description": "x"}, idempotent(client.token))
    with read_behind(tenant.api.installation.database) as tx:
        rows = [tuple(row) for row in tx.execute(select(schema.idempotency_keys))]
    assert rows
    assert client.token not in repr(rows)


def test_a_rotation_is_done_once(tenant: Tenant) -> None:
    """The same rotation again returns the same successor, even though the old key can't be rotated twice."""
    client = tenant.client()
    key = client.create_key()
    path = f"/v1/keys/{key['id']}/rotate"
    first, again = client.post(path, {}, idempotent("r")), client.post(path, None, idempotent("r"))
    assert first.json()["token"]
    assert again.json() == first.json() | {"token": None}
    assert problem(client.post(path, {})) == (409, "key-revoked")


def test_a_refused_request_leaves_the_text_free(tenant: Tenant) -> None:
    """A refused request was not done: a corrected request may use the text."""
    client = tenant.client()
    assert client.post("/v1/keys", {"description": ""}, idempotent("a")).status_code == 422
    assert client.post("/v1/keys", {"description": "x"}, idempotent("a")).json()["token"]
    free = tenant.api.tenant("free").client()
    for number in range(4):
        free.create_key(description=str(number))
    full = free.post("/v1/keys", {"description": "x"}, idempotent("b"))
    assert problem(full) == (409, "limit-reached")
    free.delete(f"/v1/keys/{key_ids(free)[0]}")
    assert free.post("/v1/keys", {"description": "x"}, idempotent("b")).status_code == 201


def test_after_a_day_the_text_is_free(tenant: Tenant) -> None:
    """For 24 hours the response is the same; after that it is a new request."""
    client = tenant.client()
    first = client.post("/v1/keys", {"description": "x"}, idempotent("a")).json()
    tenant.api.clock.advance(timedelta(hours=23, minutes=59))
    assert (
        client.post("/v1/keys", {"description": "x"}, idempotent("a")).json()["id"] == first["id"]
    )
    tenant.api.clock.advance(timedelta(minutes=2))
    assert (
        client.post("/v1/keys", {"description": "x"}, idempotent("a")).json()["id"] != first["id"]
    )


def test_an_answer_from_before_shows_the_key_as_it_is_now(tenant: Tenant) -> None:
    """A revoked key stays revoked: the same request again does not revive it."""
    client = tenant.client()
    key = client.post("/v1/keys", {"description": "x"}, idempotent("a")).json()
    client.delete(f"/v1/keys/{key['id']}")
    again = client.post("/v1/keys", {"description": "x"}, idempotent("a"))
    assert (again.status_code, again.json()["status"]) == (201, "revoked")
    assert again.json()["token"] is None
    mine = tenant.api.client(key["token"])
    assert problem(mine.get("/v1/whoami")) == (401, "invalid-token")


@pytest.mark.parametrize(
    "headers",
    [
        [*idempotent("a"), *idempotent("a")],
        [*idempotent("a"), *idempotent("b")],
        idempotent(""),
        idempotent(" "),
        idempotent("two words"),
        idempotent("a" * 256),
        [("idempotency-key", "schlüssel")],
    ],
    ids=["twice", "two", "empty", "blank", "words", "long", "not ASCII"],
)
def test_a_malformed_text_is_refused(quick: Tenant, headers: Headers) -> None:
    """400 and nothing created; calls that don't use the field ignore it."""
    client = quick.client()
    assert problem(client.post("/v1/keys", {"description": "x"}, headers)) == (
        400,
        "invalid-request",
    )
    assert key_ids(client) == []
    assert client.get("/v1/keys", headers).status_code == 200


@pytest.mark.parametrize("text", ["a" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "!~"])
def test_any_visible_ascii_text_will_do(quick: Tenant, text: str) -> None:
    """Quoted, as the draft of the standard writes it, or not."""
    assert (
        quick.client().post("/v1/keys", {"description": "x"}, idempotent(text)).status_code == 201
    )

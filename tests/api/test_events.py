"""What happened, over REST."""

from __future__ import annotations

from tests.support.api_client import Tenant, pointers

MEMBERS = {"id", "type", "occurred_at", "actor", "target", "address", "request_id", "data"}


def test_every_change_is_told_with_who_and_where(tenant: Tenant) -> None:
    """Newest first: the actor, the target, the address, and the request id that the answer carried."""
    client = tenant.client()
    answer = client.post("/v1/keys", {"description": "x"})
    events = client.get("/v1/events").json()
    assert set(events) == {"items", "next_cursor"}
    assert all(set(event) == MEMBERS for event in events["items"])
    first = events["items"][0]
    assert first["type"] == "key.created"
    assert first["actor"] == {"type": "key", "id": client.key_id, "name": "t"}
    assert first["target"] == {"type": "key", "id": answer.json()["id"]}
    assert first["address"] == "127.0.0.1"
    assert first["request_id"] == answer.headers["x-request-id"]
    assert first["occurred_at"] == answer.json()["created_at"]


def test_events_are_narrowed_by_type_and_paged_by_sequence(tenant: Tenant) -> None:
    """`type` names one type; cursors show each event once though more happen meanwhile."""
    client = tenant.client()
    for number in range(4):
        client.patch(f"/v1/keys/{client.key_id}", {"description": str(number)})
    path: str | None = "/v1/events?type=key.updated&limit=3"
    seen = []
    while path:
        page = client.get(path).json()
        seen += page["items"]
        client.patch(f"/v1/keys/{client.key_id}", {"description": f"later {len(seen)}"})
        cursor = page["next_cursor"]
        path = cursor and f"/v1/events?type=key.updated&limit=3&cursor={cursor}"
    assert [event["data"]["description"] for event in seen] == ["3", "2", "1", "0"]
    assert {event["type"] for event in seen} == {"key.updated"}


def test_an_unknown_type_is_refused(quick: Tenant) -> None:
    """A misspelled type would look as if nothing happened: 422."""
    for type in ("key.made", "key", "*", "", "KEY.CREATED"):
        assert pointers(quick.client().get(f"/v1/events?type={type}")) == ["query:type"]


def test_an_event_holds_no_token(tenant: Tenant) -> None:
    """What is recorded of keys is what lists show of them."""
    client = tenant.client()
    key = client.create_key()
    new = client.post(f"/v1/keys/{key['id']}/rotate").json()
    text = client.get("/v1/events").text
    for token in (key["token"], new["token"], client.token):
        assert token is not None
        assert token[30:] not in text

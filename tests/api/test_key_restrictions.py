"""Networks, metadata and renewal of keys over REST: how they are sent, answered and refused, and their entity tags."""

from __future__ import annotations

from typing import Any

import pytest

from keystead.domain.keys import KeyPatch
from keystead.domain.renewals import Renewal
from tests.support.api_client import ApiClient, Tenant, pointers, problem

MEMBERS: dict[str, Any] = {
    "networks": ["2001:DB8::1", "203.0.113.0/24", "203.0.113.0/24"],
    "metadata": {"customer": "42", "Name": "Zürich"},
    "renewal": {"until": "2030-06-01T12:00:00.987654321+02:00"},
}
ANSWERED: dict[str, Any] = {
    "networks": ["203.0.113.0/24", "2001:db8::1/128"],
    "metadata": {"Name": "Zürich", "customer": "42"},
    "renewal": {"until": "2030-06-01T10:00:00Z"},
}
NONE: dict[str, Any] = {"networks": [], "metadata": {}, "renewal": None}


def shown(key: dict[str, Any]) -> dict[str, Any]:
    """Return the three members of a key."""
    return {name: key[name] for name in ANSWERED}


def renewable(tenant: Tenant) -> ApiClient:
    """Return a client whose key may renew itself without end, and so may grant it."""
    client = tenant.client()
    assert client.key_id is not None
    patch = KeyPatch(renewal=Renewal())
    tenant.api.services.keys.update(tenant.principal, client.key_id, patch)
    return client


def test_each_answer_has_them_in_canonical_form(tenant: Tenant) -> None:
    """Create, get, list, patch, rotate and whoami show what was set; a key without them shows their defaults."""
    client = renewable(tenant)
    plain = client.create_key()
    assert shown(plain) == NONE
    created = client.create_key(**MEMBERS)
    assert shown(created) == ANSWERED
    path = f"/v1/keys/{created['id']}"
    assert shown(client.get(path).json()) == ANSWERED
    assert shown(client.get("/v1/keys?limit=1").json()["items"][0]) == ANSWERED
    assert shown(client.post(f"{path}/rotate").json()) == ANSWERED
    changed = client.patch(f"/v1/keys/{plain['id']}", MEMBERS).json()
    assert shown(changed) == ANSWERED
    less: dict[str, Any] = {
        "networks": [],
        "metadata": {"Name": None, "customer": None},
        "renewal": None,
    }
    assert shown(client.patch(f"/v1/keys/{plain['id']}", less).json()) == NONE
    assert client.get("/v1/whoami").json()["key"]["renewal"] == {"until": None}


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({"networks": None}, ["/networks"]),
        ({"networks": "203.0.113.0/24"}, ["/networks"]),
        ({"networks": [1]}, ["/networks/0"]),
        ({"networks": ["::ffff:10.0.0.0/104"]}, ["/networks/0"]),
        ({"networks": ["10.0.0.0/8", "10.0.0.1/8", "x"]}, ["/networks/1", "/networks/2"]),
        ({"networks": ["10.0.0.0/8"] * 51}, ["/networks"]),
        ({"metadata": None}, ["/metadata"]),
        ({"metadata": []}, ["/metadata"]),
        ({"metadata": {"a": 1}}, ["/metadata/a"]),
        ({"metadata": {"a": "x\ny"}}, ["/metadata/a"]),
        ({"metadata": {"a b": "x"}}, ["/metadata"]),
        ({"metadata": {f"n{number}": "" for number in range(21)}}, ["/metadata"]),
        ({"metadata": {"a": "x" * 2_048}}, ["/metadata"]),
        ({"renewal": {}}, ["/renewal/until"]),
        ({"renewal": True}, ["/renewal"]),
        ({"renewal": {"until": 1}}, ["/renewal/until"]),
        ({"renewal": {"until": "2030-06-01T12:00:00"}}, ["/renewal/until"]),
        ({"renewal": {"until": "2000-01-01T00:00:00Z"}}, ["/renewal/until"]),
        ({"renewal": {"until": None, "often": True}}, ["/renewal/often"]),
    ],
)
def test_malformed_members_are_refused_at_their_places(
    tenant: Tenant, body: dict[str, Any], places: list[str]
) -> None:
    """422 `invalid` names each place, on creation and on change, and nothing is written."""
    client = tenant.client()
    key = client.create_key()
    events = tenant.event_types()
    for answer in (
        client.post("/v1/keys", {"description": "x", **body}),
        client.patch(f"/v1/keys/{key['id']}", body),
    ):
        assert problem(answer) == (422, "invalid")
        assert pointers(answer) == places
    assert tenant.event_types() == events


def test_a_removed_name_is_null_only_in_a_change(tenant: Tenant) -> None:
    """Creation knows no null: there is nothing to remove."""
    client = tenant.client()
    answer = client.post("/v1/keys", {"description": "x", "metadata": {"a": None}})
    assert (problem(answer), pointers(answer)) == ((422, "invalid"), ["/metadata/a"])
    key = client.create_key(metadata={"a": "1"})
    changed = client.patch(f"/v1/keys/{key['id']}", {"metadata": {"a": None, "b": "2"}})
    assert changed.json()["metadata"] == {"b": "2"}


def test_they_are_part_of_what_an_idempotency_key_stands_for(tenant: Tenant) -> None:
    """The same request again is the same key; one member more is another request: 422 `idempotency-mismatch`."""
    client, once = renewable(tenant), [("idempotency-key", "once")]
    body = {"description": "x", **MEMBERS}
    first = client.post("/v1/keys", body, once)
    again = client.post("/v1/keys", body, once)
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
    assert shown(again.json()) == ANSWERED
    for name in MEMBERS:
        less = {key: value for key, value in body.items() if key != name}
        assert problem(client.post("/v1/keys", less, once)) == (422, "idempotency-mismatch")


def test_wider_members_are_would_widen(tenant: Tenant) -> None:
    """A key that has no renewal can't grant one: 403 `would-widen`."""
    client = tenant.client()
    answer = client.post("/v1/keys", {"description": "x", "renewal": {"until": None}})
    assert problem(answer) == (403, "would-widen")


def test_an_entity_tag_follows_what_can_be_edited(tenant: Tenant) -> None:
    """Each member changes the tag, a use doesn't; `If-Match` holds for all three, and weak tags never match."""
    client = renewable(tenant)
    created = client.post("/v1/keys", {"description": "x"})
    path, tag = created.headers["location"], created.headers["etag"]
    assert tag.startswith('"')
    for name, value in MEMBERS.items():
        for stale in (f"W/{tag}", '"0"'):
            answer = client.send("PATCH", path, {name: value}, [("if-match", stale)])
            assert problem(answer) == (412, "changed-meanwhile")
        answer = client.send("PATCH", path, {name: value}, [("if-match", f'"0", {tag}')])
        assert (answer.status_code, answer.headers["etag"] == tag) == (200, False)
        tag = answer.headers["etag"]
        again = client.send("PATCH", path, {name: value}, [("if-match", "*")])
        assert (again.status_code, again.headers["etag"]) == (200, tag)
    used = tenant.api.client(created.json()["token"])
    assert used.get("/v1/whoami").status_code == 401  # from nowhere, which its networks don't have
    tenant.api.services.usage.flush()
    assert client.get(path).headers["etag"] == tag
    assert problem(client.send("DELETE", path, None, [("if-match", '"0"')]))[0] == 412
    assert client.send("DELETE", path, None, [("if-match", tag)]).status_code == 204

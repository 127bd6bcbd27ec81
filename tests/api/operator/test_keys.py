"""The keys of a workspace for the product's backend: the same rules as under `/v1`, another caller."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.support.api_client import ApiClient, ApiInstallation, Tenant, pointers, problem
from tests.support.backends import BY, NAME, PATH, backend, events_of, shown, successful

NEVER: Final = "02tcRIyrxLXTR81B3dqdOx"
CALLS: Final[list[tuple[str, str, Any]]] = [
    ("GET", "", None),
    ("POST", "", {"description": "x"}),
    ("GET", "/ID", None),
    ("PATCH", "/ID", {"description": "x"}),
    ("POST", "/ID/rotate", {}),
    ("DELETE", "/ID", None),
]
"""Method, path below the keys with ID in the place of a key's id, and a valid body."""


@pytest.fixture
def operator(api: ApiInstallation) -> ApiClient:
    """The product's backend, with an active credential."""
    return backend(api)


def keys_of(tenant: Tenant) -> str:
    """Return the path of a workspace's keys."""
    return f"{PATH}/{tenant.id}/keys"


def new_key(operator: ApiClient, tenant: Tenant, **more: Any) -> dict[str, Any]:
    """Create a key."""
    return successful(operator.post(keys_of(tenant), {"description": "made", **more}), 201)


def test_a_key_lives_its_whole_life(
    api: ApiInstallation, operator: ApiClient, tenant: Tenant
) -> None:
    """Created, seen, changed, rotated and revoked by the backend; each change is an event with its name."""
    answer = operator.post(keys_of(tenant), {"description": "first"})
    created = successful(answer, 201)
    assert answer.headers["location"] == f"{keys_of(tenant)}/{created['id']}"
    assert answer.headers["cache-control"] == "no-store"
    assert created["created_by"] | {"id": ""} == {"type": "operator", "id": "", "name": NAME}
    assert (created["scopes"], created["expires_at"]) == (["*"], None)
    client = api.client(created["token"])
    assert client.get("/v1/whoami").json()["key"]["id"] == created["id"]
    seen = operator.get(answer.headers["location"])
    assert successful(seen)["hint"] == created["hint"]
    assert "token" not in seen.json()
    sent = {"description": "second", "scopes": ["plan:read"], "expires_at": "2030-01-01T00:00:00Z"}
    tag = [("if-match", seen.headers["etag"])]
    changed = operator.send("PATCH", answer.headers["location"], sent, tag)
    assert successful(changed)["scopes"] == ["plan:read"]
    assert problem(operator.send("PATCH", answer.headers["location"], {}, tag)) == (
        412,
        "changed-meanwhile",
    )
    rotated = operator.post(f"{answer.headers['location']}/rotate", {"overlap_seconds": 60})
    successor = successful(rotated, 201)
    assert rotated.headers["location"] == f"{keys_of(tenant)}/{successor['id']}"
    for id in (created["id"], successor["id"]):
        for _ in range(2):
            assert operator.delete(f"{keys_of(tenant)}/{id}").status_code == 204
    for token in (created["token"], successor["token"]):
        assert problem(api.client(token).get("/v1/whoami")) == (401, "invalid-token")
    events = events_of(api, tenant.id)
    types = [str(event.type) for event in events[::-1]]
    revoked = ["key.revoked"] * 2
    assert types[1:] == ["key.created", "key.updated", "key.rotated", *revoked]
    assert {event.actor.kind for event in events[:-1]} == {"operator"}
    assert {event.actor.name for event in events[:-1]} == {NAME}
    assert all(event.origin.request_id for event in events[:-1])


@pytest.mark.parametrize(
    ("method", "tail", "body"),
    [
        ("POST", "", {}),
        ("POST", "", {"description": ""}),
        ("POST", "", {"description": "x", "scopes": ["nonsense:read"]}),
        ("POST", "", {"description": "x", "expires_at": "2020-01-01T00:00:00Z"}),
        ("POST", "", {"description": "x", "token": "y"}),
        ("POST", "", b"{"),
        ("PATCH", "/ID", {"expires_at": "yesterday"}),
        ("PATCH", "/ID", {"scopes": ["keys:write"]}),
        ("PATCH", "/REVOKED", {"description": "x"}),
        ("POST", "/REVOKED/rotate", {}),
        ("POST", "/ROTATED/rotate", {}),
        ("POST", "/ID/rotate", {"overlap_seconds": 604_801}),
        ("GET", "?status=dead", None),
        ("GET", "?limit=0", None),
        ("GET", "?cursor=x", None),
        ("GET", "/key_" + NEVER, None),
        ("PUT", "", {}),
    ],
    ids=str,
)
def test_rules_and_codes_are_those_of_the_workspace_api(
    sqlite_api: ApiInstallation, method: str, tail: str, body: Any
) -> None:
    """What a key may not do to keys, an operator may not either: the same status and the same problem."""
    tenant = sqlite_api.tenant()
    client, operator = tenant.client(), backend(sqlite_api)
    active, revoked, rotated = (client.create_key(scopes=["*"])["id"] for _ in range(3))
    client.delete(f"/v1/keys/{revoked}")
    client.post(f"/v1/keys/{rotated}/rotate", {"overlap_seconds": 60})
    path = tail.replace("ID", active).replace("REVOKED", revoked).replace("ROTATED", rotated)
    by_key = client.send(method, f"/v1/keys{path}", body)
    by_operator = operator.send(method, f"{keys_of(tenant)}{path}", body)
    assert problem(by_operator) == problem(by_key)
    assert by_operator.json() == by_key.json()


def test_a_list_has_the_filters_and_cursors_of_the_workspace_api(
    operator: ApiClient, tenant: Tenant
) -> None:
    """The same pages as for a key; a cursor of one workspace is not one of another."""
    client = tenant.client()
    for number in range(3):
        new_key(operator, tenant, description=f"made {number}")
    page = successful(operator.get(f"{keys_of(tenant)}?query=made&limit=2"))
    assert page["items"] == client.get("/v1/keys?query=made&limit=2").json()["items"]
    assert page["quota"] == {"limit": None, "used": 4}
    cursor = f"query=made&limit=2&cursor={page['next_cursor']}"
    last = successful(operator.get(f"{keys_of(tenant)}?{cursor}"))
    assert [key["description"] for key in last["items"]] == ["made 0"]
    other = keys_of(tenant.api.tenant())
    assert problem(operator.get(f"{other}?{cursor}")) == (422, "invalid-cursor")


def test_a_limit_binds_the_operator_too(api: ApiInstallation, operator: ApiClient) -> None:
    """At the limit: 409 with the keys that are safest to revoke, until the plan has room."""
    tenant = api.tenant("free")
    ids = [new_key(operator, tenant)["id"] for _ in range(5)]
    refused = operator.post(keys_of(tenant), {"description": "x"})
    assert problem(refused) == (409, "limit-reached")
    assert {key["id"] for key in refused.json()["candidates"]} == set(ids)
    operator.put(f"{PATH}/{tenant.id}/plan", {"plan": "team"})
    new_key(operator, tenant)


def test_idempotency_is_the_caller_s(api: ApiInstallation, tenant: Tenant) -> None:
    """The same text again: the same key without its token. Another credential and a key have texts of their own."""
    operator, client = backend(api), tenant.client()
    once, body = [("idempotency-key", "one")], {"description": "once"}
    first = successful(operator.post(keys_of(tenant), body, once), 201)
    again = successful(operator.post(keys_of(tenant), body, once), 201)
    assert again == first | {"token": None}
    other = {"description": "other"}
    mismatch = operator.post(keys_of(tenant), other, once)
    assert problem(mismatch) == (422, "idempotency-mismatch")
    second = successful(backend(api).post(keys_of(tenant), other, once), 201)
    third = successful(client.post("/v1/keys", other, once), 201)
    assert len({first["id"], second["id"], third["id"]}) == 3
    path = f"{keys_of(tenant)}/{first['id']}/rotate"
    rotate = [("idempotency-key", "two")]
    successor = successful(operator.post(path, {}, rotate), 201)
    assert successful(operator.post(path, {}, rotate), 201) == successor | {"token": None}


def test_keys_of_another_workspace_are_as_if_they_never_existed(
    api: ApiInstallation, operator: ApiClient
) -> None:
    """A key's id below the wrong workspace: byte for byte as one that never existed, and no effect."""
    own, neighbor = api.tenant(), api.tenant()
    theirs = new_key(operator, neighbor)
    for method, tail, body in CALLS[2:]:
        for sent in {repr(body): body, "wrong": {"nonsense": 1}}.values():
            answers = [
                operator.send(method, f"{keys_of(own)}{tail.replace('ID', id)}", sent)
                for id in (theirs["id"], f"key_{NEVER}", "none")
            ]
            assert problem(answers[0]) == (404, "not-found"), (method, tail)
            assert shown(answers[0]) == shown(answers[1]) == shown(answers[2])
    assert api.client(theirs["token"]).get("/v1/whoami").status_code == 200
    assert successful(operator.get(f"{keys_of(neighbor)}/{theirs['id']}"))["status"] == "active"


def test_a_workspace_that_is_not_there_has_no_keys(operator: ApiClient, tenant: Tenant) -> None:
    """404 for every call, also for a list, and before any error in the values."""
    key = new_key(operator, tenant)
    for id in (f"ws_{NEVER}", "none", key["id"], "%F0%9F%97%9D"):
        for method, tail, body in CALLS:
            path = f"{PATH}/{id}/keys{tail.replace('ID', key['id'])}"
            for sent in {repr(body): body, "wrong": {"nonsense": 1}}.values():
                assert problem(operator.send(method, path, sent)) == (404, "not-found"), path
            assert problem(operator.send(method, f"{path}?nonsense=1", body))[0] == 404
    assert successful(operator.get(f"{keys_of(tenant)}/{key['id']}"))["status"] == "active"


def test_a_suspended_workspace_s_keys_can_be_seen_and_revoked(
    operator: ApiClient, tenant: Tenant
) -> None:
    """Support cleans up while nothing gets in; after the resumption what was revoked stays so."""
    key = new_key(operator, tenant)
    successful(operator.post(f"{PATH}/{tenant.id}/suspend"))
    assert len(successful(operator.get(keys_of(tenant)))["items"]) == 1
    assert operator.delete(f"{keys_of(tenant)}/{key['id']}").status_code == 204
    successful(operator.post(f"{PATH}/{tenant.id}/resume"))
    assert problem(tenant.api.client(key["token"]).get("/v1/whoami")) == (401, "invalid-token")


def test_a_revoked_credential_creates_no_key(api: ApiInstallation, tenant: Tenant) -> None:
    """401 with the next request, and nothing is created."""
    credential, token = api.services.credentials.create("former", BY)
    api.services.credentials.revoke(credential.id, BY)
    operator = api.client(token.reveal())
    assert problem(operator.post(keys_of(tenant), {"description": "x"})) == (401, "invalid-token")
    assert api.services.keys.list(tenant.principal).items == []


def test_values_that_are_wrong_are_named(sqlite_api: ApiInstallation) -> None:
    """422 with the pointers of a body's members."""
    operator = backend(sqlite_api)
    sent = {"description": "", "scopes": []}
    assert pointers(operator.post(keys_of(sqlite_api.tenant()), sent)) == ["/description"]

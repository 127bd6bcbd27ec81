"""The installation's tenants, for the product's own services: created, found, renamed, suspended, put on plans."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from tests.support.api_client import (
    ApiClient,
    ApiInstallation,
    Tenant,
    open_api,
    pointers,
    problem,
)
from tests.support.backends import PATH, backend, events_of, new_workspace, successful


@pytest.fixture
def operator(api: ApiInstallation) -> ApiClient:
    """The product's backend, with an active credential."""
    return backend(api)


def test_a_workspace_is_created_and_can_be_used(api: ApiInstallation, operator: ApiClient) -> None:
    """201 with its Location; its owner can sign in, and the audit log has the credential and the address."""
    owner = {"name": "Ann", "email": "ann.made@example.com"}
    answer = operator.post(PATH, {"name": "Acme", "plan": "team", "owner": owner})
    created = successful(answer, 201)
    assert set(created) == {"id", "name", "plan", "external_id", "created_at", "suspended_at"}
    assert (created["name"], created["plan"], created["suspended_at"]) == ("Acme", "team", None)
    assert answer.headers["location"] == f"{PATH}/{created['id']}"
    assert api.services.workspaces.owner(created["id"]).user.email == "ann.made@example.com"
    event = events_of(api, created["id"])[-1]
    assert (event.type, event.actor.kind, event.actor.name) == (
        "workspace.created",
        "operator",
        "billing",
    )
    assert event.actor.id.startswith("op_")
    assert event.origin.request_id == answer.headers["x-request-id"]
    assert (
        Tenant(api, created["id"]).client().get("/v1/whoami").json()["workspace"]["id"]
        == created["id"]
    )


def test_a_workspace_needs_no_more_than_a_name(operator: ApiClient) -> None:
    """By default it is on the smallest plan, without an owner; names need not differ."""
    first, second = (
        new_workspace(operator, "Twin"),
        new_workspace(operator, "Twin", plan=None, owner=None),
    )
    assert first["plan"] == second["plan"] == "free"
    assert first["id"] != second["id"]


def test_an_email_has_one_owner(operator: ApiClient) -> None:
    """The address of an existing user: 409, and no workspace is created."""
    owner = {"name": "Ann", "email": "ann.twice@example.com"}
    new_workspace(operator, "First of two", owner=owner)
    answer = operator.post(PATH, {"name": "Second of two", "owner": owner})
    assert problem(answer) == (409, "name-taken")
    assert successful(operator.get(f"{PATH}?query=second of two"))["items"] == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, ["/name"]),
        ({"name": ""}, ["/name"]),
        ({"name": "a\nb"}, ["/name"]),
        ({"name": "x" * 101}, ["/name"]),
        ({"name": None}, ["/name"]),
        ({"name": "x", "plan": "none"}, ["/plan"]),
        ({"name": "x", "owner": {"name": ""}}, ["/owner/name"]),
        ({"name": "x", "owner": {"name": "Ann", "email": "nobody"}}, ["/owner/email"]),
        ({"name": "x", "owner": {"email": "ann@example.com"}}, ["/owner/name"]),
        ({"name": "x", "id": "ws_1"}, ["/id"]),
        ({"name": "x", "suspended_at": None}, ["/suspended_at"]),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(
    sqlite_api: ApiInstallation, body: Any, expected: list[str]
) -> None:
    """422 with the pointer of the value; members that only the server sets are refused."""
    assert pointers(backend(sqlite_api).post(PATH, body)) == expected


def test_workspaces_are_listed_in_pages(api: ApiInstallation, operator: ApiClient) -> None:
    """Newest first, each once, without later ones; a cursor belongs to its list and its search."""
    ids = []
    for number in range(5):
        api.clock.advance(timedelta(seconds=1))
        ids.append(new_workspace(operator, f"Paged {number}")["id"])
    seen: list[str] = []
    cursor = ""
    while True:
        page = successful(operator.get(f"{PATH}?query=paged&limit=2{cursor}"))
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
        api.clock.advance(timedelta(seconds=1))
        new_workspace(operator, "Paged meanwhile")
    assert seen == ids[::-1]
    assert problem(operator.get(f"{PATH}?limit=2{cursor}")) == (422, "invalid-cursor")
    assert backend(api).get(f"{PATH}?query=paged{cursor}").status_code == 200
    assert problem(operator.get(f"{PATH}?limit=0"))[0] == 422


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("straße", ["Zwölf Straße"]),
        ("ZWöLF", ["Zwölf Straße"]),
        ("100%_of", ["100%_OF"]),
        ("0%o", []),
        ("\\", ["back\\slash"]),
        ("no such name", []),
    ],
)
def test_workspaces_are_found_by_their_names(
    api: ApiInstallation, query: str, found: list[str]
) -> None:
    """Part of a name, the letters a-z in any case, without patterns: the same on both engines."""
    operator = backend(api)
    present = successful(operator.get(f"{PATH}?query=Stra%C3%9Fe"))["items"]
    for name in () if present else ("Zwölf Straße", "100%_OF", "100 of", "back\\slash"):
        new_workspace(operator, name)
    answer = successful(operator.get(str(httpx2.URL(PATH, params={"query": query}))))
    assert [item["name"] for item in answer["items"]] == found


def test_a_workspace_is_found_by_its_id(operator: ApiClient) -> None:
    """The exact ID is a search too; a part of it is not."""
    workspace = new_workspace(operator)
    assert successful(operator.get(f"{PATH}?query={workspace['id']}"))["items"] == [workspace]
    assert successful(operator.get(f"{PATH}?query={workspace['id'][:-1]}"))["items"] == []


def test_a_workspace_is_seen_with_its_use(api: ApiInstallation, operator: ApiClient) -> None:
    """All limits, with the plan's numbers or custom ones, and the use of each."""
    workspace = new_workspace(operator, plan="free", owner={"name": "Ann"})
    client = Tenant(api, workspace["id"]).client()
    client.put(f"{client.collection()}/documents/a", {"text": "x"})
    body = successful(operator.get(f"{PATH}/{workspace['id']}"))
    assert body.pop("overrides") == {}
    assert body.pop("quotas") == {
        "api_keys": {"limit": 5, "used": 1},
        "collections": {"limit": 3, "used": 1},
        "documents": {"limit": 1000, "used": 1},
        "webhooks": {"limit": 1, "used": 0},
        "members": {"limit": 3, "used": 1},
    }
    assert body == workspace


def test_renaming(api: ApiInstallation, operator: ApiClient) -> None:
    """The new name is visible immediately; the same name, or an empty change, is not an event."""
    workspace = new_workspace(operator)
    for name in ("Acme Ltd", "Acme Ltd"):
        assert (
            successful(operator.patch(f"{PATH}/{workspace['id']}", {"name": name}))["name"] == name
        )
    assert successful(operator.patch(f"{PATH}/{workspace['id']}", {}))["name"] == "Acme Ltd"
    types = [event.type for event in events_of(api, workspace["id"])]
    assert types == ["workspace.updated", "workspace.created"]
    assert pointers(operator.patch(f"{PATH}/{workspace['id']}", {"name": None})) == ["/name"]
    assert pointers(operator.patch(f"{PATH}/{workspace['id']}", {"plan": "team"})) == ["/plan"]


def test_suspension_ends_all_access_immediately(api: ApiInstallation, operator: ApiClient) -> None:
    """Every key is refused from the response on, and none can be created by one; resumed, they work again."""
    workspace = new_workspace(operator, plan="team")
    tenant = Tenant(api, workspace["id"])
    keys = [tenant.client(), tenant.client("documents:read"), tenant.client("*")]
    first = successful(operator.post(f"{PATH}/{workspace['id']}/suspend"))
    assert first["suspended_at"] is not None
    assert successful(operator.post(f"{PATH}/{workspace['id']}/suspend")) == first
    for client in keys:
        assert problem(client.get("/v1/whoami")) == (401, "invalid-token")
    assert problem(keys[0].post("/v1/keys", {"description": "x"})) == (401, "invalid-token")
    for _ in range(2):
        assert successful(operator.post(f"{PATH}/{workspace['id']}/resume"))["suspended_at"] is None
    assert [client.get("/v1/whoami").status_code for client in keys] == [200, 200, 200]
    statuses = [
        event
        for event in events_of(api, workspace["id"])
        if "sus" in event.type or "res" in event.type
    ]
    assert [event.type for event in statuses] == ["workspace.resumed", "workspace.suspended"]
    assert {event.actor.name for event in statuses} == {"billing"}
    assert all(event.origin.request_id for event in statuses)


def test_a_billing_system_puts_a_workspace_on_a_plan(
    api: ApiInstallation, operator: ApiClient
) -> None:
    """The whole response with the new limits; the same values are not an event; a PUT replaces everything."""
    workspace = new_workspace(operator)
    sent = {"plan": "team", "overrides": {"api_keys": 20, "documents": None}}
    first = successful(operator.put(f"{PATH}/{workspace['id']}/plan", sent))
    assert (first["plan"], first["overrides"]) == ("team", sent["overrides"])
    assert first["quotas"]["api_keys"] == {"limit": 20, "used": 0}
    assert first["quotas"]["documents"]["limit"] is None
    assert first["quotas"]["collections"]["limit"] == 25
    assert successful(operator.put(f"{PATH}/{workspace['id']}/plan", sent)) == first
    assert successful(operator.get(f"{PATH}/{workspace['id']}")) == first
    plain = successful(operator.put(f"{PATH}/{workspace['id']}/plan", {"plan": "team"}))
    assert (plain["overrides"], plain["quotas"]["api_keys"]["limit"]) == ({}, 50)
    changes = [
        event for event in events_of(api, workspace["id"]) if event.type == "workspace.plan_changed"
    ]
    assert [event.data for event in changes] == [{"plan": "team", "overrides": {}}, sent]
    assert changes[0].actor.name == "billing"


def test_a_lowered_limit_stops_creation_only(api: ApiInstallation, operator: ApiClient) -> None:
    """Seven keys on a plan for five: all work, an eighth is refused until there is room."""
    workspace = new_workspace(operator, plan="team")
    tenant = Tenant(api, workspace["id"])
    keys = [tenant.client() for _ in range(7)]
    plan = successful(operator.put(f"{PATH}/{workspace['id']}/plan", {"plan": "free"}))
    assert plan["quotas"]["api_keys"] == {"limit": 5, "used": 7}
    assert {client.get("/v1/whoami").status_code for client in keys} == {200}
    full = keys[0].post("/v1/keys", {"description": "x"})
    assert problem(full) == (409, "limit-reached")
    successful(operator.put(f"{PATH}/{workspace['id']}/plan", {"plan": "team"}))
    assert keys[0].post("/v1/keys", {"description": "x"}).status_code == 201


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, ["/plan"]),
        ({"plan": "none"}, ["/plan"]),
        ({"plan": None}, ["/plan"]),
        ({"plan": "team", "overrides": None}, ["/overrides"]),
        ({"plan": "team", "overrides": {"keys": 1}}, ["/overrides"]),
        ({"plan": "team", "overrides": {"api_keys": -1}}, ["/overrides"]),
        ({"plan": "team", "overrides": {"api_keys": 10**13}}, ["/overrides"]),
        ({"plan": "team", "overrides": {"api_keys": "5"}}, ["/overrides/api_keys"]),
        ({"plan": "team", "overrides": {"api_keys": True}}, ["/overrides/api_keys"]),
        ({"plan": "team", "overrides": {"api_keys": 1.5}}, ["/overrides/api_keys"]),
        ({"plan": "team", "name": "x"}, ["/name"]),
    ],
    ids=str,
)
def test_an_invalid_plan_is_named(
    sqlite_api: ApiInstallation, body: Any, expected: list[str]
) -> None:
    """422 with the pointer of the value, and nothing changes."""
    operator = backend(sqlite_api)
    workspace = new_workspace(operator)
    assert pointers(operator.put(f"{PATH}/{workspace['id']}/plan", body)) == expected
    assert successful(operator.get(f"{PATH}/{workspace['id']}"))["plan"] == "free"


def test_what_is_not_there_is_not_found(operator: ApiClient) -> None:
    """404 for every call about a workspace that never existed, before any error in the values."""
    for id in ("ws_02tcRIyrxLXTR81B3dqdOx", "none", "key_02tcRIyrxLXTR81B3dqdOx", "%F0%9F%97%9D"):
        for method, tail, bodies in (
            ("GET", "", [None]),
            ("PATCH", "", [{"name": "x"}, {"nonsense": 1}]),
            ("POST", "/suspend", [None]),
            ("POST", "/resume", [None]),
            ("PUT", "/plan", [{"plan": "team"}, {"plan": "none"}, {"nonsense": 1}]),
        ):
            for body in bodies:
                answer = operator.send(method, f"{PATH}/{id}{tail}", body)
                assert problem(answer) == (404, "not-found"), (method, id, tail, body)


def test_plans_are_listed(api: ApiInstallation, operator: ApiClient) -> None:
    """Every plan with its limits, from small to large; null is unlimited."""
    plans = successful(operator.get("/operator/v1/plans"))
    assert [plan["id"] for plan in plans["items"]] == ["free", "team", "scale"]
    assert plans["items"][0]["limits"] == {
        "api_keys": 5, "collections": 3, "documents": 1000, "webhooks": 1, "members": 3,
    }  # fmt: skip
    assert set(plans["items"][2]["limits"].values()) == {None}
    assert plans["items"][0]["rate_limits"] == {
        "workspace_per_minute": None,
        "key_per_minute": None,
    }
    assert plans["next_cursor"] is None


@pytest.fixture
def own_api(database_url: str) -> Iterator[ApiInstallation]:
    """An installation of its own, on each engine."""
    with open_api(database_url) as api:
        yield api


def test_the_list_is_the_whole_installation(own_api: ApiInstallation) -> None:
    """Every workspace, of any origin and state, and nothing else."""
    operator = backend(own_api)
    assert successful(operator.get(PATH)) == {"items": [], "next_cursor": None}
    by_hand = own_api.tenant()
    own_api.clock.advance(timedelta(seconds=1))
    made_here = new_workspace(operator)
    successful(operator.post(f"{PATH}/{by_hand.id}/suspend"))
    page = successful(operator.get(PATH))
    assert [item["id"] for item in page["items"]] == [made_here["id"], by_hand.id]
    assert page["items"][1]["suspended_at"] is not None

"""Keys over REST: create, read, change, revoke, rotate."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from keystead.domain.instants import format_instant
from keystead.domain.token import TOKEN_PATTERN
from keystead.storage.engine.waits import pause
from tests.support.api_client import ApiClient, Tenant, pointers, problem

KEY_MEMBERS = {
    "id", "description", "hint", "scopes", "status", "created_at", "created_by", "expires_at",
    "last_used_at", "last_used_ip", "last_used_agent", "revoked_at", "rotated_to",
    "networks", "metadata", "renewal",
}  # fmt: skip


def end_of(tenant: Tenant, **lives: float) -> str:
    """Return a time that long after now, as in the API."""
    return format_instant(tenant.api.clock.now() + timedelta(**lives))


def test_a_created_key_is_whole_and_shows_its_token_once(tenant: Tenant) -> None:
    """201 with every member, the token, Location and `no-store`; the token works and is in no later response."""
    client = tenant.client()
    answer = client.post("/v1/keys", {"description": "data-warehouse sync"})
    assert answer.status_code == 201
    created = answer.json()
    assert set(created) == KEY_MEMBERS | {"token"}
    assert re.fullmatch(TOKEN_PATTERN, created["token"])
    assert created["hint"] == f"ks_…{created['token'][-4:]}"
    assert created["description"] == "data-warehouse sync"
    assert created["created_by"] == {"type": "key", "id": client.key_id, "name": "t"}
    assert created["created_at"] == format_instant(tenant.api.clock.now())
    assert answer.headers["location"] == f"/v1/keys/{created['id']}"
    assert answer.headers["cache-control"] == "no-store"
    mine = tenant.api.client(created["token"])
    assert mine.get("/v1/whoami").json()["key"]["id"] == created["id"]
    places = (answer.headers["location"], "/v1/keys", "/v1/events", "/v1/whoami")
    later = [client.get(place).text for place in places]
    assert all(
        created["token"] not in text and created["token"][30:60] not in text for text in later
    )
    shown = client.get(answer.headers["location"]).json()
    assert shown == {name: value for name, value in created.items() if name != "token"}


def test_a_key_without_a_choice_has_its_creators_access_without_keys_write(tenant: Tenant) -> None:
    """Omitted scopes are the caller's without `keys:write`; an omitted expiry is the caller's."""
    client = tenant.client("keys:write", "documents:read", lives=timedelta(days=30))
    created = client.create_key()
    assert created["scopes"] == ["documents:read"]
    assert created["expires_at"] == end_of(tenant, days=30)


def test_a_key_with_only_keys_write_must_name_scopes(tenant: Tenant) -> None:
    """It has no scope to grant by default: 422 with the pointer."""
    answer = tenant.client("keys:write").post("/v1/keys", {"description": "x"})
    assert pointers(answer) == ["/scopes"]


@pytest.mark.parametrize(
    "asked",
    [
        {"scopes": ["documents:write"]},
        {"scopes": ["documents:read", "events:read"]},
        {"scopes": ["*"]},
        {"expires_at": None},
        {"expires_at": "9999-12-31T23:59:59Z"},
    ],
    ids=["another scope", "one more scope", "everything", "for ever", "longer"],
)
def test_no_key_grants_more_than_it_has(tenant: Tenant, asked: dict[str, Any]) -> None:
    """More scopes or a later expiry than the caller: 403 `would-widen`, and no change, in all three calls."""
    client = tenant.client("keys:write", "keys:read", "documents:read", lives=timedelta(days=9))
    own = client.create_key(scopes=["documents:read"])
    before = client.get("/v1/keys").json()
    assert problem(client.post("/v1/keys", {"description": "x", **asked})) == (403, "would-widen")
    assert problem(client.patch(f"/v1/keys/{own['id']}", asked)) == (403, "would-widen")
    if "expires_at" in asked:
        refused = client.post(f"/v1/keys/{own['id']}/rotate", asked)
        assert problem(refused) == (403, "would-widen")
    assert client.get("/v1/keys").json() == before


def test_a_key_does_not_touch_wider_keys_but_may_end_them(tenant: Tenant) -> None:
    """With only `keys:write` a wider key can be neither changed nor rotated, but revoked."""
    wide = tenant.token()
    client = tenant.client("keys:write")
    path = f"/v1/keys/{wide.key_id}"
    assert problem(client.patch(path, {"description": "x"})) == (403, "would-widen")
    assert problem(client.post(f"{path}/rotate")) == (403, "would-widen")
    assert client.delete(path).status_code == 204


@pytest.mark.parametrize(
    ("scopes", "places"),
    [
        (["plan:read", "nonsense", "events:read", "*:*"], ["/scopes/1", "/scopes/3"]),
        ([], ["/scopes"]),
        (["plan:read"] * 51, ["/scopes"]),
        ([1], ["/scopes/0"]),
        ("plan:read", ["/scopes"]),
        (None, ["/scopes"]),
        (["Plan:read"], ["/scopes/0"]),
        (["plan:read "], ["/scopes/0"]),
    ],
)
def test_scopes_that_do_not_exist_are_pointed_at(
    tenant: Tenant, scopes: Any, places: list[str]
) -> None:
    """Each unknown scope is named by its position in the request."""
    answer = tenant.client().post("/v1/keys", {"description": "x", "scopes": scopes})
    assert pointers(answer) == places


def test_a_scope_of_the_product_is_a_scope(tenant: Tenant) -> None:
    """A scope from the installation's settings can be granted, and `*` covers it."""
    created = tenant.client("*", "keys:write").create_key(scopes=["invoices:read"])
    assert created["scopes"] == ["invoices:read"]


@pytest.mark.parametrize("description", ["", "   ", "x" * 201, "two\nlines", "tab\there", "\x7f"])
def test_a_description_is_one_line_of_1_to_200_characters(tenant: Tenant, description: str) -> None:
    """Any other text is refused with the pointer; an accepted one is returned unchanged."""
    client = tenant.client()
    refused = client.post("/v1/keys", {"description": description})
    assert pointers(refused) == ["/description"]
    for text in ("ж" * 200, "…", "émoji 🔑", "<b>&\"'", "e\u0301"):
        assert client.create_key(description=text)["description"] == text


def test_lists_show_every_key_with_its_status_and_the_quota(tenant: Tenant) -> None:
    """Newest first, ended keys too; `status` and `query` narrow it; the quota counts active keys alone."""
    client = tenant.client()
    live = client.create_key(description="Live Ünit")
    ended = client.create_key(description="ended", expires_at=end_of(tenant, seconds=1))
    gone = client.create_key(description="gone")
    client.delete(f"/v1/keys/{gone['id']}")
    tenant.api.clock.advance(seconds=1)
    listed = client.get("/v1/keys").json()
    assert set(listed) == {"items", "next_cursor", "quota"}
    assert all(set(item) == KEY_MEMBERS for item in listed["items"])
    ids = [item["id"] for item in listed["items"]]
    assert ids == [gone["id"], ended["id"], live["id"], client.key_id]
    assert [item["status"] for item in listed["items"]] == [
        "revoked", "expired", "active", "active",
    ]  # fmt: skip
    assert listed["quota"] == {"limit": None, "used": 2}
    assert listed["next_cursor"] is None

    def found(query: str) -> list[str]:
        return [item["id"] for item in client.get(f"/v1/keys?{query}").json()["items"]]

    assert found("status=active") == [live["id"], client.key_id]
    assert found("status=expired") == [ended["id"]]
    assert found("status=revoked") == [gone["id"]]
    assert found("query=üNIT") == found(f"query={live['hint'][-4:]}") == [live["id"]]
    assert found(f"query={gone['id']}&status=revoked") == [gone["id"]]
    assert found("query=%25") == found("query=_nit") == []


def test_a_list_continues_at_the_end_of_its_page(tenant: Tenant) -> None:
    """The pages show every key once, in order, without keys created meanwhile."""
    client = tenant.client()
    created = [client.create_key(description=str(number))["id"] for number in range(7)]
    path: str | None = "/v1/keys?limit=3"
    seen: list[str] = []
    while path:
        page = client.get(path).json()
        seen += [item["id"] for item in page["items"]]
        client.create_key(description="later")
        path = page["next_cursor"] and f"/v1/keys?limit=3&cursor={page['next_cursor']}"
    assert seen == [*reversed(created), client.key_id]


FILTERS = (
    "created_by=x",
    "unused_for=30d",
    "expiring_within=14d",
    "outside_policy=true",
    "sort=expires_at",
    "order=asc",
)


def test_lists_are_filtered_and_sorted(tenant: Tenant) -> None:
    """Each filter and order reaches the list, and they combine with a status."""
    client, clock = tenant.client(), tenant.api.clock
    brief, late = (
        client.create_key(description=name, expires_at=end_of(tenant, days=days), networks=[])
        for name, days in (("brief", 10), ("late", 400))
    )
    child = tenant.api.client(client.create_key(scopes=["*", "keys:write"])["token"])
    grandchild = child.create_key(description="grandchild")
    clock.advance(timedelta(days=40))
    client.get("/v1/whoami")
    tenant.api.services.usage.flush()

    def listed(query: str) -> list[str]:
        return [key["description"] for key in client.get(f"/v1/keys?{query}").json()["items"]]

    creator = grandchild["created_by"]["id"]
    assert listed(f"created_by={creator}") == ["grandchild"]
    assert listed(f"created_by={client.key_id}&status=expired") == ["brief"]
    assert "t" not in listed("unused_for=30d")
    assert {"brief", "late", "grandchild"} <= set(listed("unused_for=30d"))
    assert listed("unused_for=41d") == []
    assert listed("expiring_within=400d") == ["late"]
    assert listed("expiring_within=400d&status=expired") == []
    assert listed("sort=expires_at&order=asc")[:2] == ["brief", "late"]
    assert listed("sort=last_used_at")[0] == "t"
    assert listed("sort=created_at&order=asc")[0] == "t"
    assert {brief["id"], late["id"]} <= {
        key["id"] for key in client.get("/v1/keys").json()["items"]
    }


@pytest.mark.parametrize(
    "query",
    [
        "unused_for=30",
        "unused_for=0d",
        "expiring_within=10000d",
        "expiring_within=",
        "outside_policy=yes",
        "sort=description",
        "order=up",
        "unknown=1",
    ],
)
def test_a_malformed_filter_is_refused(tenant: Tenant, query: str) -> None:
    """422 names the parameter; an unknown one is refused too, so that a typo never widens a list."""
    answer = tenant.client().get(f"/v1/keys?{query}")
    assert problem(answer) == (422, "invalid")
    assert pointers(answer) == [f"query:{query.partition('=')[0]}"]


@pytest.mark.parametrize("other", FILTERS)
def test_a_cursor_is_bound_to_filters_and_order(tenant: Tenant, other: str) -> None:
    """A cursor of one filter or order is refused by another: 422 `invalid-cursor`."""
    client = tenant.client()
    client.create_key()
    cursor = client.get("/v1/keys?limit=1").json()["next_cursor"]
    assert problem(client.get(f"/v1/keys?limit=1&{other}&cursor={cursor}")) == (
        422,
        "invalid-cursor",
    )


def test_a_cursor_belongs_to_its_list(tenant: Tenant) -> None:
    """A cursor of another filter, list or workspace, or an invented one: 422 `invalid-cursor`."""
    client = tenant.client()
    for name in ("one", "two"):
        client.create_key(description=name)
        client.collection(name)
    cursor = client.get("/v1/keys?limit=1").json()["next_cursor"]
    assert client.get(f"/v1/keys?limit=2&cursor={cursor}").status_code == 200
    other = tenant.api.tenant().client()
    elsewhere = [
        client.get(f"/v1/keys?limit=1&status=active&cursor={cursor}"),
        client.get(f"/v1/keys?limit=1&query=o&cursor={cursor}"),
        client.get(f"/v1/collections?cursor={cursor}"),
        client.get(f"/v1/events?cursor={cursor}"),
        other.get(f"/v1/keys?limit=1&cursor={cursor}"),
        client.get("/v1/keys?cursor=nonsense"),
        client.get("/v1/keys?cursor="),
        client.get(f"/v1/keys?cursor={cursor}A"),
    ]
    assert [problem(answer) for answer in elsewhere] == [(422, "invalid-cursor")] * 8


@pytest.mark.parametrize(
    "limit", ["0", "201", "-1", "1.0", "+1", " 1", "1_0", "x", "", "1e1", "\u0661"]
)
def test_a_limit_is_a_number_from_1_to_200(quick: Tenant, limit: str) -> None:
    """Only digits are accepted, and the bounds themselves work."""
    client = quick.client()
    answer = client.send("GET", f"/v1/keys?limit={limit.replace('+', '%2B').replace(' ', '%20')}")
    assert pointers(answer) == ["query:limit"]
    assert client.get("/v1/keys?limit=1").status_code == 200
    assert client.get("/v1/keys?limit=200").status_code == 200


@pytest.mark.parametrize(
    ("query", "places"),
    [
        ("stauts=active", ["query:stauts"]),
        ("status=alive", ["query:status"]),
        ("status=active&status=revoked", ["query:status"]),
        ("limit=1&limit=1", ["query:limit"]),
        ("Status=active&x", ["query:Status", "query:x"]),
        ("x=1&y=2", ["query:x", "query:y"]),
    ],
)
def test_an_unknown_parameter_is_refused(quick: Tenant, query: str, places: list[str]) -> None:
    """Unknown and repeated ones: a misspelled filter would show too much."""
    assert pointers(quick.client().get(f"/v1/keys?{query}")) == places


def test_a_patch_changes_what_it_names(tenant: Tenant) -> None:
    """Absent fields are unchanged, `expires_at: null` means never, scopes shrink, and the change is recorded once."""
    client = tenant.client()
    key = client.create_key(
        scopes=["documents:read", "plan:read"], expires_at=end_of(tenant, days=1)
    )
    path = f"/v1/keys/{key['id']}"
    renamed = client.patch(path, {"description": "other"}).json()
    assert renamed == client.get(path).json() == expected(key, description="other")
    shrunk = client.patch(path, {"scopes": ["plan:read"], "expires_at": None}).json()
    assert shrunk == expected(key, description="other", scopes=["plan:read"], expires_at=None)
    mine = tenant.api.client(key["token"])
    assert problem(mine.get("/v1/collections/c/documents")) == (403, "insufficient-scope")
    changed = [event["data"] for event in client.get("/v1/events?type=key.updated").json()["items"]]
    assert [sorted(data["changed"]) for data in changed] == [
        ["expires_at", "scopes"],
        ["description"],
    ]


def expected(key: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a created key as later responses show it, with these changes."""
    return {name: value for name, value in key.items() if name != "token"} | changes


@pytest.mark.parametrize("body", [{}, {"description": "made"}, {"scopes": ["*"]}])
def test_a_patch_without_a_difference_leaves_no_trace(tenant: Tenant, body: Any) -> None:
    """200, an unchanged key, and no event."""
    client = tenant.client()
    key = client.create_key()
    before = tenant.event_types()
    answer = client.patch(f"/v1/keys/{key['id']}", body)
    assert (answer.status_code, answer.json()) == (200, expected(key))
    assert tenant.event_types() == before


@pytest.mark.parametrize("name", ["description", "scopes"])
def test_null_is_valid_only_for_the_expiry(tenant: Tenant, name: str) -> None:
    """Any other null in a PATCH is refused with its pointer."""
    client = tenant.client()
    key = client.create_key()
    assert pointers(client.patch(f"/v1/keys/{key['id']}", {name: None})) == [f"/{name}"]


def test_revocation_is_immediate_and_final(tenant: Tenant) -> None:
    """204, 401 from the next request on, 204 again without a second event; and no request revives the key."""
    client = tenant.client()
    key = client.create_key()
    path, mine = f"/v1/keys/{key['id']}", tenant.api.client(key["token"])
    assert mine.get("/v1/whoami").status_code == 200
    answer = client.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert problem(mine.get("/v1/whoami")) == (401, "invalid-token")
    revoked = client.get(path).json()
    assert (revoked["status"], revoked["revoked_at"]) == ("revoked", end_of(tenant))
    tenant.api.clock.advance(seconds=5)
    assert client.delete(path).status_code == 204
    assert client.get(path).json() == revoked
    assert tenant.event_types().count("key.revoked") == 1
    for body in ({"description": "x"}, {"expires_at": None}, {"scopes": ["*"]}):
        assert problem(client.patch(path, body)) == (409, "key-revoked")
    assert problem(client.post(f"{path}/rotate")) == (409, "key-revoked")
    assert problem(client.put(path, {})) == (405, "method-not-allowed")
    assert problem(mine.get("/v1/whoami")) == (401, "invalid-token")


def test_expiry_is_final(tenant: Tenant) -> None:
    """An expired key is refused from its expiry on; it can be described and revoked, not extended or rotated."""
    client = tenant.client()
    key = client.create_key(expires_at=end_of(tenant, seconds=60))
    path, mine = f"/v1/keys/{key['id']}", tenant.api.client(key["token"])
    tenant.api.clock.advance(seconds=59)
    assert mine.get("/v1/whoami").status_code == 200
    tenant.api.clock.advance(seconds=1)
    assert problem(mine.get("/v1/whoami")) == (401, "invalid-token")
    assert client.get(path).json()["status"] == "expired"
    for body in ({"expires_at": None}, {"expires_at": end_of(tenant, days=1)}):
        assert problem(client.patch(path, body)) == (409, "key-expired")
    assert problem(client.post(f"{path}/rotate")) == (409, "key-expired")
    assert client.patch(path, {"description": "late"}).json()["description"] == "late"
    assert client.delete(path).status_code == 204
    assert client.get(path).json()["status"] == "revoked"


def test_rotation_creates_a_successor(tenant: Tenant) -> None:
    """The successor has the same description, scopes and lifetime; without overlap the old token stops immediately."""
    client = tenant.client()
    old = client.create_key(scopes=["plan:read"], expires_at=end_of(tenant, days=30))
    tenant.api.clock.advance(days=10)
    answer = client.post(f"/v1/keys/{old['id']}/rotate")
    assert answer.status_code == 201
    new = answer.json()
    assert set(new) == KEY_MEMBERS | {"token"}
    assert answer.headers["location"] == f"/v1/keys/{new['id']}"
    assert (new["description"], new["scopes"]) == ("made", ["plan:read"])
    assert new["expires_at"] == end_of(tenant, days=30)
    assert tenant.api.client(new["token"]).get("/v1/plan").status_code == 200
    assert problem(tenant.api.client(old["token"]).get("/v1/plan")) == (401, "invalid-token")
    after = client.get(f"/v1/keys/{old['id']}").json()
    assert (after["status"], after["rotated_to"]) == ("revoked", new["id"])


def test_in_the_overlap_both_tokens_work(tenant: Tenant) -> None:
    """The old key ends with its overlap, takes no place meanwhile, and neither key rotates again before that."""
    client = tenant.client()
    old = client.create_key()
    used = client.get("/v1/keys").json()["quota"]["used"]
    path = f"/v1/keys/{old['id']}"
    new = client.post(f"{path}/rotate", {"overlap_seconds": 60}).json()
    assert client.get(path).json()["expires_at"] == end_of(tenant, seconds=60)
    assert client.get("/v1/keys").json()["quota"]["used"] == used
    tokens = [tenant.api.client(key["token"]) for key in (old, new)]
    assert [client.get("/v1/whoami").status_code for client in tokens] == [200, 200]
    for id in (old["id"], new["id"]):
        refused = client.post(f"/v1/keys/{id}/rotate", {"overlap_seconds": 60})
        assert problem(refused) == (409, "rotation-in-progress")
    tenant.api.clock.advance(seconds=60)
    assert [client.get("/v1/whoami").status_code for client in tokens] == [401, 200]
    assert client.post(f"/v1/keys/{new['id']}/rotate").status_code == 201


def test_an_overlap_extends_no_key(tenant: Tenant) -> None:
    """The old key ends at its own expiry if that comes first; a chosen expiry is the successor's."""
    client = tenant.client()
    old = client.create_key(expires_at=end_of(tenant, seconds=30))
    body = {"overlap_seconds": 604_800, "expires_at": end_of(tenant, days=2)}
    new = client.post(f"/v1/keys/{old['id']}/rotate", body).json()
    assert client.get(f"/v1/keys/{old['id']}").json()["expires_at"] == end_of(tenant, seconds=30)
    assert new["expires_at"] == end_of(tenant, days=2)
    forever = client.create_key()
    successor = client.post(f"/v1/keys/{forever['id']}/rotate", {"expires_at": None}).json()
    assert successor["expires_at"] is None


@pytest.mark.parametrize("overlap", [-1, 604_801, 1.5, "60", True, None, 2**62, [60]])
def test_an_overlap_is_whole_seconds_up_to_a_week(quick: Tenant, overlap: Any) -> None:
    """Any other value is refused with its pointer, and the key is unchanged."""
    client = quick.client()
    key = client.create_key()
    refused = client.post(f"/v1/keys/{key['id']}/rotate", {"overlap_seconds": overlap})
    assert pointers(refused) == ["/overlap_seconds"]
    assert client.get(f"/v1/keys/{key['id']}").json() == expected(key)


def test_a_full_plan_lists_keys_to_revoke(tenant: Tenant) -> None:
    """409 with the limit, its use, the plan and the safest keys to revoke; rotating and revoking still work."""
    free = tenant.api.tenant("free")
    client = free.client()
    created = [client.create_key(description=str(number)) for number in range(4)]
    tenant.api.services.usage.flush()
    tenant.api.client(created[0]["token"]).get("/v1/whoami")
    tenant.api.clock.advance(seconds=1)
    tenant.api.services.usage.flush()
    refused = client.post("/v1/keys", {"description": "one too many"})
    assert problem(refused) == (409, "limit-reached")
    body = refused.json()
    assert (body["limit"], body["used"], body["plan"]) == (5, 5, "Free")
    assert body["plans_url"] == "https://product.example/plans"
    candidates = [candidate["id"] for candidate in body["candidates"]]
    assert candidates[:3] == [key["id"] for key in created[1:]]
    assert set(candidates[3:]) == {created[0]["id"], client.key_id}
    assert set(body["candidates"][0]) == {"id", "description", "hint", "last_used_at"}
    rotated = client.post(f"/v1/keys/{created[0]['id']}/rotate", {"overlap_seconds": 60})
    assert rotated.status_code == 201
    assert problem(client.post("/v1/keys", {"description": "x"})) == (409, "limit-reached")
    client.delete(f"/v1/keys/{candidates[0]}")
    assert client.post("/v1/keys", {"description": "now"}).status_code == 201


def test_not_found_comes_before_invalid_values(tenant: Tenant) -> None:
    """404 before 422 and 409: an invalid body or parameter says nothing about a key that doesn't exist."""
    client: ApiClient = tenant.client()
    missing = [
        client.get("/v1/keys/none?x=1"),
        client.patch("/v1/keys/none", {"description": ""}),
        client.patch("/v1/keys/none", {"nonsense": 1}),
        client.patch("/v1/keys/none", []),
        client.post("/v1/keys/none/rotate", {"overlap_seconds": -1}),
        client.delete("/v1/keys/none?x=1"),
    ]
    assert [problem(answer) for answer in missing] == [(404, "not-found")] * 6


def test_a_revocation_does_not_wait_behind_the_workspaces_other_writes(tenant: Tenant) -> None:
    """A leaked key cannot keep its own revocation waiting by a flood of calls."""
    client, execution = tenant.client(), tenant.api.services.execution
    ended: list[str] = []

    async def write() -> None:
        await execution.run_write(tenant.id, partial(pause, 0.02))
        ended.append("write")

    async def revoke() -> None:
        answer = await client.send_on_loop("DELETE", f"/v1/keys/{client.key_id}")
        ended.append(str(answer.status_code))

    async def run() -> None:
        writes = [asyncio.create_task(write()) for _ in range(50)]
        await asyncio.sleep(0)
        await asyncio.gather(revoke(), *writes)

    tenant.api.runner.run(run())
    assert ended[-1] == "write"
    assert ended.count("204") == 1

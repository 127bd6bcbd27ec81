"""Collections over REST."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api_client import Tenant, pointers, problem

MEMBERS = {"name", "title", "documents", "created_at", "updated_at"}


def test_a_collection_is_made_seen_titled_and_deleted(tenant: Tenant) -> None:
    """201 with its place; GET, PATCH and the list show it alike; 204 and then 404."""
    client = tenant.client()
    answer = client.post("/v1/collections", {"name": "handbook", "title": "Product handbook"})
    assert (answer.status_code, answer.headers["location"]) == (201, "/v1/collections/handbook")
    made = answer.json()
    assert set(made) == MEMBERS
    assert (made["name"], made["title"], made["documents"]) == ("handbook", "Product handbook", 0)
    path = answer.headers["location"]
    assert client.get(path).json() == made
    assert client.get("/v1/collections").json() == {"items": [made], "next_cursor": None}
    tenant.api.clock.advance(seconds=1)
    titled = client.patch(path, {"title": "Other"}).json()
    assert titled == made | {"title": "Other", "updated_at": titled["updated_at"]}
    assert titled["updated_at"] > made["updated_at"]
    assert client.delete(path).status_code == 204
    gone = [client.get(path), client.patch(path, {"title": "x"}), client.delete(path)]
    assert [problem(answer) for answer in gone] == [(404, "not-found")] * 3


def test_without_a_title_the_name_is_the_title(quick: Tenant) -> None:
    """Omitted or null."""
    client = quick.client()
    for name, more in (("one", {}), ("two", {"title": None})):
        made = client.post("/v1/collections", {"name": name, **more}).json()
        assert made["title"] == name


@pytest.mark.parametrize("name", ["", "Handbook", "-a", "_a", "a b", "a/b", "a.b", "ä", "a" * 65])
def test_a_name_is_a_slug(quick: Tenant, name: str) -> None:
    """1-64 of a-z, 0-9, hyphens and underscores, a letter or digit first."""
    client = quick.client()
    assert pointers(client.post("/v1/collections", {"name": name})) == ["/name"]
    assert client.post("/v1/collections", {"name": "a" * 64}).status_code == 201


@pytest.mark.parametrize("title", ["", "x" * 301, "two\nlines", None, 1])
def test_a_title_is_one_line(quick: Tenant, title: Any) -> None:
    """1-300 characters; in a PATCH not null either."""
    client = quick.client()
    assert pointers(client.patch(client.collection(), {"title": title})) == ["/title"]


def test_names_are_the_workspace_s_own(tenant: Tenant) -> None:
    """Twice in one workspace is 409 `name-taken`; in another workspace the name is free."""
    client, other = tenant.client(), tenant.api.tenant().client()
    client.collection("handbook")
    assert problem(client.post("/v1/collections", {"name": "handbook"})) == (409, "name-taken")
    assert other.post("/v1/collections", {"name": "handbook"}).status_code == 201


def test_a_collection_with_documents_goes_only_with_them(tenant: Tenant) -> None:
    """409 unless `?documents=delete`, which is the only value."""
    client = tenant.client()
    path = client.collection()
    client.put(f"{path}/documents/d", {"text": "x"})
    assert client.get(path).json()["documents"] == 1
    assert problem(client.delete(path)) == (409, "collection-not-empty")
    for value in ("keep", "", "DELETE"):
        assert pointers(client.delete(f"{path}?documents={value}")) == ["query:documents"]
    assert client.delete(f"{path}?documents=delete").status_code == 204
    assert problem(client.get(f"{path}/documents/d")) == (404, "not-found")
    again = client.collection()
    assert client.get(f"{again}/documents").json()["items"] == []


def test_no_difference_leaves_no_trace(tenant: Tenant) -> None:
    """200, the collection as it was, and no event."""
    client = tenant.client()
    path = client.collection()
    made, before = client.get(path).json(), tenant.event_types()
    for body in ({}, {"title": "handbook"}):
        answer = client.patch(path, body)
        assert (answer.status_code, answer.json()) == (200, made)
    assert tenant.event_types() == before


def test_the_plan_limits_collections(tenant: Tenant) -> None:
    """409 `limit-reached`, without candidates: those are keys."""
    client = tenant.api.tenant("free").client()
    for name in ("a", "b", "c"):
        client.collection(name)
    refused = client.post("/v1/collections", {"name": "d"})
    assert problem(refused) == (409, "limit-reached")
    told = refused.json()
    assert (told["limit"], told["used"], told["plan"], told["candidates"]) == (3, 3, "Free", [])


def test_collections_are_paged_newest_first(tenant: Tenant) -> None:
    """Every one once, in order."""
    client = tenant.client()
    for name in ("a", "b", "c"):
        client.collection(name)
    first = client.get("/v1/collections?limit=2").json()
    second = client.get(f"/v1/collections?limit=2&cursor={first['next_cursor']}").json()
    names = [item["name"] for page in (first, second) for item in page["items"]]
    assert names == ["c", "b", "a"]
    assert second["next_cursor"] is None


def test_what_is_missing_is_told_before_what_is_wrong(tenant: Tenant) -> None:
    """404 before 422 and 409."""
    client = tenant.client()
    missing = [
        client.get("/v1/collections/none?x=1"),
        client.patch("/v1/collections/none", {"title": None}),
        client.patch("/v1/collections/none", {"name": "x"}),
        client.delete("/v1/collections/none?documents=nonsense"),
    ]
    assert [problem(answer) for answer in missing] == [(404, "not-found")] * 4

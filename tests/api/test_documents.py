"""Documents over REST: put, get, list, search, delete, push."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.support.api_client import ApiClient, Tenant, pointers, problem, safe_text

SUMMARY = {"id", "title", "url", "attributes", "created_at", "updated_at"}


@pytest.fixture
def client(tenant: Tenant) -> ApiClient:
    """A client with a collection called handbook."""
    client = tenant.client()
    client.collection()
    return client


DOCUMENTS = "/v1/collections/handbook/documents"


def test_a_document_is_put_seen_replaced_and_deleted(tenant: Tenant, client: ApiClient) -> None:
    """201 with its Location, then 200; PUT replaces the whole; a GET's result can be put again; 204, then 404."""
    body = {
        "title": "Lost passwords",
        "text": "Ask the help desk.",
        "url": "https://example.com/p",
        "attributes": {"team": "it", "tags": ["a", 1, None]},
    }
    path = f"{DOCUMENTS}/passwords"
    answer = client.put(path, body)
    assert (answer.status_code, answer.headers["location"]) == (201, path)
    document = answer.json()
    assert set(document) == SUMMARY | {"text"}
    assert document == {
        **body,
        "id": "passwords",
        "created_at": document["created_at"],
        "updated_at": document["created_at"],
    }
    assert client.get(path).json() == document
    again = client.put(
        path, {name: document[name] for name in ("title", "text", "url", "attributes")}
    )
    assert (again.status_code, again.json()) == (200, document)
    assert "location" not in again.headers
    tenant.api.clock.advance(seconds=1)
    bare = client.put(path, {"text": "x"}).json()
    assert (bare["title"], bare["url"], bare["attributes"], bare["text"]) == ("", None, {}, "x")
    assert bare["created_at"] == document["created_at"] < bare["updated_at"]
    deleted = client.delete(path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert [problem(client.get(path)), problem(client.delete(path))] == [(404, "not-found")] * 2


def test_a_list_omits_the_texts(client: ApiClient) -> None:
    """Newest first, every document once, without its text."""
    for number in range(5):
        client.put(f"{DOCUMENTS}/d{number}", {"text": "secret text"})
    path: str | None = f"{DOCUMENTS}?limit=2"
    seen: list[dict[str, Any]] = []
    while path:
        page = client.get(path).json()
        seen += page["items"]
        path = page["next_cursor"] and f"{DOCUMENTS}?limit=2&cursor={page['next_cursor']}"
    assert [item["id"] for item in seen] == ["d4", "d3", "d2", "d1", "d0"]
    assert all(set(item) == SUMMARY for item in seen)


def test_search_finds_by_words(client: ApiClient) -> None:
    """All words must occur, the last as a prefix; marks and case make no difference."""
    texts = {"a": "Résumé of the v2.1 release", "b": "release notes", "c": "resume the a.b/c job"}
    for id, text in texts.items():
        client.put(f"{DOCUMENTS}/{id}", {"text": text})

    def found(query: str) -> set[str]:
        answer = client.get(f"{DOCUMENTS}?query={query}")
        assert answer.status_code == 200, safe_text(answer)
        assert answer.json()["next_cursor"] is None
        return {item["id"] for item in answer.json()["items"]}

    assert found("RESUME") == {"a", "c"}
    assert found("rele") == {"a", "b"}
    assert found("rele%20notes") == set()
    assert found("v2.1") == {"a"}
    assert found("a.b/c") == {"c"}
    for hostile in ("%22", "a%22%20OR%20b", "NEAR(a%20b)", "title:x", "-x", "*", "x*", "a%26%7Cb"):
        assert client.get(f"{DOCUMENTS}?query={hostile}").status_code in {200, 422}


def test_a_search_of_long_documents_is_answered(client: ApiClient) -> None:
    """What would hold up the event loop is answered all the same, on a thread."""
    for number in range(4):
        client.put(f"{DOCUMENTS}/d{number}", {"text": f"key {'words ' * 2_000}"})
    page = client.get(f"{DOCUMENTS}?query=key&limit=3")
    assert page.status_code == 200, safe_text(page)
    assert [item["id"] for item in page.json()["items"]] == ["d3", "d2", "d1"]


def test_a_search_has_bounds(client: ApiClient) -> None:
    """1-10 words; a list's cursor does not work for a search, nor a search's for a list or another search."""
    for number in range(3):
        client.put(f"{DOCUMENTS}/d{number}", {"text": "word"})
    assert pointers(client.get(f"{DOCUMENTS}?query=")) == ["query:query"]
    eleven = "+".join("abcdefghijk")
    assert pointers(client.get(f"{DOCUMENTS}?query={eleven}")) == ["query:query"]
    listed = client.get(f"{DOCUMENTS}?limit=1").json()["next_cursor"]
    searched = client.get(f"{DOCUMENTS}?query=word&limit=1").json()["next_cursor"]
    for wrong in (
        f"query=word&cursor={listed}",
        f"cursor={searched}",
        f"query=wor&cursor={searched}",
    ):
        assert problem(client.get(f"{DOCUMENTS}?{wrong}")) == (422, "invalid-cursor")


def test_a_search_has_snippets_and_pages(client: ApiClient) -> None:
    """Results have no text but a part of it; pages have every result once, the best first, and the total."""
    for number in range(3):
        client.put(f"{DOCUMENTS}/d{number}", {"text": f"A word,\n number {number}"})
    client.put(f"{DOCUMENTS}/best", {"title": "Word", "text": "x"})
    path: str | None = f"{DOCUMENTS}?query=word&limit=2"
    seen: list[dict[str, Any]] = []
    while path:
        page = client.get(path).json()
        assert (page["total"], page["total_exact"]) == (4, True)
        seen += page["items"]
        cursor = page["next_cursor"]
        path = cursor and f"{DOCUMENTS}?query=word&limit=2&cursor={cursor}"
    assert [item["id"] for item in seen] == ["best", "d2", "d1", "d0"]
    assert all(set(item) == SUMMARY | {"snippet"} for item in seen)
    assert seen[1]["snippet"] == "A word, number 2"


def test_a_batch_is_counted_and_its_repetition_changes_nothing(
    tenant: Tenant, client: ApiClient
) -> None:
    """Created, updated, unchanged and deleted; the same push again is all unchanged, and writes no event."""
    batch = f"{DOCUMENTS}/batch"
    client.put(f"{DOCUMENTS}/old", {"text": "x"})
    push = {
        "upsert": [{"id": f"d{number}", "text": str(number)} for number in range(5)],
        "delete": ["old", "absent"],
    }
    assert client.post(batch, push).json() == {
        "created": 5, "updated": 0, "unchanged": 0, "deleted": 1,
    }  # fmt: skip
    before = tenant.event_types()
    assert client.post(batch, push).json() == {
        "created": 0, "updated": 0, "unchanged": 5, "deleted": 0,
    }  # fmt: skip
    assert tenant.event_types() == before
    changed = {"upsert": [{"id": "d0", "text": "0", "title": "new"}, {"id": "d1", "text": "1"}]}
    assert client.post(batch, changed).json() == {
        "created": 0, "updated": 1, "unchanged": 1, "deleted": 0,
    }  # fmt: skip
    assert client.post(batch, {}).json() == dict.fromkeys(
        ("created", "updated", "unchanged", "deleted"), 0
    )


@pytest.mark.parametrize(
    ("push", "places"),
    [
        ({"upsert": [{"id": "a", "text": "x"}, {"id": "b"}]}, ["/upsert/1/text"]),
        ({"upsert": [{"id": "a", "text": "x"}, {"id": "a/b", "text": "x"}]}, ["/upsert/1/id"]),
        ({"upsert": [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]}, ["/upsert/1/id"]),
        ({"upsert": [{"id": "a", "text": "x"}], "delete": ["a"]}, ["/delete/0"]),
        ({"delete": ["a", "b", "a"]}, ["/delete/2"]),
        ({"delete": ["a", 1]}, ["/delete/1"]),
        ({"upsert": None}, ["/upsert"]),
        ({"upsert": {"a": "x"}}, ["/upsert"]),
    ],
)
def test_a_batch_is_all_or_nothing(client: ApiClient, push: Any, places: list[str]) -> None:
    """One refused entry is named with its pointer, and none of the others is stored."""
    assert pointers(client.post(f"{DOCUMENTS}/batch", push)) == places
    assert client.get(DOCUMENTS).json()["items"] == []


def test_a_batch_has_a_thousand_entries(client: ApiClient) -> None:
    """Upserts and deletes together; one more is refused."""
    upsert = [{"id": f"d{number}", "text": "x"} for number in range(600)]
    delete = [f"e{number}" for number in range(400)]
    batch = f"{DOCUMENTS}/batch"
    assert client.post(batch, {"upsert": upsert, "delete": delete}).json()["created"] == 600
    assert pointers(client.post(batch, {"upsert": upsert, "delete": [*delete, "one"]})) == [""]


def test_room_is_checked_on_the_final_state(tenant: Tenant) -> None:
    """A full plan accepts a batch that deletes as many as it adds, and refuses the whole batch that adds one more."""
    api = tenant.api
    free = api.tenant("free")
    api.services.workspaces.set_plan(free.id, "free", {"documents": 2})
    client = free.client()
    client.collection()
    batch = f"{DOCUMENTS}/batch"
    two = [{"id": "a", "text": "x"}, {"id": "b", "text": "x"}]
    assert client.post(batch, {"upsert": two}).status_code == 200
    swap = {"upsert": [{"id": "c", "text": "x"}], "delete": ["a"]}
    assert client.post(batch, swap).status_code == 200
    over = {"upsert": [{"id": "d", "text": "x"}, {"id": "e", "text": "x"}], "delete": ["b"]}
    assert problem(client.post(batch, over)) == (409, "limit-reached")
    assert problem(client.put(f"{DOCUMENTS}/d", {"text": "x"})) == (409, "limit-reached")
    assert {item["id"] for item in client.get(DOCUMENTS).json()["items"]} == {"b", "c"}


@pytest.mark.parametrize(
    ("body", "places"),
    [
        ({}, ["/text"]),
        ({"text": None}, ["/text"]),
        ({"text": 1}, ["/text"]),
        ({"text": "x", "title": None}, ["/title"]),
        ({"text": "x", "title": "x" * 301}, ["/title"]),
        ({"text": "x", "url": "ftp://x"}, ["/url"]),
        ({"text": "x", "url": "javascript:alert(1)"}, ["/url"]),
        ({"text": "x", "url": "https://x/" + "x" * 2048}, ["/url"]),
        ({"text": "x", "attributes": []}, ["/attributes"]),
        ({"text": "x", "attributes": None}, ["/attributes"]),
        ({"text": "x", "attributes": {"x": "x" * 16_384}}, ["/attributes"]),
        ({"text": "ä" * 131_073}, ["/text"]),
    ],
)
def test_a_document_that_breaks_a_rule_is_refused(
    client: ApiClient, body: Any, places: list[str]
) -> None:
    """The error has its pointer, and the document is not stored."""
    assert pointers(client.put(f"{DOCUMENTS}/d", body)) == places
    assert problem(client.get(f"{DOCUMENTS}/d")) == (404, "not-found")


def test_attributes_are_eight_deep(client: ApiClient) -> None:
    """The object itself is the first level."""
    nested: Any = {}
    for _ in range(7):
        nested = {"x": nested}
    path = f"{DOCUMENTS}/d"
    assert client.put(path, {"text": "x", "attributes": nested}).status_code == 201
    refused = client.put(path, {"text": "x", "attributes": {"x": nested}})
    assert pointers(refused)[0].startswith("/attributes")


@pytest.mark.parametrize("id", ["a%20b", "%C3%A4", "a" * 129, "a:b", "~", "a%5Cb", "%F0%9F%94%91"])
def test_an_id_that_cannot_be_is_refused_or_missing(client: ApiClient, id: str) -> None:
    """PUT is 422; for GET and DELETE the document doesn't exist."""
    path = f"{DOCUMENTS}/{id}"
    assert problem(client.put(path, {"text": "x"})) == (422, "invalid")
    assert problem(client.get(path)) == (404, "not-found")
    assert problem(client.delete(path)) == (404, "not-found")


def test_not_found_comes_before_invalid_values(client: ApiClient) -> None:
    """404 of the collection, and of the document unless it is created, comes before 422 and 409."""
    nowhere = "/v1/collections/none/documents"
    missing = [
        client.get(f"{nowhere}?limit=0"),
        client.get(f"{nowhere}?query="),
        client.get(f"{nowhere}?cursor=nonsense"),
        client.get(f"{nowhere}?x=1"),
        client.put(f"{nowhere}/d", {}),
        client.put(f"{nowhere}/a b", {"text": "x"}),
        client.post(f"{nowhere}/batch", {"upsert": 1}),
        client.delete(f"{nowhere}/d?x=1"),
        client.get(f"{DOCUMENTS}/none?x=1"),
        client.delete(f"{DOCUMENTS}/none?x=1"),
    ]
    assert [problem(answer) for answer in missing] == [(404, "not-found")] * 10


def test_a_document_may_be_called_batch(client: ApiClient) -> None:
    """The name of a call is a valid id: the methods differ."""
    path = f"{DOCUMENTS}/batch"
    assert client.put(path, {"text": "x"}).status_code == 201
    assert client.get(path).json()["id"] == "batch"
    assert client.delete(path).status_code == 204


def test_large_changes_leave_the_writer_free(quick: Tenant) -> None:
    """What takes long runs on a thread of its own: on SQLite others write meanwhile, on PostgreSQL the loop goes on.

    The only thread of short writes is busy here until all of them have succeeded.
    """
    client, execution, text = quick.client(), quick.api.services.execution, "word " * 1_000
    path = f"{client.collection()}/documents"
    batch = {"upsert": [{"id": f"d{number}", "text": text} for number in range(3)]}
    requests = [
        ("POST", f"{path}/batch", batch),
        ("PUT", f"{path}/one", {"text": text}),
        ("DELETE", "/v1/collections/handbook?documents=delete", None),
    ]
    release = threading.Event()

    async def change() -> list[int]:
        busy = asyncio.create_task(execution.run_write("other", release.wait))
        try:
            return [(await client.send_on_loop(*each)).status_code for each in requests]
        finally:
            release.set()
            await busy

    assert quick.api.runner.run(change()) == [200, 201, 204]

"""Bodies: what is taken, in which order it is refused, and what no body can do."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.support.api_client import ApiClient, Tenant, pointers, problem

SERVER_OWNED = {
    "id": "key_02tcRIyrxLXTR81B3dqdOx",
    "workspace": "ws_02tcRIyrxLXTR81B3dqdOx",
    "workspace_id": "ws_02tcRIyrxLXTR81B3dqdOx",
    "owner": "x",
    "hint": "ks_…aaaa",
    "token": "x",
    "hash": "x",
    "digest": "x",
    "pepper_id": "x",
    "status": "active",
    "created_at": "2020-01-01T00:00:00Z",
    "created_by": {"type": "operator", "id": "x", "name": "x"},
    "last_used_at": None,
    "last_used_ip": "127.0.0.1",
    "revoked_at": None,
    "rotated_to": None,
    "plan": "scale",
    "role": "owner",
    "documents": 0,
    "updated_at": "2020-01-01T00:00:00Z",
    "__class__": "x",
}


def calls_with_bodies(client: ApiClient) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Every call that takes a body, with one that is good."""
    key, collection = client.create_key()["id"], client.collection()
    return {
        "create": ("POST", "/v1/keys", {"description": "x"}),
        "change": ("PATCH", f"/v1/keys/{key}", {"description": "y"}),
        "rotate": ("POST", f"/v1/keys/{key}/rotate", {"overlap_seconds": 0}),
        "collection": ("POST", "/v1/collections", {"name": "new"}),
        "title": ("PATCH", collection, {"title": "Other"}),
        "put": ("PUT", f"{collection}/documents/d", {"text": "x"}),
        "batch": ("POST", f"{collection}/documents/batch", {"upsert": [{"id": "e", "text": "x"}]}),
    }


NAMES = ("create", "change", "rotate", "collection", "title", "put", "batch")


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("name", NAMES)
def test_no_body_sets_what_is_the_server_s(quick: Tenant, name: str) -> None:
    """A member that the call does not take is refused by name, and nothing of the body is done."""
    client = quick.client()
    method, path, good = calls_with_bodies(client)[name]
    before = quick.event_types()
    for member, value in SERVER_OWNED.items():
        assert pointers(client.send(method, path, {**good, member: value})) == [f"/{member}"]
    if name == "batch":
        for member in set(SERVER_OWNED) - {"id"}:
            document = {"id": "e", "text": "x", member: SERVER_OWNED[member]}
            refused = client.send(method, path, {"upsert": [document]})
            assert pointers(refused) == [f"/upsert/0/{member}"]
    assert quick.event_types() == before
    assert client.send(method, path, good).status_code in {200, 201}


@pytest.mark.parametrize("name", NAMES)
def test_a_body_is_json_and_says_so(quick: Tenant, name: str) -> None:
    """415 for another type, 400 for invalid JSON, 422 for JSON of another shape, 413 for too much of it."""
    client = quick.client()
    method, path, good = calls_with_bodies(client)[name]
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""):
        other = client.send(method, path, good, [("content-type", kind)])
        assert problem(other) == (415, "unsupported-media-type")
    bare = client.send(method, path, b"{", [("content-type", "application/json; charset=utf-8")])
    assert problem(bare) == (400, "invalid-request")
    for text in (b"{} x", b"\xef\xbb\xbf{}", b'{"description": "\xff"}', b"{'a': 1}", b"\x00"):
        assert problem(client.send(method, path, text)) == (400, "invalid-request"), text
    if name != "rotate":
        assert problem(client.send(method, path, b"")) in {
            (400, "invalid-request"),
            (415, "unsupported-media-type"),
        }
    for shape in ([], "x", 1, b"null", [good]):
        assert pointers(client.send(method, path, shape)) == [""]
    for text in (b'{"\\ud800": 1}', b'{"x": "\\u0000"}', b"[" * 40 + b"]" * 40, b'{"x": 1e999}'):
        assert problem(client.send(method, path, text)) == (422, "invalid"), text


@pytest.mark.parametrize("name", NAMES)
def test_a_body_has_its_bound(quick: Tenant, name: str) -> None:
    """64 KiB, a document 512 KiB, a batch 10 MiB: at the bound it is read, a byte over it is 413."""
    client = quick.client()
    method, path, _ = calls_with_bodies(client)[name]
    bound = {"put": 512 * 1024, "batch": 10 * 1024 * 1024}.get(name, 64 * 1024)
    at = client.send(method, path, b" " * (bound - 1) + b"x")
    assert problem(at) == (400, "invalid-request")
    over = client.send(method, path, b" " * bound + b"x")
    assert problem(over) == (413, "too-large")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_a_body_is_read_for_strangers(quick: Tenant, name: str) -> None:
    """Without a live key that holds the scope, a body of whatever kind is not looked at: 401, then 403."""
    client = quick.client()
    method, path, good = calls_with_bodies(client)[name]
    nobody, dead = quick.api.client(), quick.api.client("ks_nonsense")
    for body in (good, b"{", b"x" * 10 * 1024 * 1024):
        assert problem(nobody.send(method, path, body)) == (401, "unauthenticated")
        assert problem(dead.send(method, path, body)) == (401, "invalid-token")
        lacking = quick.client("plan:read").send(method, path, body)
        assert problem(lacking) == (403, "insufficient-scope")


def test_a_huge_batch_of_nothing_is_refused_shortly(quick: Tenant) -> None:
    """Many thousand wrong values don't make as many entries: the error is small.

    Beyond a number of values nothing is built of them: 413.
    """
    client = quick.client()
    path = f"{client.collection()}/documents/batch"
    many = 45_000
    bodies = {
        "upserts": b'{"upsert": [' + b"{}," * many + b"{}]}",
        "deletes": b'{"delete": [' + b"1," * many + b"1]}",
        "members": b"{" + b",".join(b'"%d":0' % number for number in range(many)) + b"}",
    }
    for kind, body in bodies.items():
        refused = client.post(path, body)
        assert len(pointers(refused)) <= 100, kind
        assert len(refused.content) < 100_000, kind
    for kind, body in bodies.items():
        longer = client.post(path, b"[" + b",".join([body] * 3) + b"]")
        assert problem(longer) == (413, "too-large"), kind


def test_large_bodies_of_one_workspace_leave_room(quick: Tenant) -> None:
    """However many large batches one workspace sends, all are read, and another's does not wait for all of them."""
    ended: list[str] = []
    tenants = {"many": quick, "other": quick.api.tenant()}
    text = json.dumps({"upsert": [{"id": f"d{n}", "text": "x" * 900} for n in range(100)]}).encode()

    async def push(name: str, path: str) -> None:
        answer = await tenants[name].client().send_on_loop("POST", f"{path}/documents/batch", text)
        assert answer.status_code == 200
        ended.append(name)

    async def together() -> None:
        await asyncio.gather(*(push(name, "/v1/collections/handbook") for name in order))

    for tenant in tenants.values():
        tenant.client().collection()
    order = ["many"] * 20 + ["other"]
    quick.api.runner.run(together())
    assert len(ended) == len(order)
    assert ended.index("other") < len(order) - 5


def test_an_encoded_body_is_refused_as_such(quick: Tenant) -> None:
    """A Content-Encoding is 415, and the response names the accepted one; identity is accepted."""
    client = quick.client()
    path = "/v1/collections"
    for coding in ("gzip", "br", "identity, gzip", "GZIP"):
        refused = client.post(path, {"name": "a"}, [("content-encoding", coding)])
        assert problem(refused) == (415, "unsupported-media-type")
        assert refused.headers["accept-encoding"] == "identity"
        assert "Content-Encoding" in refused.json()["detail"]
    assert client.post(path, {"name": "a"}, [("content-encoding", "identity")]).status_code == 201


def test_unknown_parameters_are_not_multiplied(quick: Tenant) -> None:
    """Whatever a query contains, the error names some of it, cut short, and is small."""
    client = quick.client()
    queries = (
        "&".join(f"{number:x}" for number in range(1_500)),
        "a" * 6_000,
        "&".join("%F0%9F%92%A9" * 16 for _ in range(30)),
        "&".join(f"{number}%22%5C" for number in range(600)),
        "&".join(["limit=1"] * 700),
    )
    for query in queries:
        refused = client.get(f"/v1/keys?{query}")
        assert problem(refused) == (422, "invalid")
        assert len(refused.content) < 4_096, query[:40]


def test_a_body_where_none_is_taken_means_nothing(quick: Tenant) -> None:
    """GET and DELETE have no body here: it is neither read nor refused."""
    client = quick.client()
    key = client.create_key()
    assert client.send("GET", "/v1/keys", b"{nonsense").status_code == 200
    assert client.send("DELETE", f"/v1/keys/{key['id']}", b"{nonsense").status_code == 204


@pytest.mark.parametrize("body", [None, {}, {"overlap_seconds": 0}])
def test_a_rotation_needs_no_body(quick: Tenant, body: Any) -> None:
    """Everything about it has a default."""
    client = quick.client()
    answer = client.post(f"/v1/keys/{client.create_key()['id']}/rotate", body)
    assert answer.status_code == 201


@pytest.mark.slow_on("postgresql")
def test_names_and_texts_come_back_unchanged(tenant: Tenant) -> None:
    """What is accepted is what is answered, on both engines: no normalising, no trimming, no lost character."""
    client = tenant.client()
    path = f"{client.collection()}/documents/d"
    texts = [
        "e\u0301 é \ufb01 \u017f",
        "\ufeffx",
        "\u202egnp.exe",
        "👩‍👩‍👧 \U0010ffff",
        " \t\r\n x ",
        "</script>'\"\\%_",
    ]
    for text in texts:
        attributes = {text: [text, 1, -1.5, None, True, {"n": 2**53 + 1}]}
        body = {"text": text, "attributes": attributes}
        assert client.put(path, body).status_code in {200, 201}
        shown = client.get(path).json()
        assert (shown["text"], shown["attributes"]) == (text, attributes)


@pytest.mark.parametrize("name", ["create", "change", "collection", "title"])
@pytest.mark.parametrize("text", ["\u200b", " \u3000", "\u3164"], ids=ascii)
def test_no_body_names_a_thing_by_what_cannot_be_seen(quick: Tenant, name: str, text: str) -> None:
    """A description or a title in which nothing is seen is refused by its member, and nothing is written."""
    client = quick.client()
    method, path, good = calls_with_bodies(client)[name]
    member = "description" if "description" in good else "title"
    before = quick.event_types()
    assert pointers(client.send(method, path, {**good, member: text})) == [f"/{member}"]
    assert quick.event_types() == before


def test_a_document_title_that_cannot_be_seen_is_none(quick: Tenant) -> None:
    """A document sent with such a title has an empty one; sent again without a title it is unchanged."""
    client = quick.client()
    collection = client.collection()
    one = client.put(f"{collection}/documents/d", {"text": "x", "title": " \u200b"})
    assert one.json()["title"] == ""
    batch = {"upsert": [{"id": "d", "text": "x"}, {"id": "e", "text": "y", "title": "   "}]}
    report = client.post(f"{collection}/documents/batch", batch).json()
    assert (report["created"], report["unchanged"]) == (1, 1)
    assert client.get(f"{collection}/documents/e").json()["title"] == ""

"""Conditional changes: a client that saw an older version of a resource changes nothing (RFC 9110 section 13.1.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import pytest

from keystead.domain.principals import Actor, PrincipalKind
from tests.support.api_client import ApiClient, ApiInstallation, problem

ABSENT: Final = "0000000000000000000000"
URL: Final = "https://hooks.example/keys"


class Kind(NamedTuple):
    """A resource that can be changed: how to create it, two changes, and an invalid one."""

    make: Callable[[ApiClient], str]
    method: str
    changes: tuple[dict[str, Any], dict[str, Any]]
    wrong: dict[str, Any]
    is_deleted: bool = True
    change_at: str = ""


def _made(client: ApiClient, path: str, body: dict[str, Any]) -> str:
    answer = client.send("POST", path, body)
    assert answer.status_code == 201
    location: str = answer.headers["location"]
    assert client.send("GET", location).headers["etag"] == answer.headers["etag"]
    return location


def _document(client: ApiClient) -> str:
    path = f"{_made(client, '/v1/collections', {'name': 'docs'})}/documents/a"
    assert client.send("PUT", path, {"text": "first"}).status_code == 201
    return path


KINDS: Final = {
    "key": Kind(
        lambda c: _made(c, "/v1/keys", {"description": "sync"}),
        "PATCH",
        ({"description": "one"}, {"description": "two"}),
        {"description": ""},
    ),
    "collection": Kind(
        lambda c: _made(c, "/v1/collections", {"name": "handbook"}),
        "PATCH",
        ({"title": "One"}, {"title": "Two"}),
        {"title": ""},
    ),
    "document": Kind(
        _document, "PUT", ({"text": "one"}, {"text": "two"}), {"text": "x", "url": "nowhere"}
    ),
    "webhook": Kind(
        lambda c: _made(c, "/v1/webhooks", {"name": "chat", "url": URL, "events": ["*"]}),
        "PATCH",
        ({"name": "one"}, {"name": "two"}),
        {"url": "nowhere"},
    ),
    "workspace": Kind(
        lambda c: _made(c, "/operator/v1/workspaces", {"name": "Acme"}),
        "PATCH",
        ({"name": "One"}, {"name": "Two"}),
        {"name": ""},
        is_deleted=False,
    ),
    "workspace's plan": Kind(
        lambda c: _made(c, "/operator/v1/workspaces", {"name": "Acme"}),
        "PUT",
        ({"plan": "team"}, {"plan": "scale"}),
        {"plan": "none of ours"},
        is_deleted=False,
        change_at="/plan",
    ),
}


class Resource:
    """One resource of a kind, and a client with full access to it."""

    def __init__(self, api: ApiInstallation, name: str) -> None:
        self.kind = KINDS[name]
        self.api = api
        self.client = api.tenant().client()
        if name.startswith("workspace"):
            actor = Actor(PrincipalKind.OPERATOR, "tests", "tests")
            _, token = api.services.credentials.create("billing", actor)
            self.client = api.client(token.reveal())
        self.path = self.kind.make(self.client)

    @property
    def state(self) -> tuple[str, Any]:
        """The resource's ETag, and its content."""
        answer = self.client.send("GET", self.path)
        assert answer.status_code == 200
        return answer.headers["etag"], answer.json()

    def change(self, body: dict[str, Any], *if_match: str, path: str = "") -> Any:
        """Return the response to a change."""
        headers = [("If-Match", each) for each in if_match]
        to = (path or self.path) + self.kind.change_at
        return self.client.send(self.kind.method, to, body, headers)

    def delete(self, *if_match: str) -> Any:
        """Return the response to a deletion."""
        headers = [("If-Match", each) for each in if_match]
        return self.client.send("DELETE", self.path, None, headers)


@pytest.fixture(params=KINDS)
def resource(api: ApiInstallation, request: pytest.FixtureRequest) -> Resource:
    """One resource of each kind, on each engine."""
    return Resource(api, request.param)


def test_a_change_of_an_older_version_is_refused(resource: Resource) -> None:
    """Two clients see the same version: the second change is refused, and no change is lost (R105)."""
    first, second = resource.kind.changes
    seen, _ = resource.state
    changed = resource.change(first, seen)
    assert (changed.status_code, changed.headers["etag"]) == (200, resource.state[0])
    assert changed.headers["etag"] != seen
    before = resource.state
    for stale in ((seen,), (f'{seen}, "other"',), (f"W/{before[0]}",)):
        assert problem(resource.change(second, *stale)) == (412, "changed-meanwhile")
    assert resource.state == before
    assert resource.change(second, '"other"', before[0]).status_code == 200
    assert resource.change(first, "*").status_code == 200
    assert resource.change(second).status_code == 200


def test_an_etag_depends_on_editable_members(resource: Resource) -> None:
    """A strong, quoted ETag, the same until something changes, and after an identical change."""
    first, _ = resource.kind.changes
    tag, _ = resource.state
    assert tag.startswith('"')
    assert tag.endswith('"')
    assert resource.change(first, tag).status_code == 200
    tag, _ = resource.state
    assert resource.change(first, tag).headers["etag"] == tag
    assert resource.state[0] == tag


def test_refusals_come_in_their_order(resource: Resource) -> None:
    """400, then 404, then 412, and only then errors in the values."""
    tag, _ = resource.state
    wrong = resource.kind.wrong
    collection, _, _ = resource.path.rpartition("/documents/")
    absent = f"{resource.path[:-22]}{ABSENT}"
    if "/collections/" in resource.path:
        absent = f"/v1/collections/absent{resource.path[len(collection) :] if collection else ''}"
    assert problem(resource.change(wrong, "no tag", path=absent)) == (400, "invalid-request")
    assert problem(resource.change(wrong, '"other"', path=absent)) == (404, "not-found")
    assert problem(resource.change(wrong, '"other"')) == (412, "changed-meanwhile")
    assert problem(resource.change({"unknown": 1}, '"other"')) == (412, "changed-meanwhile")
    assert problem(resource.change(wrong, tag)) == (422, "invalid")


def test_a_deletion_of_an_older_version_is_refused(resource: Resource) -> None:
    """A client that saw an older version can't delete the resource."""
    if not resource.kind.is_deleted:
        allowed = resource.client.send("POST", resource.path).headers["allow"]
        assert "DELETE" not in allowed or "/operator/v1/workspaces/" in resource.path
        return
    seen, _ = resource.state
    assert resource.change(resource.kind.changes[0]).status_code == 200
    assert problem(resource.delete(seen)) == (412, "changed-meanwhile")
    tag, _ = resource.state
    assert resource.delete(tag).status_code == 204


def test_a_deletion_of_an_older_workspace_is_refused(api: ApiInstallation) -> None:
    """An operator that saw an older version doesn't delete; once it's gone, every repetition answers 202."""
    tenant = api.tenant()
    actor = Actor(PrincipalKind.OPERATOR, "tests", "tests")
    client = api.client(api.services.credentials.create("billing", actor)[1].reveal())
    path = f"/operator/v1/workspaces/{tenant.id}"
    seen = client.send("GET", path).headers["etag"]
    client.send("PATCH", path, {"name": "Other"})
    tag = client.send("GET", path).headers["etag"]
    assert problem(client.send("DELETE", path, None, [("If-Match", tag)])) == (409, "not-suspended")
    client.send("POST", f"{path}/suspend")
    stale = client.send("DELETE", path, None, [("If-Match", seen)])
    assert problem(stale) == (412, "changed-meanwhile")
    for _ in range(2):
        assert client.send("DELETE", path, None, [("If-Match", tag)]).status_code == 202
    assert problem(client.send("GET", path)) == (404, "not-found")


def test_an_absent_document_matches_nothing(api: ApiInstallation) -> None:
    """PUT creates no document on a condition: not even on `*`, which requires an existing one."""
    client = api.tenant().client()
    client.send("POST", "/v1/collections", {"name": "docs"})
    path = "/v1/collections/docs/documents/new"
    for if_match in ("*", '"1"'):
        answer = client.send("PUT", path, {"text": "x"}, [("If-Match", if_match)])
        assert problem(answer) == (412, "changed-meanwhile")
    assert client.send("GET", path).status_code == 404
    deleted = client.send("DELETE", path, None, [("If-Match", "*")])
    assert problem(deleted) == (404, "not-found")


@pytest.mark.parametrize("name", ["collection", "document"])
def test_a_name_used_again_is_another_version(api: ApiInstallation, name: str) -> None:
    """A resource deleted and created again under its name doesn't match an old tag."""
    resource = Resource(api, name)
    seen, _ = resource.state
    assert resource.delete(seen).status_code == 204
    api.clock.advance(seconds=1)
    if name == "document":
        assert resource.client.send("PUT", resource.path, {"text": "new"}).status_code == 201
    else:
        resource.kind.make(resource.client)
    assert problem(resource.change(resource.kind.changes[0], seen)) == (412, "changed-meanwhile")


def test_use_status_and_counts_do_not_change_the_version(api: ApiInstallation) -> None:
    """Using a key, adding to a collection and pausing a webhook are not edits."""
    key, collection, webhook = (Resource(api, n) for n in ("key", "collection", "webhook"))
    before = [each.state[0] for each in (key, collection, webhook)]
    used = api.client(key.client.send("POST", "/v1/keys", {"description": "used"}).json()["token"])
    assert used.send("GET", "/v1/whoami").status_code == 200
    api.services.usage.flush()
    put = collection.client.send("PUT", f"{collection.path}/documents/a", {"text": "x"})
    assert put.status_code == 201
    assert webhook.change({"status": "disabled"}).status_code == 200
    assert [each.state[0] for each in (key, collection, webhook)] == before

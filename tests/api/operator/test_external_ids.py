"""Workspaces by the product's own id: created or updated by one call, found, and never confused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api_client import ApiClient, ApiInstallation, pointers, problem
from tests.support.backends import PATH, backend, events_of, new_workspace, successful

BY_ID = f"{PATH}/by-external-id"


@pytest.fixture
def operator(api: ApiInstallation) -> ApiClient:
    """The product's backend, with an active credential."""
    return backend(api)


def put(operator: ApiClient, id: str, status: int = 200, **body: Any) -> dict[str, Any]:
    """Create or update the workspace with that id of the product's own."""
    return successful(operator.put(f"{BY_ID}/{id}", {"name": "Acme", **body}), status)


def test_a_workspace_is_created_once(api: ApiInstallation, operator: ApiClient) -> None:
    """201 with its Location, then 200 with the same; on the smallest plan; one event, with the id."""
    answer = operator.put(f"{BY_ID}/customer:1", {"name": "Acme"})
    created = successful(answer, 201)
    assert answer.headers["location"] == f"{PATH}/{created['id']}"
    assert (created["external_id"], created["plan"]) == ("customer:1", "free")
    again = operator.put(f"{BY_ID}/customer:1", {"name": "Acme", "plan": None})
    assert successful(again) == created
    assert again.headers["etag"] == answer.headers["etag"]
    assert "location" not in again.headers
    seen = successful(operator.get(f"{BY_ID}/customer:1"))
    assert seen == successful(operator.get(f"{PATH}/{created['id']}"))
    assert seen["quotas"]["api_keys"] == {"limit": 5, "used": 0}
    [event] = events_of(api, created["id"])
    assert event.data == {"name": "Acme", "external_id": "customer:1"}


def test_a_later_put_changes_name_and_plan(api: ApiInstallation, operator: ApiClient) -> None:
    """An omitted plan stays, with the workspace's own limits; each change is an event."""
    id = put(operator, "changing", 201, plan="team")["id"]
    operator.put(f"{PATH}/{id}/plan", {"plan": "team", "overrides": {"api_keys": 7}})
    renamed = put(operator, "changing", name="Acme Ltd")
    assert (renamed["id"], renamed["name"], renamed["plan"]) == (id, "Acme Ltd", "team")
    assert put(operator, "changing", name="Acme Ltd", plan="scale")["plan"] == "scale"
    assert successful(operator.get(f"{PATH}/{id}"))["overrides"] == {"api_keys": 7}
    types = [str(event.type) for event in events_of(api, id)]
    changed = "workspace.plan_changed"
    assert types == [changed, "workspace.updated", changed, "workspace.created"]


def test_twenty_servers_create_one_workspace(operator: ApiClient) -> None:
    """Of twenty concurrent calls one creates it, and all are answered with the same id."""
    request = ("PUT", f"{BY_ID}/raced", {"name": "Acme"}, ())
    answers = operator.send_concurrently(*[request] * 20)
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_an_id_is_given_and_taken(api: ApiInstallation, operator: ApiClient) -> None:
    """PATCH gives a workspace an id, which no other workspace may have; a freed one may be given again."""
    first, second = new_workspace(operator), new_workspace(operator)
    assert first["external_id"] is None
    for _ in range(2):
        given = operator.patch(f"{PATH}/{first['id']}", {"external_id": "given.1"})
        assert successful(given)["external_id"] == "given.1"
    assert [event.data for event in events_of(api, first["id"])[:-1]] == [
        {"changed": ["external_id"], "external_id": "given.1"}
    ]
    taken = operator.patch(f"{PATH}/{second['id']}", {"external_id": "given.1", "name": "x"})
    assert problem(taken) == (409, "name-taken")
    assert successful(operator.get(f"{PATH}/{second['id']}"))["name"] == "Acme"
    assert successful(operator.get(f"{BY_ID}/given.1"))["id"] == first["id"]
    successful(operator.patch(f"{PATH}/{first['id']}", {"external_id": "given.2"}))
    assert problem(operator.get(f"{BY_ID}/given.1")) == (404, "not-found")
    successful(operator.patch(f"{PATH}/{second['id']}", {"external_id": "given.1"}))


def test_two_workspaces_never_get_one_id(operator: ApiClient) -> None:
    """Of ten concurrent calls one gives its workspace the id; the others are 409."""
    ids = [new_workspace(operator)["id"] for _ in range(10)]
    requests = [("PATCH", f"{PATH}/{id}", {"external_id": "wanted"}, ()) for id in ids]
    answers = operator.send_concurrently(*requests)
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    holders = [id for id in ids if successful(operator.get(f"{PATH}/{id}"))["external_id"]]
    assert len(holders) == 1


def test_a_version_protects_a_put_too(operator: ApiClient) -> None:
    """412 for another version, and for `*` as long as there is nothing."""
    body, anything = {"name": "Acme"}, [("if-match", "*")]
    refused = operator.send("PUT", f"{BY_ID}/versioned", body, anything)
    assert problem(refused) == (412, "changed-meanwhile")
    created = operator.put(f"{BY_ID}/versioned", body)
    tag = [("if-match", created.headers["etag"])]
    for sent in (tag, anything):
        answer = operator.send("PUT", f"{BY_ID}/versioned", {"name": f"{sent}"[:9]}, sent)
        assert answer.status_code == 200
    late = operator.send("PUT", f"{BY_ID}/versioned", body, tag)
    assert problem(late) == (412, "changed-meanwhile")
    assert problem(operator.send("PUT", f"{BY_ID}/versioned", {}, tag))[0] == 412


@pytest.mark.parametrize("id", ["plan", "keys", "suspend", "A.b_c:d-9", "0", "x" * 128])
def test_any_id_of_the_alphabet_will_do(sqlite_api: ApiInstallation, id: str) -> None:
    """Also one that is a word of the API's own paths."""
    operator = backend(sqlite_api)
    assert put(operator, id, 201)["external_id"] == id
    assert successful(operator.get(f"{BY_ID}/{id}"))["external_id"] == id


@pytest.mark.parametrize("id", ["-a", "a%20b", "x" * 129, "%C3%A4", "a%0A"])
def test_other_ids_are_refused(sqlite_api: ApiInstallation, id: str) -> None:
    """422, or 400 for control characters; nothing has such an id."""
    operator = backend(sqlite_api)
    answer = operator.put(f"{BY_ID}/{id}", {"name": "Acme"})
    assert problem(answer)[0] == (400 if "%0A" in id else 422)
    assert problem(operator.get(f"{BY_ID}/{id}"))[0] == (400 if "%0A" in id else 404)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"external_id": None}, ["/external_id"]),
        ({"external_id": ""}, ["/external_id"]),
        ({"external_id": "a b"}, ["/external_id"]),
        ({"external_id": 7}, ["/external_id"]),
    ],
    ids=str,
)
def test_an_id_s_form_is_checked(
    sqlite_api: ApiInstallation, body: Any, expected: list[str]
) -> None:
    """422 with the pointer of the value, and the id stays."""
    operator = backend(sqlite_api)
    id = new_workspace(operator)["id"]
    assert pointers(operator.patch(f"{PATH}/{id}", body)) == expected
    assert successful(operator.get(f"{PATH}/{id}"))["external_id"] is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, ["/name"]),
        ({"name": ""}, ["/name"]),
        ({"name": "x", "plan": "none"}, ["/plan"]),
        ({"name": "x", "external_id": "y"}, ["/external_id"]),
    ],
    ids=str,
)
def test_a_wrong_put_creates_nothing(
    sqlite_api: ApiInstallation, body: Any, expected: list[str]
) -> None:
    """422 with the pointer of the value."""
    operator = backend(sqlite_api)
    assert pointers(operator.put(f"{BY_ID}/wrong", body)) == expected
    assert problem(operator.get(f"{BY_ID}/wrong")) == (404, "not-found")

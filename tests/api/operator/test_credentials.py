"""Credentials by HTTP: a backend makes its successor, ends a leaked one with all that it made, and sees all."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.support.api_client import ApiClient, ApiInstallation, pointers, problem
from tests.support.backends import BY, NAME, backend, successful

CREDENTIALS: Final = "/operator/v1/credentials"


@pytest.fixture
def operator(api: ApiInstallation) -> ApiClient:
    """The product's backend, with an active credential."""
    return backend(api)


def new_credential(operator: ApiClient, **more: Any) -> dict[str, Any]:
    """Create a credential."""
    sent = {"name": "made", "kind": "operator", **more}
    return successful(operator.post(CREDENTIALS, sent), 201)


def works(api: ApiInstallation, token: str) -> bool:
    """Return whether the token opens the Operator API."""
    return api.client(token).get("/operator/v1/plans").status_code == 200


def test_an_operator_makes_an_operator(api: ApiInstallation, operator: ApiClient) -> None:
    """201 with the token, once; the list says which credential created it, and the record too."""
    api.clock.advance(seconds=1)
    answer = operator.post(CREDENTIALS, {"name": "second", "kind": "operator"})
    created = successful(answer, 201)
    assert answer.headers["cache-control"] == "no-store"
    assert works(api, created["token"])
    assert created["hint"].endswith(created["token"][-4:])
    listed = successful(operator.get(CREDENTIALS))["items"]
    assert listed[0] == {name: created[name] for name in created if name != "token"}
    assert (created["kind"], created["created_by"]["name"]) == ("operator", NAME)
    creator = created["created_by"]["id"]
    assert creator in {each["id"] for each in listed}
    assert created["token"] not in operator.get(CREDENTIALS).text


def test_a_service_only_introspects(api: ApiInstallation, operator: ApiClient) -> None:
    """Its token opens no call of the Operator API, and makes no credentials."""
    token = new_credential(operator, kind="service")["token"]
    assert not works(api, token)
    sent = {"name": "x", "kind": "operator"}
    assert problem(api.client(token).post(CREDENTIALS, sent)) == (401, "invalid-token")


def test_a_revoked_one_is_out_immediately(api: ApiInstallation, operator: ApiClient) -> None:
    """204, and 204 again; those that it created go on, unless it was revoked with them."""
    first = new_credential(operator)
    second = new_credential(api.client(first["token"]))
    third = new_credential(api.client(second["token"]), kind="service")
    for _ in range(2):
        assert operator.delete(f"{CREDENTIALS}/{first['id']}").status_code == 204
    assert not works(api, first["token"])
    assert works(api, second["token"])
    assert operator.delete(f"{CREDENTIALS}/{first['id']}?created=true").status_code == 204
    assert not works(api, second["token"])
    by_id = {each["id"]: each for each in successful(operator.get(CREDENTIALS))["items"]}
    ends = [by_id[each["id"]]["revoked_by"] for each in (first, second, third)]
    assert ends == [NAME, NAME, NAME]
    assert works(api, new_credential(operator)["token"])


def test_a_credential_ends_itself(api: ApiInstallation, operator: ApiClient) -> None:
    """Its own id is like any other, and its successor is the next to act."""
    successor = new_credential(operator)
    own = successor["created_by"]["id"]
    assert operator.delete(f"{CREDENTIALS}/{own}").status_code == 204
    assert problem(operator.get(CREDENTIALS)) == (401, "invalid-token")
    assert api.client(successor["token"]).delete(f"{CREDENTIALS}/{own}").status_code == 204


def test_credentials_are_listed_in_pages(api: ApiInstallation, operator: ApiClient) -> None:
    """Newest first whatever their kind, each once."""
    ids = []
    for number in range(5):
        api.clock.advance(seconds=1)
        ids.append(new_credential(operator, kind=("operator", "service")[number % 2])["id"])
    seen: list[str] = []
    cursor = ""
    while len(seen) < len(ids):
        page = successful(operator.get(f"{CREDENTIALS}?limit=2{cursor}"))
        seen += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert seen[: len(ids)] == ids[::-1]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, ["/name", "/kind"]),
        ({"name": "", "kind": "operator"}, ["/name"]),
        ({"name": "a\nb", "kind": "operator"}, ["/name"]),
        ({"name": "x", "kind": "op"}, ["/kind"]),
        ({"name": "x", "kind": "service", "token": "y"}, ["/token"]),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(
    sqlite_api: ApiInstallation, body: Any, expected: list[str]
) -> None:
    """422 with the pointer of the value, and nothing is created."""
    operator = backend(sqlite_api)
    before = sqlite_api.services.credentials.list()
    assert pointers(operator.post(CREDENTIALS, body)) == expected
    assert sqlite_api.services.credentials.list() == before


def test_what_is_not_there_is_not_found(sqlite_api: ApiInstallation) -> None:
    """404 for every id that no credential has, of a key too; a wrong parameter is 422."""
    operator = backend(sqlite_api)
    credential, _ = sqlite_api.services.credentials.create("x", BY)
    for id in ("op_02tcRIyrxLXTR81B3dqdOx", "key_02tcRIyrxLXTR81B3dqdOx", "none", "%F0%9F%97%9D"):
        assert problem(operator.delete(f"{CREDENTIALS}/{id}")) == (404, "not-found")
    refused = operator.delete(f"{CREDENTIALS}/{credential.id}?created=maybe")
    assert problem(refused) == (422, "invalid")
    assert sqlite_api.services.credentials.list()[0].revoked_at is None

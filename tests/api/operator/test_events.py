"""The feed over REST, for the product's backend."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from keystead.domain.events import RetentionPolicy
from keystead.domain.principals import Actor, PrincipalKind
from keystead.services.cleanup import Retention
from tests.support.api_client import ApiClient, ApiInstallation, Tenant, open_api, pointers, problem
from tests.support.backends import backend, successful

PATH = "/operator/v1/events"
MEMBERS = {
    *("id", "type", "occurred_at", "actor", "target", "address", "request_id", "data"),
    "workspace",
}


@pytest.fixture
def operator(api: ApiInstallation) -> ApiClient:
    """The product's backend, with an active credential."""
    return backend(api)


def _follow(operator: ApiClient, after: str | None = None, query: str = "") -> list[dict[str, Any]]:
    """Return all events behind `after`, three at a time."""
    operator.api.services.feed.place()
    events: list[dict[str, Any]] = []
    while True:
        position = "" if after is None else f"&after={after}"
        page = successful(operator.get(f"{PATH}?limit=3{position}{query}"))
        assert set(page) == {"items", "next_after"}
        if not page["items"] and page["next_after"] == after:
            return events
        events, after = events + page["items"], page["next_after"]


def _end(operator: ApiClient) -> str:
    operator.api.services.feed.place()
    after = successful(operator.get(f"{PATH}?limit=200&type=workspace.created"))["next_after"]
    while (more := successful(operator.get(f"{PATH}?limit=200&after={after}")))["items"]:
        after = more["next_after"]
    return str(after)


def test_the_feed_has_the_events_of_all_workspaces(operator: ApiClient) -> None:
    """Each event once, oldest first, with its workspace, and otherwise as the workspace's own log has it."""
    api = operator.api
    one, other = api.tenant(), api.tenant()
    after = _end(operator)
    first = one.client()
    api.clock.advance(seconds=1)
    second = other.client()
    api.clock.advance(seconds=1)
    created = first.create_key()
    api.clock.advance(seconds=1)
    second.create_key()
    events = _follow(operator, after)
    assert all(set(event) == MEMBERS for event in events)
    assert [event["workspace"] for event in events] == [one.id, other.id, one.id, other.id]
    own = first.get("/v1/events?limit=1").json()["items"][0]
    assert events[2] == own | {"workspace": one.id}
    assert events[2]["target"]["id"] == created["id"]
    assert created["token"] not in str(events)
    assert _follow(operator, _end(operator)) == []


def test_events_of_the_installation_have_no_workspace(operator: ApiClient) -> None:
    """What happens to credentials is in the feed too, between the events of workspaces."""
    after = _end(operator)
    actor = Actor(PrincipalKind.OPERATOR, "tests", "tests")
    credential, _ = operator.api.services.credentials.create("reports", actor)
    tenant = operator.api.tenant()
    events = _follow(operator, after)
    [own] = [event for event in events if event["workspace"] is None]
    assert (own["type"], own["target"]["id"]) == ("credential.created", credential.id)
    assert {event["workspace"] for event in events} == {None, tenant.id}
    assert _follow(operator, after, "&type=credential.created") == [own]
    assert own not in _follow(operator, after, f"&workspace={tenant.id}")


def test_filters_narrow_the_feed(operator: ApiClient) -> None:
    """By workspace and by type; an unknown workspace has no events, like one that never existed."""
    tenant, after = operator.api.tenant(), _end(operator)
    client = tenant.client()
    key = client.create_key()
    client.delete(f"/v1/keys/{key['id']}")
    operator.api.tenant().client().create_key()
    both = f"&workspace={tenant.id}&type=key.revoked"
    assert [event["target"]["id"] for event in _follow(operator, after, both)] == [key["id"]]
    own = _follow(operator, after, f"&workspace={tenant.id}")
    assert [event["type"] for event in own] == ["key.created", "key.created", "key.revoked"]
    for unknown in ("ws_0000000000000000000000", "x", "%F0%9F%92%A9", "a" * 2000):
        assert _follow(operator, after, f"&workspace={unknown}") == []


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("after=x", "query:after"),
        ("after=", "query:after"),
        ("after=-1", "query:after"),
        ("after=01", "query:after"),
        ("after=99999999999999999999", "query:after"),
        ("type=key.made", "query:type"),
        ("limit=0", "query:limit"),
        ("limit=201", "query:limit"),
        ("cursor=x", "query:cursor"),
    ],
)
def test_wrong_parameters(sqlite_api: ApiInstallation, query: str, pointer: str) -> None:
    """A malformed position, an unknown type, another limit and other parameters are 422."""
    answer = backend(sqlite_api).get(f"{PATH}?{query}")
    if pointer == "query:after":
        assert problem(answer) == (422, "invalid-cursor")
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    else:
        assert pointers(answer) == [pointer]


def test_a_reader_that_comes_too_late(database_url: str) -> None:
    """410 with `oldest`, which is where the feed goes on."""
    with open_api(database_url) as api:  # with a clock of its own
        _come_too_late(backend(api))


def _come_too_late(operator: ApiClient) -> None:
    api = operator.api
    before = _end(operator)
    Tenant(api, api.tenant().id).client()
    api.services.feed.place()
    api.clock.advance(timedelta(days=401))
    Retention(api.installation.database, api.clock, RetentionPolicy()).run()
    kept = api.tenant().id
    answer = operator.get(f"{PATH}?after={before}")
    assert problem(answer) == (410, "feed-expired")
    events = _follow(operator, answer.json()["oldest"])
    assert [event["workspace"] for event in events] == [kept]
    assert events == _follow(operator)

"""All plans, replaced by one call: previewed, never loosened by accident, never taken from a workspace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from keystead.storage.engine.roles import Purpose
from keystead.storage.tables.events import page_of_installation_events
from tests.support.api_client import ApiClient, ApiInstallation, open_api, pointers, problem
from tests.support.backends import backend, successful

PLANS: Final = "/operator/v1/plans"


@pytest.fixture
def own_api(database_url: str) -> Iterator[ApiInstallation]:
    """An installation for each test, on each engine: plans are the whole installation's."""
    with open_api(database_url) as api:
        yield api


@pytest.fixture
def operator(own_api: ApiInstallation) -> ApiClient:
    """The product's backend, with an active credential."""
    return backend(own_api)


def current(operator: ApiClient) -> list[dict[str, Any]]:
    """Return all plans."""
    plans: list[dict[str, Any]] = successful(operator.get(PLANS))["items"]
    return plans


def changes_recorded(api: ApiInstallation) -> list[Any]:
    """Return the data of the events about plans, newest first."""
    with api.installation.database.read_across(Purpose.OPERATOR) as tx:
        events = page_of_installation_events(tx, limit=50)
    return [event.data for event in events if event.type == "plans.changed"]


def test_what_is_read_can_be_sent_back(own_api: ApiInstallation, operator: ApiClient) -> None:
    """The items of the list are a valid body; they change nothing, and are not an event."""
    plans = current(operator)
    report = successful(operator.put(PLANS, {"plans": plans}))
    assert report == {"items": plans, "changes": [], "loosens": False, "applied": True}
    assert changes_recorded(own_api) == []


def test_a_dry_run_changes_nothing(own_api: ApiInstallation, operator: ApiClient) -> None:
    """The differences, and whether they loosen anything, which a dry run may."""
    plans = current(operator)
    wanted = [*plans, {"id": "huge", "name": "Huge"}]
    wanted[0] = plans[0] | {"limits": plans[0]["limits"] | {"api_keys": 6}}
    report = successful(operator.put(f"{PLANS}?dry_run=true", {"plans": wanted}))
    assert report["changes"][0] == "~ free: api_keys 5 -> 6"
    assert report["changes"][1].startswith("+ huge: Huge, api_keys unlimited")
    assert (report["loosens"], report["applied"]) == (True, False)
    assert current(operator) == plans
    assert changes_recorded(own_api) == []


def test_lowered_limits_are_applied(own_api: ApiInstallation, operator: ApiClient) -> None:
    """Tighter limits, rates and a policy need no confirmation; the event names the changes and the credential."""
    plans = current(operator)
    tighter: dict[str, Any] = {
        "limits": plans[0]["limits"] | {"api_keys": 3},
        "rate_limits": {"key_per_minute": 60},
        "policy": {"max_lifetime_days": 90},
    }
    report = successful(operator.put(PLANS, {"plans": [plans[0] | tighter, *plans[1:]]}))
    assert (report["loosens"], report["applied"]) == (False, True)
    first = current(operator)[0]
    assert first["limits"]["api_keys"] == 3
    assert first["rate_limits"] == {"workspace_per_minute": None, "key_per_minute": 60}
    assert first["policy"]["max_lifetime_days"] == 90
    assert report["items"] == current(operator)
    [data] = changes_recorded(own_api)
    assert data == {"changes": report["changes"]}


@pytest.mark.parametrize("loosening", ["limit", "rate", "policy", "removed"])
def test_nothing_is_loosened_by_accident(
    own_api: ApiInstallation, operator: ApiClient, loosening: str
) -> None:
    """409 with the changes for a limit, a rate or a policy that allows more, and for a plan that goes."""
    plans = current(operator)
    bound = {"rate_limits": {"key_per_minute": 60}, "policy": {"max_lifetime_days": 90}}
    successful(operator.put(PLANS, {"plans": [plan | bound for plan in plans]}))
    plans = before = current(operator)
    match loosening:
        case "limit":
            plans = [plans[0] | {"limits": {"api_keys": None}}, *plans[1:]]
        case "rate":
            plans = [plans[0] | {"rate_limits": {"key_per_minute": 61}}, *plans[1:]]
        case "policy":
            plans = [plans[0] | {"policy": {"max_lifetime_days": 91}}, *plans[1:]]
        case _:
            plans = plans[:-1]
    refused = operator.put(PLANS, {"plans": plans})
    assert problem(refused) == (409, "would-loosen")
    assert len(refused.json()["changes"]) == 1
    assert current(operator) == before
    report = successful(operator.put(f"{PLANS}?allow_loosening=true", {"plans": plans}))
    assert report["changes"] == refused.json()["changes"]
    assert current(operator) != before
    assert len(changes_recorded(own_api)) == 2


def test_a_plan_in_use_stays(own_api: ApiInstallation, operator: ApiClient) -> None:
    """422 for a set without it, whatever is confirmed, and in a dry run too."""
    own_api.tenant("scale")
    plans = current(operator)
    for query in ("", "?allow_loosening=true", "?dry_run=true"):
        answer = operator.put(f"{PLANS}{query}", {"plans": plans[:-1]})
        assert pointers(answer) == ["/plans"]
    assert current(operator) == plans


def test_the_version_of_all_plans_protects_them(operator: ApiClient) -> None:
    """412 if another call changed a plan in between."""
    first = operator.get(PLANS)
    plans = first.json()["items"]
    tag = [("if-match", first.headers["etag"])]
    renamed = [plans[0] | {"name": "Starter"}, *plans[1:]]
    answer = operator.send("PUT", PLANS, {"plans": renamed}, tag)
    assert successful(answer)["changes"] == ["~ free: name Free -> Starter"]
    assert operator.get(PLANS).headers["etag"] == answer.headers["etag"] != tag[0][1]
    late = operator.send("PUT", PLANS, {"plans": plans}, tag)
    assert problem(late) == (412, "changed-meanwhile")


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ({"id": "A", "name": "x"}, ["/plans/0/id"]),
        ({"id": "a"}, ["/plans/0/name"]),
        ({"id": "a", "name": ""}, ["/plans/0/name"]),
        ({"id": "a", "name": "x", "limits": {"keys": 1}}, ["/plans/0/limits/keys"]),
        ({"id": "a", "name": "x", "limits": {"api_keys": -1}}, ["/plans/0/limits/api_keys"]),
        ({"id": "a", "name": "x", "limits": {"api_keys": "5"}}, ["/plans/0/limits/api_keys"]),
        (
            {"id": "a", "name": "x", "rate_limits": {"key_per_minute": 0}},
            ["/plans/0/rate_limits/key_per_minute"],
        ),
        (
            {"id": "a", "name": "x", "policy": {"max_lifetime_days": 0}},
            ["/plans/0/policy/max_lifetime_days"],
        ),
        ({"id": "a", "name": "x", "position": 1}, ["/plans/0/position"]),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(
    sqlite_api: ApiInstallation, plan: dict[str, Any], expected: list[str]
) -> None:
    """422 with the pointer of the value, and nothing changes."""
    operator = backend(sqlite_api)
    before = current(operator)
    assert pointers(operator.put(PLANS, {"plans": [plan, *before]})) == expected
    assert pointers(operator.put(PLANS, {"plans": []})) == ["/plans"]
    assert pointers(operator.put(PLANS, {"plans": [before[0], *before]})) == ["/plans"]
    assert current(operator) == before

"""Reports of use over REST: of a key, of a workspace, and of all workspaces."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api_client import ApiInstallation, Tenant, pointers, problem
from tests.support.backends import backend, successful
from tests.support.clocks import NOON

DAY = NOON.date().isoformat()
ALL = "/operator/v1/usage"


def test_the_use_of_a_key(tenant: Tenant) -> None:
    """By day, accepted and refused requests apart; the call is a request itself, but counted only later."""
    tenant.api.clock.set(NOON)
    client, narrow = tenant.client(), tenant.client("documents:read")
    for _ in range(3):
        narrow.get("/v1/whoami")
    assert narrow.get("/v1/keys").status_code == 403
    tenant.api.services.usage.flush()
    path = f"/v1/keys/{narrow.key_id}/usage"
    report = {"items": [{"day": DAY, "requests": 3, "refused": 1}], "next_cursor": None}
    assert client.get(path).json() == report
    assert client.get(f"{path}?from={DAY}&to={DAY}").json() == report
    assert client.get(f"{path}?to=2026-01-01").json()["items"] == []
    assert problem(narrow.get(path)) == (403, "insufficient-scope")
    backed = backend(tenant.api)
    assert backed.get(f"/operator/v1/workspaces/{tenant.id}{path[3:]}").json() == report


def test_the_use_of_a_workspace(tenant: Tenant) -> None:
    """By day without being asked, by key with a cursor; both have the same sums."""
    tenant.api.clock.set(NOON)
    client = tenant.client()
    others = [tenant.client("documents:read") for _ in range(3)]
    for number, other in enumerate(others):
        for _ in range(number + 1):
            other.get("/v1/whoami")
    tenant.api.services.usage.flush()
    by_day = client.get("/v1/usage").json()
    assert by_day == {"items": [{"day": DAY, "requests": 6, "refused": 0}], "next_cursor": None}
    assert client.get("/v1/usage?group_by=day").json()["items"] == by_day["items"]
    found: list[dict[str, Any]] = []
    cursor = ""
    while cursor is not None:
        page = client.get(f"/v1/usage?group_by=key&from={DAY}&to={DAY}&limit=2{cursor}").json()
        found += page["items"]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    theirs = [each for each in found if each["key"] != client.key_id]
    expected = [
        {"key": str(other.key_id), "requests": number + 1, "refused": 0}
        for number, other in enumerate(others)
    ]
    assert theirs == sorted(expected, key=lambda each: str(each["key"]), reverse=True)


def test_the_use_of_all_workspaces(api: ApiInstallation) -> None:
    """The operator's report has each workspace and day once, with a cursor; keys can't read it."""
    api.clock.set(NOON)
    tenants = [api.tenant() for _ in range(3)]
    for number, tenant in enumerate(tenants):
        client = tenant.client()
        for _ in range(number + 1):
            client.get("/v1/whoami")
    api.services.usage.flush()
    operator, cursor = backend(api), ""
    found: list[dict[str, Any]] = []
    while cursor is not None:
        page = successful(operator.get(f"{ALL}?from={DAY}&to={DAY}&limit=2{cursor}"))
        found += page["items"]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    ours = {tenant.id for tenant in tenants}
    expected = [
        {"workspace": str(tenant.id), "day": DAY, "requests": number + 1, "refused": 0}
        for number, tenant in enumerate(tenants)
    ]
    found = [each for each in found if each["workspace"] in ours]
    assert found == sorted(expected, key=lambda each: str(each["workspace"]), reverse=True)
    assert problem(tenants[0].client().get(ALL)) == (401, "invalid-token")


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("from=2026-11-31", "query:from"),
        ("to=tomorrow", "query:to"),
        ("from=2025-01-01&to=2026-01-02", "query:from"),
        ("from=2026-11-02&to=2026-11-01", "query:from"),
        ("from_=2026-11-02", "query:from_"),
        ("since=2026-11-02", "query:since"),
    ],
)
def test_wrong_periods(quick: Tenant, query: str, pointer: str) -> None:
    """A malformed day, more than 366 days, the wrong order, and unknown parameters are 422 at every report."""
    client, operator = quick.client(), backend(quick.api)
    for answer in (
        client.get(f"/v1/usage?{query}"),
        client.get(f"/v1/keys/{client.key_id}/usage?{query}"),
        operator.get(f"{ALL}?{query}"),
    ):
        assert pointers(answer) == [pointer]


def test_cursors_belong_to_their_report(quick: Tenant) -> None:
    """A cursor of another period, grouping or report is refused, and so is one that was made up."""
    client, operator = quick.client(), backend(quick.api)
    for _ in range(2):
        quick.client().get("/v1/whoami")
    quick.api.services.usage.flush()
    day = quick.api.clock.now().date().isoformat()
    by_key = client.get(f"/v1/usage?group_by=key&to={day}&limit=1").json()["next_cursor"]
    quick.api.tenant().client().get("/v1/whoami")
    quick.api.services.usage.flush()
    of_all = operator.get(f"{ALL}?limit=1").json()["next_cursor"]
    assert by_key
    assert of_all
    for cursor in (by_key, of_all, "x", of_all[:22] + "x"):
        for answer in (
            client.get(f"/v1/usage?group_by=key&cursor={cursor}"),
            client.get(f"/v1/usage?cursor={cursor}"),
            operator.get(f"{ALL}?to={day}&cursor={cursor}"),
        ):
            assert problem(answer) == (422, "invalid-cursor")

"""Rate limits of one workspace and of one key, in place of the plan's: set, seen, and back to the plan's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api_client import ApiClient, ApiInstallation, Tenant, pointers, problem
from tests.support.backends import PATH, backend, events_of, shown, successful


@pytest.fixture
def operator(api: ApiInstallation) -> ApiClient:
    """The product's backend, with an active credential."""
    return backend(api)


def test_a_workspace_has_its_own(api: ApiInstallation, operator: ApiClient, tenant: Tenant) -> None:
    """Its numbers replace the plan's, one by one; null returns to the plan's; repeated values add no event."""
    path = f"{PATH}/{tenant.id}/rate-limits"
    none = {"workspace_per_minute": None, "key_per_minute": None}
    assert successful(operator.get(path)) == {**none, "effective": none}
    own = {"workspace_per_minute": 6000, "key_per_minute": None}
    first = operator.put(path, own)
    for _ in range(2):
        assert successful(operator.put(path, own)) == {**own, "effective": own}
    assert successful(operator.get(path)) == {**own, "effective": own}
    late = operator.send("PUT", path, none, [("if-match", '"1"')])
    assert problem(late) == (412, "changed-meanwhile")
    back = operator.send("PUT", path, {}, [("if-match", first.headers["etag"])])
    assert successful(back) == {**none, "effective": none}
    changes = [each.data for each in events_of(api, tenant.id) if "changed" in each.data]
    assert changes == [{"changed": ["rate_limits"], **each} for each in (none, own)]


def test_a_key_has_its_own(api: ApiInstallation, operator: ApiClient, tenant: Tenant) -> None:
    """Its number comes before the workspace's, which comes before the plan's; its successor has it too."""
    operator.put(f"{PATH}/{tenant.id}/rate-limits", {"key_per_minute": 600})
    client = tenant.client()
    path = f"{PATH}/{tenant.id}/keys/{client.key_id}/rate-limits"
    seen = successful(operator.get(path))
    assert seen == {
        "per_minute": None,
        "effective": {"workspace_per_minute": None, "key_per_minute": 600},
    }
    before = operator.get(path).headers["etag"]
    answer = operator.put(path, {"per_minute": 60})
    assert successful(answer)["per_minute"] == 60
    assert successful(operator.get(path))["effective"]["key_per_minute"] == 60
    late = operator.send("PUT", path, {}, [("if-match", before)])
    assert problem(late) == (412, "changed-meanwhile")
    successor = client.post(f"/v1/keys/{client.key_id}/rotate", {}).json()["id"]
    own = f"{PATH}/{tenant.id}/keys/{successor}/rate-limits"
    assert successful(operator.get(own))["per_minute"] == 60
    assert successful(operator.put(own, {"per_minute": None}))["per_minute"] is None
    assert successful(operator.get(own))["effective"]["key_per_minute"] == 600


@pytest.mark.parametrize("number", [0, -1, 10_000_001, "5", True, 1.5], ids=str)
def test_a_rate_is_a_number(sqlite_api: ApiInstallation, number: Any) -> None:
    """422 with the pointer of the value, and nothing changes."""
    operator, tenant = backend(sqlite_api), sqlite_api.tenant()
    path = f"{PATH}/{tenant.id}/rate-limits"
    of_key = f"{PATH}/{tenant.id}/keys/{tenant.client().key_id}/rate-limits"
    before = operator.get(path).json(), operator.get(of_key).json()
    for name in ("workspace_per_minute", "key_per_minute"):
        assert pointers(operator.put(path, {name: number})) == [f"/{name}"]
    assert pointers(operator.put(of_key, {"per_minute": number})) == ["/per_minute"]
    assert (operator.get(path).json(), operator.get(of_key).json()) == before


def test_what_is_not_there_is_not_found(
    api: ApiInstallation, operator: ApiClient, tenant: Tenant
) -> None:
    """404 for a foreign key byte for byte as for one that never existed, and for an unknown workspace."""
    theirs, never = api.tenant().client().key_id, "key_02tcRIyrxLXTR81B3dqdOx"
    for method, body in (("GET", None), ("PUT", {"per_minute": 5}), ("PUT", {"x": 1})):
        answers = [
            operator.send(method, f"{PATH}/{tenant.id}/keys/{id}/rate-limits", body)
            for id in (theirs, never, "none")
        ]
        assert problem(answers[0]) == (404, "not-found")
        assert shown(answers[0]) == shown(answers[1]) == shown(answers[2])
        unknown = f"{PATH}/ws_02tcRIyrxLXTR81B3dqdOx/rate-limits"
        assert problem(operator.send(method, unknown, body)) == (404, "not-found")

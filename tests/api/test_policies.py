"""Policies on the wire: read by a workspace, set by the operator, and the refusal of keys beyond them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx2
import pytest

from keystead.domain.instants import format_instant
from tests.support.api_client import ApiClient, ApiInstallation, Tenant, pointers, problem
from tests.support.backends import PATH, backend, successful

SILENT: dict[str, Any] = {
    "max_lifetime_days": None,
    "expiry_required": None,
    "default_lifetime_days": None,
    "end_unused_days": None,
    "renewal_allowed": None,
}
OPEN = SILENT | {"expiry_required": False, "renewal_allowed": True}
STRICT = {"max_lifetime_days": 90, "default_lifetime_days": 30}
IN_FORCE = OPEN | STRICT | {"expiry_required": True}


@pytest.fixture
def operator(api: ApiInstallation) -> ApiClient:
    """The product's backend, with an active credential."""
    return backend(api)


def _set(operator: ApiClient, tenant: Tenant, policy: dict[str, Any]) -> dict[str, Any]:
    return successful(operator.put(f"{PATH}/{tenant.id}/policy", policy))


def _ends(api: ApiInstallation, **time: int) -> str:
    return format_instant(api.clock.now() + timedelta(**time))


def test_a_workspace_reads_its_policy(tenant: Tenant, operator: ApiClient) -> None:
    """With `plan:read`: what holds, and the three layers."""
    client = tenant.client("plan:read")
    assert successful(client.get("/v1/policy")) == {
        "effective": OPEN,
        "plan": SILENT,
        "operator": SILENT,
        "owner": SILENT,
    }
    _set(operator, tenant, STRICT)
    assert successful(client.get("/v1/policy")) == {
        "effective": IN_FORCE,
        "plan": SILENT,
        "operator": SILENT | STRICT,
        "owner": SILENT,
    }
    assert problem(tenant.client("keys:read").get("/v1/policy")) == (403, "insufficient-scope")


def test_the_operator_replaces_a_whole_layer(tenant: Tenant, operator: ApiClient) -> None:
    """PUT answers like GET; what it leaves out says nothing again."""
    answer = _set(operator, tenant, STRICT | {"end_unused_days": 180, "renewal_allowed": False})
    assert answer["operator"] == SILENT | STRICT | {
        "end_unused_days": 180,
        "renewal_allowed": False,
    }
    assert successful(operator.get(f"{PATH}/{tenant.id}/policy")) == answer
    assert _set(operator, tenant, {"expiry_required": True})["operator"] == SILENT | {
        "expiry_required": True
    }


@pytest.mark.parametrize(
    ("policy", "places"),
    [
        ({"max_lifetime_days": 0}, ["/max_lifetime_days"]),
        ({"max_lifetime_days": 3651}, ["/max_lifetime_days"]),
        (
            {"default_lifetime_days": 0, "end_unused_days": 29},
            ["/default_lifetime_days", "/end_unused_days"],
        ),
        ({"end_unused_days": 731}, ["/end_unused_days"]),
        ({"max_lifetime_days": "90"}, ["/max_lifetime_days"]),
        ({"max_lifetime_days": True}, ["/max_lifetime_days"]),
        ({"expiry_required": 1}, ["/expiry_required"]),
        ({"renewal_allowed": "no"}, ["/renewal_allowed"]),
        ({"lifetime": 3}, ["/lifetime"]),
    ],
    ids=str,
)
def test_policies_that_cannot_be(
    tenant: Tenant, operator: ApiClient, policy: dict[str, Any], places: list[str]
) -> None:
    """Days out of bounds, other types and unknown members are refused with their places."""
    assert pointers(operator.put(f"{PATH}/{tenant.id}/policy", policy)) == places
    assert successful(operator.get(f"{PATH}/{tenant.id}/policy"))["operator"] == SILENT


def test_a_policy_has_a_version(tenant: Tenant, operator: ApiClient) -> None:
    """The ETag changes with the layer, and a change for another version is 412, before 422."""
    path = f"{PATH}/{tenant.id}/policy"
    before = operator.get(path).headers["etag"]
    fits, outdated = [("if-match", before)], [("if-match", '"0"')]
    assert problem(operator.send("PUT", path, STRICT, outdated)) == (412, "changed-meanwhile")
    wrong = {"max_lifetime_days": 0}
    assert problem(operator.send("PUT", path, wrong, outdated)) == (412, "changed-meanwhile")
    after = operator.send("PUT", path, STRICT, fits)
    assert after.status_code == 200
    assert after.headers["etag"] != before
    assert operator.get(path).headers["etag"] == after.headers["etag"]


def test_an_absent_workspace_has_no_policy(operator: ApiClient) -> None:
    """404, before the values of the body."""
    path = f"{PATH}/ws_02tcRIyrxLXTR81B3dqdOx/policy"
    assert problem(operator.get(path)) == (404, "not-found")
    assert problem(operator.put(path, {"max_lifetime_days": 0})) == (404, "not-found")


def _against(answer: httpx2.Response, pointer: str, policy: dict[str, Any]) -> None:
    assert problem(answer) == (422, "against-policy")
    body = answer.json()
    assert (body["pointer"], body["policy"]) == (pointer, policy)
    assert [error["pointer"] for error in body["errors"]] == [pointer]


@pytest.mark.parametrize("by", ["key", "operator"])
def test_keys_lie_within_the_policy(
    api: ApiInstallation, tenant: Tenant, operator: ApiClient, by: str
) -> None:
    """By either API: a named expiry is refused from one second too far on, and an omitted one is clipped."""
    caller = tenant.client()
    caller, root = (caller, "/v1/keys") if by == "key" else (operator, f"{PATH}/{tenant.id}/keys")
    _set(operator, tenant, STRICT)
    far, furthest = _ends(api, days=90, seconds=1), _ends(api, days=90)
    new = {"description": "sync"}
    _against(caller.post(root, new | {"expires_at": far}), "/expires_at", IN_FORCE)
    _against(caller.post(root, new | {"expires_at": None}), "/expires_at", IN_FORCE)
    made = successful(caller.post(root, new), 201)
    assert made["expires_at"] == _ends(api, days=30)
    place = f"{root}/{made['id']}"
    _against(caller.patch(place, {"expires_at": far}), "/expires_at", IN_FORCE)
    assert successful(caller.patch(place, {"expires_at": furthest}))["expires_at"] == furthest
    _against(caller.post(f"{place}/rotate", {"expires_at": far}), "/expires_at", IN_FORCE)
    rotated = successful(caller.post(f"{place}/rotate"), 201)
    assert rotated["expires_at"] == _ends(api, days=30)
    forbidding = _set(operator, tenant, STRICT | {"renewal_allowed": False})["effective"]
    renewable = new | {"renewal": {"until": None}}
    if by == "operator":
        _against(caller.post(root, renewable), "/renewal", forbidding)
        place = f"{root}/{rotated['id']}"
        _against(caller.patch(place, {"renewal": {"until": far}}), "/renewal", forbidding)


def test_what_comes_before_the_policy(
    api: ApiInstallation, tenant: Tenant, operator: ApiClient
) -> None:
    """403 would-widen comes before 422 against-policy, and that before 409 limit-reached."""
    _set(operator, tenant, STRICT)
    narrow = tenant.client("*", "keys:write", lives=timedelta(days=20))
    new = {"description": "sync", "expires_at": _ends(api, days=100)}
    assert problem(narrow.post("/v1/keys", new)) == (403, "would-widen")
    full = api.tenant("free")
    client = full.client()
    _set(operator, full, STRICT)
    while client.post("/v1/keys", {"description": "sync"}).status_code == 201:
        pass
    assert problem(client.post("/v1/keys", new)) == (422, "against-policy")


def test_renewing_against_the_policy(
    api: ApiInstallation, tenant: Tenant, operator: ApiClient
) -> None:
    """A key that may renew itself is 403 not-renewable while the policy forbids it; otherwise it is clipped."""
    new = {"description": "job", "scopes": ["*"], "renewal": {"until": None}}
    new["expires_at"] = _ends(api, days=100)
    made = successful(operator.post(f"{PATH}/{tenant.id}/keys", new), 201)
    job = api.client(made["token"])
    api.clock.advance(days=20)
    _set(operator, tenant, {"renewal_allowed": False})
    assert problem(job.post("/v1/keys/self/rotate")) == (403, "not-renewable")
    _set(operator, tenant, {"max_lifetime_days": 90, "default_lifetime_days": 7})
    renewed = successful(job.post("/v1/keys/self/rotate"), 201)
    assert renewed["expires_at"] == _ends(api, days=90)


def test_keys_outside_the_policy_are_found(
    api: ApiInstallation, tenant: Tenant, operator: ApiClient
) -> None:
    """They keep what they have, and the filter finds them, by either API."""
    client = tenant.client(lives=timedelta(days=50))
    far = client.create_key(expires_at=_ends(api, days=50))
    endless = successful(
        operator.post(f"{PATH}/{tenant.id}/keys", {"description": "x", "expires_at": None}), 201
    )
    _set(operator, tenant, {"max_lifetime_days": 49})
    _set(operator, tenant, {"max_lifetime_days": 50})
    for caller, root in ((client, "/v1/keys"), (operator, f"{PATH}/{tenant.id}/keys")):
        found = successful(caller.get(f"{root}?outside_policy=true&status=active"))["items"]
        assert [key["id"] for key in found] == [endless["id"]]
        assert successful(caller.get(f"{root}/{endless['id']}"))["expires_at"] is None
    _set(operator, tenant, {"max_lifetime_days": 49})
    found = successful(client.get("/v1/keys?outside_policy=true"))["items"]
    assert {key["id"] for key in found} >= {far["id"], endless["id"]}

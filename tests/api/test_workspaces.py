"""Who am I, and what does my plan allow."""

from __future__ import annotations

from datetime import timedelta

from keystead.domain.instants import format_instant
from tests.support.api_client import Tenant


def test_whoami_tells_key_and_workspace(tenant: Tenant) -> None:
    """Any live key learns who it is: its workspace with its plan, and itself as the list would show it."""
    client = tenant.client("events:read", lives=timedelta(days=3))
    answer = client.get("/v1/whoami")
    assert answer.status_code == 200
    told = answer.json()
    workspace = tenant.api.services.workspaces.get(tenant.id)
    assert told["workspace"] == {"id": tenant.id, "name": workspace.name, "plan": "scale"}
    assert told["key"] == tenant.client().get(f"/v1/keys/{client.key_id}").json()
    assert told["key"]["scopes"] == ["events:read"]
    end = tenant.api.clock.now() + timedelta(days=3)
    assert told["key"]["expires_at"] == format_instant(end)


def test_the_plan_tells_each_limit_and_its_use(tenant: Tenant) -> None:
    """Null is unlimited; ended keys use nothing, one in its overlap neither."""
    free = tenant.api.tenant("free")
    client = free.client()
    old = client.create_key()
    client.post(f"/v1/keys/{old['id']}/rotate", {"overlap_seconds": 60})
    client.delete(f"/v1/keys/{client.create_key()['id']}")
    path = client.collection()
    client.put(f"{path}/documents/d", {"text": "x"})
    told = client.get("/v1/plan").json()
    assert told == {
        "plan": {"id": "free", "name": "Free"},
        "quotas": {
            "api_keys": {"limit": 5, "used": 2},
            "collections": {"limit": 3, "used": 1},
            "documents": {"limit": 1000, "used": 1},
            "webhooks": {"limit": 1, "used": 0},
            "members": {"limit": 3, "used": 0},
        },
    }
    unlimited = tenant.client().get("/v1/plan").json()["quotas"]
    assert {quota["limit"] for quota in unlimited.values()} == {None}


def test_a_lowered_limit_stops_creation_only(tenant: Tenant) -> None:
    """Keys beyond a new limit keep working; they are counted over it, and the next one is refused."""
    client = tenant.client()
    keys = [client.create_key() for _ in range(3)]
    tenant.api.services.workspaces.set_plan(tenant.id, "free", {"api_keys": 2})
    assert all(tenant.api.client(key["token"]).get("/v1/whoami").status_code == 200 for key in keys)
    assert client.get("/v1/keys").json()["quota"] == {"limit": 2, "used": 4}
    assert client.post("/v1/keys", {"description": "x"}).status_code == 409

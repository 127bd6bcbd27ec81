"""Renewal over REST: a key's own call, with its order of refusals, and what the key may do after it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from keystead.domain.instants import format_instant
from keystead.domain.keys import KeyDraft
from keystead.domain.policies import Policy
from keystead.domain.renewals import Renewal
from tests.support.api_client import ApiClient, Tenant, pointers, problem

PATH = "/v1/keys/self/rotate"
DAY = timedelta(days=1)


def job_of(tenant: Tenant, **chosen: Any) -> ApiClient:
    """Return a client with a key that renews itself, made a day ago."""
    clock = tenant.api.clock
    clock.advance(days=-1)
    named: dict[str, Any] = {
        "scopes": ("documents:read",),
        "expires_at": clock.now() + 90 * DAY,
        "renewal": Renewal(),
    }
    draft = KeyDraft("job", **(named | chosen))
    created = tenant.api.installation.services.keys.create(tenant.principal, draft)
    clock.advance(days=1)
    assert created.token is not None
    return tenant.api.client(created.token.reveal())


def test_a_key_renews_itself(tenant: Tenant) -> None:
    """201 like a creation, without a body or with an empty one; the token works, and so does the old one."""
    bodies: tuple[Any, ...] = (None, {})
    for body in bodies:
        client = job_of(tenant)
        answer = client.post(PATH, body)
        assert answer.status_code == 201
        assert answer.headers["cache-control"] == "no-store"
        created = answer.json()
        assert answer.headers["location"] == f"/v1/keys/{created['id']}"
        assert created["renewal"] == {"until": None}
        renewed = tenant.api.client(created["token"])
        assert renewed.get("/v1/whoami").json()["key"]["id"] == created["id"]
        old = client.get("/v1/whoami").json()["key"]
        assert old["rotated_to"] == created["id"]


def test_the_first_use_ends_the_healing(tenant: Tenant) -> None:
    """A lost successor is refused; once the other was used, the old key can't renew, and the owner learns it."""
    client = job_of(tenant)
    lost, token = client.post(PATH).json(), client.post(PATH).json()["token"]
    assert problem(tenant.api.client(lost["token"]).get("/v1/whoami"))[0] == 401
    assert tenant.api.client(token).get("/v1/whoami").status_code == 200
    assert problem(client.post(PATH)) == (409, "rotation-in-progress")
    assert tenant.event_types()[0] == "key.reused"


def test_the_order_of_refusals(tenant: Tenant) -> None:
    """401, then 403 `not-renewable`, then what is wrong with the request."""
    stranger = tenant.api.client("ks_nothing")
    assert problem(stranger.post(PATH)) == (401, "invalid-token")
    plain, client = job_of(tenant, renewal=None), job_of(tenant)
    once = [("idempotency-key", "a")]
    wrong: tuple[tuple[Any, Any], ...] = (({"overlap_seconds": 5}, ()), ({}, once))
    for body, headers in wrong:
        assert problem(plain.post(PATH, body, headers)) == (403, "not-renewable")
        assert problem(client.post(PATH, body, headers)) == (422, "invalid")
    assert pointers(client.post(PATH, None, once)) == ["header:Idempotency-Key"]
    assert client.post(PATH).status_code == 201


def test_too_often(tenant: Tenant) -> None:
    """The eleventh within an hour: 429 with Retry-After."""
    client = job_of(tenant)
    assert {client.post(PATH).status_code for _ in range(10)} == {201}
    refused = client.post(PATH)
    assert problem(refused) == (429, "rate-limited")
    assert int(refused.headers["retry-after"]) == 3600


def test_a_policy_decides(tenant: Tenant) -> None:
    """The maximum clips the successor; a key without an end gets one; without permission 403."""
    now = tenant.api.clock.now()
    client, endless = (job_of(tenant, expires_at=end) for end in (now + 39.5 * DAY, None))
    old, other = (job_of(tenant, expires_at=None) for _ in range(2))
    job = job_of(tenant)
    _set_policy(tenant, max_lifetime_days=40, default_lifetime_days=5)
    ends = [each.post(PATH).json()["expires_at"] for each in (client, endless)]
    assert ends == [format_instant(now + 40 * DAY)] * 2
    _set_policy(tenant, expiry_required=True, default_lifetime_days=5)
    default = old.post(PATH).json()["expires_at"]
    assert default == format_instant(now + 5 * DAY)
    _set_policy(tenant, max_lifetime_days=30)
    # It would end before the old key does.
    assert problem(job.post(PATH)) == (403, "not-renewable")
    _set_policy(tenant, expiry_required=True)
    assert problem(other.post(PATH)) == (422, "against-policy")
    _set_policy(tenant, renewal_allowed=False)
    assert problem(client.post(PATH)) == (403, "not-renewable")


def test_revoking_the_family(tenant: Tenant) -> None:
    """`?family=true` needs `keys:write`, and ends the whole family."""
    manager, client = tenant.client("keys:write"), job_of(tenant)
    created = client.post(PATH).json()
    renewed = tenant.api.client(created["token"])
    assert renewed.get("/v1/whoami").status_code == 200
    path = f"/v1/keys/{created['id']}?family=true"
    assert problem(renewed.delete(path)) == (403, "insufficient-scope")
    assert manager.delete(path).status_code == 204
    assert {each.get("/v1/whoami").status_code for each in (client, renewed)} == {401}


@pytest.mark.parametrize("seconds", [3599, 604_800, 7200])
def test_the_silence_is_shorter_than_the_overlap(tenant: Tenant, seconds: int) -> None:
    """3600 seconds at least, and less than the overlap."""
    client = tenant.client()
    path = f"/v1/keys/{client.create_key()['id']}/rotate"
    body = {"overlap_seconds": 7200, "end_when_quiet_seconds": seconds}
    assert pointers(client.post(path, body)) == ["/end_when_quiet_seconds"]
    assert client.post(path, body | {"end_when_quiet_seconds": 7199}).status_code == 201


def _set_policy(tenant: Tenant, **members: Any) -> None:
    services = tenant.api.installation.services
    services.policies.replace_operators(tenant.id, Policy(**members), tenant.principal.actor)

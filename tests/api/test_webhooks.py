"""Webhooks over REST."""

from __future__ import annotations

from typing import Any

import pytest

from keystead.domain.throttle import SENDING
from tests.support.api_client import ApiClient, Tenant, pointers, problem

MEMBERS = {
    "id",
    "name",
    "url",
    "events",
    "status",
    "created_at",
    "created_by",
    "header_names",
    "disabled_at",
    "disabled_for",
    "secret_overlap_until",
}
NEW = {
    "name": "CRM",
    "url": "https://example.com/hooks",
    "events": ["key.revoked", "key.created"],
    "headers": {"Authorization": "Bearer receiver-hush"},
}


def created(client: ApiClient, **chosen: Any) -> dict[str, Any]:
    """Create a webhook."""
    answer = client.post("/v1/webhooks", NEW | chosen)
    assert answer.status_code == 201
    webhook: dict[str, Any] = answer.json()
    return webhook


def test_a_webhook_is_created_read_changed_and_deleted(tenant: Tenant) -> None:
    """201 with its Location and its secret, once; GET, PATCH and the list show the rest; 204 and then 404."""
    client = tenant.client()
    answer = client.post("/v1/webhooks", NEW)
    webhook = answer.json()
    path = answer.headers["location"]
    assert (answer.status_code, path) == (201, f"/v1/webhooks/{webhook['id']}")
    assert answer.headers["cache-control"] == "no-store"
    secret = webhook.pop("secret")
    assert secret.startswith("whsec_")
    assert set(webhook) == MEMBERS
    assert (webhook["events"], webhook["header_names"]) == (
        ["key.created", "key.revoked"],
        ["Authorization"],
    )
    assert client.get(path).json() == webhook
    assert client.get("/v1/webhooks").json() == {"items": [webhook], "next_cursor": None}
    changed = client.patch(path, {"name": "Other", "status": "disabled"}).json()
    assert (changed["name"], changed["status"], changed["disabled_for"]) == (
        "Other", "disabled", "by_hand",
    )  # fmt: skip
    assert client.patch(path, {"status": "active"}).json() == webhook | {"name": "Other"}
    everything = [client.get(path), client.get("/v1/webhooks"), client.get("/v1/events")]
    assert not [text for text in (a.text for a in everything) if secret in text or "hush" in text]
    assert client.delete(path).status_code == 204
    gone = [
        client.get(path),
        client.patch(path, {"name": "x"}),
        client.delete(path),
        client.post(f"{path}/test"),
        client.post(f"{path}/rotate-secret"),
        client.get(f"{path}/deliveries"),
    ]
    assert [problem(answer) for answer in gone] == [(404, "not-found")] * 6


def test_a_rotated_secret_is_shown_once(tenant: Tenant) -> None:
    """A new secret, with the time until which both sign."""
    client = tenant.client()
    webhook = created(client)
    answer = client.post(f"/v1/webhooks/{webhook['id']}/rotate-secret")
    assert answer.status_code == 200
    assert answer.json()["secret"] != webhook["secret"]
    assert answer.json()["secret_overlap_until"] is not None
    assert "secret" not in client.get(f"/v1/webhooks/{webhook['id']}").json()


def test_deliveries_are_listed_seen_and_sent_again(tenant: Tenant) -> None:
    """Newest first, page by page, by status; one with its event; a test is one of them."""
    client = tenant.client()
    webhook = created(client, events=["*"])
    path = f"/v1/webhooks/{webhook['id']}"
    sent = client.post(f"{path}/test").json()
    assert (sent["event_type"], sent["status"], sent["attempts"]) == ("webhook.test", "pending", [])
    client.create_key()
    client.create_key()
    listed = client.get(f"{path}/deliveries?limit=3").json()
    assert [each["event_type"] for each in listed["items"]] == [
        "key.created", "key.created", "webhook.test",
    ]  # fmt: skip
    rest = client.get(f"{path}/deliveries?limit=3&cursor={listed['next_cursor']}").json()
    assert [each["event_type"] for each in rest["items"]] == ["webhook.created"]
    assert rest["next_cursor"] is None
    assert client.get(f"{path}/deliveries?status=failed").json()["items"] == []
    delivery = client.get(f"/v1/deliveries/{sent['id']}").json()
    (event,) = client.get("/v1/events?type=webhook.test").json()["items"]
    assert delivery == sent | {"event": event}
    assert delivery["event_id"] == event["id"]
    again = client.post(f"/v1/deliveries/{sent['id']}/redeliver")
    assert (again.status_code, again.json()["status"]) == (200, "pending")


def test_nothing_is_sent_to_a_disabled_webhook(tenant: Tenant) -> None:
    """409 for a test and for resending, with a page of its own."""
    client = tenant.client()
    webhook = created(client, events=["*"])
    path = f"/v1/webhooks/{webhook['id']}"
    delivery = client.get(f"{path}/deliveries").json()["items"][0]["id"]
    client.patch(path, {"status": "disabled"})
    for refused in (
        client.post(f"{path}/test"),
        client.post(f"/v1/deliveries/{delivery}/redeliver"),
    ):
        assert problem(refused) == (409, "webhook-disabled")


def test_too_many_tests_have_to_wait(tenant: Tenant) -> None:
    """429 with Retry-After over the workspace's rate limit, with any of its keys."""
    client = tenant.client()
    path = f"/v1/webhooks/{created(client)['id']}/test"
    statuses = [client.post(path).status_code for _ in range(SENDING.most)]
    assert set(statuses) == {200}
    refused = tenant.client().post(path)
    assert problem(refused) == (429, "rate-limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 60


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"url": "http://example.com/"}, ["/url"]),
        ({"url": "https://127.0.0.1/"}, ["/url"]),
        ({"events": ["key.stolen"]}, ["/events/0"]),
        ({"headers": {"Host": "x"}}, ["/headers/Host"]),
        ({"headers": {"secret" * 20: "x"}}, ["/headers"]),
        ({"headers": None}, ["/headers"]),
        ({"headers": {"X-A": 1}}, ["/headers/X-A"]),
        ({"name": None}, ["/name"]),
        ({"secret": "whsec_x"}, ["/secret"]),
    ],
)
def test_what_is_refused_names_its_place(
    quick: Tenant, body: dict[str, Any], expected: list[str]
) -> None:
    """Each value is refused with its pointer, in a creation and in a change."""
    client = quick.client()
    assert pointers(client.post("/v1/webhooks", NEW | body)) == expected
    webhook = created(client)
    assert pointers(client.patch(f"/v1/webhooks/{webhook['id']}", body)) == expected


def test_the_plan_s_limit_is_reported(tenant: Tenant) -> None:
    """409 with the numbers; the plan's page of quotas counts webhooks."""
    free = tenant.api.tenant(plan="free").client()
    created(free)
    refused = free.post("/v1/webhooks", NEW)
    assert problem(refused) == (409, "limit-reached")
    assert (refused.json()["limit"], refused.json()["used"]) == (1, 1)
    assert free.get("/v1/plan").json()["quotas"]["webhooks"] == {"limit": 1, "used": 1}
    (event,) = free.get("/v1/events?type=limit.reached").json()["items"]
    assert event["target"] == {"type": "limit", "id": "webhooks"}

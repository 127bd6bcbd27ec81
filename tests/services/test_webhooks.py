"""Webhooks of a workspace: their secrets, their deliveries, who may change them."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from standardwebhooks import Webhook as Signer

from keystead.domain.errors import (
    Forbidden,
    InsufficientScope,
    Invalid,
    InvalidToken,
    LimitReached,
    NotFound,
    RateLimited,
    WebhookDisabled,
)
from keystead.domain.ids import UserId
from keystead.domain.keys import UNSET, KeyDraft, KeyPatch, Unset
from keystead.domain.principals import Principal
from keystead.domain.scopes import Scopes
from keystead.domain.throttle import SENDING
from keystead.domain.webhooks import (
    RETRY_DELAYS,
    Attempt,
    AttemptError,
    DeliveryStatus,
    DisabledReason,
    Outcome,
    WebhookDraft,
    WebhookPatch,
    WebhookStatus,
    error_for_status,
)
from keystead.domain.workspaces import Role
from keystead.services.deliveries import LEASE, Batch, Deliveries, Sent
from keystead.services.installation_counts import InstallationCounts
from keystead.services.sealing import Sealed, Sealing, Unsealable
from keystead.services.webhooks import CreatedWebhook
from keystead.storage.schema import tables as schema
from keystead.wire.webhooks import payload
from tests.support.administrator import read_behind
from tests.support.installations import PEPPERS, SandboxInstallation
from tests.support.people import acting, member_of

URL = "https://example.com/hooks/T0-hush"
HEADERS = {"Authorization": "Bearer receiver-hush", "X-Source": "keystead"}


def hook(
    sandbox: SandboxInstallation, tenant: Principal, *events: str, url: str = URL
) -> CreatedWebhook:
    """Create a webhook for these types of events, or for all."""
    draft = WebhookDraft("CRM", url, events or ("*",), HEADERS)
    return sandbox.services.webhooks.create(tenant, draft)


def claimed(
    sandbox: SandboxInstallation, webhook: CreatedWebhook, deliveries: Deliveries | None = None
) -> Batch:
    """Claim what is due. Returns the batch of that endpoint."""
    batches = (deliveries or sandbox.services.deliveries).claim(endpoints=500, messages=100)
    others = [batch for batch in batches if batch.endpoint.id != webhook.endpoint.id]
    sandbox.services.deliveries.settle([], others)
    return next(batch for batch in batches if batch.endpoint.id == webhook.endpoint.id)


def answer(sandbox: SandboxInstallation, batch: Batch, status: int) -> None:
    """Settle every message of the batch alike, and release the lease."""
    attempt = Attempt(sandbox.clock.now(), status, error_for_status(status), 3)
    sent = [Sent(message.delivery, Outcome(attempt)) for message in batch.messages]
    sandbox.services.deliveries.settle(sent, [batch])


def statuses(sandbox: SandboxInstallation, tenant: Principal, webhook: CreatedWebhook) -> list[str]:
    """Return the statuses of its deliveries, oldest first."""
    page = sandbox.services.webhooks.deliveries(tenant, webhook.endpoint.id, limit=200)
    return [str(delivery.status) for delivery in page.items[::-1]]


def test_the_secret_is_of_the_standard_s_form(sandbox: SandboxInstallation) -> None:
    """`whsec_` and the base64 of 32 bytes, another for each endpoint; no repr contains it."""
    tenant = sandbox.tenant()
    secrets = {hook(sandbox, tenant).secret for _ in range(3)}
    assert len(secrets) == 3
    for secret in secrets:
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    webhook = hook(sandbox, tenant)
    assert webhook.secret not in repr(webhook)
    batch = claimed(sandbox, webhook)
    assert batch.secrets == (webhook.secret,)
    assert webhook.secret not in repr(batch)
    assert "hush" not in repr(replace(batch, endpoint=replace(batch.endpoint, url="")))


def test_the_database_shows_no_secret(own_sandbox: SandboxInstallation) -> None:
    """No row contains a signing secret or a custom header's value, in any encoding, before or after a change."""
    tenant = own_sandbox.tenant()
    webhook = hook(own_sandbox, tenant)
    again = own_sandbox.services.webhooks.rotate_secret(tenant, webhook.endpoint.id)
    rows = []
    with read_behind(own_sandbox.database) as tx:
        for table in schema.metadata.sorted_tables:
            rows += [repr(tuple(row)) for row in tx.execute(select(table))]
    text = "\n".join(rows)
    for secret in (webhook.secret, again.secret):
        raw = base64.b64decode(secret.removeprefix("whsec_"))
        for spelt in (secret, secret[6:], raw.hex(), repr(raw)[2:-1], raw[::-1].hex()):
            assert spelt not in text
    assert "receiver-hush" not in text
    assert b"receiver-hush".hex() not in text
    assert URL in text


def test_a_sealed_secret_opens_in_its_own_row_alone(sandbox: SandboxInstallation) -> None:
    """Moved to another row, changed by a bit, or without its pepper, it opens nowhere."""
    sealing = Sealing(PEPPERS)
    sealed = sealing.seal(b"hush", "here")
    assert sealing.open(sealed, "here") == b"hush"
    assert b"hush" not in sealed.value
    assert sealing.seal(b"hush", "here").value != sealed.value
    flipped = bytes([sealed.value[-1] ^ 1])
    for wrong, place in (
        (sealed, "there"),
        (Sealed(sealed.pepper_id, sealed.value[:-1] + flipped), "here"),
        (Sealed("gone", sealed.value), "here"),
    ):
        with pytest.raises(Unsealable):
            sealing.open(wrong, place)


def test_during_a_rotation_both_secrets_sign(sandbox: SandboxInstallation) -> None:
    """The new one first; the one before for 24 hours, and no longer."""
    tenant = sandbox.tenant()
    webhook = hook(sandbox, tenant)
    again = sandbox.services.webhooks.rotate_secret(tenant, webhook.endpoint.id)
    assert again.secret != webhook.secret
    assert again.endpoint.secret_overlap_until == sandbox.clock.now() + timedelta(hours=24)
    batch = claimed(sandbox, webhook)
    assert batch.secrets == (again.secret, webhook.secret)
    assert dict(batch.headers) == HEADERS
    body = payload(batch.messages[0].event).decode()
    signed = [Signer(secret).sign("evt_1", sandbox.clock.now(), body) for secret in batch.secrets]
    assert len(set(signed)) == 2
    answer(sandbox, batch, 500)
    sandbox.clock.advance(timedelta(hours=24))
    assert claimed(sandbox, webhook).secrets == (again.secret,)


def test_an_event_and_its_deliveries_are_one(sandbox: SandboxInstallation) -> None:
    """A change that is rolled back leaves neither; a commit leaves both, for each endpoint that chose the event."""
    tenant = sandbox.tenant(limit=1)
    everything, revocations = hook(sandbox, tenant), hook(sandbox, tenant, "key.revoked")
    other = sandbox.tenant()
    others = hook(sandbox, other)
    key = sandbox.key(tenant).key
    with pytest.raises(LimitReached):
        sandbox.key(tenant)
    sandbox.services.keys.revoke(tenant, key.id)

    def reported(who: Principal, webhook: CreatedWebhook) -> list[str]:
        page = sandbox.services.webhooks.deliveries(who, webhook.endpoint.id)
        return [str(delivery.event_type) for delivery in page.items[::-1]]

    assert reported(tenant, everything) == [
        "webhook.created", "webhook.created", "key.created", "limit.reached", "key.revoked",
    ]  # fmt: skip
    assert reported(tenant, revocations) == ["key.revoked"]
    assert reported(other, others) == ["webhook.created"]
    ids = {event.id for event in sandbox.events(tenant)}
    page = sandbox.services.webhooks.deliveries(tenant, everything.endpoint.id)
    assert {delivery.event_id for delivery in page.items} <= ids


def test_two_workers_never_hold_the_same_endpoint(sandbox: SandboxInstallation) -> None:
    """Of workers that claim at the same moment, one gets each due endpoint; after its lease, the next."""
    tenant = sandbox.tenant()
    ids = {hook(sandbox, tenant).endpoint.id for _ in range(12)}
    workers = [sandbox.another().services.deliveries for _ in range(4)]
    batches: list[Batch] = []

    def claim(deliveries: Deliveries) -> None:
        batches.extend(deliveries.claim(endpoints=500, messages=10))

    def all_at_once() -> list[str]:
        batches.clear()
        threads = [threading.Thread(target=claim, args=(worker,)) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sorted(batch.endpoint.id for batch in batches if batch.endpoint.id in ids)

    assert all_at_once() == sorted(ids)
    assert all_at_once() == []
    sandbox.clock.advance(LEASE)
    assert all_at_once() == sorted(ids)
    first = list(batches)
    sandbox.clock.advance(LEASE)
    all_at_once()
    sandbox.services.deliveries.settle([], first)
    assert all_at_once() == [], "a lease that ran out gives nothing back"


def test_what_arrives_during_a_lease_is_due_after_it(sandbox: SandboxInstallation) -> None:
    """An event that is committed while a worker sends is claimed as soon as the lease is released."""
    tenant = sandbox.tenant()
    webhook = hook(sandbox, tenant, "key.created", "key.revoked")
    key = sandbox.key(tenant).key
    batch = claimed(sandbox, webhook)
    sandbox.services.keys.revoke(tenant, key.id)
    answer(sandbox, batch, 200)
    later = claimed(sandbox, webhook)
    assert [message.delivery.event_type for message in later.messages] == ["key.revoked"]
    answer(sandbox, later, 200)
    assert statuses(sandbox, tenant, webhook) == ["delivered", "delivered"]


@pytest.mark.parametrize("first", [200, 500])
def test_a_late_settlement_overwrites_nothing(sandbox: SandboxInstallation, first: int) -> None:
    """A worker that lost its lease and settles after its successor changes nothing, and counts no attempt."""
    tenant = sandbox.tenant()
    webhook = hook(sandbox, tenant, "key.created")
    sandbox.key(tenant)
    slow = claimed(sandbox, webhook)
    sandbox.clock.advance(LEASE)
    quick = claimed(sandbox, webhook)
    assert [m.delivery.id for m in quick.messages] == [m.delivery.id for m in slow.messages]
    answer(sandbox, quick, first)
    answer(sandbox, slow, 503)
    (delivery,) = sandbox.services.webhooks.deliveries(tenant, webhook.endpoint.id).items
    assert [attempt.status for attempt in delivery.attempts] == [first]


def test_a_receiver_that_never_takes_anything_is_disabled_after_the_schedule(
    sandbox: SandboxInstallation,
) -> None:
    """Ten attempts over three days; then the delivery fails, the endpoint is disabled, and an event says so."""
    tenant = sandbox.tenant()
    webhook, watcher = (
        hook(sandbox, tenant, "key.created"),
        hook(sandbox, tenant, "webhook.disabled"),
    )
    sandbox.key(tenant)
    start = sandbox.clock.now()
    (delivery,) = sandbox.services.webhooks.deliveries(tenant, webhook.endpoint.id).items
    for _ in range(len(RETRY_DELAYS) + 1):
        assert delivery.next_attempt_at is not None
        sandbox.clock.set(delivery.next_attempt_at)
        answer(sandbox, claimed(sandbox, webhook), 503)
        (delivery,) = sandbox.services.webhooks.deliveries(tenant, webhook.endpoint.id).items
    assert delivery.status is DeliveryStatus.FAILED
    assert [attempt.status for attempt in delivery.attempts] == [503] * 10
    assert timedelta(days=2.5) < sandbox.clock.now() - start < timedelta(days=4)
    endpoint = sandbox.services.webhooks.get(tenant, webhook.endpoint.id)
    assert (endpoint.status, endpoint.disabled_for) == ("disabled", DisabledReason.FAILING)
    (disabled,) = [event for event in sandbox.events(tenant) if event.type == "webhook.disabled"]
    assert (disabled.target.id, disabled.data) == (
        endpoint.id,
        {"name": "CRM", "reason": "failing"},
    )
    (heard,) = sandbox.services.webhooks.deliveries(tenant, watcher.endpoint.id).items
    assert heard.event_id == disabled.id


def test_gone_disables_immediately_and_keeps_pending_deliveries(
    sandbox: SandboxInstallation,
) -> None:
    """410: nothing more is sent. What waits is sent when the endpoint is enabled; what happened meanwhile is not."""
    tenant = sandbox.tenant()
    webhook = hook(sandbox, tenant, "key.created")
    first, second = sandbox.key(tenant).key, sandbox.key(tenant).key
    assert first != second
    batch = claimed(sandbox, webhook)
    gone, waits = batch.messages
    attempt = Attempt(sandbox.clock.now(), 410, AttemptError.STATUS, 3)
    sandbox.services.deliveries.settle([Sent(gone.delivery, Outcome(attempt))], [batch])
    endpoint = sandbox.services.webhooks.get(tenant, webhook.endpoint.id)
    assert endpoint.disabled_for is DisabledReason.GONE
    sandbox.key(tenant)
    sandbox.clock.advance(timedelta(days=1))
    batches = sandbox.services.deliveries.claim(endpoints=500, messages=10)
    assert webhook.endpoint.id not in {batch.endpoint.id for batch in batches}
    with pytest.raises(WebhookDisabled):
        sandbox.services.webhooks.test(tenant, endpoint.id)
    with pytest.raises(WebhookDisabled):
        sandbox.services.webhooks.redeliver(tenant, gone.delivery.id)
    sandbox.services.webhooks.update(tenant, endpoint.id, WebhookPatch(status=WebhookStatus.ACTIVE))
    again = claimed(sandbox, webhook)
    assert [message.delivery.id for message in again.messages] == [waits.delivery.id]


def test_a_delivery_is_sent_again_under_its_id(sandbox: SandboxInstallation) -> None:
    """Whatever the outcome was: immediately, the same event, with a whole schedule; earlier attempts stay visible."""
    tenant = sandbox.tenant()
    webhook = hook(sandbox, tenant, "key.created")
    sandbox.key(tenant)
    batch = claimed(sandbox, webhook)
    answer(sandbox, batch, 200)
    before = batch.messages[0]
    again = sandbox.services.webhooks.redeliver(tenant, before.delivery.id)
    assert again.status is DeliveryStatus.PENDING
    after = claimed(sandbox, webhook)
    assert [payload(m.event) for m in after.messages] == [payload(before.event)]
    assert after.messages[0].delivery.event_id == before.delivery.event_id
    answer(sandbox, after, 500)
    (delivery,) = sandbox.services.webhooks.deliveries(tenant, webhook.endpoint.id).items
    assert [attempt.status for attempt in delivery.attempts] == [200, 500]
    assert (delivery.status, delivery.step) == (DeliveryStatus.PENDING, 1)


def test_a_test_goes_to_its_endpoint_alone(sandbox: SandboxInstallation) -> None:
    """It is sent for any chosen types, and no other endpoint receives it."""
    tenant = sandbox.tenant()
    webhook, other = hook(sandbox, tenant, "key.created"), hook(sandbox, tenant)
    sent = sandbox.services.webhooks.test(tenant, webhook.endpoint.id)
    assert (sent.event_type, sent.status) == ("webhook.test", "pending")
    page = sandbox.services.webhooks.deliveries(tenant, other.endpoint.id)
    assert "webhook.test" not in {delivery.event_type for delivery in page.items}
    assert [m.delivery.id for m in claimed(sandbox, webhook).messages] == [sent.id]


def test_a_change_says_what_changed_and_nothing_secret(sandbox: SandboxInstallation) -> None:
    """An event for a difference, none without one; URLs and headers, which may hold secrets, are in no event."""
    tenant = sandbox.tenant()
    webhook = hook(sandbox, tenant)
    change = sandbox.services.webhooks.update
    before = len(sandbox.events(tenant))
    same = WebhookPatch("CRM", URL, ["*"], HEADERS, WebhookStatus.ACTIVE)
    assert change(tenant, webhook.endpoint.id, same) == webhook.endpoint
    assert len(sandbox.events(tenant)) == before
    patch = WebhookPatch("Other", "https://example.com/hush2", ["key.revoked"], {"X-New": "hush3"})
    changed = change(tenant, webhook.endpoint.id, patch)
    assert (changed.name, changed.events, changed.header_names) == (
        "Other",
        ("key.revoked",),
        ("X-New",),
    )
    event = sandbox.events(tenant)[-1]
    assert event.data == {"name": "Other", "changed": ["name", "url", "events", "headers"]}
    change(tenant, webhook.endpoint.id, WebhookPatch(status=WebhookStatus.DISABLED))
    assert sandbox.events(tenant)[-1].data == {"name": "Other", "reason": "by_hand"}
    assert "hush" not in repr(sandbox.events(tenant))
    assert sandbox.services.webhooks.get(tenant, webhook.endpoint.id).header_names == ("X-New",)


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example.com/hook",
        "https://example.com.evil.example/hook",
        "https://example.com:8443/hook",
    ],
)
def test_stored_headers_go_nowhere_else(sandbox: SandboxInstallation, url: str) -> None:
    """With another host or port every header must be given again or removed: changing the URL reveals no value."""
    tenant = sandbox.tenant()
    webhook = hook(sandbox, tenant)
    change = sandbox.services.webhooks.update
    unset = WebhookPatch(url=url, headers=dict.fromkeys(HEADERS, UNSET))
    for patch in (WebhookPatch(url=url), unset):
        with pytest.raises(Invalid, match="/headers"):
            change(tenant, webhook.endpoint.id, patch)
    assert sandbox.services.webhooks.get(tenant, webhook.endpoint.id) == webhook.endpoint
    change(tenant, webhook.endpoint.id, WebhookPatch(url=URL + "/other"))
    sandbox.key(tenant)
    assert dict(claimed(sandbox, webhook).headers) == HEADERS
    changed = change(tenant, webhook.endpoint.id, WebhookPatch(url=url, headers={"X-New": "own"}))
    assert (changed.url, changed.header_names) == (url, ("X-New",))
    again = hook(sandbox, tenant)
    assert change(tenant, again.endpoint.id, WebhookPatch(url=url, headers={})).header_names == ()


def test_headers_change_one_by_one(sandbox: SandboxInstallation) -> None:
    """A header keeps its value without being sent again; one gets another value, one goes, one comes."""
    tenant = sandbox.tenant()
    webhook = hook(sandbox, tenant)
    change, before = sandbox.services.webhooks.update, len(sandbox.events(tenant))
    same: dict[str, str | Unset] = dict.fromkeys(HEADERS, UNSET)
    assert change(tenant, webhook.endpoint.id, WebhookPatch(headers=same)) == webhook.endpoint
    assert len(sandbox.events(tenant)) == before
    patch = WebhookPatch(headers={"Authorization": UNSET, "X-New": "hush4"})
    assert change(tenant, webhook.endpoint.id, patch).header_names == ("Authorization", "X-New")
    headers = {"Authorization": HEADERS["Authorization"], "X-New": "hush4"}
    assert dict(claimed(sandbox, webhook).headers) == headers
    with pytest.raises(Invalid, match="X-Source"):
        change(tenant, webhook.endpoint.id, WebhookPatch(headers=same))
    assert "hush" not in repr(sandbox.events(tenant))


def test_tests_and_repeats_are_held_to_a_pace(sandbox: SandboxInstallation) -> None:
    """At most a number of both a minute in a workspace; a refused one has no effect, and no other workspace waits."""
    tenant, neighbour = sandbox.tenant(), sandbox.tenant()
    webhook, other = hook(sandbox, tenant), hook(sandbox, neighbour)
    webhooks = sandbox.services.webhooks
    sent = webhooks.test(tenant, webhook.endpoint.id)
    for _ in range(SENDING.most - 1):
        webhooks.redeliver(tenant, sent.id)
    sandbox.clock.advance(timedelta(seconds=20))
    events = len(sandbox.events(tenant))
    with pytest.raises(RateLimited) as refused:
        webhooks.test(tenant, webhook.endpoint.id)
    assert refused.value.retry_after == 40
    with pytest.raises(RateLimited):
        webhooks.redeliver(tenant, sent.id)
    assert len(sandbox.events(tenant)) == events
    webhooks.test(neighbour, other.endpoint.id)
    sandbox.clock.advance(timedelta(seconds=40))
    webhooks.redeliver(tenant, sent.id)


def test_what_is_not_there_does_not_count(sandbox: SandboxInstallation) -> None:
    """However often a caller requests an endpoint that is another's, unknown or off, the answer is the same."""
    tenant, neighbour = sandbox.tenant(), sandbox.tenant()
    webhook, foreign = hook(sandbox, tenant), hook(sandbox, neighbour)
    webhooks = sandbox.services.webhooks
    theirs = webhooks.test(neighbour, foreign.endpoint.id)
    for _ in range(SENDING.most // 2 + 1):
        with pytest.raises(NotFound):
            webhooks.test(tenant, foreign.endpoint.id)
        with pytest.raises(NotFound):
            webhooks.redeliver(tenant, theirs.id)
    off = WebhookPatch(status=WebhookStatus.DISABLED)
    webhooks.update(tenant, webhook.endpoint.id, off)
    for _ in range(SENDING.most + 1):
        with pytest.raises(WebhookDisabled):
            webhooks.test(tenant, webhook.endpoint.id)


def test_a_deleted_webhook_is_gone(sandbox: SandboxInstallation) -> None:
    """It is immediately gone for every reader and worker, with its secrets; its deliveries are deleted in batches."""
    tenant = sandbox.tenant()
    webhook = hook(sandbox, tenant)
    for _ in range(3):
        sandbox.key(tenant)
    (delivery, *_) = sandbox.services.webhooks.deliveries(tenant, webhook.endpoint.id).items
    batch = claimed(sandbox, webhook)
    sandbox.services.webhooks.delete(tenant, webhook.endpoint.id)
    answer(sandbox, batch, 500)
    absent: tuple[Callable[[], object], ...] = (
        lambda: sandbox.services.webhooks.get(tenant, webhook.endpoint.id),
        lambda: sandbox.services.webhooks.deliveries(tenant, webhook.endpoint.id),
        lambda: sandbox.services.webhooks.delivery(tenant, delivery.id),
        lambda: sandbox.services.webhooks.redeliver(tenant, delivery.id),
        lambda: sandbox.services.webhooks.delete(tenant, webhook.endpoint.id),
    )
    for missing in absent:
        with pytest.raises(NotFound):
            missing()
    assert sandbox.services.plans.use(tenant).quotas["webhooks"].used == 0
    assert sandbox.services.deliveries.finish_deletions() == 4
    assert sandbox.services.deliveries.finish_deletions() == 0
    with read_behind(sandbox.database) as tx:
        table = schema.webhook_endpoints
        left = tx.execute(select(table).where(table.c.workspace_id == tenant.workspace_id))
        assert left.all() == []


def test_the_plan_limits_webhooks(sandbox: SandboxInstallation) -> None:
    """Exactly as many as it allows, under any number of concurrent requests; a deleted one makes room."""
    tenant = sandbox.tenant()
    sandbox.services.workspaces.set_plan(tenant.workspace_id, "scale", {"webhooks": 3})
    created: list[CreatedWebhook] = []
    refused: list[LimitReached] = []

    def create() -> None:
        try:
            created.append(hook(sandbox, tenant))
        except LimitReached as full:
            refused.append(full)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(created), len(refused)) == (3, 5)
    assert (refused[0].name, refused[0].limit, refused[0].used) == ("webhooks", 3, 3)
    sandbox.services.webhooks.delete(tenant, created[0].endpoint.id)
    hook(sandbox, tenant)
    quota = sandbox.services.plans.use(tenant).quotas["webhooks"]
    assert (quota.limit, quota.used) == (3, 3)


@pytest.mark.parametrize("lacks", ["webhooks:write", "events:read"])
def test_a_key_without_either_right_sets_up_nothing(
    sandbox: SandboxInstallation, lacks: str
) -> None:
    """Receiving events is reading them: both scopes are required for every change."""
    tenant = sandbox.tenant()
    webhook = hook(sandbox, tenant)
    scopes = {"webhooks:read", "webhooks:write", "events:read"} - {lacks}
    caller = sandbox.caller(tenant, *scopes)
    webhooks = sandbox.services.webhooks
    delivery = webhooks.deliveries(tenant, webhook.endpoint.id).items[0]
    for act in (
        lambda: hook(sandbox, caller),
        lambda: webhooks.update(caller, webhook.endpoint.id, WebhookPatch(name="x")),
        lambda: webhooks.delete(caller, webhook.endpoint.id),
        lambda: webhooks.rotate_secret(caller, webhook.endpoint.id),
        lambda: webhooks.test(caller, webhook.endpoint.id),
        lambda: webhooks.redeliver(caller, delivery.id),
    ):
        with pytest.raises(InsufficientScope) as refused:
            act()
        assert refused.value.scope == lacks


def test_a_key_sets_up_nothing_that_outlives_it(sandbox: SandboxInstallation) -> None:
    """A request of a key that was revoked or narrowed meanwhile creates no webhook in its place."""
    tenant = sandbox.tenant()
    created = sandbox.key(tenant, scopes=("webhooks:write", "events:read", "plan:read"))
    caller = sandbox.principal(created)
    sandbox.services.keys.update(
        tenant, created.key.id, KeyPatch(scopes=["webhooks:write", "plan:read"])
    )
    with pytest.raises(InsufficientScope):
        hook(sandbox, caller)
    sandbox.services.keys.revoke(tenant, created.key.id)
    with pytest.raises(InvalidToken):
        hook(sandbox, caller)
    assert sandbox.services.webhooks.list(tenant).items == []


def test_limits_are_reported_once_an_hour(sandbox: SandboxInstallation) -> None:
    """Once an hour for each limit, under any number of concurrent refusals; nothing else stays."""
    tenant = sandbox.tenant(limit=0)
    draft = KeyDraft("x", None, Scopes(["keys:read"]))

    def refused() -> None:
        with pytest.raises(LimitReached):
            sandbox.services.keys.create(tenant, draft)

    def reported() -> list[tuple[str, Any]]:
        events = [event for event in sandbox.events(tenant) if event.type == "limit.reached"]
        return [(event.target.id, event.data) for event in events]

    threads = [threading.Thread(target=refused) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    once = [("api_keys", {"limit": 0, "used": 0, "plan": "Scale"})]
    assert reported() == once
    sandbox.services.workspaces.set_plan(tenant.workspace_id, "scale", {"webhooks": 0})
    with pytest.raises(LimitReached):
        hook(sandbox, tenant)
    assert [limit for limit, _ in reported()] == ["api_keys", "webhooks"]
    sandbox.clock.advance(timedelta(minutes=61))
    sandbox.services.workspaces.set_plan(tenant.workspace_id, "scale", {"api_keys": 0})
    refused()
    assert [limit for limit, _ in reported()] == ["api_keys", "webhooks", "api_keys"]


def test_an_invalid_draft_is_refused_whole(sandbox: SandboxInstallation) -> None:
    """Nothing is written, and every refused field is named."""
    tenant = sandbox.tenant()
    with pytest.raises(Invalid) as refused:
        hook(sandbox, tenant, "key.stolen", url="https://127.0.0.1/")
    assert [error.pointer for error in refused.value.errors] == ["/url", "/events/0"]
    assert sandbox.services.webhooks.list(tenant).items == []


def test_what_each_role_may_do_with_webhooks(sandbox: SandboxInstallation) -> None:
    """Owners and admins set them up, the others see them; a role that was lost a moment ago no longer counts."""
    tenant = sandbox.tenant()
    webhook = hook(sandbox, tenant)
    webhooks = sandbox.services.webhooks
    roles = {
        role: acting(member_of(sandbox, tenant, role), sandbox.clock.now())
        for role in (Role.OWNER, Role.ADMIN, Role.DEVELOPER, Role.VIEWER)
    }
    for role, person in roles.items():
        assert webhooks.get(person, webhook.endpoint.id) == webhook.endpoint
        if role in {Role.OWNER, Role.ADMIN}:
            webhooks.delete(person, hook(sandbox, person).endpoint.id)
        else:
            with pytest.raises(Forbidden):
                hook(sandbox, person)
    admin = roles[Role.ADMIN]
    sandbox.services.members.change_role(tenant, UserId(admin.id), Role.DEVELOPER)
    with pytest.raises(Forbidden):
        hook(sandbox, admin)


def test_the_gauges_see_what_waits(own_sandbox: SandboxInstallation) -> None:
    """A delivery is overdue from the moment it is due, waits until it is sent, and then does neither."""
    sandbox, tenant = own_sandbox, own_sandbox.tenant()
    webhook = hook(sandbox, tenant)
    hook(sandbox, tenant, "key.revoked")
    answer(sandbox, claimed(sandbox, webhook), 204)  # the news of the second webhook
    sandbox.key(tenant)
    sandbox.clock.advance(timedelta(hours=1))
    waiting = InstallationCounts(sandbox.database, sandbox.clock).read()
    assert (waiting.waiting_deliveries, waiting.overdue) == (1, timedelta(hours=1))
    answer(sandbox, claimed(sandbox, webhook), 500)
    retried = InstallationCounts(sandbox.database, sandbox.clock).read()
    assert (retried.waiting_deliveries, retried.overdue) == (1, timedelta())
    sandbox.clock.advance(timedelta(days=1))
    answer(sandbox, claimed(sandbox, webhook), 204)
    assert InstallationCounts(sandbox.database, sandbox.clock).read()[2:] == (0, timedelta())

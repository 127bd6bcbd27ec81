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
from keystead.services.sealing import Sealed, Sealing, Unsealable
from keystead.services.webhooks import CreatedWebhook
from keystead.storage.schema import tables as schema
from keystead.wire.webhooks import payload
from tests.behind import read_behind
from tests.installations import PEPPERS, Ground
from tests.people import acting, member_of

URL = "https://example.com/hooks/T0-hush"
HEADERS = {"Authorization": "Bearer receiver-hush", "X-Source": "keystead"}


def hook(ground: Ground, tenant: Principal, *events: str, url: str = URL) -> CreatedWebhook:
    """A webhook for these types of events, or for all."""
    draft = WebhookDraft("CRM", url, events or ("*",), HEADERS)
    return ground.services.webhooks.create(tenant, draft)


def claimed(ground: Ground, made: CreatedWebhook, deliveries: Deliveries | None = None) -> Batch:
    """The batch of that endpoint, from among all that is due."""
    found = (deliveries or ground.services.deliveries).claim(endpoints=500, messages=100)
    others = [batch for batch in found if batch.endpoint.id != made.endpoint.id]
    ground.services.deliveries.settle([], others)
    return next(batch for batch in found if batch.endpoint.id == made.endpoint.id)


def answer(ground: Ground, batch: Batch, status: int) -> None:
    """Settle every message of the batch alike, and release the lease."""
    attempt = Attempt(ground.clock.now(), status, error_for_status(status), 3)
    sent = [Sent(message.delivery, Outcome(attempt)) for message in batch.messages]
    ground.services.deliveries.settle(sent, [batch])


def statuses(ground: Ground, tenant: Principal, made: CreatedWebhook) -> list[str]:
    """How its deliveries stand, the oldest first."""
    page = ground.services.webhooks.deliveries(tenant, made.endpoint.id, limit=200)
    return [str(delivery.status) for delivery in page.items[::-1]]


def test_the_secret_is_of_the_standard_s_form(ground: Ground) -> None:
    """`whsec_` and the base64 of 32 bytes, another for each endpoint; no repr contains it."""
    tenant = ground.tenant()
    secrets = {hook(ground, tenant).secret for _ in range(3)}
    assert len(secrets) == 3
    for secret in secrets:
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    made = hook(ground, tenant)
    assert made.secret not in repr(made)
    batch = claimed(ground, made)
    assert batch.secrets == (made.secret,)
    assert made.secret not in repr(batch)
    assert "hush" not in repr(replace(batch, endpoint=replace(batch.endpoint, url="")))


def test_who_has_the_database_reads_no_secret(own_ground: Ground) -> None:
    """No row contains a signing secret or a custom header's value, in any spelling, before or after a change."""
    tenant = own_ground.tenant()
    made = hook(own_ground, tenant)
    again = own_ground.services.webhooks.rotate_secret(tenant, made.endpoint.id)
    rows = []
    with read_behind(own_ground.database) as tx:
        for table in schema.metadata.sorted_tables:
            rows += [repr(tuple(row)) for row in tx.execute(select(table))]
    text = "\n".join(rows)
    for secret in (made.secret, again.secret):
        raw = base64.b64decode(secret.removeprefix("whsec_"))
        for spelt in (secret, secret[6:], raw.hex(), repr(raw)[2:-1], raw[::-1].hex()):
            assert spelt not in text
    assert "receiver-hush" not in text
    assert b"receiver-hush".hex() not in text
    assert URL in text


def test_a_sealed_secret_opens_in_its_own_row_alone(ground: Ground) -> None:
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


def test_during_a_rotation_both_secrets_sign(ground: Ground) -> None:
    """The new one first; the one before for 24 hours, and no longer."""
    tenant = ground.tenant()
    made = hook(ground, tenant)
    again = ground.services.webhooks.rotate_secret(tenant, made.endpoint.id)
    assert again.secret != made.secret
    assert again.endpoint.secret_overlap_until == ground.clock.now() + timedelta(hours=24)
    batch = claimed(ground, made)
    assert batch.secrets == (again.secret, made.secret)
    assert dict(batch.headers) == HEADERS
    body = payload(batch.messages[0].event).decode()
    signed = [Signer(secret).sign("evt_1", ground.clock.now(), body) for secret in batch.secrets]
    assert len(set(signed)) == 2
    answer(ground, batch, 500)
    ground.clock.advance(timedelta(hours=24))
    assert claimed(ground, made).secrets == (again.secret,)


def test_an_event_and_its_deliveries_are_one(ground: Ground) -> None:
    """A change that is rolled back leaves neither; one that is made leaves both, for each endpoint that chose it."""
    tenant = ground.tenant(limit=1)
    everything, revocations = hook(ground, tenant), hook(ground, tenant, "key.revoked")
    other = ground.tenant()
    others = hook(ground, other)
    key = ground.key(tenant).key
    with pytest.raises(LimitReached):
        ground.key(tenant)
    ground.services.keys.revoke(tenant, key.id)

    def told(who: Principal, made: CreatedWebhook) -> list[str]:
        page = ground.services.webhooks.deliveries(who, made.endpoint.id)
        return [str(delivery.event_type) for delivery in page.items[::-1]]

    assert told(tenant, everything) == [
        "webhook.created", "webhook.created", "key.created", "limit.reached", "key.revoked",
    ]  # fmt: skip
    assert told(tenant, revocations) == ["key.revoked"]
    assert told(other, others) == ["webhook.created"]
    ids = {event.id for event in ground.events(tenant)}
    page = ground.services.webhooks.deliveries(tenant, everything.endpoint.id)
    assert {delivery.event_id for delivery in page.items} <= ids


def test_two_workers_never_hold_the_same_endpoint(ground: Ground) -> None:
    """Of workers that claim at the same moment, each due endpoint goes to one; after its lease, to the next."""
    tenant = ground.tenant()
    made = {hook(ground, tenant).endpoint.id for _ in range(12)}
    workers = [ground.another().services.deliveries for _ in range(4)]
    found: list[Batch] = []

    def claim(deliveries: Deliveries) -> None:
        found.extend(deliveries.claim(endpoints=500, messages=10))

    def all_at_once() -> list[str]:
        found.clear()
        threads = [threading.Thread(target=claim, args=(worker,)) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sorted(batch.endpoint.id for batch in found if batch.endpoint.id in made)

    assert all_at_once() == sorted(made)
    assert all_at_once() == []
    ground.clock.advance(LEASE)
    assert all_at_once() == sorted(made)
    first = list(found)
    ground.clock.advance(LEASE)
    all_at_once()
    ground.services.deliveries.settle([], first)
    assert all_at_once() == [], "a lease that ran out gives nothing back"


def test_what_arrives_during_a_lease_is_due_after_it(ground: Ground) -> None:
    """An event that is committed while a worker sends is claimed as soon as the lease is released."""
    tenant = ground.tenant()
    made = hook(ground, tenant, "key.created", "key.revoked")
    key = ground.key(tenant).key
    batch = claimed(ground, made)
    ground.services.keys.revoke(tenant, key.id)
    answer(ground, batch, 200)
    later = claimed(ground, made)
    assert [message.delivery.event_type for message in later.messages] == ["key.revoked"]
    answer(ground, later, 200)
    assert statuses(ground, tenant, made) == ["delivered", "delivered"]


@pytest.mark.parametrize("first", [200, 500])
def test_a_late_settlement_overwrites_nothing(ground: Ground, first: int) -> None:
    """A worker that lost its lease and settles after its successor changes nothing, and counts no attempt."""
    tenant = ground.tenant()
    made = hook(ground, tenant, "key.created")
    ground.key(tenant)
    slow = claimed(ground, made)
    ground.clock.advance(LEASE)
    quick = claimed(ground, made)
    assert [m.delivery.id for m in quick.messages] == [m.delivery.id for m in slow.messages]
    answer(ground, quick, first)
    answer(ground, slow, 503)
    (delivery,) = ground.services.webhooks.deliveries(tenant, made.endpoint.id).items
    assert [attempt.status for attempt in delivery.attempts] == [first]


def test_a_receiver_that_never_takes_anything_is_disabled_after_the_schedule(
    ground: Ground,
) -> None:
    """Ten attempts over three days; then the delivery fails, the endpoint is disabled, and an event says so."""
    tenant = ground.tenant()
    made, watcher = hook(ground, tenant, "key.created"), hook(ground, tenant, "webhook.disabled")
    ground.key(tenant)
    began = ground.clock.now()
    (delivery,) = ground.services.webhooks.deliveries(tenant, made.endpoint.id).items
    for _ in range(len(RETRY_DELAYS) + 1):
        assert delivery.next_attempt_at is not None
        ground.clock.set(delivery.next_attempt_at)
        answer(ground, claimed(ground, made), 503)
        (delivery,) = ground.services.webhooks.deliveries(tenant, made.endpoint.id).items
    assert delivery.status is DeliveryStatus.FAILED
    assert [attempt.status for attempt in delivery.attempts] == [503] * 10
    assert timedelta(days=2.5) < ground.clock.now() - began < timedelta(days=4)
    endpoint = ground.services.webhooks.get(tenant, made.endpoint.id)
    assert (endpoint.status, endpoint.disabled_for) == ("disabled", DisabledReason.FAILING)
    (told,) = [event for event in ground.events(tenant) if event.type == "webhook.disabled"]
    assert (told.target.id, told.data) == (endpoint.id, {"name": "CRM", "reason": "failing"})
    (heard,) = ground.services.webhooks.deliveries(tenant, watcher.endpoint.id).items
    assert heard.event_id == told.id


def test_gone_disables_at_once_and_holds_what_waits(ground: Ground) -> None:
    """410: nothing more is sent. What waits is sent when the endpoint is enabled; what happened meanwhile is not."""
    tenant = ground.tenant()
    made = hook(ground, tenant, "key.created")
    first, second = ground.key(tenant).key, ground.key(tenant).key
    assert first != second
    batch = claimed(ground, made)
    gone, waits = batch.messages
    attempt = Attempt(ground.clock.now(), 410, AttemptError.STATUS, 3)
    ground.services.deliveries.settle([Sent(gone.delivery, Outcome(attempt))], [batch])
    endpoint = ground.services.webhooks.get(tenant, made.endpoint.id)
    assert endpoint.disabled_for is DisabledReason.GONE
    ground.key(tenant)
    ground.clock.advance(timedelta(days=1))
    batches = ground.services.deliveries.claim(endpoints=500, messages=10)
    assert made.endpoint.id not in {batch.endpoint.id for batch in batches}
    with pytest.raises(WebhookDisabled):
        ground.services.webhooks.test(tenant, endpoint.id)
    with pytest.raises(WebhookDisabled):
        ground.services.webhooks.redeliver(tenant, gone.delivery.id)
    ground.services.webhooks.update(tenant, endpoint.id, WebhookPatch(status=WebhookStatus.ACTIVE))
    again = claimed(ground, made)
    assert [message.delivery.id for message in again.messages] == [waits.delivery.id]


def test_a_delivery_is_sent_again_under_its_id(ground: Ground) -> None:
    """Whatever the outcome was: immediately, the same event, with a whole schedule; earlier attempts stay visible."""
    tenant = ground.tenant()
    made = hook(ground, tenant, "key.created")
    ground.key(tenant)
    batch = claimed(ground, made)
    answer(ground, batch, 200)
    before = batch.messages[0]
    again = ground.services.webhooks.redeliver(tenant, before.delivery.id)
    assert again.status is DeliveryStatus.PENDING
    after = claimed(ground, made)
    assert [payload(m.event) for m in after.messages] == [payload(before.event)]
    assert after.messages[0].delivery.event_id == before.delivery.event_id
    answer(ground, after, 500)
    (delivery,) = ground.services.webhooks.deliveries(tenant, made.endpoint.id).items
    assert [attempt.status for attempt in delivery.attempts] == [200, 500]
    assert (delivery.status, delivery.step) == (DeliveryStatus.PENDING, 1)


def test_a_test_goes_to_its_endpoint_alone(ground: Ground) -> None:
    """Whatever types it chose; and no other endpoint hears of it."""
    tenant = ground.tenant()
    made, other = hook(ground, tenant, "key.created"), hook(ground, tenant)
    sent = ground.services.webhooks.test(tenant, made.endpoint.id)
    assert (sent.event_type, sent.status) == ("webhook.test", "pending")
    page = ground.services.webhooks.deliveries(tenant, other.endpoint.id)
    assert "webhook.test" not in {delivery.event_type for delivery in page.items}
    assert [m.delivery.id for m in claimed(ground, made).messages] == [sent.id]


def test_a_change_says_what_changed_and_nothing_secret(ground: Ground) -> None:
    """An event for a difference, none without one; URLs and headers, which may hold secrets, are in no event."""
    tenant = ground.tenant()
    made = hook(ground, tenant)
    change = ground.services.webhooks.update
    before = len(ground.events(tenant))
    same = WebhookPatch("CRM", URL, ["*"], HEADERS, WebhookStatus.ACTIVE)
    assert change(tenant, made.endpoint.id, same) == made.endpoint
    assert len(ground.events(tenant)) == before
    patch = WebhookPatch("Other", "https://example.com/hush2", ["key.revoked"], {"X-New": "hush3"})
    changed = change(tenant, made.endpoint.id, patch)
    assert (changed.name, changed.events, changed.header_names) == (
        "Other",
        ("key.revoked",),
        ("X-New",),
    )
    told = ground.events(tenant)[-1]
    assert told.data == {"name": "Other", "changed": ["name", "url", "events", "headers"]}
    change(tenant, made.endpoint.id, WebhookPatch(status=WebhookStatus.DISABLED))
    assert ground.events(tenant)[-1].data == {"name": "Other", "reason": "by_hand"}
    assert "hush" not in repr(ground.events(tenant))
    assert ground.services.webhooks.get(tenant, made.endpoint.id).header_names == ("X-New",)


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example.com/hook",
        "https://example.com.evil.example/hook",
        "https://example.com:8443/hook",
    ],
)
def test_stored_headers_go_nowhere_else(ground: Ground, url: str) -> None:
    """With another host or port every header is given again or goes: who changes a URL learns none of the values."""
    tenant = ground.tenant()
    made = hook(ground, tenant)
    change = ground.services.webhooks.update
    kept = WebhookPatch(url=url, headers=dict.fromkeys(HEADERS, UNSET))
    for patch in (WebhookPatch(url=url), kept):
        with pytest.raises(Invalid, match="/headers"):
            change(tenant, made.endpoint.id, patch)
    assert ground.services.webhooks.get(tenant, made.endpoint.id) == made.endpoint
    change(tenant, made.endpoint.id, WebhookPatch(url=URL + "/other"))
    ground.key(tenant)
    assert dict(claimed(ground, made).headers) == HEADERS
    changed = change(tenant, made.endpoint.id, WebhookPatch(url=url, headers={"X-New": "own"}))
    assert (changed.url, changed.header_names) == (url, ("X-New",))
    again = hook(ground, tenant)
    assert change(tenant, again.endpoint.id, WebhookPatch(url=url, headers={})).header_names == ()


def test_headers_change_one_by_one(ground: Ground) -> None:
    """A header keeps its value without being sent again; one gets another value, one goes, one comes."""
    tenant = ground.tenant()
    made = hook(ground, tenant)
    change, before = ground.services.webhooks.update, len(ground.events(tenant))
    same: dict[str, str | Unset] = dict.fromkeys(HEADERS, UNSET)
    assert change(tenant, made.endpoint.id, WebhookPatch(headers=same)) == made.endpoint
    assert len(ground.events(tenant)) == before
    patch = WebhookPatch(headers={"Authorization": UNSET, "X-New": "hush4"})
    assert change(tenant, made.endpoint.id, patch).header_names == ("Authorization", "X-New")
    kept = {"Authorization": HEADERS["Authorization"], "X-New": "hush4"}
    assert dict(claimed(ground, made).headers) == kept
    with pytest.raises(Invalid, match="X-Source"):
        change(tenant, made.endpoint.id, WebhookPatch(headers=same))
    assert "hush" not in repr(ground.events(tenant))


def test_tests_and_repeats_are_held_to_a_pace(ground: Ground) -> None:
    """At most so many of both a minute in a workspace; a refused one has no effect, and no other workspace waits."""
    tenant, neighbour = ground.tenant(), ground.tenant()
    made, other = hook(ground, tenant), hook(ground, neighbour)
    webhooks = ground.services.webhooks
    sent = webhooks.test(tenant, made.endpoint.id)
    for _ in range(SENDING.most - 1):
        webhooks.redeliver(tenant, sent.id)
    ground.clock.advance(timedelta(seconds=20))
    events = len(ground.events(tenant))
    with pytest.raises(RateLimited) as refused:
        webhooks.test(tenant, made.endpoint.id)
    assert refused.value.retry_after == 40
    with pytest.raises(RateLimited):
        webhooks.redeliver(tenant, sent.id)
    assert len(ground.events(tenant)) == events
    webhooks.test(neighbour, other.endpoint.id)
    ground.clock.advance(timedelta(seconds=40))
    webhooks.redeliver(tenant, sent.id)


def test_what_is_not_there_does_not_count(ground: Ground) -> None:
    """However often a caller asks for what isn't theirs, doesn't exist or is off, the answer stays the same."""
    tenant, neighbour = ground.tenant(), ground.tenant()
    made, foreign = hook(ground, tenant), hook(ground, neighbour)
    webhooks = ground.services.webhooks
    theirs = webhooks.test(neighbour, foreign.endpoint.id)
    for _ in range(SENDING.most // 2 + 1):
        with pytest.raises(NotFound):
            webhooks.test(tenant, foreign.endpoint.id)
        with pytest.raises(NotFound):
            webhooks.redeliver(tenant, theirs.id)
    off = WebhookPatch(status=WebhookStatus.DISABLED)
    webhooks.update(tenant, made.endpoint.id, off)
    for _ in range(SENDING.most + 1):
        with pytest.raises(WebhookDisabled):
            webhooks.test(tenant, made.endpoint.id)


def test_a_deleted_webhook_is_gone(ground: Ground) -> None:
    """Immediately for every reader and worker, its secrets too; its deliveries' rows in small batches afterwards."""
    tenant = ground.tenant()
    made = hook(ground, tenant)
    for _ in range(3):
        ground.key(tenant)
    (delivery, *_) = ground.services.webhooks.deliveries(tenant, made.endpoint.id).items
    batch = claimed(ground, made)
    ground.services.webhooks.delete(tenant, made.endpoint.id)
    answer(ground, batch, 500)
    absent: tuple[Callable[[], object], ...] = (
        lambda: ground.services.webhooks.get(tenant, made.endpoint.id),
        lambda: ground.services.webhooks.deliveries(tenant, made.endpoint.id),
        lambda: ground.services.webhooks.delivery(tenant, delivery.id),
        lambda: ground.services.webhooks.redeliver(tenant, delivery.id),
        lambda: ground.services.webhooks.delete(tenant, made.endpoint.id),
    )
    for missing in absent:
        with pytest.raises(NotFound):
            missing()
    assert ground.services.plans.use(tenant).quotas["webhooks"].used == 0
    assert ground.services.deliveries.finish_deletions() == 4
    assert ground.services.deliveries.finish_deletions() == 0
    with read_behind(ground.database) as tx:
        table = schema.webhook_endpoints
        left = tx.execute(select(table).where(table.c.workspace_id == tenant.workspace_id))
        assert left.all() == []


def test_the_plan_limits_webhooks(ground: Ground) -> None:
    """Exactly as many as it allows, under any number of concurrent requests; a deleted one makes room."""
    tenant = ground.tenant()
    ground.services.workspaces.set_plan(tenant.workspace_id, "scale", {"webhooks": 3})
    made: list[CreatedWebhook] = []
    refused: list[LimitReached] = []

    def create() -> None:
        try:
            made.append(hook(ground, tenant))
        except LimitReached as full:
            refused.append(full)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(refused)) == (3, 5)
    assert (refused[0].name, refused[0].limit, refused[0].used) == ("webhooks", 3, 3)
    ground.services.webhooks.delete(tenant, made[0].endpoint.id)
    hook(ground, tenant)
    quota = ground.services.plans.use(tenant).quotas["webhooks"]
    assert (quota.limit, quota.used) == (3, 3)


@pytest.mark.parametrize("lacks", ["webhooks:write", "events:read"])
def test_a_key_without_either_right_sets_up_nothing(ground: Ground, lacks: str) -> None:
    """Having events sent is reading them: both scopes are needed for every change."""
    tenant = ground.tenant()
    made = hook(ground, tenant)
    held = {"webhooks:read", "webhooks:write", "events:read"} - {lacks}
    caller = ground.caller(tenant, *held)
    webhooks = ground.services.webhooks
    delivery = webhooks.deliveries(tenant, made.endpoint.id).items[0]
    for act in (
        lambda: hook(ground, caller),
        lambda: webhooks.update(caller, made.endpoint.id, WebhookPatch(name="x")),
        lambda: webhooks.delete(caller, made.endpoint.id),
        lambda: webhooks.rotate_secret(caller, made.endpoint.id),
        lambda: webhooks.test(caller, made.endpoint.id),
        lambda: webhooks.redeliver(caller, delivery.id),
    ):
        with pytest.raises(InsufficientScope) as refused:
            act()
        assert refused.value.scope == lacks


def test_a_key_sets_up_nothing_that_outlives_it(ground: Ground) -> None:
    """What it asked for before it was revoked or narrowed is not done after: no webhook goes on in its place."""
    tenant = ground.tenant()
    created = ground.key(tenant, scopes=("webhooks:write", "events:read", "plan:read"))
    caller = ground.principal(created)
    ground.services.keys.update(
        tenant, created.key.id, KeyPatch(scopes=["webhooks:write", "plan:read"])
    )
    with pytest.raises(InsufficientScope):
        hook(ground, caller)
    ground.services.keys.revoke(tenant, created.key.id)
    with pytest.raises(InvalidToken):
        hook(ground, caller)
    assert ground.services.webhooks.list(tenant).items == []


def test_limits_are_told_once_an_hour(ground: Ground) -> None:
    """Once an hour for each limit, under any number of concurrent refusals; nothing else stays."""
    tenant = ground.tenant(limit=0)
    draft = KeyDraft("x", None, Scopes(["keys:read"]))

    def refused() -> None:
        with pytest.raises(LimitReached):
            ground.services.keys.create(tenant, draft)

    def told() -> list[tuple[str, Any]]:
        events = [event for event in ground.events(tenant) if event.type == "limit.reached"]
        return [(event.target.id, event.data) for event in events]

    threads = [threading.Thread(target=refused) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    once = [("api_keys", {"limit": 0, "used": 0, "plan": "Scale"})]
    assert told() == once
    ground.services.workspaces.set_plan(tenant.workspace_id, "scale", {"webhooks": 0})
    with pytest.raises(LimitReached):
        hook(ground, tenant)
    assert [limit for limit, _ in told()] == ["api_keys", "webhooks"]
    ground.clock.advance(timedelta(minutes=61))
    ground.services.workspaces.set_plan(tenant.workspace_id, "scale", {"api_keys": 0})
    refused()
    assert [limit for limit, _ in told()] == ["api_keys", "webhooks", "api_keys"]


def test_an_invalid_draft_is_refused_whole(ground: Ground) -> None:
    """Nothing is written, and every refused field is named."""
    tenant = ground.tenant()
    with pytest.raises(Invalid) as refused:
        hook(ground, tenant, "key.stolen", url="https://127.0.0.1/")
    assert [error.pointer for error in refused.value.errors] == ["/url", "/events/0"]
    assert ground.services.webhooks.list(tenant).items == []


def test_what_each_role_may_do_with_webhooks(ground: Ground) -> None:
    """Owners and admins set them up, the others see them; a role that was lost a moment ago counts no more."""
    tenant = ground.tenant()
    made = hook(ground, tenant)
    webhooks = ground.services.webhooks
    roles = {
        role: acting(member_of(ground, tenant, role), ground.clock.now())
        for role in (Role.OWNER, Role.ADMIN, Role.DEVELOPER, Role.VIEWER)
    }
    for role, person in roles.items():
        assert webhooks.get(person, made.endpoint.id) == made.endpoint
        if role in {Role.OWNER, Role.ADMIN}:
            webhooks.delete(person, hook(ground, person).endpoint.id)
        else:
            with pytest.raises(Forbidden):
                hook(ground, person)
    admin = roles[Role.ADMIN]
    ground.services.members.change_role(tenant, UserId(admin.id), Role.DEVELOPER)
    with pytest.raises(Forbidden):
        hook(ground, admin)

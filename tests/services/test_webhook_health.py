"""How webhooks are doing: the counts of the latest deliveries, and resending all that failed in a period."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from keystead.domain.errors import (
    Forbidden,
    InsufficientScope,
    Invalid,
    NotFound,
    RateLimited,
    WebhookDisabled,
)
from keystead.domain.events import EventType
from keystead.domain.ids import WebhookId
from keystead.domain.principals import Principal
from keystead.domain.throttle import SENDING
from keystead.domain.webhook_health import (
    COUNTED,
    DeliveryCounts,
    DeliveryState,
    resend_period,
    state_of,
)
from keystead.domain.webhooks import (
    RETRY_DELAYS,
    Attempt,
    Delivery,
    DeliveryStatus,
    Outcome,
    WebhookDraft,
    WebhookPatch,
    WebhookStatus,
    error_for_status,
)
from keystead.domain.workspaces import Role
from keystead.services.deliveries import Sent
from keystead.services.webhook_health import BATCH
from tests.support.installations import SandboxInstallation
from tests.support.people import acting, member_of

DAY = timedelta(days=1)
FAILED = 410


def hook(sandbox: SandboxInstallation, tenant: Principal) -> WebhookId:
    """Create a webhook for events of collections."""
    draft = WebhookDraft("CRM", "https://example.com/hooks", ["key.created"])
    return sandbox.services.webhooks.create(tenant, draft).endpoint.id


def deliver(sandbox: SandboxInstallation, tenant: Principal, status: int, times: int = 1) -> None:
    """Let so many events happen, and answer every delivery that is due with that status."""
    for _ in range(times):
        sandbox.key(tenant)
    outcome = Outcome(Attempt(sandbox.clock.now(), status, error_for_status(status), 3))
    for batch in sandbox.services.deliveries.claim(endpoints=500, messages=1_000):
        mine = batch.endpoint.workspace_id == tenant.workspace_id
        sent = [Sent(message.delivery, outcome) for message in (batch.messages if mine else ())]
        sandbox.services.deliveries.settle(sent, [batch])


def enable(sandbox: SandboxInstallation, tenant: Principal, webhook: WebhookId) -> None:
    """Enable the webhook, which 410 has disabled."""
    patch = WebhookPatch(status=WebhookStatus.ACTIVE)
    sandbox.services.webhooks.update(tenant, webhook, patch)


def listed(
    sandbox: SandboxInstallation, tenant: Principal, webhook: WebhookId
) -> Sequence[Delivery]:
    """Return its deliveries, oldest first."""
    return sandbox.services.webhooks.deliveries(tenant, webhook, limit=1_000).items[::-1]


def test_the_states_of_a_delivery(sandbox: SandboxInstallation) -> None:
    """Queued before its first attempt and when resent, retrying after a failed one, then delivered or failed."""
    tenant = sandbox.tenant()
    webhook = hook(sandbox, tenant)
    sandbox.key(tenant)
    [queued] = listed(sandbox, tenant, webhook)
    assert state_of(queued) is DeliveryState.QUEUED
    deliver(sandbox, tenant, 500, times=0)
    deliver(sandbox, tenant, 204)
    retrying, delivered = listed(sandbox, tenant, webhook)[:2]
    assert state_of(retrying) is DeliveryState.RETRYING
    assert retrying.next_attempt_at is not None
    assert state_of(delivered) is DeliveryState.DELIVERED
    again = sandbox.services.webhooks.redeliver(tenant, retrying.id)
    assert state_of(again) is DeliveryState.QUEUED


def test_the_latest_deliveries_are_counted(sandbox: SandboxInstallation) -> None:
    """Delivered, retrying and failed ones count, queued ones don't, nor another webhook's, nor older ones."""
    tenant, other = sandbox.tenant(), sandbox.tenant()
    webhook, silent = hook(sandbox, tenant), hook(sandbox, tenant)
    foreign = hook(sandbox, other)
    health = sandbox.services.webhook_health
    assert health.counts(tenant, [webhook, silent]) == {}
    sandbox.services.webhooks.delete(tenant, silent)
    for status in (204, 500, 204, FAILED):
        deliver(sandbox, tenant, status)
    enable(sandbox, tenant, webhook)
    sandbox.key(tenant)
    counts = {webhook: DeliveryCounts(delivered=2, retrying=1, failed=1)}
    assert health.counts(tenant, [webhook, foreign]) == counts
    assert counts[webhook].attempted == 4
    assert health.counts(other, [webhook]) == {}
    deliver(sandbox, tenant, 204, times=COUNTED)
    assert health.counts(tenant, [webhook])[webhook].attempted == COUNTED
    assert health.counts(tenant, [webhook])[webhook].failed == 0
    assert health.counts(tenant, []) == {}


def test_all_that_failed_is_resent(sandbox: SandboxInstallation) -> None:
    """Failed ones of the period are queued again under their ids, the others stay; each batch leaves an event."""
    tenant = sandbox.tenant()
    webhook = hook(sandbox, tenant)
    deliver(sandbox, tenant, FAILED)
    sandbox.clock.advance(2 * DAY)
    enable(sandbox, tenant, webhook)
    deliver(sandbox, tenant, 204)
    deliver(sandbox, tenant, FAILED, times=BATCH + 2)
    enable(sandbox, tenant, webhook)
    before = listed(sandbox, tenant, webhook)
    resent = sandbox.services.webhook_health.resend_failed(tenant, webhook, DAY)
    assert (resent.count, resent.has_more) == (BATCH + 2, False)
    after = listed(sandbox, tenant, webhook)
    assert [delivery.id for delivery in after] == [delivery.id for delivery in before]
    pending = [DeliveryStatus.PENDING] * (BATCH + 2)
    assert [delivery.status for delivery in after] == [
        DeliveryStatus.FAILED, DeliveryStatus.DELIVERED, *pending,
    ]  # fmt: skip
    assert {state_of(delivery) for delivery in after[2:]} == {DeliveryState.QUEUED}
    events = [e for e in sandbox.events(tenant) if e.type is EventType.WEBHOOK_RESENT]
    assert [event.data for event in events] == [
        {"name": "CRM", "deliveries": BATCH}, {"name": "CRM", "deliveries": 2},
    ]  # fmt: skip
    batches = sandbox.services.deliveries.claim(endpoints=500, messages=1_000)
    [due] = [batch.messages for batch in batches if batch.endpoint.id == webhook]
    assert len(due) == BATCH + 2
    sandbox.services.deliveries.settle([], batches)
    assert sandbox.services.webhook_health.resend_failed(tenant, webhook, DAY).count == 0


def test_who_may_resend(sandbox: SandboxInstallation) -> None:
    """Resending needs the right to have events sent: no viewer, no key that can't read events, no other workspace."""
    tenant, other = sandbox.tenant(), sandbox.tenant()
    webhook, health = hook(sandbox, tenant), sandbox.services.webhook_health
    viewer = acting(member_of(sandbox, tenant, Role.VIEWER))
    with pytest.raises(Forbidden):
        health.resend_failed(viewer, webhook, DAY)
    assert health.counts(viewer, [webhook]) == {}
    writer = sandbox.caller(tenant, "webhooks:write")
    with pytest.raises(InsufficientScope):
        health.resend_failed(writer, webhook, DAY)
    with pytest.raises(InsufficientScope):
        health.counts(writer, [webhook])
    with pytest.raises(NotFound):
        health.resend_failed(other, webhook, DAY)


def test_what_limits_resending(sandbox: SandboxInstallation) -> None:
    """A disabled webhook gets nothing, and resending counts as one of the workspace's tests and resends."""
    tenant = sandbox.tenant()
    webhook, health = hook(sandbox, tenant), sandbox.services.webhook_health
    deliver(sandbox, tenant, FAILED)
    with pytest.raises(WebhookDisabled):
        health.resend_failed(tenant, webhook, DAY)
    enable(sandbox, tenant, webhook)
    for _ in range(SENDING.most):
        sandbox.services.webhooks.test(tenant, webhook)
    with pytest.raises(RateLimited):
        health.resend_failed(tenant, webhook, DAY)
    sandbox.clock.advance(SENDING.window)
    assert health.resend_failed(tenant, webhook, DAY).count == 1
    for _ in range(SENDING.most - 1):  # a search that finds nothing counts too
        assert health.resend_failed(tenant, webhook, DAY).count == 0
    with pytest.raises(RateLimited):
        health.resend_failed(tenant, webhook, DAY)


def test_a_period_is_one_of_those_offered() -> None:
    """The names of the form's options are the only ones."""
    assert resend_period("24h") == DAY
    assert resend_period("30d") > sum(RETRY_DELAYS, timedelta())
    with pytest.raises(Invalid):
        resend_period("1000d")

"""Retention: rows past their retention time are deleted, in batches; younger ones, and those in use, stay."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from keystead.domain.events import EventType, RetentionPolicy
from keystead.domain.ids import least_id, new_id
from keystead.domain.instants import to_microseconds
from keystead.domain.principals import Principal
from keystead.domain.verification import DenialReason, Denied
from keystead.domain.webhooks import DeliveryStatus, WebhookDraft
from keystead.services import cleanup as retention
from keystead.services.cleanup import Retention
from keystead.storage.engine.roles import Purpose
from keystead.storage.schema import tables as schema
from tests.support.installations import SandboxInstallation

DAY = timedelta(days=1)
KEEPING = RetentionPolicy(events=400 * DAY, deliveries=90 * DAY, use=400 * DAY, callers=90 * DAY)


def _sweep(sandbox: SandboxInstallation, keeping: RetentionPolicy = KEEPING) -> int:
    return Retention(sandbox.database, sandbox.clock, keeping).run()


def _sequences(sandbox: SandboxInstallation, tenant: Principal) -> list[int]:
    return [event.sequence for event in sandbox.events(tenant)]


def test_old_events_go_and_the_numbers_go_on(own_sandbox: SandboxInstallation) -> None:
    """An event past its time is gone; the younger ones are there, numbered as before."""
    tenant = own_sandbox.tenant()
    own_sandbox.key(tenant, "old")
    old = _sequences(own_sandbox, tenant)
    own_sandbox.clock.advance(399 * DAY)
    own_sandbox.key(tenant, "young")
    assert _sweep(own_sandbox) == 0
    own_sandbox.clock.advance(2 * DAY)
    young = [n for n in _sequences(own_sandbox, tenant) if n not in old]
    assert _sweep(own_sandbox) == len(old)
    assert _sequences(own_sandbox, tenant) == young
    own_sandbox.key(tenant, "next")
    assert _sequences(own_sandbox, tenant) == [*young, young[-1] + 1]
    assert _sweep(own_sandbox) == 0


def test_what_is_kept_for_ever_stays(own_sandbox: SandboxInstallation) -> None:
    """Without a retention time nothing is deleted."""
    tenant = own_sandbox.tenant()
    own_sandbox.key(tenant)
    own_sandbox.clock.advance(10_000 * DAY)
    assert _sweep(own_sandbox, RetentionPolicy(None, None, None, None)) == 0
    assert _sequences(own_sandbox, tenant)


def test_an_event_stays_while_a_delivery_needs_it(own_sandbox: SandboxInstallation) -> None:
    """A pending delivery keeps its event, however old; once it is done, both are deleted in their time."""
    tenant = own_sandbox.tenant()
    draft = WebhookDraft("receiver", "https://receiver.example/hook", ("*",))
    own_sandbox.services.webhooks.create(tenant, draft)
    own_sandbox.key(tenant, "told")
    latest = own_sandbox.events(tenant)[-1]
    assert latest.type is EventType.KEY_CREATED
    own_sandbox.clock.advance(500 * DAY)
    _sweep(own_sandbox)
    ids = [event.id for event in own_sandbox.events(tenant)]
    assert latest.id in ids
    pending = own_sandbox.count(schema.deliveries)
    assert pending >= 1
    _settle_deliveries(own_sandbox)
    assert _sweep(own_sandbox) == pending + len(ids)
    assert own_sandbox.events(tenant) == []
    assert own_sandbox.count(schema.deliveries) == 0


def test_days_of_use_go(own_sandbox: SandboxInstallation) -> None:
    """The use of a day long ago is deleted; that of later days and the last use are not."""
    tenant = own_sandbox.tenant()
    created = own_sandbox.key(tenant)
    days = []
    for passed in (0, 300, 101):
        own_sandbox.clock.advance(passed * DAY)
        own_sandbox.verify(created)
        own_sandbox.flush()
        days.append(own_sandbox.clock.now().date())
    _sweep(own_sandbox, RetentionPolicy(None, None, None, None))  # the hours, kept for days only
    assert _sweep(own_sandbox, RetentionPolicy(None, None, 400 * DAY, None)) == 1
    assert list(own_sandbox.requests(tenant, created.key.id, days[0])) == days[1:]
    assert own_sandbox.services.keys.get(tenant, created.key.id).last_use is not None


def test_callers_of_long_ago_go(own_sandbox: SandboxInstallation) -> None:
    """An address that called long ago is deleted, served or refused; recent ones are kept."""
    tenant = own_sandbox.tenant()
    created = own_sandbox.key(tenant)
    principal, usage = own_sandbox.principal(created), own_sandbox.services.usage
    refused = Denied(DenialReason.EXPIRED, created.key.id, tenant.workspace_id)
    for number, passed in enumerate((0, 60), start=1):
        at = own_sandbox.clock.advance(passed * DAY)
        usage.note(principal, to_microseconds(at), f"192.0.2.{number}", "agent")
        usage.note_refusal(refused, to_microseconds(at), f"198.51.100.{number}", "agent")
        own_sandbox.flush()
    own_sandbox.clock.advance(31 * DAY)
    _sweep(own_sandbox)
    callers = {row.caller.address for row in usage.callers(tenant, created.key.id)}
    assert callers == {"192.0.2.2", "198.51.100.2"}


def test_more_than_a_batch(
    own_sandbox: SandboxInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run deletes everything that is due, a few rows in each transaction, and no row of another workspace."""
    monkeypatch.setattr(retention, "BATCH", 2)
    old = [own_sandbox.tenant() for _ in range(5)]
    for tenant in old:
        for _ in range(3):
            own_sandbox.key(tenant)
    own_sandbox.clock.advance(401 * DAY)
    young = own_sandbox.tenant()
    own_sandbox.key(young)
    before = own_sandbox.events(young)
    _sweep(own_sandbox)
    assert [own_sandbox.events(tenant) for tenant in old] == [[]] * 5
    assert own_sandbox.events(young) == before


def test_two_servers_sweep_concurrently(own_sandbox: SandboxInstallation) -> None:
    """Both sweep concurrently; neither fails, and nothing is left."""
    tenants = [own_sandbox.tenant() for _ in range(6)]
    for tenant in tenants:
        own_sandbox.key(tenant)
    own_sandbox.clock.advance(401 * DAY)
    own_sandbox.another()
    events = own_sandbox.count(schema.events)
    with ThreadPoolExecutor(4) as pool:
        gone = sum(pool.map(lambda _: _sweep(own_sandbox), range(4)))
    assert gone == events
    assert own_sandbox.count(schema.events) == 0


@given(st.datetimes(datetime(1971, 1, 1), datetime(2500, 1, 1)), st.integers(1, 10**9))  # noqa: DTZ001
def test_ids_are_parted_by_time(naive: datetime, milliseconds: int) -> None:
    """Every id of an earlier millisecond is below the bound, every id from then on above."""
    instant = naive.replace(tzinfo=UTC)
    bound = least_id("evt", instant)
    assert new_id("evt", instant) > bound
    assert new_id("evt", instant - timedelta(milliseconds=milliseconds)) < bound


def _settle_deliveries(sandbox: SandboxInstallation) -> None:
    done = update(schema.deliveries).values(status=DeliveryStatus.DELIVERED, next_attempt_at=None)
    with sandbox.database.write_across(Purpose.WORKER) as tx:
        tx.execute(done)
        assert tx.execute(select(func.count()).select_from(schema.deliveries)).scalar_one()

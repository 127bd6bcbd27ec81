"""Key events caused by time: each is recorded once, in time, on any number of servers."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from keystead.domain.events import Event
from keystead.domain.keys import KeyPatch
from keystead.domain.principals import Principal
from keystead.services.key_lifecycle import KeyLifecycle
from tests.support.installations import SandboxInstallation, text_of

DAY = timedelta(days=1)


def look(sandbox: SandboxInstallation) -> int:
    """Run one server's search."""
    return KeyLifecycle(sandbox.database, sandbox.clock).run()


def recorded(sandbox: SandboxInstallation, tenant: Principal, kind: str = "key.") -> list[Event]:
    """Return what happened to the tenant's keys because of time, oldest first."""
    acts = {"key.created", "key.revoked", "key.updated", "key.rotated"}
    events = sandbox.events(tenant)
    return [event for event in events if event.type.startswith(kind) and event.type not in acts]


def test_an_expiry_is_announced_14_7_and_1_days_before_and_then(
    sandbox: SandboxInstallation,
) -> None:
    """Each once, on its day, with the days that are left; by the system, about the key."""
    tenant = sandbox.tenant()
    look(sandbox)
    created = sandbox.key(tenant, expires_at=sandbox.clock.now() + 20 * DAY).key
    heard: dict[int, tuple[str, object]] = {}
    for day in range(22):
        look(sandbox)
        look(sandbox)
        for event in recorded(sandbox, tenant)[len(heard) :]:
            heard[day] = (str(event.type), event.data.get("days"))
            assert (event.target.id, event.actor.name) == (created.id, "System")
        sandbox.clock.advance(DAY)
    assert heard == {
        6: ("key.expiring", 14),
        13: ("key.expiring", 7),
        19: ("key.expiring", 1),
        20: ("key.expired", None),
    }


def test_a_short_life_is_not_announced_at_its_beginning(sandbox: SandboxInstallation) -> None:
    """A key created for three days is announced one day before its expiry, not when it is created."""
    tenant = sandbox.tenant()
    look(sandbox)
    sandbox.key(tenant, expires_at=sandbox.clock.now() + 3 * DAY)
    look(sandbox)
    assert recorded(sandbox, tenant) == []
    sandbox.clock.advance(2 * DAY)
    look(sandbox)
    assert [event.data["days"] for event in recorded(sandbox, tenant)] == [1]


def test_a_moved_expiry_is_announced_again(sandbox: SandboxInstallation) -> None:
    """A postponed expiry is announced again; a key without expiry, or a revoked one, gets no event."""
    tenant = sandbox.tenant()
    look(sandbox)
    moved, endless, revoked = (
        sandbox.key(tenant, expires_at=sandbox.clock.now() + 30 * DAY).key for _ in range(3)
    )
    sandbox.services.keys.update(tenant, endless.id, KeyPatch(expires_at=None))
    sandbox.services.keys.revoke(tenant, revoked.id)
    sandbox.clock.advance(17 * DAY)
    look(sandbox)
    sandbox.services.keys.update(
        tenant, moved.id, KeyPatch(expires_at=sandbox.clock.now() + 30 * DAY)
    )
    for _ in range(40):
        sandbox.clock.advance(DAY)
        look(sandbox)
    events = recorded(sandbox, tenant, "key.expir")
    assert [event.data.get("days") for event in events] == [14, 14, 7, 1, None]
    assert {event.target.id for event in events} == {moved.id}


def test_expiries_during_an_outage_are_reported_after_it(sandbox: SandboxInstallation) -> None:
    """Servers that were off for days find every key that expired meanwhile, and record each once."""
    tenant = sandbox.tenant()
    look(sandbox)
    keys = [
        sandbox.key(tenant, expires_at=sandbox.clock.now() + hours * timedelta(hours=1)).key
        for hours in range(2, 60, 7)
    ]
    sandbox.clock.advance(5 * DAY)
    look(sandbox)
    expired = recorded(sandbox, tenant, "key.expired")
    assert sorted(event.target.id for event in expired) == sorted(key.id for key in keys)


@pytest.mark.slow_on("postgresql")
def test_disuse_is_reported_after_30_days_and_every_30_days(
    own_sandbox: SandboxInstallation,
) -> None:
    """A key never used since its creation, and one no longer used, get an event; a used one doesn't."""
    sandbox = own_sandbox
    tenant = sandbox.tenant()
    idle, used = sandbox.key(tenant), sandbox.key(tenant)
    heard: list[tuple[int, str, str, object]] = []
    for day in range(70):
        if day % 5 == 0:
            sandbox.verify(used)
            sandbox.flush()
        sandbox.clock.advance(DAY + timedelta(seconds=1))
        look(sandbox)
        new = recorded(sandbox, tenant)[len(heard) :]
        heard += [(day + 1, str(e.type), e.target.id, e.data["last_used_at"]) for e in new]
    assert heard == [
        (30, "key.unused", idle.key.id, None),
        (60, "key.unused", idle.key.id, None),
    ]


def test_calls_with_an_ended_key_are_reported_once_a_day(sandbox: SandboxInstallation) -> None:
    """The event names the caller; a refusal of an active key for its scope adds no event."""
    tenant = sandbox.tenant()
    look(sandbox)
    revoked, live = sandbox.key(tenant), sandbox.key(tenant, scopes=("keys:read",))
    sandbox.services.keys.revoke(tenant, revoked.key.id)
    for _ in range(3):
        for created in (revoked, live):
            sandbox.services.verifier.verify(
                text_of(created), "plan:read", address="192.0.2.7", agent="old-script/1"
            )
        sandbox.flush()
        look(sandbox)
        sandbox.clock.advance(seconds=90)
    (event,) = recorded(sandbox, tenant)
    assert (str(event.type), event.target.id) == ("key.refused", revoked.key.id)
    assert event.data["reason"] == "revoked"
    callers: Any = event.data["callers"]
    assert [(each["address"], each["agent"]) for each in callers] == [("192.0.2.7", "old-script/1")]
    sandbox.clock.advance(DAY)
    sandbox.services.verifier.verify(text_of(revoked), address="192.0.2.8")
    sandbox.flush()
    look(sandbox)
    assert len(recorded(sandbox, tenant)) == 2


def test_concurrent_runs_report_once(sandbox: SandboxInstallation) -> None:
    """Four servers search at the same moment, repeatedly: one event for each key and fact."""
    tenant = sandbox.tenant()
    look(sandbox)
    keys = [sandbox.key(tenant, expires_at=sandbox.clock.now() + 15 * DAY).key for _ in range(20)]
    watches = [KeyLifecycle(sandbox.another().database, sandbox.clock) for _ in range(4)]
    for _ in range(2):
        sandbox.clock.advance(8 * DAY)
        threads = [threading.Thread(target=watch.run) for watch in watches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    events = [(str(event.type), event.target.id) for event in recorded(sandbox, tenant)]
    assert sorted(events) == sorted(
        (type, key.id) for key in keys for type in ("key.expired", "key.expiring")
    )


@pytest.mark.parametrize("kind", ["expired", "refused"])
def test_a_run_that_failed_half_way_is_completed_later(
    sandbox: SandboxInstallation, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that dies between two keys skips none and repeats none: the next run goes on."""
    tenant = sandbox.tenant()
    look(sandbox)
    keys = [sandbox.key(tenant, expires_at=sandbox.clock.now() + DAY) for _ in range(4)]
    sandbox.clock.advance(2 * DAY)
    if kind == "refused":
        look(sandbox)
        for created in keys:
            sandbox.services.verifier.verify(text_of(created), address="192.0.2.7")
        sandbox.flush()
    watch, left = KeyLifecycle(sandbox.database, sandbox.clock), [2]
    tell = watch._record

    def dying(*arguments: Any) -> bool:
        if not left[0]:
            raise SystemExit
        left[0] -= 1
        return tell(*arguments)

    monkeypatch.setattr(watch, "_record", dying)
    with pytest.raises(SystemExit):
        watch.run()
    look(sandbox)
    ids = [event.target.id for event in recorded(sandbox, tenant, f"key.{kind}")]
    assert sorted(ids) == sorted(created.key.id for created in keys)

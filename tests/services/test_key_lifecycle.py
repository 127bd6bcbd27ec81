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
from tests.installations import Ground, text_of

DAY = timedelta(days=1)


def look(ground: Ground) -> int:
    """One look of a server."""
    return KeyLifecycle(ground.database, ground.clock).run()


def told(ground: Ground, tenant: Principal, kind: str = "key.") -> list[Event]:
    """What happened to the tenant's keys by itself, the oldest first."""
    made = {"key.created", "key.revoked", "key.updated", "key.rotated"}
    events = ground.events(tenant)
    return [event for event in events if event.type.startswith(kind) and event.type not in made]


def test_a_key_s_end_is_told_14_7_and_1_days_before_and_then(ground: Ground) -> None:
    """Each once, on the day it comes, with the days that are left; by the system, about the key."""
    tenant = ground.tenant()
    look(ground)
    created = ground.key(tenant, expires_at=ground.clock.now() + 20 * DAY).key
    heard: dict[int, tuple[str, object]] = {}
    for day in range(22):
        look(ground)
        look(ground)
        for event in told(ground, tenant)[len(heard) :]:
            heard[day] = (str(event.type), event.data.get("days"))
            assert (event.target.id, event.actor.name) == (created.id, "Keystead")
        ground.clock.advance(DAY)
    assert heard == {
        6: ("key.expiring", 14),
        13: ("key.expiring", 7),
        19: ("key.expiring", 1),
        20: ("key.expired", None),
    }


def test_a_short_life_is_not_announced_at_its_beginning(ground: Ground) -> None:
    """A key made for three days is spoken of one day before its end, not when it is made."""
    tenant = ground.tenant()
    look(ground)
    ground.key(tenant, expires_at=ground.clock.now() + 3 * DAY)
    look(ground)
    assert told(ground, tenant) == []
    ground.clock.advance(2 * DAY)
    look(ground)
    assert [event.data["days"] for event in told(ground, tenant)] == [1]


def test_a_moved_end_is_told_anew(ground: Ground) -> None:
    """A postponed expiry is announced again; a key without expiry, or a revoked one, gets no event."""
    tenant = ground.tenant()
    look(ground)
    moved, endless, revoked = (
        ground.key(tenant, expires_at=ground.clock.now() + 30 * DAY).key for _ in range(3)
    )
    ground.services.keys.update(tenant, endless.id, KeyPatch(expires_at=None))
    ground.services.keys.revoke(tenant, revoked.id)
    ground.clock.advance(17 * DAY)
    look(ground)
    ground.services.keys.update(
        tenant, moved.id, KeyPatch(expires_at=ground.clock.now() + 30 * DAY)
    )
    for _ in range(40):
        ground.clock.advance(DAY)
        look(ground)
    found = told(ground, tenant, "key.expir")
    assert [event.data.get("days") for event in found] == [14, 14, 7, 1, None]
    assert {event.target.id for event in found} == {moved.id}


def test_ends_during_an_outage_are_told_after_it(ground: Ground) -> None:
    """Servers that were off for days find every key that expired meanwhile, and record each once."""
    tenant = ground.tenant()
    look(ground)
    keys = [
        ground.key(tenant, expires_at=ground.clock.now() + hours * timedelta(hours=1)).key
        for hours in range(2, 60, 7)
    ]
    ground.clock.advance(5 * DAY)
    look(ground)
    expired = told(ground, tenant, "key.expired")
    assert sorted(event.target.id for event in expired) == sorted(key.id for key in keys)


@pytest.mark.slow_on("postgresql")
def test_disuse_is_told_after_30_days_and_every_30_days(own_ground: Ground) -> None:
    """A key never used since its creation, and one no longer used, get an event; a used one doesn't."""
    ground = own_ground
    tenant = ground.tenant()
    idle, used = ground.key(tenant), ground.key(tenant)
    heard: list[tuple[int, str, str, object]] = []
    for day in range(70):
        if day % 5 == 0:
            ground.verify(used)
            ground.flush()
        ground.clock.advance(DAY + timedelta(seconds=1))
        look(ground)
        new = told(ground, tenant)[len(heard) :]
        heard += [(day + 1, str(e.type), e.target.id, e.data["last_used_at"]) for e in new]
    assert heard == [
        (30, "key.unused", idle.key.id, None),
        (60, "key.unused", idle.key.id, None),
    ]


def test_an_ended_key_that_is_still_called_is_told_once_a_day(ground: Ground) -> None:
    """The event names the caller; a refusal of an active key for its scope adds no event."""
    tenant = ground.tenant()
    look(ground)
    revoked, live = ground.key(tenant), ground.key(tenant, scopes=("keys:read",))
    ground.services.keys.revoke(tenant, revoked.key.id)
    for _ in range(3):
        for created in (revoked, live):
            ground.services.verifier.verify(
                text_of(created), "plan:read", address="192.0.2.7", agent="old-script/1"
            )
        ground.flush()
        look(ground)
        ground.clock.advance(seconds=90)
    (event,) = told(ground, tenant)
    assert (str(event.type), event.target.id) == ("key.refused", revoked.key.id)
    assert event.data["reason"] == "revoked"
    callers: Any = event.data["callers"]
    assert [(each["address"], each["agent"]) for each in callers] == [("192.0.2.7", "old-script/1")]
    ground.clock.advance(DAY)
    ground.services.verifier.verify(text_of(revoked), address="192.0.2.8")
    ground.flush()
    look(ground)
    assert len(told(ground, tenant)) == 2


def test_servers_that_look_at_once_tell_once(ground: Ground) -> None:
    """Four servers look at the same moment, again and again: one event for each key and fact."""
    tenant = ground.tenant()
    look(ground)
    keys = [ground.key(tenant, expires_at=ground.clock.now() + 15 * DAY).key for _ in range(20)]
    watches = [KeyLifecycle(ground.another().database, ground.clock) for _ in range(4)]
    for _ in range(2):
        ground.clock.advance(8 * DAY)
        threads = [threading.Thread(target=watch.run) for watch in watches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = [(str(event.type), event.target.id) for event in told(ground, tenant)]
    assert sorted(found) == sorted(
        (type, key.id) for key in keys for type in ("key.expired", "key.expiring")
    )


@pytest.mark.parametrize("kind", ["expired", "refused"])
def test_a_look_that_failed_half_way_tells_the_rest_later(
    ground: Ground, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that dies between two keys skips none and repeats none: the next run goes on."""
    tenant = ground.tenant()
    look(ground)
    keys = [ground.key(tenant, expires_at=ground.clock.now() + DAY) for _ in range(4)]
    ground.clock.advance(2 * DAY)
    if kind == "refused":
        look(ground)
        for created in keys:
            ground.services.verifier.verify(text_of(created), address="192.0.2.7")
        ground.flush()
    watch, left = KeyLifecycle(ground.database, ground.clock), [2]
    tell = watch._record

    def dying(*arguments: Any) -> bool:
        if not left[0]:
            raise SystemExit
        left[0] -= 1
        return tell(*arguments)

    monkeypatch.setattr(watch, "_record", dying)
    with pytest.raises(SystemExit):
        watch.run()
    look(ground)
    found = [event.target.id for event in told(ground, tenant, f"key.{kind}")]
    assert sorted(found) == sorted(created.key.id for created in keys)

"""The payload that a webhook receives."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from keystead.domain.events import Event, EventType, Target
from keystead.domain.ids import EventId, WorkspaceId
from keystead.domain.principals import Actor, PrincipalKind
from keystead.wire.webhooks import MAX_PAYLOAD, payload


def test_a_payload_is_bounded() -> None:
    """At most 20 kB: an event's details are left out if they are too long, but never the event."""
    actor = Actor(PrincipalKind.MEMBER, "usr_1", "Ada")
    event = Event(
        EventId("evt_1"), WorkspaceId("ws_1"), 1, EventType.KEY_CREATED, datetime(2026, 7, 1, 12, tzinfo=UTC), actor,
        Target("key", "key_1"), data={"callers": ["é" * 100] * 200},
    )  # fmt: skip
    sent = payload(event)
    assert len(sent) <= MAX_PAYLOAD
    body = json.loads(sent)
    assert (body["type"], body["data"]["id"], body["data"]["data"]) == ("key.created", "evt_1", {})
    small = json.loads(payload(replace(event, data={"hint": "ks_…laf3"})))
    assert small["data"]["data"] == {"hint": "ks_…laf3"}

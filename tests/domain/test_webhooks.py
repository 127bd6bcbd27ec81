"""The rules of webhooks: valid endpoints, the time of the next attempt, and the request."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from keystead.domain.destinations import Destinations
from keystead.domain.errors import Invalid
from keystead.domain.events import EventType
from keystead.domain.ids import DeliveryId, EventId, WebhookId, WorkspaceId
from keystead.domain.webhooks import (
    MAX_RETRY_DELAY,
    RETRY_DELAYS,
    Attempt,
    AttemptError,
    Delivery,
    DeliveryStatus,
    DisabledReason,
    Outcome,
    WebhookDraft,
    WebhookPatch,
    check_draft,
    check_patch,
    error_for_status,
    next_step,
    parse_retry_after,
    restart_schedule,
)
from tests.support.clocks import NOON, OUT_OF_RANGE

DRAFT = WebhookDraft("CRM", "https://example.com/hooks", ["key.created"])
DELIVERY = Delivery(
    id=DeliveryId("dlv_1"),
    workspace_id=WorkspaceId("ws_1"),
    webhook_id=WebhookId("wh_1"),
    event_id=EventId("evt_1"),
    event_sequence=1,
    event_type=EventType.KEY_CREATED,
    status=DeliveryStatus.PENDING,
    created_at=NOON,
    started_at=NOON,
    next_attempt_at=NOON,
)


def outcome(status: int | None, at: datetime = NOON, wait: timedelta | None = None) -> Outcome:
    """Return the outcome of an attempt."""
    error = AttemptError.TIMEOUT if status is None else error_for_status(status)
    return Outcome(Attempt(at, status, error, 5), wait)


def test_the_schedule_is_the_standard_s() -> None:
    """Ten attempts: immediately, then after 5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and 24 hours, each within a tenth."""
    assert [wait.total_seconds() for wait in RETRY_DELAYS] == [
        5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400,
    ]  # fmt: skip
    for jitter, factor in ((0.0, 0.9), (0.5, 1.0), (1.0, 1.1)):
        delivery, at = DELIVERY, NOON
        for wait in RETRY_DELAYS:
            delivery = next_step(delivery, outcome(500, at), jitter=jitter).delivery
            assert delivery.status is DeliveryStatus.PENDING
            assert delivery.next_attempt_at is not None
            assert delivery.next_attempt_at - at == pytest.approx(
                wait * factor, abs=timedelta(milliseconds=1)
            )
            at = delivery.next_attempt_at
        last = next_step(delivery, outcome(500, at), jitter=jitter)
        assert last.delivery.status is DeliveryStatus.FAILED
        assert last.delivery.next_attempt_at is None
        assert last.disable is DisabledReason.FAILING


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_only_2xx_is_success(status: int) -> None:
    """A 2xx is a delivery, and ends it."""
    step = next_step(DELIVERY, outcome(status), jitter=0.5)
    assert (step.delivery.status, step.disable) == (DeliveryStatus.DELIVERED, None)
    assert step.delivery.next_attempt_at is None


@pytest.mark.parametrize("status", [None, 101, 199, 300, 301, 304, 307, 400, 404, 429, 500, 503])
def test_everything_else_is_tried_again(status: int | None) -> None:
    """A redirect too is retried, and never followed."""
    step = next_step(DELIVERY, outcome(status), jitter=0.5)
    assert (step.delivery.status, step.disable) == (DeliveryStatus.PENDING, None)


def test_gone_is_gone() -> None:
    """410 fails the delivery and disables the endpoint immediately."""
    step = next_step(DELIVERY, outcome(410), jitter=0.5)
    assert (step.delivery.status, step.disable) == (DeliveryStatus.FAILED, DisabledReason.GONE)


def test_an_endpoint_that_takes_others_is_not_disabled_for_one() -> None:
    """A delivery that always fails doesn't count if the endpoint accepted another one meanwhile."""
    last = replace(DELIVERY, step=len(RETRY_DELAYS), attempted=len(RETRY_DELAYS))
    for succeeded_at, why in (
        (None, DisabledReason.FAILING),
        (NOON - timedelta(seconds=1), DisabledReason.FAILING),
        (NOON + timedelta(hours=9), None),
    ):
        assert next_step(last, outcome(500), jitter=0.5, succeeded_at=succeeded_at).disable is why


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("0", timedelta()),
        ("120", timedelta(seconds=120)),
        ("1000000000", MAX_RETRY_DELAY),
        ("9" * 5000, MAX_RETRY_DELAY),
        ("Mon, 23 Nov 2026 12:10:00 GMT", timedelta(minutes=10)),
        ("Mon, 23 Nov 2026 11:10:00 GMT", timedelta()),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("١٢", None),
        *((date, None) for date in OUT_OF_RANGE),
    ],
)
def test_retry_after_is_read_as_http_writes_it(text: str, wait: timedelta | None) -> None:
    """Seconds or a date, at most a day; anything else is ignored."""
    assert parse_retry_after(text, NOON) == wait


def test_retry_after_is_obeyed_within_bounds() -> None:
    """It delays the next attempt, never brings it forward, and at most by a day."""
    for wait, follows in (
        (timedelta(hours=1), timedelta(hours=1)),
        (timedelta(seconds=1), timedelta(seconds=5)),
        (timedelta(days=11_574), MAX_RETRY_DELAY),
    ):
        step = next_step(DELIVERY, outcome(429, wait=wait), jitter=0.5)
        assert step.delivery.next_attempt_at == NOON + follows


def test_sending_again_begins_a_whole_schedule() -> None:
    """The IDs stay the same, and the previous attempts are kept."""
    failed = next_step(DELIVERY, outcome(410), jitter=0.5).delivery
    again = restart_schedule(failed, NOON + timedelta(days=3))
    assert (again.id, again.event_id, again.attempted) == (failed.id, failed.event_id, 1)
    assert (again.status, again.step) == (DeliveryStatus.PENDING, 0)
    assert again.next_attempt_at == NOON + timedelta(days=3)


@pytest.mark.parametrize(
    ("chosen", "pointers"),
    [
        ({"name": ""}, ["/name"]),
        ({"name": "x" * 101}, ["/name"]),
        ({"name": "two\nlines"}, ["/name"]),
        ({"url": "http://example.com/"}, ["/url"]),
        ({"events": []}, ["/events"]),
        ({"events": ["*", "key.created"]}, ["/events"]),
        ({"events": ["key.created", "key.stolen"]}, ["/events/1"]),
        ({"headers": {"Host": "x"}}, ["/headers/Host"]),
        ({"headers": {"webhook-id": "x"}}, ["/headers/webhook-id"]),
        ({"headers": {"Webhook-Signature": "x"}}, ["/headers/Webhook-Signature"]),
        ({"headers": {"Content-Length": "9"}}, ["/headers/Content-Length"]),
        ({"headers": {"Transfer-Encoding": "chunked"}}, ["/headers/Transfer-Encoding"]),
        ({"headers": {"Cookie": "a=b"}}, ["/headers/Cookie"]),
        ({"headers": {"Proxy-Authorization": "x"}}, ["/headers/Proxy-Authorization"]),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, ["/headers/X-A"]),
        ({"headers": {"X-A": " a"}}, ["/headers/X-A"]),
        ({"headers": {"X-A": ""}}, ["/headers/X-A"]),
        ({"headers": {"X-A": "ä"}}, ["/headers/X-A"]),
        ({"headers": {"X A": "a"}}, ["/headers/X A"]),
        ({"headers": {"X~/A": "a"}}, ["/headers/X~0~1A"]),
        ({"headers": {"X-A": "a", "x-a": "b"}}, ["/headers"]),
        ({"headers": {f"X-{n}": "a" for n in range(11)}}, ["/headers"]),
        ({"name": "", "url": "", "events": []}, ["/name", "/url", "/events"]),
    ],
)
def test_invalid_endpoints_are_refused(chosen: dict[str, Any], pointers: list[str]) -> None:
    """Each is refused with its pointer, when it is created and when it is changed."""
    with pytest.raises(Invalid) as refused:
        check_draft(replace(DRAFT, **chosen), Destinations())
    assert [error.pointer for error in refused.value.errors] == pointers
    with pytest.raises(Invalid) as refused:
        check_patch(WebhookPatch(**chosen), Destinations())
    assert [error.pointer for error in refused.value.errors] == pointers


def test_a_receiver_s_own_credentials_may_be_sent() -> None:
    """A receiver may need an Authorization header. No repr shows its value."""
    draft = replace(DRAFT, headers={"Authorization": "Bearer hush"}, events=["key.updated"] * 2)
    checked = check_draft(draft, Destinations())
    assert checked.headers == {"Authorization": "Bearer hush"}
    assert checked.events == ("key.updated",)
    assert "hush" not in repr(checked)

"""Endpoints inside an open transaction: found, recorded, disabled; and what acts on them require."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from keystead.domain.errors import NotFound, WebhookDisabled
from keystead.domain.events import Act, EventType, Target
from keystead.domain.ids import WebhookId, is_id
from keystead.domain.principals import Principal
from keystead.domain.scopes import EVENTS_READ, WEBHOOKS_WRITE
from keystead.domain.throttle import SENDING, sending_subject
from keystead.domain.webhooks import DisabledReason, WebhookEndpoint, WebhookStatus
from keystead.services.throttle import Throttle
from keystead.storage.database import Tx
from keystead.storage.tables import delivery_queues as queues
from keystead.storage.tables import events
from keystead.storage.tables import webhooks as rows

WRITING: Final = (WEBHOOKS_WRITE, EVENTS_READ)
"""The scopes to have events sent somewhere: changing webhooks, and reading what they get."""


def disable(tx: Tx, endpoint: WebhookEndpoint, act: Act, reason: DisabledReason) -> WebhookEndpoint:
    """Stop sending to the endpoint, with the reason in an event. The workspace's lock is held."""
    disabled = replace(endpoint, disabled_at=act.at, disabled_for=reason)
    rows.update_endpoint(tx, disabled)
    record_status(tx, disabled, act)
    return disabled


def find_active(tx: Tx, principal: Principal, webhook_id: WebhookId) -> WebhookEndpoint:
    """Return the endpoint. Raises NotFound, WebhookDisabled."""
    endpoint = find(tx, principal, webhook_id)
    if endpoint.status is WebhookStatus.DISABLED:
        raise WebhookDisabled("The webhook is disabled; enable it first.")
    return endpoint


def require_rate(throttle: Throttle, principal: Principal) -> None:
    """Count a test or a resend. Raises RateLimited."""
    # Before the workspace is locked, so that the count delays no change; what can't be sent doesn't count.
    what = "test events and resends"
    throttle.require_rate(sending_subject(principal.workspace_id), SENDING, what)


def require_write(principal: Principal) -> None:
    """Raise InsufficientScope (Forbidden for a member) unless the principal may have events sent."""
    for scope in WRITING:
        principal.require(scope)


def find(tx: Tx, principal: Principal, webhook_id: WebhookId) -> WebhookEndpoint:
    """Return the workspace's endpoint. Raises NotFound."""
    endpoint = None
    if is_id("wh", webhook_id):
        endpoint = rows.find_endpoint(tx, principal.workspace_id, webhook_id)
    return NotFound.unless(endpoint, "webhook")


def record(tx: Tx, type: EventType, endpoint: WebhookEndpoint, act: Act, **data: object) -> None:
    """Append an event about an endpoint."""
    # The endpoint's name, never its URL, which may contain a secret.
    target = Target("webhook", endpoint.id)
    events.append_event(
        tx, endpoint.workspace_id, type, act, target, {"name": endpoint.name, **data}
    )


def record_status(tx: Tx, endpoint: WebhookEndpoint, act: Act) -> None:
    """Record that the endpoint was enabled or disabled, and let the worker look at its queue again."""
    if endpoint.status is WebhookStatus.ACTIVE:
        record(tx, EventType.WEBHOOK_ENABLED, endpoint, act)
    else:
        why = endpoint.disabled_for
        record(tx, EventType.WEBHOOK_DISABLED, endpoint, act, reason=why)
    queues.make_due(tx, (endpoint.workspace_id, endpoint.id))

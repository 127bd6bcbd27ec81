"""How webhooks are doing: the counts of their latest deliveries; and resending all that failed since a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from keystead.domain.events import NO_ORIGIN, EventType, Origin
from keystead.domain.ids import DeliveryId, WebhookId
from keystead.domain.principals import Principal
from keystead.domain.scopes import WEBHOOKS_READ
from keystead.domain.webhook_health import MAX_RESENT, DeliveryCounts
from keystead.domain.webhooks import restart_schedule
from keystead.services.authorization import Authorization
from keystead.services.throttle import Throttle
from keystead.services.webhook_endpoints import (
    WRITING,
    find_active,
    record,
    require_rate,
    require_write,
)
from keystead.storage.clock import Clock
from keystead.storage.database import Database
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import deliveries as rows
from keystead.storage.tables import delivery_queues as queues

BATCH: Final = 100
"""The deliveries that one transaction restarts."""


@dataclass(frozen=True, slots=True)
class Resent:
    """How many failed deliveries were resent, and whether older ones of the period are left."""

    count: int
    has_more: bool


class WebhookHealth:
    """The outcomes of deliveries. Every method acts for a principal, within that principal's workspace."""

    def __init__(self, database: Database, clock: Clock, throttle: Throttle) -> None:
        self._database = database
        self._clock = clock
        self._authorization = Authorization(database, clock)
        self._throttle = throttle

    @retry_on_conflict
    def counts(
        self, principal: Principal, webhook_ids: Sequence[WebhookId]
    ) -> Mapping[WebhookId, DeliveryCounts]:
        """Return the counts of those of the workspace's webhooks that have attempted deliveries."""
        principal.require(WEBHOOKS_READ)
        with self._database.read(principal.workspace_id) as tx:
            return rows.count_latest(tx, principal.workspace_id, webhook_ids)

    def resend_failed(
        self,
        principal: Principal,
        webhook_id: WebhookId,
        period: timedelta,
        origin: Origin = NO_ORIGIN,
    ) -> Resent:
        """Resend the deliveries of the period that failed, the newest MAX_RESENT, with the ids that they had.

        One transaction and one event for each BATCH of them. Raises NotFound, WebhookDisabled, RateLimited.
        """
        self._require_active(principal, webhook_id)
        require_rate(
            self._throttle, principal
        )  # before a search that reads each failure of the webhook
        failed = self._failed(principal, webhook_id, period)
        wanted = failed[:MAX_RESENT]
        batches = (wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH))
        count = sum(self._resend(principal, webhook_id, ids, origin) for ids in batches)
        return Resent(count, has_more=len(failed) > MAX_RESENT)

    @retry_on_conflict
    def _require_active(self, principal: Principal, webhook_id: WebhookId) -> None:
        require_write(principal)
        with self._database.read(principal.workspace_id) as tx:
            find_active(tx, principal, webhook_id)

    @retry_on_conflict
    def _failed(
        self, principal: Principal, webhook_id: WebhookId, period: timedelta
    ) -> Sequence[DeliveryId]:
        since, workspace_id = self._clock.now() - period, principal.workspace_id
        with self._database.read(workspace_id) as tx:
            return rows.failed_since(tx, workspace_id, webhook_id, since, limit=MAX_RESENT + 1)

    @retry_on_conflict
    def _resend(
        self,
        principal: Principal,
        webhook_id: WebhookId,
        delivery_ids: Sequence[DeliveryId],
        origin: Origin,
    ) -> int:
        """Restart those that are still failed, under the lock of their queue: a user may have resent one meanwhile."""
        with self._authorization.changing(principal, origin, *WRITING) as (tx, act):
            endpoint = find_active(tx, principal, webhook_id)
            queue = endpoint.workspace_id, endpoint.id
            queues.hold_queue(tx, queue)
            failed = rows.failed_among(tx, *queue, delivery_ids)
            if failed:
                restarted = [restart_schedule(delivery, act.at) for delivery in failed]
                rows.restart_deliveries(tx, restarted)
                record(tx, EventType.WEBHOOK_RESENT, endpoint, act, deliveries=len(failed))
                queues.make_due(tx, queue)
            return len(failed)

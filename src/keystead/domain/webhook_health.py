"""How a webhook is doing: the states of its deliveries as people read them, and how many of the latest succeeded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from keystead.domain.errors import Invalid
from keystead.domain.webhooks import Delivery, DeliveryStatus

COUNTED: Final = 100
"""The latest deliveries of a webhook that its counts are about."""
MAX_RESENT: Final = 1_000
"""The failed deliveries that one act resends at most."""
RESEND_PERIODS: Final[Mapping[str, timedelta]] = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
"""The periods of which all failed deliveries can be resent."""


class DeliveryState(StrEnum):
    """A delivery's status for people: a pending one is queued until its schedule's first attempt, then retrying."""

    QUEUED = "queued"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class DeliveryCounts:
    """How many of a webhook's latest deliveries are in each state. Queued ones have no outcome and don't count."""

    delivered: int = 0
    retrying: int = 0
    failed: int = 0

    @property
    def attempted(self) -> int:
        """Return the number of deliveries that have an outcome."""
        return self.delivered + self.retrying + self.failed


def state_of(delivery: Delivery) -> DeliveryState:
    """Return the delivery's state."""
    if delivery.status is not DeliveryStatus.PENDING:
        return DeliveryState(delivery.status)
    return DeliveryState.RETRYING if delivery.step else DeliveryState.QUEUED


def resend_period(name: str) -> timedelta:
    """Return the period of that name. Invalid if there is none."""
    if name not in RESEND_PERIODS:
        raise Invalid.field("/since", "must be one of the periods offered")
    return RESEND_PERIODS[name]

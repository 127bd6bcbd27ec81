"""Composing the services of one process over its database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keystead.bootstrap.composition import Composition
from keystead.bootstrap.preparation import (
    database_file,
    find_peppers,
    no_peppers,
    require_not_moved,
    revocation_log_of,
)
from keystead.domain.digest import Peppers
from keystead.operation.files import ConfigurationError
from keystead.services import Services
from keystead.settings import Settings
from keystead.storage.clock import Clock, clock_of
from keystead.storage.database import Database
from keystead.storage.engine.disk_reserve import DiskReserve
from keystead.storage.point_reads.by_id import PointReads, point_reads_of

if TYPE_CHECKING:
    from keystead.operation.metrics.counters import Metrics
    from keystead.services.isolation import Failure, OnFailure
    from keystead.services.passwords import Passwords
    from keystead.services.rate_limits import RateLimiter


@dataclass(frozen=True)
class Installation:
    """The services of one process, and what they depend on."""

    settings: Settings
    database: Database
    reads: PointReads
    services: Services
    clock: Clock
    on_failure: OnFailure
    rates: RateLimiter | None = None

    def close(self) -> None:
        """Flush noted uses and close all connections."""
        services = self.services
        try:
            if services.is_composed("usage"):
                services.usage.flush()
        finally:
            if services.is_composed("execution"):
                services.execution.close()
            if self.rates is not None:
                self.rates.close()
            self.reads.close()
            self.database.close()


def open_installation(
    settings: Settings,
    peppers: Peppers,
    clock: Clock | None = None,
    metrics: Metrics | None = None,
    passwords: Passwords | None = None,
) -> Installation:
    """Open the services over the database of the settings, which must be migrated."""
    database = Database(settings.database_url)
    clock = clock or clock_of(database)
    # Again, on a connection that stays open: a move that begins later finds it, one that has ended left its mark.
    try:
        require_not_moved(database)
    except BaseException:
        database.close()
        raise
    reads = point_reads_of(database, clock)
    rates = _rates(settings, database)
    on_failure = _on_failure(metrics)
    composition = Composition(
        settings, peppers, database, reads, clock, on_failure, metrics, rates, passwords
    )
    return Installation(settings, database, reads, composition.services, clock, on_failure, rates)


def open_safely(settings: Settings, metrics: Metrics | None = None) -> Installation:
    """Open the installation after `prepare`. Raises ConfigurationError if its peppers are missing."""
    peppers = find_peppers(settings)
    if peppers is None:
        raise ConfigurationError(no_peppers(settings))
    installation = open_installation(settings, peppers, metrics=metrics)
    installation.database.on_revocations = revocation_log_of(settings).append
    if settings.is_embedded:
        installation.database.reserve = DiskReserve(database_file(settings))
    return installation


def _on_failure(metrics: Metrics | None) -> OnFailure:
    """Return the callback that logs and counts a failed item of a background task."""
    from keystead.worker.loop import log_failure

    def on_failure(failure: Failure) -> None:
        log_failure(failure)
        if metrics is not None:
            metrics.on_item(failure.task, given_up=failure.is_given_up)

    return on_failure


def _rates(settings: Settings, database: Database) -> RateLimiter | None:
    if settings.rate_limits is None:
        return None
    from keystead.services.rate_counters import counters_of
    from keystead.services.rate_limits import RateLimiter

    counters = counters_of(settings.rate_limits)
    refuses = settings.rate_limits_when_away == "refuse"
    return RateLimiter(database, counters, refuses_when_away=refuses)

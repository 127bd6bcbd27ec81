"""Composing the services of one process over its database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from keystead.bootstrap.preparation import (
    database_file,
    find_peppers,
    no_peppers,
    revocation_log_of,
)
from keystead.domain.destinations import PORTS, Destinations
from keystead.domain.digest import Peppers
from keystead.operation.files import ConfigurationError
from keystead.services import Services
from keystead.services.accounts import Accounts
from keystead.services.confirmations import Confirmations
from keystead.services.credentials import Credentials
from keystead.services.deliveries import Deliveries
from keystead.services.documents import Documents
from keystead.services.events import Events
from keystead.services.execution import Execution
from keystead.services.invitations import Invitations
from keystead.services.isolation import Failure, OnFailure
from keystead.services.keys import Keys
from keystead.services.members import Members
from keystead.services.notifications import NotificationDigests, NotificationPreferences
from keystead.services.passwords import Passwords
from keystead.services.plans import Plans
from keystead.services.portal import PortalSessions
from keystead.services.rate_counters import counters_of
from keystead.services.rate_limits import KeyRates, RateLimiter
from keystead.services.revocation import Revocation
from keystead.services.sealing import Sealing
from keystead.services.sign_in import SignIn
from keystead.services.throttle import Throttle
from keystead.services.usage import Usage
from keystead.services.verification_cache import VerificationCache
from keystead.services.verifier import CredentialVerifier, Introspection, Verifier
from keystead.services.webhooks import Webhooks
from keystead.services.workspaces import Workspaces
from keystead.settings import Settings
from keystead.storage.clock import Clock, clock_of
from keystead.storage.database import Database
from keystead.storage.engine.disk_reserve import DiskReserve
from keystead.storage.point_reads.by_id import PointReads, point_reads_of
from keystead.storage.schema.verification_reads import CREDENTIAL, KEY, KEY_METADATA

if TYPE_CHECKING:
    from keystead.operation.metrics import Metrics


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
        try:
            self.services.usage.flush()
        finally:
            self.services.execution.close()
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
    reads = point_reads_of(database, clock)
    passwords = passwords or Passwords(product=settings.product_name)
    rates = _rates(settings, database)
    on_failure = _on_failure(metrics)
    services = _services(
        settings, peppers, database, reads, clock, metrics, passwords, rates, on_failure
    )
    return Installation(settings, database, reads, services, clock, on_failure, rates)


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


def destinations_of(settings: Settings) -> Destinations:
    """Return the permitted destinations of webhooks."""
    return Destinations(
        private_networks=settings.webhook_private_networks,
        allow_http=settings.webhook_allow_http,
        ports=PORTS | settings.webhook_ports,
    )


def _services(
    settings: Settings,
    peppers: Peppers,
    database: Database,
    reads: PointReads,
    clock: Clock,
    metrics: Metrics | None,
    passwords: Passwords,
    rates: RateLimiter | None,
    on_failure: OnFailure,
) -> Services:
    usage = Usage(database, clock, on_failure)
    plans_url = settings.plans_url
    keys = Keys(
        database,
        clock,
        peppers,
        settings.catalog,
        prefix=settings.token_prefix,
        plans_url=plans_url,
    )
    cached = database.generation_file if settings.caches_verifications else None
    verifier_of = partial(
        Verifier,
        reads.lookup(KEY),
        peppers,
        clock,
        usage,
        on_verdict=None if metrics is None else metrics.on_verdict,
    )
    return Services(
        execution=Execution(is_sqlite=database.is_sqlite),
        keys=keys,
        key_rates=KeyRates(database, clock),
        verifier=verifier_of(None if cached is None else VerificationCache(cached), rates=rates),
        usage=usage,
        events=Events(database),
        plans=Plans(database, clock),
        workspaces=Workspaces(database, clock),
        sign_in=SignIn(database, clock, passwords),
        documents=Documents(database, clock, plans_url=plans_url, on_failure=on_failure),
        accounts=Accounts(database, clock, passwords, confirms=settings.smtp is not None),
        members=Members(database, clock),
        invitations=Invitations(database, clock, passwords, plans_url=plans_url),
        portal_sessions=PortalSessions(
            database, clock, origins=settings.portal_origins, plans_url=plans_url
        ),
        credentials=Credentials(database, clock, peppers, prefix=settings.token_prefix),
        credential_verifier=CredentialVerifier(
            reads.lookup(CREDENTIAL),
            peppers,
            clock,
            None if cached is None else VerificationCache(cached),
        ),
        webhooks=Webhooks(
            database,
            clock,
            Sealing(peppers),
            destinations_of(settings),
            Throttle(database, clock),
            plans_url=plans_url,
        ),
        deliveries=Deliveries(
            database,
            clock,
            Sealing(peppers),
            lease=timedelta(seconds=settings.webhook_lease_seconds),
            on_failure=on_failure,
        ),
        notification_digests=NotificationDigests(
            database, clock, base_url=settings.base_url, on_failure=on_failure
        ),
        confirmations=Confirmations(
            database,
            clock,
            base_url=settings.base_url,
            product=settings.product_name,
            sends=settings.sends_mail,
            on_failure=on_failure,
        ),
        notification_preferences=NotificationPreferences(database, clock),
        introspection=Introspection(
            verifier_of(),
            reads.lookup(KEY_METADATA),
            clock,
            None if cached is None else VerificationCache(cached),
        ),
        revocation=Revocation(reads.lookup(KEY), peppers, keys, Throttle(database, clock)),
    )


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
    counters = counters_of(settings.rate_limits)
    refuses = settings.rate_limits_when_away == "refuse"
    return RateLimiter(database, counters, refuses_when_away=refuses)

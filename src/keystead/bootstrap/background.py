"""Composing the background work of a server process or of `keystead worker`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keystead.bootstrap.composition import destinations_of
from keystead.bootstrap.installation import Installation
from keystead.domain.mail import mail_server_of
from keystead.operation.files import ConfigurationError
from keystead.settings import Settings

if TYPE_CHECKING:
    import ssl

    from keystead.operation.metrics.counters import Metrics
    from keystead.worker.deliver import DeliveryWorker
    from keystead.worker.loop import Loop, Task
    from keystead.worker.mail import MailTransport

FLUSH_SECONDS: Final = 2.0
FEED_SECONDS: Final = 0.5
"""The feed promises every event within a second."""
WATCH_SECONDS: Final = 60.0
DIGEST_SECONDS: Final = 60.0
CONFIRMATION_SECONDS: Final = 5.0
PURGE_SECONDS: Final = 10.0
COUNT_SECONDS: Final = 15.0
SWEEP_SECONDS: Final = 3600.0
MAIL_FOLDER: Final = "mail"
SENDER: Final = "keys@localhost"
"""The default sender of mail that is written to a folder."""


@dataclass(frozen=True)
class Background:
    """Periodic tasks, and the delivery worker if this process has one."""

    loop: Loop
    worker: DeliveryWorker | None

    def start(self) -> None:
        """Start all background work."""
        self.loop.start()
        if self.worker is not None:
            self.worker.start()

    def stop(self) -> None:
        """Stop all background work, waiting a few seconds for what is running."""
        if self.worker is not None:
            self.worker.stop()
        self.loop.stop()


def background_of(
    installation: Installation, metrics: Metrics | None, *, deliver: bool
) -> Background:
    """Return the background work of this process, not started yet."""
    from keystead.services import deliveries
    from keystead.worker.loop import Loop

    tasks, on_task = _tasks(installation), None
    if metrics is not None:
        tasks, on_task = [*tasks, _counting(installation, metrics)], metrics.on_task
        metrics.on_start((task.name for task in tasks), [deliveries.TASK] if deliver else [])
    loop = Loop(tasks, on_task)
    return Background(loop, _worker(installation, metrics) if deliver else None)


def _tasks(installation: Installation) -> list[Task]:
    from keystead.services import (
        cleanup,
        deletion,
        deliveries,
        device_logins,
        documents,
        events,
        feed,
        key_lifecycle,
        quiet_ends,
        usage,
    )
    from keystead.services.cleanup import ExpiredRows, Retention
    from keystead.services.events import InstallationLog
    from keystead.services.key_lifecycle import KeyLifecycle
    from keystead.services.quiet_ends import QuietEnds
    from keystead.worker.loop import Task

    database, services = installation.database, installation.services
    clock, on_failure = installation.clock, installation.on_failure
    retention = Retention(database, clock, installation.settings.retention, on_failure)
    expired_rows = ExpiredRows(database, clock, on_failure)
    lifecycle = KeyLifecycle(database, clock, on_failure)
    quiet = QuietEnds(database, clock, on_failure)
    return [
        Task(usage.TASK, FLUSH_SECONDS, services.usage.flush),
        Task(feed.TASK, FEED_SECONDS, services.feed.place),
        Task(key_lifecycle.TASK, WATCH_SECONDS, lifecycle.run),
        Task(quiet_ends.TASK, WATCH_SECONDS, quiet.run),
        Task(events.TASK, WATCH_SECONDS, InstallationLog(database, clock).write),
        Task(cleanup.EXPIRED_TASK, SWEEP_SECONDS, expired_rows.run),
        Task(cleanup.RETENTION_TASK, SWEEP_SECONDS, retention.run),
        Task(documents.DELETIONS, SWEEP_SECONDS, services.documents.finish_deletions),
        Task(deletion.TASK, PURGE_SECONDS, services.deletion.purge),
        Task(deliveries.DELETIONS, SWEEP_SECONDS, services.deliveries.finish_deletions),
        Task(device_logins.TASK, WATCH_SECONDS, services.device_logins.purge),
        *_mail_tasks(installation),
    ]


def _counting(installation: Installation, metrics: Metrics) -> Task:
    """Return the task that counts for the gauges; without a listener nothing is counted."""
    from keystead.services.installation_counts import TASK, InstallationCounts
    from keystead.worker.loop import Task

    counts = InstallationCounts(installation.database, installation.clock)

    def count() -> None:
        now = counts.read()
        metrics.on_counts(
            keys=now.active_keys,
            workspaces=now.workspaces,
            waiting=now.waiting_deliveries,
            overdue=now.overdue.total_seconds(),
        )

    return Task(TASK, COUNT_SECONDS, count)


def _mail_tasks(installation: Installation) -> list[Task]:
    """Return the tasks that send mail, if a mail server is set or the database is embedded (then to a folder)."""
    from keystead.services import confirmations, notifications
    from keystead.worker.loop import Task
    from keystead.worker.mail import Folder, Smtp
    from keystead.worker.mailer import Mailer

    settings, services = installation.settings, installation.services
    if not settings.sends_mail:
        return []
    transport: MailTransport
    if settings.smtp is not None:
        transport = Smtp(mail_server_of(settings.smtp.get_secret_value()))
    else:
        transport = Folder(settings.data / MAIL_FOLDER)
    sender, base_url = settings.mail_from or SENDER, settings.base_url
    digest_mailer = Mailer(
        services.notification_digests, transport, sender=sender, base_url=base_url
    )
    confirmation_mailer = Mailer(
        services.confirmations, transport, sender=sender, base_url=base_url
    )
    return [
        Task(notifications.TASK, DIGEST_SECONDS, digest_mailer.send_due),
        Task(confirmations.TASK, CONFIRMATION_SECONDS, confirmation_mailer.send_due),
    ]


def _worker(installation: Installation, metrics: Metrics | None) -> DeliveryWorker:
    from keystead.worker.deliver import DeliveryWorker
    from keystead.worker.safe_network import SystemResolver
    from keystead.worker.sending import Sender

    settings = installation.settings
    sender = Sender(
        destinations_of(settings),
        SystemResolver(),
        _tls(settings),
        agent=settings.product.token,
    )
    on_outcome = metrics.on_attempt if metrics else None
    return DeliveryWorker(installation.services.deliveries, sender, on_outcome)


def _tls(settings: Settings) -> ssl.SSLContext:
    """Return the context that verifies receivers. Raises ConfigurationError for an unusable `webhook_ca`."""
    from keystead.worker.sending import tls_context

    try:
        return tls_context(settings.webhook_ca)
    except OSError as error:  # ssl.SSLError is one too
        why = error.strerror or "contains no certificate"
        raise ConfigurationError(f"webhook_ca: {settings.webhook_ca}: {why}") from None

"""What runs beside the requests of a server's process, and alone in `keystead worker`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keystead.bootstrap.installation import Installation, destinations_of
from keystead.domain.mail import mail_server_of
from keystead.operation.faults import ConfigurationError
from keystead.services.housekeeping import Housekeeping
from keystead.services.installation_log import InstallationLog
from keystead.services.key_watch import KeyWatch
from keystead.services.retention import Retention
from keystead.settings import Settings
from keystead.storage.clock import clock_of

if TYPE_CHECKING:
    import ssl

    from keystead.operation.metrics import Metrics
    from keystead.worker.deliver import DeliveryWorker
    from keystead.worker.loop import Loop, Task
    from keystead.worker.mail import Mailer
    from keystead.worker.post import Post

FLUSH_SECONDS: Final = 2.0
WATCH_SECONDS: Final = 60.0
POST_SECONDS: Final = 60.0
SWEEP_SECONDS: Final = 3600.0
MAIL_FOLDER: Final = "mail"
SENDER: Final = "Keystead <keystead@localhost>"
"""Whom mail comes from that goes to a folder, where nobody has said."""


@dataclass(frozen=True)
class Background:
    """Periodic tasks, and the delivery of webhooks where this process sees to it."""

    loop: Loop
    worker: DeliveryWorker | None

    def start(self) -> None:
        """Starts everything."""
        self.loop.start()
        if self.worker is not None:
            self.worker.start()

    def stop(self) -> None:
        """Ends everything: what is under way is waited for, for seconds."""
        if self.worker is not None:
            self.worker.stop()
        self.loop.stop()


def background_of(
    installation: Installation, metrics: Metrics | None, *, deliver: bool
) -> Background:
    """What runs in the background of this process; not started yet."""
    from keystead.worker.loop import Loop

    loop = Loop(_tasks(installation), metrics.on_task if metrics else None)
    return Background(loop, _worker(installation, metrics) if deliver else None)


def _tasks(installation: Installation) -> list[Task]:
    from keystead.worker.loop import Task

    database, services = installation.database, installation.services
    clock = clock_of(database)
    retention = Retention(database, clock, installation.settings.keeping)
    housekeeping, watch = Housekeeping(database, clock), KeyWatch(database, clock)
    tasks = [
        Task("flush use", FLUSH_SECONDS, services.usage.flush),
        Task("watch keys", WATCH_SECONDS, watch.look),
        Task("log installation", WATCH_SECONDS, InstallationLog(database, clock).write),
        Task("sweep", SWEEP_SECONDS, housekeeping.sweep),
        Task("forget", SWEEP_SECONDS, retention.sweep),
        Task("finish deletions", SWEEP_SECONDS, services.documents.finish_deletions),
        Task("forget deleted webhooks", SWEEP_SECONDS, services.deliveries.finish_deletions),
    ]
    post = _post(installation)
    return tasks if post is None else [*tasks, Task("send digests", POST_SECONDS, post.send_due)]


def _post(installation: Installation) -> Post | None:
    """Who sends mail: to the server that is set, else to a folder where the database is embedded, else nobody."""
    from keystead.worker.mail import Folder, Smtp
    from keystead.worker.post import Post

    settings, digests = installation.settings, installation.services.digests
    mailer: Mailer
    if settings.smtp is not None:
        mailer = Smtp(mail_server_of(settings.smtp.get_secret_value()))
    elif settings.is_embedded:
        mailer = Folder(settings.data / MAIL_FOLDER)
    else:
        return None
    sender = settings.mail_from or SENDER
    return Post(digests, mailer, sender=sender, base_url=settings.base_url)


def _worker(installation: Installation, metrics: Metrics | None) -> DeliveryWorker:
    from keystead.worker.deliver import DeliveryWorker
    from keystead.worker.safe_network import SystemResolver
    from keystead.worker.sending import Sender

    settings = installation.settings
    sender = Sender(destinations_of(settings), SystemResolver(), _tls(settings))
    on_outcome = metrics.on_attempt if metrics else None
    return DeliveryWorker(installation.services.deliveries, sender, on_outcome)


def _tls(settings: Settings) -> ssl.SSLContext:
    """What receivers are verified against. ConfigurationError where the operator's own certificates are none."""
    from keystead.worker.sending import tls_context

    try:
        return tls_context(settings.webhook_ca)
    except OSError as error:  # ssl.SSLError is one too
        why = error.strerror or "holds no certificate"
        raise ConfigurationError(f"webhook_ca: {settings.webhook_ca}: {why}") from None

"""`keystead worker`: what runs beside a server's requests, alone in a process of its own."""

from __future__ import annotations

import signal
from dataclasses import asdict
from typing import Final, Literal

import structlog

from keystead.cli.options import Place
from keystead.cli.outcome import forbid_core_dumps

HERE: Final = Place()
ENDING: Final = (signal.SIGTERM, signal.SIGINT)


def worker(
    *,
    log_level: Literal["debug", "info", "warning", "error"] | None = None,
    place: Place = HERE,
) -> None:
    """Deliver webhooks and do the periodic work, without a server: SIGTERM or Ctrl+C ends it.

    Servers deliver by themselves unless `webhook_delivery` is off. Any number of workers and servers share the work:
    what one of them holds when it dies, another takes on within a minute.

    Parameters
    ----------
    log_level
        Level of the log on standard error (info).
    """
    from keystead import bootstrap
    from keystead.operation import logs
    from keystead.settings import read_settings

    forbid_core_dumps()
    settings = read_settings(**asdict(place), log_level=log_level)
    logs.configure(settings.log_level)
    bootstrap.prepare(settings)
    installation = bootstrap.open_safely(settings)
    background = bootstrap.background_of(installation, None, deliver=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # the threads to come inherit it
    background.start()
    _log().info("worker started")
    signal.sigwait(ENDING)
    background.stop()
    installation.close()
    _log().info("worker ended")


def _log() -> structlog.stdlib.BoundLogger:
    log: structlog.stdlib.BoundLogger = structlog.get_logger("keystead.worker")
    return log

"""`keystead worker`: a server's background work in a process of its own."""

from __future__ import annotations

import gc
import signal
from dataclasses import asdict
from typing import Final, Literal

from keystead.cli import COLLECTS
from keystead.cli.options import HERE, Place
from keystead.cli.outcome import forbid_core_dumps
from keystead.logger import Logger

_log: Final = Logger("keystead.worker")
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def worker(
    *, log_level: Literal["debug", "info", "warning", "error"] | None = None, place: Place = HERE
) -> None:
    """Deliver webhooks and do periodic work, without a server. SIGTERM or Ctrl+C stops it.

    Servers deliver webhooks themselves unless `webhook_delivery` is off. Any number of workers and servers share
    the work. If one dies, another takes over its deliveries within a minute.

    Parameters
    ----------
    log_level
        Level of the log on standard error. Default: info.
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
    gc.set_threshold(*COLLECTS)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # inherited by all threads started below
    background.start()
    _log.info("worker started")
    signal.sigwait(STOP_SIGNALS)
    background.stop()
    installation.close()
    _log.info("worker ended")

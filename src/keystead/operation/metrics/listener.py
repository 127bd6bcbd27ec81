"""The listener for Prometheus, in the parent of the server's processes.

The processes count in files that they share with the parent, which adds them up for each scrape: the
multi-process mode of prometheus_client, whose folder must be in the environment before this import.
"""

from __future__ import annotations

import os
import platform
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from typing_extensions import override

from keystead import __version__, revision
from keystead.operation.files import ConfigurationError
from keystead.operation.metrics.definitions import BUILD
from keystead.operation.metrics.processes import Processes

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
TRIES: Final = 100
TRY_SECONDS: Final = 0.01


class Listener:
    """The listener for Prometheus, on its own address, in the parent of the server's processes."""

    def __init__(self, host: str, port: int, *, database: str) -> None:
        """Bind the address; `port` 0 takes any free one. Raises ConfigurationError if it can't be bound."""
        registry = CollectorRegistry()
        registry.register(_Build(database))
        registry.register(Processes())
        registry.register(_Shared(Path(os.environ[FOLDER])))
        try:
            self._server = make_server(
                host, port, make_wsgi_app(registry), ThreadingWSGIServer, _Silent
            )
        except OSError as error:
            raise ConfigurationError(
                f"The metrics' address {host}:{port} cannot be used: {error.strerror}."
            ) from None
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        """Return the bound port."""
        return self._server.server_port

    def start(self) -> None:
        """Serve on a new thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Silent(WSGIRequestHandler):
    """A request handler that logs no scrapes."""

    @override
    def log_message(self, *_: Any) -> None:
        pass


class _Build(Collector):
    """The gauge `keystead_build_info`."""

    def __init__(self, database: str) -> None:
        self._labels = {
            "version": __version__,
            "revision": revision(),
            "python": platform.python_version(),
            "database": database,
        }

    @override
    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily(BUILD.name.removesuffix("_info"), BUILD.text, self._labels)


class _Shared(Collector):
    """The metrics of all server processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all = MultiProcessCollector(None, str(folder))  # type: ignore[no-untyped-call]

    @override
    def collect(self) -> Iterator[Metric]:
        # Drop the gauges of processes that have exited; prometheus_client keeps them otherwise.
        for file in self._folder.glob("gauge_live*.db"):
            process = int(file.stem.rpartition("_")[2])
            if not _is_alive(process):
                mark_process_dead(process, str(self._folder))  # type: ignore[no-untyped-call]
        yield from self._read()

    def _read(self) -> list[Metric]:
        # The file of a process that is just starting is empty for a moment, which prometheus_client cannot read.
        for _ in range(TRIES - 1):
            with suppress(struct.error):
                return list(self._all.collect())  # type: ignore[no-untyped-call]
            time.sleep(TRY_SECONDS)
        return list(self._all.collect())  # type: ignore[no-untyped-call]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True

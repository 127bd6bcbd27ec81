"""`keystead serve`: the server, until it is told to stop."""

from __future__ import annotations

import os
import shlex
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import structlog
from cyclopts import Parameter

from keystead import __version__
from keystead.cli import render
from keystead.cli.options import Place

if TYPE_CHECKING:
    from keystead.operation.checks import Finding
    from keystead.operation.metrics import Listener
    from keystead.settings import Settings

HERE: Final = Place()
START_SECONDS: Final = 60
Proxies = Annotated[
    tuple[str, ...] | None, Parameter(name="--trusted-proxy", negative=(), consume_multiple=False)
]


def serve(
    *,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    public_url: str | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    trusted_proxy: Proxies = None,
    metrics_host: str | None = None,
    metrics_port: int | None = None,
    log_level: Literal["debug", "info", "warning", "error"] | None = None,
    place: Place = HERE,
) -> None:
    """Start the server. On the embedded database everything it needs is made on the first start.

    SIGTERM or Ctrl+C stops it: running requests end, what was noted is written, exit code 0. SIGHUP reads the
    settings and the peppers again, without a gap.

    Parameters
    ----------
    host
        Address to listen on (127.0.0.1). Any other than loopback needs TLS or a trusted proxy.
    port
        Port to listen on (8080); 0 for any free one.
    workers
        Server processes (1).
    public_url
        Where people and code reach this server, such as https://keys.example.com.
    tls_cert
        Certificate chain (PEM).
    tls_key
        Private key (PEM, PKCS#8, mode 0600).
    trusted_proxy
        Network whose X-Forwarded-* headers are believed, such as 10.0.0.0/8; once for each.
    metrics_host
        Address of /metrics (127.0.0.1).
    metrics_port
        Port of /metrics; none unless given.
    log_level
        Level of the log on standard error (info).
    """
    from keystead.operation import logs
    from keystead.settings import read_settings

    given: dict[str, object] = {
        **asdict(place),
        "host": host,
        "port": port,
        "workers": workers,
        "public_url": public_url,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "trusted_proxies": trusted_proxy,
        "metrics_host": metrics_host,
        "metrics_port": metrics_port,
        "log_level": log_level,
    }
    settings = read_settings(**given)
    logs.configure(settings.log_level)
    with ExitStack() as stack:
        _serve(_settled(settings, given, stack), stack)


def _settled(settings: Settings, given: dict[str, object], stack: ExitStack) -> Settings:
    """The settings as the server's processes will read them: with the port that was taken, in the environment."""
    from keystead.operation.server import ports
    from keystead.settings import export, read_settings

    held = stack.enter_context(ports.reserve(settings.host, settings.port))
    export({**given, "port": held.getsockname()[1]})
    return read_settings()


def _serve(settings: Settings, stack: ExitStack) -> None:
    from keystead import bootstrap
    from keystead.operation.server.address_file import published
    from keystead.operation.server.serving import Address, serve

    _prepare(settings)
    stack.enter_context(published(settings.data, settings.base_url))
    welcome = _welcome(settings)
    listener = _metrics_listener(settings, stack)
    bootstrap.import_applications()

    def begun() -> None:
        threading.Thread(target=_announce, args=(settings, welcome), daemon=True).start()
        if listener is not None:
            listener.start()

    address = Address(
        settings.host, settings.port, settings.workers, settings.tls_cert, settings.tls_key
    )
    serve(address, bootstrap.create_app, on_started=begun, may_reload=_may_renew)


def _prepare(settings: Settings) -> None:
    from keystead import bootstrap
    from keystead.operation.checks import check_interpreter
    from keystead.operation.files import require_pair

    if settings.tls_cert is not None and settings.tls_key is not None:
        require_pair(settings.tls_cert, settings.tls_key)
    bootstrap.read_brand(settings)
    bootstrap.prepare(settings)
    _require_sound([check_interpreter(sys.version_info[:3])])
    _require_sound(bootstrap.examine_database(settings))


def _require_sound(findings: Iterable[Finding]) -> None:
    """ConfigurationError for a fault; a warning is logged, and what becomes of an acknowledged change is."""
    from keystead.operation.files import ConfigurationError

    for finding in findings:
        if finding.verdict == "fault":
            raise ConfigurationError(finding.says)
        if finding.verdict == "warning":
            _log().warning("unsound", check=finding.check, says=finding.says)
        elif finding.check == "durability":
            _log().info("durability", says=finding.says)


def _log() -> structlog.stdlib.BoundLogger:
    log: structlog.stdlib.BoundLogger = structlog.get_logger("keystead.serving")
    return log


def _may_renew() -> bool:
    """Whether the processes may begin anew: what they would read is safe."""
    from keystead.domain.errors import StorageError
    from keystead.operation.files import ConfigurationError
    from keystead.settings import read_settings

    try:
        _prepare(read_settings())
    except (ConfigurationError, StorageError) as error:
        _log().warning("not renewed", detail=str(error))
        return False
    _log().info("renewing")
    return True


def _metrics_listener(settings: Settings, stack: ExitStack) -> Listener | None:
    """The processes' counters meet in a folder, named in the environment before anybody counts."""
    if settings.metrics_port is None:
        return None
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="keystead-metrics-"))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    from keystead.operation.metrics import Listener

    database = "sqlite" if settings.is_embedded else "postgresql"
    listener = Listener(settings.metrics_host, settings.metrics_port, database=database)
    stack.callback(listener.close)
    _log().info("metrics", port=listener.port)
    return listener


def _welcome(settings: Settings) -> list[str]:
    """What to do next. On one's own machine with a link that signs in; elsewhere the output may be kept in a log."""
    running = f"Keystead {__version__} is running at {settings.base_url}"
    if settings.public_url:
        running += f", and listens on {settings.listening_url}"
    if not settings.is_local:
        return [running, "Sign in with a link from: keystead sign-in-link"]
    return [
        running,
        "",
        "  Sign in with this link, once, within 15 minutes (another: keystead sign-in-link):",
        f"  {_link(settings)}",
        "",
        "  Create a key there, then try it:",
        f"  curl -H 'Authorization: Bearer <your token>' {settings.base_url}/v1/whoami",
        *export_lines(settings),
        "",
        "  Ctrl+C stops the server.",
    ]


def export_lines(settings: Settings) -> list[str]:
    """Return what lets commands in another shell find this server; nothing when they would find it anyway."""
    fields = type(settings).model_fields
    if all(getattr(settings, name) == fields[name].default for name in ("data", "port")):
        return []
    return [
        "",
        "  For keystead commands in another shell:",
        f"  export KEYSTEAD_DATA={shlex.quote(str(settings.data.absolute()))}",
        f"  export KEYSTEAD_URL={settings.base_url}",
    ]


def _link(settings: Settings) -> str:
    from keystead import bootstrap
    from keystead.cli.sign_in import fresh_link

    installation = bootstrap.open_safely(settings)
    try:
        return fresh_link(installation, settings.base_url)[0]
    finally:
        installation.close()


def _announce(settings: Settings, welcome: Sequence[str]) -> None:
    """Says that the server runs as soon as it does."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection((settings.host, settings.port), 1).close()
        except OSError:
            time.sleep(0.02)
            continue
        for line in welcome:
            render.print_line(line)
        sys.stdout.flush()
        return

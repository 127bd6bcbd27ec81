"""`keystead serve` and `sign-in-link`: run the server until a signal stops it, and sign in to it."""

from __future__ import annotations

import gc
import multiprocessing
import os
import shlex
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import Parameter

from keystead import __version__
from keystead.cli import COLLECTS, render
from keystead.cli.installation import WorkspaceName, opened
from keystead.cli.options import HERE, Json, Place
from keystead.logger import Logger

if TYPE_CHECKING:
    from keystead.operation.checks import Finding
    from keystead.operation.metrics.listener import Listener
    from keystead.settings import Settings

_log: Final = Logger("keystead.serving")
START_SECONDS: Final = 60
Proxies = Annotated[
    tuple[str, ...] | None, Parameter(name="--trusted-proxy", negative=(), consume_multiple=False)
]

NextPage = Annotated[str | None, Parameter(name="--next")]


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
    """Start the server. With the embedded database, the first start creates everything it needs.

    SIGTERM or Ctrl+C stops it after running requests have finished, with exit code 0. SIGHUP reloads the settings
    and the peppers without downtime.

    Parameters
    ----------
    host
        Address to listen on. Default: 127.0.0.1. Any other than loopback needs TLS or a trusted proxy.
    port
        Port to listen on; 0 for any free one. Default: 8080.
    workers
        Number of server processes. Default: 1.
    public_url
        The URL of this server for users and programs, such as https://keys.example.com.
    tls_cert
        Certificate chain (PEM).
    tls_key
        Private key (PEM, PKCS#8, mode 0600).
    trusted_proxy
        Network of proxies whose X-Forwarded-* headers are trusted, such as 10.0.0.0/8; repeatable.
    metrics_host
        Address of /metrics. Default: 127.0.0.1.
    metrics_port
        Port of /metrics. Default: no metrics.
    log_level
        Level of the log on standard error. Default: info.
    """
    from keystead.operation import logs
    from keystead.settings import read_server_settings

    options: dict[str, object] = {
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
    settings = read_server_settings(**options)
    logs.configure(settings.log_level)
    with ExitStack() as stack:
        _serve(_resolve_port(settings, options, stack), stack)


def _resolve_port(settings: Settings, options: dict[str, object], stack: ExitStack) -> Settings:
    """Reserve the port, and export all settings to the environment, where the server's processes read them."""
    from keystead.operation.server.address import reserve
    from keystead.settings import export, read_server_settings

    reserved = stack.enter_context(reserve(settings.host, settings.port))
    export({**options, "port": reserved.getsockname()[1]})
    return read_server_settings()


def _serve(settings: Settings, stack: ExitStack) -> None:
    from keystead import bootstrap
    from keystead.operation.server.address import published
    from keystead.operation.server.serving import Address, serve

    _migrate_apart(settings)
    _prepare(settings)
    stack.enter_context(published(settings.data, settings.base_url))
    welcome = _welcome(settings)
    listener = _metrics_listener(settings, stack)
    bootstrap.import_applications()
    gc.set_threshold(*COLLECTS)

    def begun() -> None:
        threading.Thread(target=_announce, args=(settings, welcome), daemon=True).start()
        if listener is not None:
            listener.start()

    address = Address(
        settings.host, settings.port, settings.workers, settings.tls_cert, settings.tls_key
    )
    serve(address, bootstrap.create_app, on_started=begun, may_reload=_may_reload)


def _migrate_apart(settings: Settings) -> None:
    """Migrate the embedded database in a process of its own: what Alembic takes of memory would stay in this one."""
    from keystead import bootstrap
    from keystead.domain.errors import KeysteadError
    from keystead.operation.files import ConfigurationError

    def migrate() -> None:
        # What fails here fails again in this process's own preparation, which reports it.
        with suppress(KeysteadError, ConfigurationError):
            bootstrap.prepare(settings)

    if settings.is_embedded and not bootstrap.schema_state(settings).is_current:
        process = multiprocessing.get_context("fork").Process(target=migrate)
        process.start()
        process.join()


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
    """Raise ConfigurationError for a fault; log warnings, and how durable changes are."""
    from keystead.operation.files import ConfigurationError

    for finding in findings:
        if finding.verdict == "fault":
            raise ConfigurationError(finding.says)
        if finding.verdict == "warning":
            _log.warning("unsound", check=finding.check, says=finding.says)
        elif finding.check == "durability":
            _log.info("durability", says=finding.says)


def _may_reload() -> bool:
    """Return whether the processes may reload: the settings they would read are safe."""
    from keystead.domain.errors import StorageError
    from keystead.operation.files import ConfigurationError
    from keystead.settings import read_server_settings

    try:
        _prepare(read_server_settings())
    except (ConfigurationError, StorageError) as error:
        _log.warning("reload refused", detail=str(error))
        return False
    _log.info("reloading")
    return True


def _metrics_listener(settings: Settings, stack: ExitStack) -> Listener | None:
    """Open the listener of /metrics. The processes share their counters in a folder that the environment names."""
    if settings.metrics_port is None:
        return None
    # Set before prometheus_client is imported, which reads it only then.
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="keystead-metrics-"))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    from keystead.operation.metrics.listener import Listener

    database = "sqlite" if settings.is_embedded else "postgresql"
    listener = Listener(settings.metrics_host, settings.metrics_port, database=database)
    stack.callback(listener.close)
    _log.info("metrics", port=listener.port)
    return listener


def _welcome(settings: Settings) -> list[str]:
    """Return what to do next, with a sign-in link only on a local machine: elsewhere a log might store it."""
    running = f"Keystead {__version__} is running at {settings.base_url}"
    if settings.public_url:
        running += f", and listens on {settings.listening_url}"
    if not settings.is_local:
        return [running, "To sign in, run: keystead sign-in-link"]
    return [
        running,
        "",
        "  Sign in with this single-use link within 15 minutes (for another: keystead sign-in-link):",
        f"  {_link(settings)}",
        "",
        "  Create a key there, then try it:",
        f"  curl -H 'Authorization: Bearer <your token>' {settings.base_url}/v1/whoami",
        *export_lines(settings),
        "",
        "  Ctrl+C stops the server.",
    ]


def export_lines(settings: Settings) -> list[str]:
    """Return the exports that commands in another shell need to find this server, if any."""
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

    installation = bootstrap.open_safely(settings)
    try:
        return fresh_link(installation, settings.base_url)[0]
    finally:
        installation.close()


def _announce(settings: Settings, welcome: Sequence[str]) -> None:
    """Print the welcome as soon as the server accepts connections."""
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


if TYPE_CHECKING:
    from datetime import datetime

    from keystead.bootstrap import Installation


def sign_in_link(
    *,
    workspace: WorkspaceName = None,
    next_page: NextPage = None,
    place: Place = HERE,
    json: Json = False,
) -> None:
    """Print a single-use link that signs the owner of a workspace in to the Developer area within 15 minutes.

    The default workspace is that of --next, or the oldest one. The link leads to KEYSTEAD_PUBLIC_URL or the running
    server.

    Parameters
    ----------
    next_page
        The page to continue to, such as /w/ws_.../webhooks. The sign-in page shows this option for the page that it
        interrupted.
    """
    from urllib.parse import urlencode

    from keystead.domain.instants import format_instant
    from keystead.operation.server.address import published_url

    with opened(place) as installation:
        settings = installation.settings
        if workspace is None and next_page is not None and next_page.startswith("/w/"):
            workspace = next_page.split("/")[2]
        # A running server stores its URL in a file, because its options may differ from this command's.
        running = None if settings.public_url else published_url(settings.data)
        url, expires_at = fresh_link(installation, running or settings.base_url, workspace)
    if next_page is not None:
        url += f"&{urlencode({'next': next_page})}"
    if json:
        render.print_json({"url": url, "expires_at": format_instant(expires_at)})
    else:
        render.print_line(url)


def fresh_link(
    installation: Installation, server: str, workspace: str | None = None
) -> tuple[str, datetime]:
    """Return a single-use link for the workspace's owner, and when it expires.

    The default workspace is the first one, which is created if there is none.
    """
    services = installation.services
    if workspace is None:
        owner = services.workspaces.first()
    else:
        owner = services.workspaces.owner(services.workspaces.named(workspace).id)
    secret, expires_at = services.sign_in.make_link(owner)
    return f"{server}/sign-in?link={secret.reveal()}", expires_at

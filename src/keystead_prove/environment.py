"""The environments of `keystead prove`: a new workspace on a running or on a temporary installation."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from keystead.cli.installation import account, actor
from keystead.cli.options import Place
from keystead.cli.outcome import Exit, Failure

if TYPE_CHECKING:
    from keystead.bootstrap import Installation
    from keystead.domain.principals import Principal
    from keystead.domain.workspaces import Workspace
    from keystead_prove.experiments.catalog import Environment
    from keystead_prove.servers.endpoints import Target
    from keystead_prove.servers.fault_proxy import FaultProxy

DESCRIPTION: Final = "keystead prove"
POSTGRESQL: Final = 5432
PAGE: Final = 200
ATTEMPTS: Final = 20
ATTEMPT_SECONDS: Final = 0.1
INHERITED: Final = ("KEYSTEAD_VERIFICATION", "KEYSTEAD_MIGRATION_DATABASE")
"""The settings of the process environment that apply to a temporary installation too."""


@dataclass(frozen=True, slots=True)
class Setup:
    """An environment, its workspace, and the facts for the report."""

    environment: Environment
    workspace: str
    about: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LocalOperator:
    """The operator of the installation on this machine, for one workspace."""

    installation: Installation
    workspace: Workspace

    def suspend(self) -> None:
        """Suspend the workspace."""
        workspaces = self.installation.services.workspaces
        _retry_while_busy(lambda: workspaces.suspend(self.workspace.id, actor()))

    def resume(self) -> None:
        """Resume the workspace."""
        workspaces = self.installation.services.workspaces
        _retry_while_busy(lambda: workspaces.resume(self.workspace.id, actor()))

    def limit_keys(self, limit: int | None) -> None:
        """Set the limit of active keys."""
        self.installation.services.workspaces.set_plan(
            self.workspace.id, self.workspace.plan_id, {"api_keys": limit}, actor()
        )

    def now(self) -> datetime:
        """Return the installation's time."""
        return self.installation.services.keys.now()


def _retry_while_busy(act: Callable[[], object]) -> None:
    """Call `act`, again while the database is busy."""
    from keystead.domain.errors import Unavailable

    for _ in range(ATTEMPTS):
        with suppress(Unavailable):
            act()
            return
        time.sleep(ATTEMPT_SECONDS)
    act()


@contextmanager
def on_running(place: Place, urls: Sequence[str], others: Sequence[str] = ()) -> Iterator[Setup]:
    """Create a workspace on the running installation of `place`, whose servers have these URLs.

    `others`: URLs of gateways and applications that verify keys too.
    """
    from keystead.cli.installation import opened
    from keystead.client import UnsafeAddress
    from keystead.client.connection import page_address, server_address
    from keystead_prove.experiments.catalog import Environment

    try:
        addresses = [server_address(url) for url in urls]
        pages = [page_address(url) for url in others]
    except UnsafeAddress as error:
        raise Failure(str(error), Exit.USAGE) from None
    with (
        opened(place) as installation,
        _workspace(installation) as (operator, token),
        _credential(installation) as credential,
    ):
        target = _target(addresses, token, credential, pages)
        about = _about(installation, target) | {"servers": f"{len(urls)}: {', '.join(addresses)}"}
        yield Setup(Environment(target, operator), operator.workspace.name, about)


@contextmanager
def on_own(database: str | None, count: int) -> Iterator[Setup]:
    """Create a workspace on a temporary installation: that many servers on this machine over one database."""
    from keystead.cli.installation import opened
    from keystead_prove.experiments.catalog import Environment
    from keystead_prove.servers.processes import keystead, start_servers

    with tempfile.TemporaryDirectory(prefix="keystead-prove-") as name, _isolated(Path(name)):
        folder = Path(name)
        place = Place(folder / "data", database or f"sqlite:///{folder / 'data' / 'keystead.db'}")
        _initialize(place)
        command = keystead("serve", "--data", str(place.data), "--log-level", "warning")
        with (
            _through_proxy(str(place.database)) as (address, fault_proxy),
            start_servers(
                count, command, folder, os.environ | {"KEYSTEAD_DATABASE": address}
            ) as servers,
            opened(place) as installation,
            _workspace(installation) as (operator, token),
            _credential(installation) as credential,
        ):
            target = _target([server.url for server in servers], token, credential)
            about = _about(installation, target) | {"servers": f"{count}, started on this machine"}
            environment = Environment(target, operator, servers, fault_proxy)
            yield Setup(environment, operator.workspace.name, about)


@contextmanager
def _through_proxy(database: str) -> Iterator[tuple[str, FaultProxy | None]]:
    """Yield the database's URL through a fault proxy; unchanged for a file, or for several addresses."""
    from keystead_prove.servers.fault_proxy import HOST, fault_proxy

    parts = urlsplit(database)
    if parts.scheme != "postgresql" or not parts.hostname or "," in parts.netloc:
        yield database, None
        return
    with fault_proxy(parts.hostname, parts.port or POSTGRESQL) as made:
        account, at, _ = parts.netloc.rpartition("@")
        yield urlunsplit(parts._replace(netloc=f"{account}{at}{HOST}:{made.port}")), made


def _initialize(place: Place) -> None:
    """Create the database's schema. Raises Failure if the database contains anything."""
    from keystead import bootstrap
    from keystead.operation.peppers import FILE_NAME, make_peppers
    from keystead.settings import read_settings

    settings = read_settings(data=place.data, database=place.database)
    bootstrap.make_place(settings)
    make_peppers(settings.data / FILE_NAME)
    of_owner = settings.migration_database or settings.database_url
    state = bootstrap.schema_state(read_settings(data=place.data, database=of_owner))
    if state.status == "empty":
        bootstrap.migrate(settings)
    installation = bootstrap.open_safely(settings)
    try:
        in_use = installation.services.workspaces.list(limit=1).items
    finally:
        installation.close()
    if in_use:
        raise Failure(
            "This database is in use. Give the --url of each of its servers, or an empty database.",
            Exit.USAGE,
        )


@contextmanager
def _isolated(folder: Path) -> Iterator[None]:
    """Run the block without the settings of this environment and folder."""
    before, here = os.environ.copy(), Path.cwd()
    for name in [name for name in before if name.startswith("KEYSTEAD_")]:
        if name not in INHERITED:
            del os.environ[name]
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _workspace(installation: Installation) -> Iterator[tuple[LocalOperator, str]]:
    """Create a workspace without a limit, and yield the token of a key that manages the others.

    At the end all its keys are revoked, and it is suspended.
    """
    from keystead.domain.keys import KeyDraft
    from keystead.domain.principals import operator
    from keystead.domain.scopes import Scopes

    services = installation.services
    name = f"Proof {services.keys.now():%Y-%m-%d %H:%M:%S}"
    workspace = services.workspaces.create(name, actor=actor())
    principal = operator(account(), workspace.id)
    try:
        local = LocalOperator(installation, workspace)
        local.limit_keys(None)
        draft = KeyDraft(DESCRIPTION, None, Scopes(("*", "keys:write")))
        token = services.keys.create(principal, draft).token
        yield local, token.reveal() if token else ""
    finally:
        _revoke_all(installation, principal)
        services.workspaces.suspend(workspace.id, actor())


def _revoke_all(installation: Installation, principal: Principal) -> None:
    from keystead.domain.key_lists import KeySelection
    from keystead.domain.keys import KeyStatus

    keys = installation.services.keys
    while page := keys.list(principal, KeySelection(KeyStatus.ACTIVE), limit=PAGE).items:
        for key in page:
            keys.revoke(principal, key.id)


@contextmanager
def _credential(installation: Installation) -> Iterator[str]:
    """Yield a service's credential for introspection, and revoke it at the end."""
    from keystead.domain.credentials import CredentialKind

    credentials = installation.services.credentials
    credential, token = credentials.create(DESCRIPTION, actor(), CredentialKind.SERVICE)
    try:
        yield token.reveal()
    finally:
        credentials.revoke(credential.id, actor())


def _target(urls: Sequence[str], token: str, credential: str, others: Sequence[str] = ()) -> Target:
    from keystead_prove.servers.calls import SCOPE_TO_KEEP, create, unready
    from keystead_prove.servers.connection import Connection
    from keystead_prove.servers.endpoints import Target, of_servers, through

    away = unready(urls, token)
    if away:
        raise Failure(
            f"{away} does not accept a key of this installation. Is it one of its servers?",
            Exit.UNAVAILABLE,
        )
    endpoints = of_servers(urls, token, credential)
    if others:
        with Connection(urls[0], token) as connection:
            narrow = create(connection, scopes=[SCOPE_TO_KEEP])
        endpoints += [through(url, token, narrow) for url in others]
    return Target(urls, token, endpoints)


def _names(target: Target) -> list[str]:
    """Return the names of all probes."""
    return list(dict.fromkeys(q.name for endpoint in target.endpoints for q in endpoint.probes))


def _about(installation: Installation, target: Target) -> dict[str, str]:
    import platform

    from keystead import __version__, bootstrap

    engine = next(
        f.says
        for f in bootstrap.examine_database(installation.settings)
        if f.check in {"engine", "database"}
    )
    settings = installation.settings
    return {
        "Keystead": __version__,
        "database": engine,
        "verification": "stamp" if settings.caches_verifications else "read",
        "verified by": ", ".join(_names(target)),
        "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} cores,"
        f" Python {platform.python_version()}",
    }

"""Where `keystead prove` does its work: a workspace to throw away, on a running installation or on one of its own."""

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

from keystead.cli.operator import account, actor
from keystead.cli.options import Place
from keystead.cli.outcome import Exit, Failure

if TYPE_CHECKING:
    from keystead.bootstrap import Installation
    from keystead.domain.principals import Principal
    from keystead.domain.workspaces import Workspace
    from keystead_prove.experiments import Scene
    from keystead_prove.fault_proxy import Breaker
    from keystead_prove.target import Site

DESCRIPTION: Final = "keystead prove"
POSTGRESQL: Final = 5432
PAGE: Final = 200
ATTEMPTS: Final = 20
ATTEMPT_SECONDS: Final = 0.1
INHERITED: Final = ("KEYSTEAD_VERIFICATION", "KEYSTEAD_MIGRATION_DATABASE")
"""The settings of the environment that hold for an installation of its own too."""


@dataclass(frozen=True, slots=True)
class Ground:
    """The scene of the experiments, and what a report says about it."""

    scene: Scene
    workspace: str
    about: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LocalOperator:
    """The operator of the installation on this machine, for one workspace."""

    installation: Installation
    workspace: Workspace

    def suspend(self) -> None:
        """Refuses all keys of the workspace."""
        workspaces = self.installation.services.workspaces
        _patiently(lambda: workspaces.suspend(self.workspace.id, actor()))

    def resume(self) -> None:
        """Lets them work again."""
        workspaces = self.installation.services.workspaces
        _patiently(lambda: workspaces.resume(self.workspace.id, actor()))

    def limit_keys(self, limit: int | None) -> None:
        """How many active keys the workspace may have."""
        self.installation.services.workspaces.set_plan(
            self.workspace.id, self.workspace.plan_id, {"api_keys": limit}, actor()
        )

    def now(self) -> datetime:
        """The time that decides."""
        return self.installation.services.keys.now()


def _patiently(act: Callable[[], object]) -> None:
    """Does it, and asks again where the database is busy, as it is while keys are raced."""
    from keystead.domain.errors import Unavailable

    for _ in range(ATTEMPTS):
        with suppress(Unavailable):
            act()
            return
        time.sleep(ATTEMPT_SECONDS)
    act()


@contextmanager
def on_running(place: Place, urls: Sequence[str], others: Sequence[str] = ()) -> Iterator[Ground]:
    """A workspace on the running installation of that place, whose servers are at these URLs.

    `others`: URLs of gateways and applications where keys are verified too.
    """
    from keystead.cli.installation import opened
    from keystead.client import UnsafeAddress
    from keystead.client.connection import page_address, server_address
    from keystead_prove.experiments import Scene

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
        site = _site(addresses, token, credential, pages)
        about = _about(installation, site) | {"servers": f"{len(urls)}: {', '.join(addresses)}"}
        yield Ground(Scene(site, operator), operator.workspace.name, about)


@contextmanager
def on_own(database: str | None, count: int) -> Iterator[Ground]:
    """A workspace on an installation that is made for it: so many servers of this machine over one database."""
    from keystead.cli.installation import opened
    from keystead_prove.experiments import Scene
    from keystead_prove.servers import fleet, keystead

    with tempfile.TemporaryDirectory(prefix="keystead-prove-") as made, _alone(Path(made)):
        folder = Path(made)
        place = Place(folder / "data", database or f"sqlite:///{folder / 'data' / 'keystead.db'}")
        _begin(place)
        command = keystead("serve", "--data", str(place.data), "--log-level", "warning")
        with (
            _before(str(place.database)) as (address, breaker),
            fleet(count, command, folder, os.environ | {"KEYSTEAD_DATABASE": address}) as servers,
            opened(place) as installation,
            _workspace(installation) as (operator, token),
            _credential(installation) as credential,
        ):
            site = _site([server.url for server in servers], token, credential)
            about = _about(installation, site) | {
                "servers": f"{count}, started for this on one machine"
            }
            scene = Scene(site, operator, servers, breaker)
            yield Ground(scene, operator.workspace.name, about)


@contextmanager
def _before(database: str) -> Iterator[tuple[str, Breaker | None]]:
    """The database's URL by way of a breaker before it; as it is where it is a file, or not at one plain address."""
    from keystead_prove.fault_proxy import HOST, breaker

    parts = urlsplit(database)
    if parts.scheme != "postgresql" or not parts.hostname or "," in parts.netloc:
        yield database, None
        return
    with breaker(parts.hostname, parts.port or POSTGRESQL) as made:
        account, at, _ = parts.netloc.rpartition("@")
        yield urlunsplit(parts._replace(netloc=f"{account}{at}{HOST}:{made.port}")), made


def _begin(place: Place) -> None:
    """Makes the database's schema. Failure where there is something in the database already."""
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
        in_use = installation.services.workspaces.list(limit=1).workspaces
    finally:
        installation.close()
    if in_use:
        raise Failure(
            "This database is in use. Give the --url of each of its servers, or an empty database.",
            Exit.USAGE,
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Away from the settings of this environment and folder, for as long as the block runs."""
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
    """A workspace without a limit, and the token of a key that manages its others.

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
    from keystead.domain.keys import KeyStatus

    keys = installation.services.keys
    while found := keys.list(principal, status=KeyStatus.ACTIVE, limit=PAGE).keys:
        for key in found:
            keys.revoke(principal, key.id)


@contextmanager
def _credential(installation: Installation) -> Iterator[str]:
    """The token of a service's credential, for introspection; it is revoked at the end."""
    from keystead.domain.credentials import CredentialKind

    credentials = installation.services.credentials
    made, token = credentials.create(DESCRIPTION, actor(), CredentialKind.SERVICE)
    try:
        yield token.reveal()
    finally:
        credentials.revoke(made.id, actor())


def _site(urls: Sequence[str], token: str, credential: str, others: Sequence[str] = ()) -> Site:
    from keystead_prove.connection import Line
    from keystead_prove.endpoints import of_servers, through
    from keystead_prove.target import SCOPE_TO_KEEP, Site, create, unready

    away = unready(urls, token)
    if away:
        raise Failure(
            f"{away} does not accept a key of this installation: is it one of its servers?",
            Exit.UNAVAILABLE,
        )
    doors = of_servers(urls, token, credential)
    if others:
        with Line(urls[0], token) as line:
            narrow = create(line, scopes=[SCOPE_TO_KEEP])
        doors += [through(url, token, narrow) for url in others]
    return Site(urls, token, doors)


def _names(site: Site) -> list[str]:
    """The ways of asking, each once."""
    return list(dict.fromkeys(q.name for door in site.doors for q in door.questions))


def _about(installation: Installation, site: Site) -> dict[str, str]:
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
        "verification": "stamp" if settings.remembers else "read",
        "verified by": ", ".join(_names(site)),
        "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} cores,"
        f" Python {platform.python_version()}",
    }

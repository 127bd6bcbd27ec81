"""The composition root: settings -> database -> services -> applications. The only file that knows everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keystead.domain.digest import Peppers
from keystead.operation.faults import ConfigurationError
from keystead.operation.files import STRANGERS, make_empty_file, make_folder, require_private
from keystead.operation.peppers import FILE_NAME, make_peppers, parse_peppers, read_peppers
from keystead.services import Services
from keystead.services.accounts import Accounts
from keystead.services.credentials import Credentials
from keystead.services.documents import Documents
from keystead.services.events import Events
from keystead.services.housekeeping import Housekeeping
from keystead.services.invitations import Invitations
from keystead.services.keys import Keys
from keystead.services.members import Members
from keystead.services.passwords import Passwords
from keystead.services.plans import Plans
from keystead.services.portal import PortalSessions
from keystead.services.sign_in import SignIn
from keystead.services.usage import Usage
from keystead.services.verifier import Verifier
from keystead.services.workspaces import Workspaces
from keystead.settings import Settings, read_settings
from keystead.storage import migrate as migrations
from keystead.storage.clock import Clock, clock_of
from keystead.storage.credentials import pepper_ids_of_live_credentials
from keystead.storage.database import Database
from keystead.storage.inspection import look_at
from keystead.storage.keys import pepper_ids_of_live_keys
from keystead.storage.lookup import Lookup, lookup_of
from keystead.storage.migrate import SchemaState, SchemaStatus

if TYPE_CHECKING:
    from keystead.developer_area.brand import Brand
    from keystead.http.asgi import App
    from keystead.operation.examination import Finding
    from keystead.operation.metrics import Metrics
    from keystead.worker.loop import Task

FLUSH_SECONDS: Final = 2.0
SWEEP_SECONDS: Final = 3600.0


@dataclass(frozen=True)
class Installation:
    """One process's share of an installation: the services and what they stand on."""

    settings: Settings
    database: Database
    lookup: Lookup
    services: Services

    def close(self) -> None:
        """Writes what was noted and gives the connections back."""
        try:
            self.services.usage.flush()
        finally:
            self.lookup.close()
            self.database.close()


def open_installation(
    settings: Settings,
    peppers: Peppers,
    clock: Clock | None = None,
    metrics: Metrics | None = None,
    passwords: Passwords | None = None,
) -> Installation:
    """The services over the database that the settings name, which is migrated already."""
    database = Database(settings.database_url)
    lookup = lookup_of(database)
    clock = clock or clock_of(database)
    passwords = passwords or Passwords(product=settings.product_name)
    services = _services(settings, peppers, database, lookup, clock, metrics, passwords)
    return Installation(settings, database, lookup, services)


def open_safely(settings: Settings, metrics: Metrics | None = None) -> Installation:
    """The installation after `prepare`. ConfigurationError where its peppers are gone meanwhile."""
    peppers = find_peppers(settings)
    if peppers is None:
        raise ConfigurationError(_no_peppers(settings))
    return open_installation(settings, peppers, metrics=metrics)


def create_app() -> App:
    """The ASGI application of one of the server's processes. Settings come from the environment and the file."""
    from keystead.operation import logs

    settings = read_settings()
    logs.configure(settings.log_level)
    metrics = _metrics(settings)
    installation = open_safely(settings, metrics)
    return _application(installation, metrics)


def _services(
    settings: Settings,
    peppers: Peppers,
    database: Database,
    lookup: Lookup,
    clock: Clock,
    metrics: Metrics | None,
    passwords: Passwords,
) -> Services:
    usage = Usage(database)
    plans_url = settings.plans_url
    keys = Keys(
        database,
        clock,
        peppers,
        settings.catalog,
        prefix=settings.token_prefix,
        plans_url=plans_url,
    )
    return Services(
        keys=keys,
        verifier=_verifier(metrics)(lookup, peppers, clock, usage),
        usage=usage,
        events=Events(database),
        plans=Plans(database, clock),
        workspaces=Workspaces(database, clock),
        sign_in=SignIn(database, clock, passwords),
        documents=Documents(database, clock, plans_url=plans_url),
        accounts=Accounts(database, clock, passwords),
        members=Members(database, clock),
        invitations=Invitations(database, clock, passwords, plans_url=plans_url),
        portal_sessions=PortalSessions(
            database, clock, origins=settings.portal_origins, plans_url=plans_url
        ),
        credentials=Credentials(database, clock, peppers, prefix=settings.token_prefix),
    )


# --- the applications of one process ---


def import_applications() -> None:
    """Imports what `create_app` needs, so that processes forked afterwards have it."""
    for name in ("keystead.api.app", "keystead.developer_area.app", "keystead.worker.loop"):
        import_module(name)


def _application(installation: Installation, metrics: Metrics | None) -> App:
    from keystead.http.problems import Problems
    from keystead.http.stack import Stack
    from keystead.operation.front import Front
    from keystead.worker.loop import Loop

    settings = installation.settings
    loop = Loop(_tasks(installation), metrics.on_task if metrics else None)

    def stop() -> None:
        loop.stop()
        installation.close()

    return Stack(
        Front(_apps(installation), loop.start, stop),
        Problems(settings.base_url),
        proxies=settings.trusted_proxies,
        on_response=metrics.on_response if metrics else None,
    )


def _tasks(installation: Installation) -> list[Task]:
    from keystead.worker.loop import Task

    database = installation.database
    housekeeping = Housekeeping(database, clock_of(database))
    return [
        Task("flush use", FLUSH_SECONDS, installation.services.usage.flush),
        Task("sweep", SWEEP_SECONDS, housekeeping.sweep),
        Task("finish deletions", SWEEP_SECONDS, installation.services.documents.finish_deletions),
    ]


def _apps(installation: Installation) -> dict[str, App]:
    from keystead.api.app import create_api
    from keystead.developer_area.app import create_developer_area
    from keystead.operation.health import PATHS, Health

    settings, services = installation.settings, installation.services
    api = create_api(services, base_url=settings.base_url, verify_inline=settings.is_embedded)
    area = create_developer_area(
        services,
        base_url=settings.base_url,
        plans_url=settings.plans_url,
        brand=read_brand(settings),
    )
    health = Health(installation.database.ping)
    of_api = dict.fromkeys(("/v1", "/operator", "/openapi.json", "/docs", "/problems"), api)
    return {"/": area, **of_api, **dict.fromkeys(PATHS, health)}


def read_brand(settings: Settings) -> Brand:
    """How the product shows itself. ConfigurationError where its logo cannot be one."""
    from keystead.developer_area.brand import Brand, read_logo

    try:
        logo = None if settings.logo is None else read_logo(settings.logo)
    except ValueError as error:
        raise ConfigurationError(f"logo: {settings.logo} {error}") from None
    return Brand(
        name=settings.product_name,
        logo=logo,
        accent=settings.accent,
        accent_dark=settings.accent_dark,
        docs_url=settings.docs_url,
        product_url=settings.product_url,
    )


def _metrics(settings: Settings) -> Metrics | None:
    """Counted only where somebody asks: without a listener there is nothing that could fail."""
    if settings.metrics_port is None:
        return None
    from keystead.operation.metrics import Metrics

    return Metrics()


def _verifier(metrics: Metrics | None) -> Callable[[Lookup, Peppers, Clock, Usage], Verifier]:
    if metrics is None:
        return Verifier
    from keystead.operation.metrics import CountedVerifier

    return partial(CountedVerifier, metrics=metrics)


# --- what must hold before anything is opened ---


def prepare(settings: Settings) -> None:
    """Makes what a first start needs. ConfigurationError where it would be unsafe to go on.

    A storage error where the database is away. The embedded database is brought to this version's schema; a
    PostgreSQL is changed by `keystead migrate` alone.
    """
    make_place(settings)
    with _opened(settings) as database:
        if settings.is_embedded:
            _upgrade(database)
        _require_schema(database)
        _require_peppers(settings, database, may_make=settings.is_embedded)


def migrate(settings: Settings) -> SchemaState:
    """Brings the database to this version's schema; what was found before.

    The pepper of a new installation is made here, on the server where it begins: a second server that made its own
    could not verify the keys of the first.
    """
    make_place(settings)
    with _opened(settings) as database:
        before = migrations.state(database)
        if before.status is SchemaStatus.EMPTY and find_peppers(settings) is None:
            make_peppers(settings.data / FILE_NAME)
        _upgrade(database)
        _require_peppers(settings, database, may_make=settings.is_embedded)
    return before


def make_place(settings: Settings) -> None:
    """The data folder and, for the embedded database, its file: for their owner's eyes only."""
    make_folder(settings.data)
    if settings.is_embedded:
        make_folder(database_file(settings).parent)
        make_empty_file(database_file(settings))
    require_private_place(settings)


def require_private_place(settings: Settings) -> str:
    """ConfigurationError where others may read what is there of folder, database and peppers."""
    require_private(settings.data, "The data folder", STRANGERS)
    require_private(settings.data / FILE_NAME, "The pepper file")
    if settings.is_embedded:
        file = database_file(settings)
        require_private(file.parent, "The database's folder", STRANGERS)
        require_private(file, "The database", STRANGERS)
    return "Data folder, database and peppers are private."


def database_file(settings: Settings) -> Path:
    """The file of the embedded database."""
    return Path(settings.database_url.removeprefix("sqlite:///").partition("?")[0])


def find_peppers(settings: Settings) -> Peppers | None:
    """The peppers of the environment, else of the file; None where neither is there."""
    if settings.peppers is not None:
        return parse_peppers(settings.peppers.get_secret_value().split(","), "KEYSTEAD_PEPPERS")
    return read_peppers(settings.data / FILE_NAME)


def _upgrade(database: Database) -> None:
    if migrations.state(database).status in {SchemaStatus.EMPTY, SchemaStatus.BEHIND}:
        migrations.upgrade(database)


def _require_schema(database: Database) -> SchemaState:
    state = migrations.state(database)
    match state.status:
        case SchemaStatus.AHEAD:
            raise ConfigurationError(
                f"The database is at revision {state.found}, which a newer Keystead wrote; "
                f"this one knows it up to {state.needed}: install the newer version again."
            )
        case SchemaStatus.EMPTY | SchemaStatus.BEHIND:
            raise ConfigurationError(
                f"The database's schema is {state.status}; run: keystead migrate"
            )
        case SchemaStatus.CURRENT:
            return state


def _require_peppers(settings: Settings, database: Database, *, may_make: bool) -> Peppers:
    """ConfigurationError without a pepper, or without one that live keys need. Where those are, none is made."""
    with database.read_across() as tx:
        needed = pepper_ids_of_live_keys(tx, clock_of(database).now())
        needed |= pepper_ids_of_live_credentials(tx)
    peppers = find_peppers(settings)
    if peppers is None and may_make and not needed:
        peppers = make_peppers(settings.data / FILE_NAME)
    if peppers is None:
        raise ConfigurationError(_no_peppers(settings))
    missing = needed - peppers.ids
    if missing:
        raise ConfigurationError(
            f"Live keys need the pepper {min(missing)}, which is not at hand: put it back into "
            f"KEYSTEAD_PEPPERS or {settings.data / FILE_NAME}; without it these keys cannot be verified."
        )
    return peppers


def _no_peppers(settings: Settings) -> str:
    return (
        f"There is no pepper: set KEYSTEAD_PEPPERS, or copy the file {FILE_NAME} of the server where this "
        f"installation was begun to {settings.data / FILE_NAME} (mode 0600)."
    )


@contextmanager
def _opened(settings: Settings) -> Iterator[Database]:
    database = Database(settings.database_url)
    try:
        yield database
    finally:
        database.close()


# --- what the doctor looks at, changing nothing ---


def has_begun(settings: Settings) -> bool:
    """Whether there is a database to look at: a PostgreSQL always, the embedded one once its file is there."""
    return not settings.is_embedded or database_file(settings).exists()


def examine_database(settings: Settings) -> list[Finding]:
    """What is to be said of the database's engine and its configuration. A storage error where it is away."""
    from keystead.operation import examination

    with _opened(settings) as database:
        facts = look_at(database)
    findings = [
        examination.check_engine(facts.engine, facts.version),
        examination.check_durability(facts.engine, facts.keeps),
        examination.check_clock(facts.now),
    ]
    return (
        findings
        if settings.is_embedded
        else [*findings, examination.check_role(facts.is_superuser)]
    )


def schema_state(settings: Settings) -> SchemaState:
    """How the database's schema stands. Looking makes no file."""
    if not has_begun(settings):
        return SchemaState(None, migrations.newest_revision(), SchemaStatus.EMPTY)
    with _opened(settings) as database:
        return migrations.state(database)


def check_schema(settings: Settings) -> str:
    """ConfigurationError unless the schema is this version's."""
    with _opened(settings) as database:
        return f"The schema is current, at revision {_require_schema(database).found}."


def check_peppers(settings: Settings) -> str:
    """ConfigurationError unless every pepper that live keys need is at hand."""
    with _opened(settings) as database:
        peppers = _require_peppers(settings, database, may_make=False)
    return (
        f"New keys use the pepper {peppers.current.id}; at hand: {', '.join(sorted(peppers.ids))}."
    )

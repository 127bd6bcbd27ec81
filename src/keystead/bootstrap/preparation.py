"""What must hold before anything is opened: the place, the schema, the peppers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keystead.domain.digest import Peppers
from keystead.domain.instants import format_instant
from keystead.operation.examination import ROLE_WANTED
from keystead.operation.faults import ConfigurationError
from keystead.operation.files import STRANGERS, make_empty_file, make_folder, require_private
from keystead.operation.journal import FILE_NAME as JOURNAL
from keystead.operation.journal import Journal
from keystead.operation.peppers import FILE_NAME, make_peppers, parse_peppers, read_peppers
from keystead.services.restoration import forgotten
from keystead.settings import Settings
from keystead.storage.clock import clock_of
from keystead.storage.database import Database, StatementFault
from keystead.storage.engine.roles import Purpose
from keystead.storage.engine.urls import parse_url
from keystead.storage.maintenance import migrate as migrations
from keystead.storage.maintenance.backup import is_backup
from keystead.storage.maintenance.migrate import SchemaState, SchemaStatus
from keystead.storage.row_security.apply import Walled, let_owner_see, wall
from keystead.storage.row_security.diff import (
    SERVER_ROLE,
    fault_of_login,
    fault_of_walls,
    owners_way_is_open,
)
from keystead.storage.tables.credentials import pepper_ids_of_live_credentials
from keystead.storage.tables.keys import pepper_ids_of_live_keys
from keystead.storage.tables.webhooks import pepper_ids_of_webhooks


def prepare(settings: Settings) -> None:
    """Makes what a first start needs. ConfigurationError where it would be unsafe to go on.

    A storage error where the database is away. The embedded database is brought to this version's schema; a
    PostgreSQL is changed by `keystead migrate` alone.
    """
    make_place(settings)
    with opened(settings) as database:
        bring_up(settings, database)
        require_remembered(settings, database)


def bring_up(settings: Settings, database: Database) -> None:
    """The schema and the peppers as this version needs them; on PostgreSQL the walls too."""
    if settings.is_embedded:
        _upgrade(database)
        require_schema(database)
    else:
        _require_role(database)
        require_schema(database)
        require_walls(database)
    require_peppers(settings, database, may_make=settings.is_embedded)


def journal_of(settings: Settings) -> Journal:
    """What this server acknowledged of acts that took authority away."""
    return Journal(settings.data / JOURNAL)


def require_remembered(settings: Settings, database: Database) -> None:
    """ConfigurationError where the database is a backup, or older than what this server acknowledged."""
    if settings.is_embedded and is_backup(database):
        raise ConfigurationError(
            "The database is a backup that was put in place as it was made: keys that were revoked since would live"
            " again. Run: keystead restore"
        )
    lost = forgotten(database, journal_of(settings).read())
    if lost:
        raise ConfigurationError(
            f"The database is older than the one that this server served, or another one: it does not know of"
            f" {len(lost)} acts that took authority away, the last at {format_instant(lost[-1].at)}."
            " Run: keystead restore"
        )


@dataclass(frozen=True)
class Migrated:
    """How the schema stood before, and what was done of row security; None on the embedded database."""

    before: SchemaState
    walled: Walled | None = None


def migrate(
    settings: Settings, server_role: str | None = None, *, enforce: bool = False
) -> Migrated:
    """Brings the database to this version's schema, a PostgreSQL under row security as well.

    The pepper of a new installation is made here, on the server where it begins: a second server that made its own
    could not verify the keys of the first. `server_role`: the login of the servers. `enforce`: no server of a version
    before row security runs any more.
    """
    make_place(settings)
    with opened(settings, settings.migration_database) as database:
        before = migrations.state(database)
        if before.status is SchemaStatus.EMPTY and find_peppers(settings) is None:
            make_peppers(settings.data / FILE_NAME)
        if settings.is_embedded:
            _upgrade(database)
            require_peppers(settings, database, may_make=True)
            return Migrated(before)
        with _as_owner():
            shown = before.status is SchemaStatus.BEHIND and let_owner_see(database)
            _upgrade(database)
            require_peppers(settings, database, may_make=False)
            fresh = before.status is SchemaStatus.EMPTY
            server = server_role or _server_role(settings)
            return Migrated(before, wall(database, server, fresh=fresh, enforce=enforce or shown))


@contextmanager
def _as_owner() -> Iterator[None]:
    try:
        yield
    except StatementFault as fault:
        if not fault.is_forbidden:
            raise
        raise ConfigurationError(
            "This role may not change the database's schema: give the URL of the tables' owner in "
            "KEYSTEAD_MIGRATION_DATABASE"
        ) from None
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _server_role(settings: Settings) -> str:
    """The login that the servers' own URL names, where there is one beside the owner's."""
    if settings.migration_database is None:
        return SERVER_ROLE
    return parse_url(settings.database_url).username or SERVER_ROLE


def _require_role(database: Database) -> None:
    """ConfigurationError where row security would not hold the login."""
    with database.read_across(Purpose.SERVER) as tx:
        fault = fault_of_login(tx)
    if fault is not None:
        raise ConfigurationError(f"{fault}. {ROLE_WANTED}")


def require_walls(database: Database) -> bool:
    """ConfigurationError unless row security is as this version has it. True: not on the tables' owner yet."""
    with database.read_across(Purpose.SERVER) as tx:
        fault = fault_of_walls(tx)
        owners_way = owners_way_is_open(tx)
    if fault is not None:
        raise ConfigurationError(
            f"Row security is not as it must be: {fault}; run: keystead migrate"
        )
    return owners_way


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
    require_private(settings.data / JOURNAL, "The journal")
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


def require_schema(database: Database) -> SchemaState:
    """ConfigurationError unless the schema is this version's."""
    try:
        state = migrations.state(database)
    except StatementFault as fault:
        if not fault.is_forbidden:
            raise
        raise ConfigurationError(
            f"This role may not read the schema's revision. {ROLE_WANTED}"
        ) from None
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


def require_peppers(settings: Settings, database: Database, *, may_make: bool) -> Peppers:
    """ConfigurationError without a pepper, or without one that live keys need. Where those are, none is made."""
    with database.read_across(Purpose.SERVER) as tx:
        needed = pepper_ids_of_live_keys(tx, clock_of(database).now())
        needed |= pepper_ids_of_live_credentials(tx) | pepper_ids_of_webhooks(tx)
    peppers = find_peppers(settings)
    if peppers is None and may_make and not needed:
        peppers = make_peppers(settings.data / FILE_NAME)
    if peppers is None:
        raise ConfigurationError(no_peppers(settings))
    missing = needed - peppers.ids
    if missing:
        raise ConfigurationError(
            f"Live keys need the pepper {min(missing)}, which is not at hand: put it back into "
            f"KEYSTEAD_PEPPERS or {settings.data / FILE_NAME}; without it these keys cannot be verified."
        )
    return peppers


def no_peppers(settings: Settings) -> str:
    """What to do about it."""
    return (
        f"There is no pepper: set KEYSTEAD_PEPPERS, or copy the file {FILE_NAME} of the server where this "
        f"installation was begun to {settings.data / FILE_NAME} (mode 0600)."
    )


@contextmanager
def opened(settings: Settings, url: str | None = None) -> Iterator[Database]:
    """The database that the settings name, for a while; by another URL, where one is given."""
    database = Database(url or settings.database_url)
    try:
        yield database
    finally:
        database.close()
